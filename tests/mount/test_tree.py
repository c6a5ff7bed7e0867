# SPDX-License-Identifier: Apache-2.0
"""Every path: its type, mode, owner and format, and where links lead."""
import errno
import os
import re
import stat
import time

from harness import KINDS, NOBODY, MountTest, eventually, is_silent, is_well_made, run

ASIC, PCI = 0x1234ABCD5678, "0000:01:00.0"
DRAM_TOTAL, L1_TOTAL = 12 << 30, 120 << 20
DECLARE = (f"declare 0 asic={ASIC:#x} pci={PCI} arch=wormhole_b0 board=n300 "
           f"dram={DRAM_TOTAL} l1={L1_TOTAL}")


class Tree(MountTest):
    def setUp(self):
        super().setUp()
        self.user = self.peer(DECLARE, user=NOBODY)
        for number, kind in enumerate(KINDS):
            self.user(f"alloc 0 {kind} 0x1000 {1000 + number} tag{number}")
        self.user("fail 0 dram 999999 4096")
        self.device = os.path.basename(self.by("by-asic", lambda name: int(name, 16) == ASIC))
        self.folder = f"pids/{self.user.pid}"

    def by(self, directory, matches):
        names = [n for n in os.listdir(self.daemon.path(directory)) if matches(n)]
        self.assertEqual(len(names), 1, os.listdir(self.daemon.path(directory)))
        return os.readlink(self.daemon.path(directory, names[0]))

    def expected(self):
        """Every path that this version has, with its mode."""
        paths = {"": 0o555, "version": 0o444, "events": 0o444, "status": 0o444,
                 "summary": 0o444, "pids": 0o555, "by-asic": 0o555, "by-pci": 0o555,
                 "snapshot.json": 0o444, "metrics": 0o555, "metrics/ttmem.prom": 0o444,
                 self.device: 0o555,
                 f"{self.device}/pids": 0o555, f"{self.device}/stat": 0o444, self.folder: 0o555,
                 f"{self.folder}/buffers": 0o400, f"{self.folder}/{self.device}": 0o555}
        for name in ("arch", "board", "asic_id", "pci", "dram_total", "dram_free",
                     "dram_largest_free", "l1_total", "events", "history"):
            paths[f"{self.device}/{name}"] = 0o444
        for name in ("dram_high", "l1_high"):
            paths[f"{self.device}/{name}"] = 0o644
        for name in ("total", "comm", "uid", "start_time", "peak", "stat", *KINDS):
            paths[f"{self.folder}/{name}"] = 0o444
        for name in ("users", "cgroups", "commands", f"{self.folder}/tags", f"{self.folder}/cgroup",
                     *(f"{self.device}/{table}" for table in ("holders", "tags", "ages"))):
            paths[name] = 0o444
        for kind in KINDS:
            paths[f"{self.device}/{kind}_used"] = 0o444
            paths[f"{self.device}/{kind}_peak"] = 0o644
            paths[f"{self.folder}/{self.device}/{kind}"] = 0o444
        return paths

    def test_every_path_has_its_mode_and_owner(self):
        for name, mode in self.expected().items():
            with self.subTest(path=name):
                info = os.lstat(self.daemon.path(name))
                self.assertEqual(oct(stat.S_IMODE(info.st_mode)), oct(mode))
                owner = NOBODY if name.startswith(self.folder) else None
                self.assertEqual((info.st_uid, info.st_gid),
                                 (owner.pw_uid, owner.pw_gid) if owner else (0, 0))
                self.assertEqual(stat.S_ISDIR(info.st_mode), mode in (0o555,))

    def test_listings_and_attributes_agree(self):
        inodes = {}
        for folder, _, _ in os.walk(self.daemon.mount):
            with os.scandir(folder) as entries:
                for entry in entries:
                    info = os.lstat(entry.path)
                    self.assertEqual(entry.is_symlink(), stat.S_ISLNK(info.st_mode), entry.path)
                    self.assertEqual(entry.is_dir(follow_symlinks=False),
                                     stat.S_ISDIR(info.st_mode), entry.path)
                    self.assertNotIn(info.st_ino, inodes, entry.path)
                    inodes[info.st_ino] = entry.path
                    self.assertEqual(os.lstat(entry.path).st_ino, info.st_ino)

    def test_names_mean_the_same_when_the_kernel_has_forgotten_them(self):
        paths = [self.daemon.path(name) for name in self.expected()]
        before = [os.lstat(path).st_ino for path in paths]
        with open(self.daemon.path(self.device, "stat"), encoding="ascii") as file:
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as caches:
                caches.write("2\n")
            eventually(lambda: int(self.daemon.flat("status")["nodes"]) < len(paths), "FORGET")
            self.assertIn("dram_used 1000", file.read())
        self.assertEqual([os.lstat(path).st_ino for path in paths], before)

    def test_values_are_decimal_numbers(self):
        for number, kind in enumerate(KINDS):
            size = 1000 + number
            self.assertEqual(self.daemon.value(self.folder, kind), size)
            self.assertEqual(self.daemon.value(self.folder, self.device, kind), size)
            self.assertEqual(self.daemon.value(self.device, f"{kind}_used"), size)
            self.assertEqual(self.daemon.value(self.device, f"{kind}_peak"), size)
        self.assertEqual(self.daemon.value(self.folder, "total"), sum(range(1000, 1007)))
        self.assertEqual(self.daemon.value(self.folder, "uid"), NOBODY.pw_uid)
        self.assertEqual(self.daemon.value(self.device, "dram_total"), DRAM_TOTAL)
        self.assertEqual(self.daemon.value(self.device, "l1_total"), L1_TOTAL)
        self.assertEqual(self.daemon.value(self.device, "dram_free"), DRAM_TOTAL - 1000)
        self.assertEqual(self.daemon.value(self.device, "dram_largest_free"), 4096)

    def test_a_device_says_what_it_is(self):
        self.assertEqual(self.daemon.text(self.device, "arch"), "wormhole_b0\n")
        self.assertEqual(self.daemon.text(self.device, "board"), "n300\n")
        self.assertEqual(self.daemon.text(self.device, "pci"), PCI + "\n")
        self.assertEqual(int(self.daemon.text(self.device, "asic_id"), 16), ASIC)

    def test_a_process_says_what_it_is(self):
        self.assertEqual(self.daemon.text(self.folder, "comm"), "peer\n")
        with open(f"/proc/{self.user.pid}/stat", encoding="ascii") as file:
            ticks = int(file.read().rsplit(")", 1)[1].split()[19])
        with open("/proc/stat", encoding="ascii") as file:
            boot = int(re.search(r"btime (\d+)", file.read())[1])
        text = self.daemon.text(self.folder, "start_time")
        self.assertRegex(text, r"\A\d+\.\d+\n\Z")
        self.assertAlmostEqual(float(text), boot + ticks / os.sysconf("SC_CLK_TCK"), delta=2)

    def test_links_lead_where_they_should(self):
        self.assertEqual(self.by("by-asic", lambda n: int(n, 16) == ASIC), f"../{self.device}")
        self.assertEqual(self.by("by-pci", lambda n: n == PCI), f"../{self.device}")
        pid = str(self.user.pid)
        self.assertEqual(os.listdir(self.daemon.path(self.device, "pids")), [pid])
        self.assertEqual(os.readlink(self.daemon.path(self.device, "pids", pid)),
                         f"../../pids/{pid}")
        for folder, folders, names in os.walk(self.daemon.mount):
            for name in folders + names:
                path = os.path.join(folder, name)
                if os.path.islink(path) and name != "self":
                    self.assertTrue(os.path.exists(path), path)
                    size = os.lstat(path).st_size
                    self.assertIn(size, (0, len(os.readlink(path))), path)

    def test_self_is_the_reader(self):
        pid = str(self.user.pid)
        self.assertEqual(self.user(f"readlink {self.daemon.path('pids/self')}"), pid)
        self.assertEqual(self.user(f"cat {self.daemon.path('pids/self/dram')}"), "1000")
        self.assertEqual(self.user(f"thread readlink {self.daemon.path('pids/self')}"), pid)
        self.assertEqual(self.user(f"thread cat {self.daemon.path('pids/self/dram')}"), "1000")
        other = self.holder(size=5)
        self.assertEqual(other(f"cat {self.daemon.path('pids/self/dram')}"), "5")
        self.assertEqual(self.user(f"cat {self.daemon.path('pids/self/dram')}"), "1000")

    def test_self_of_a_bystander_leads_nowhere(self):
        with self.assertRaises(FileNotFoundError):
            self.daemon.text("pids", "self", "total")
        self.assertFalse(os.path.exists(self.daemon.path("pids/self")))
        result = run("cat", self.daemon.path("pids/self/total"), user=NOBODY)
        self.assertIn("No such file", result.stderr)

    def test_buffers_are_for_the_owner_and_root(self):
        path = self.daemon.path(self.folder, "buffers")
        header, *rows = self.daemon.text(self.folder, "buffers").splitlines()
        self.assertEqual(header.split(), ["device", "kind", "address", "size", "age_sec", "tag",
                                          "thread"])
        self.assertEqual(len(rows), len(KINDS))
        self.assertIn("tag0", run("cat", path, user=NOBODY, check=True).stdout)
        own = self.holder()
        result = run("cat", self.daemon.path("pids", own.pid, "buffers"), user=NOBODY)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("Permission denied", result.stderr)

    def test_rows_of_buffers_say_what_was_allocated(self):
        self.user("alloc 0 dram 0xffffffffffffffff 1")
        rows = {(row["kind"], row["address"]): row
                for row in self.daemon.table(self.folder, "buffers")}
        self.assertEqual(len(rows), len(KINDS) + 1)
        for number, kind in enumerate(KINDS):
            row = rows[kind, "0x1000"]
            self.assertEqual(row["size"], str(1000 + number))
            self.assertEqual(row["tag"], f"tag{number}")
            self.assertEqual(row["thread"], str(self.user.pid))
            self.assertEqual("device" + row["device"].removeprefix("device"), self.device)
            self.assertRegex(row["age_sec"], r"\A\d+(\.\d+)?\Z")
            self.assertLess(float(row["age_sec"]), 60)
        self.assertEqual(rows["dram", "0xffffffffffffffff"]["tag"], "-")

    def test_stat_files_are_made_of_the_same_numbers(self):
        for path in ((self.device, "stat"), (self.folder, "stat"), (self.folder, "peak")):
            with self.subTest(path=path):
                values = {key: int(value) for key, value in self.daemon.flat(*path).items()
                          if value.isdigit()}
                for number, kind in enumerate(KINDS):
                    found = [v for k, v in values.items() if re.search(rf"(^|_){kind}(_|$)", k)]
                    self.assertIn(1000 + number, found, (kind, values))

    def test_what_is_unknown_has_no_file(self):
        stranger = self.peer("alloc 5 l1 0x1000 5")
        device, = (name for name in os.listdir(self.daemon.path("pids", stranger.pid))
                   if name.startswith("device"))
        names = os.listdir(self.daemon.path(device))
        for name in ("arch", "board", "asic_id", "pci", "dram_total", "dram_free",
                     "dram_largest_free", "l1_total"):
            self.assertNotIn(name, names)
            with self.assertRaises(FileNotFoundError):
                self.daemon.text(device, name)
        self.assertEqual(self.daemon.value(device, "l1_used"), 5)

    def test_every_text_ends_with_a_newline_and_is_printable(self):
        self.user("name a) R %0a1 (b%1b")
        for path in self.daemon.files():
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self.assertTrue(is_well_made(path, text), f"{path}: {text!r}")

    def test_strange_names_of_processes_stay_on_their_line(self):
        for name in ("a) R 1 (b", "%0a%0a", "%1b[2J", " ", "%ff%fe", "'\"\\"):
            with self.subTest(name=name):
                self.user(f"name {name}")
                comm = eventually(lambda: self.daemon.text(self.folder, "comm"), "a name")
                self.assertRegex(comm, r"\A[ -~]*\n\Z")
                for line in self.daemon.text("summary").splitlines():
                    self.assertRegex(line, r"\A[ -~]*\Z")
        self.user("name a) R 1 (b")
        self.assertEqual(self.daemon.text(self.folder, "comm"), "a) R 1 (b\n")

    def test_names_that_are_not_there_are_not_found(self):
        pid = self.user.pid
        for name in ("none", "pids/0", "pids/-1", "pids/1", f"pids/0{pid}", f"pids/{pid} ",
                     f"pids/+{pid}", f"pids/{pid}x", "pids/99999999999999999999",
                     f"pids/{pid + (1 << 32)}", "device", "device-1",
                     "device00", "device99", "devicex", "device18446744073709551616",
                     f"{self.device}/nothing", f"{self.device}/pids/1", f"{self.folder}/dra",
                     f"{self.folder}/dramm", f"{self.folder}/device63", "by-asic/0", "by-asic/x",
                     "by-pci/0000:ff:00.0", "by-pci/x", f"{self.device}/pids/self"):
            with self.subTest(name=name):
                with self.assertRaises(FileNotFoundError):
                    os.lstat(self.daemon.path(name))
        for length in (255, 256, 1024, 1025):
            with self.assertRaises(OSError) as raised:
                os.lstat(self.daemon.path("x" * length))
            self.assertIn(raised.exception.errno, (errno.ENOENT, errno.ENAMETOOLONG))

    def test_sizes_times_and_link_counts_are_sane(self):
        now = time.time()
        for path in [*self.daemon.files(), self.daemon.mount, self.daemon.path("pids")]:
            info = os.stat(path)
            self.assertGreaterEqual(info.st_nlink, 1, path)
            self.assertLess(abs(info.st_mtime - now), 60, path)
            if stat.S_ISREG(info.st_mode):
                self.assertTrue(info.st_size > 0 or is_silent(path), path)

    def test_statfs_answers_zeros(self):
        info = os.statvfs(self.daemon.mount)
        self.assertEqual((info.f_blocks, info.f_bfree, info.f_files, info.f_ffree), (0, 0, 0, 0))
        self.assertNotIn(self.daemon.mount, run("df").stdout)

    def test_status_counts_what_there_is(self):
        status = self.daemon.flat("status")
        self.assertEqual((status["clients"], status["devices"], status["processes"]),
                         ("1", "1", "1"))
        self.assertEqual(status["rejected_clients"], "0")
        self.assertLess(float(status["uptime_sec"]), 60)

    def test_the_summary_names_devices_and_processes(self):
        text = self.daemon.text("summary")
        self.assertRegex(text, r"(?m)^.*\bpeer\b")
        self.assertRegex(text, rf"\b{self.user.pid}\b")
        self.assertRegex(text, r"\bn300\b")
