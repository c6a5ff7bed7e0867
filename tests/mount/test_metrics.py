# SPDX-License-Identifier: Apache-2.0
"""The metrics, with real processes and the programs that read them: Prometheus' own checker and
node_exporter."""
import grp
import os
import re
import shutil
import socket
import stat
import time
import urllib.request

import harness
from harness import NOBODY, MountTest, Program, eventually, run

UNPACKED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/debian/usr/bin")
ODD_NAMES = ("\"} 1%0a#", "\\", "%5c%22%0a", "%ff%fe", "caf%c3%a9 %c3", "%1b[31m%7f", "a=b,{c}", " ")
SAMPLE = re.compile(r'(ttmem_\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)\n')
LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\["\\n])*)"')
COUNTER = re.compile(r"_total$")


def debian_program(name):
    """In the system, or where tools/deps.sh has unpacked it."""
    return shutil.which(name) or os.path.join(UNPACKED, name)


def allocation_clock():
    """The library's: CLOCK_REALTIME_COARSE, which is some milliseconds behind."""
    return time.clock_gettime(5)


def unescape(text):
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)


def parse(text):
    """{(name, labels): value} of a text, all of which must be samples and comments."""
    samples = {}
    for line in text.splitlines(keepends=True):
        if line.startswith("#"):
            continue
        match = SAMPLE.fullmatch(line)
        assert match, f"not a sample: {line!r}"
        labels = frozenset((k, unescape(v)) for k, v in LABEL.findall(match[2] or ""))
        key = (match[1], labels)
        assert key not in samples, f"twice: {line!r}"
        samples[key] = float(match[3])
    return samples


class Metrics(MountTest):
    def samples(self, name="ttmem.prom"):
        return parse(self.daemon.text("metrics", name))

    def sample(self, metric, file="ttmem.prom", **labels):
        return self.samples(file)[metric, frozenset((k, str(v)) for k, v in labels.items())]

    def odd_peers(self):
        """Processes of all sorts of names, in all sorts of states."""
        peers = []
        for number, name in enumerate(ODD_NAMES):
            peer = self.peer(f"declare {number % 2} asic={0xA1 + number % 2:#x} board=n300 "
                             f"dram=12884901888", f"alloc {number % 2} dram 0x1000 4096 x",
                             f"fail {number % 2} l1 1048576 {1000 + number}", f"name {name}")
            peers.append(peer)
        gone = self.holder(asic=0xA1)
        gone.kill()
        self.wait_gone(gone.pid)
        return peers

    def assertChecked(self):
        for name in ("ttmem.prom", "ttmem_pids.prom"):
            with open(self.daemon.path("metrics", name), "rb") as file:
                result = run(debian_program("promtool"), "check", "metrics", stdin=file)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""), name)
            self.samples(name)


class Texts(Metrics):
    def test_promtool_finds_nothing_wrong_without_processes(self):
        self.assertChecked()

    def test_promtool_finds_nothing_wrong_with_odd_names(self):
        self.odd_peers()
        self.assertChecked()

    def test_samples_are_what_the_files_say(self):
        user = self.peer("declare 0 asic=0xA51C pci=0000:01:00.0 arch=wormhole_b0 board=n300 "
                         "dram=1000000 l1=5000", "alloc 0 dram 0x1000 3000 a",
                         "alloc 0 dram 0x2000 500 b", "free 0 dram 0x1000",
                         "fail 0 dram 999999 77777", "alloc 0 cb 0x1000 64 c")
        device, = self.daemon.devices()
        dram = {"device": device.removeprefix("device"), "kind": "dram"}
        stat_file = self.daemon.flat(device, "stat")
        for metric, key in (
                ("memory_used_bytes", "used"), ("memory_peak_bytes", "peak"),
                ("memory_capacity_bytes", "total"), ("buffers", "buffers"),
                ("memory_unattributed_bytes", "unattributed"),
                ("allocated_bytes_total", "allocated_total"),
                ("allocation_failures_total", "failures_total")):
            self.assertEqual(self.sample(f"ttmem_device_{metric}", **dram),
                             int(stat_file[f"dram_{key}"]), metric)
        self.assertEqual(self.sample("ttmem_device_freed_bytes_total", **dram), 3000)
        self.assertEqual(self.sample("ttmem_device_memory_largest_free_bytes", **dram), 77777)
        self.assertEqual(self.sample("ttmem_device_processes", device=dram["device"]), 1)
        self.assertEqual(self.sample("ttmem_group_memory_used_bytes", comm="peer", **dram), 500)
        self.assertEqual(self.sample("ttmem_process_memory_used_bytes", "ttmem_pids.prom",
                                     comm="peer", pid=user.pid, **dram), 500)
        self.assertEqual(self.sample("ttmem_device_info", device=dram["device"], remote=0,
                                     asic_id="000000000000a51c", pci="0000:01:00.0",
                                     arch="wormhole_b0", board="n300"), 1)
        self.assertEqual(self.sample("ttmem_build_info",
                                     version=self.daemon.text("version").strip()), 1)
        self.assertEqual(self.sample("ttmem_source_up", source="native"), 1)
        self.assertEqual(self.sample("ttmem_source_up", source="alloc-server"), 0)

    def test_crossed_thresholds_count_by_kind(self):
        user = self.holder(size=1000)
        device, = self.daemon.devices()
        name, number = "ttmem_device_threshold_events_total", device.removeprefix("device")
        for kind, limit in (("dram", 4000), ("l1", 50)):
            with open(self.daemon.path(device, f"{kind}_high"), "w", encoding="ascii") as file:
                file.write(f"{limit}\n")
        for _ in range(2):
            user("alloc 0 dram 0x2000 5000 x")
            self.samples()
            user("free 0 dram 0x2000")
            self.samples()
        self.assertEqual(self.sample(name, device=number, kind="dram"), 2)
        self.assertEqual(self.sample(name, device=number, kind="l1"), 0)
        user("alloc 0 l1 0x2000 51 x")
        self.assertEqual(self.sample(name, device=number, kind="l1"), 1)
        self.assertEqual(self.daemon.flat(device, "events")["high"], "3")
        self.assertChecked()

    def test_the_oldest_buffer_is_told_by_device_and_kind(self):
        name = "ttmem_device_oldest_buffer_timestamp_seconds"
        before = allocation_clock() - 0.001  # the text has whole milliseconds
        first = self.holder()
        number = self.daemon.devices()[0].removeprefix("device")
        old = self.sample(name, device=number, kind="dram")
        eventually(lambda: allocation_clock() > old + 0.002, "a later time")
        second = self.holder()
        second("alloc 0 l1 0x1000 5 x")
        after = allocation_clock()
        self.assertTrue(before <= old < after)
        self.assertEqual(self.sample(name, device=number, kind="dram"), old)
        self.assertTrue(old < self.sample(name, device=number, kind="l1") <= after)
        self.assertNotIn((name, frozenset({("device", number), ("kind", "cb")})), self.samples())
        first("free 0 dram 0x1000")
        self.assertTrue(old < self.sample(name, device=number, kind="dram") <= after)
        self.assertChecked()
        for user in (first, second):
            user.kill()
            self.wait_gone(user.pid)
        self.assertNotIn(name, {metric for metric, _ in self.samples()})

    def test_processes_of_one_name_are_one_group(self):
        peers = [self.holder(size=size) for size in (1, 20, 300)]
        peers[2]("name other")
        names = {"device": self.daemon.devices()[0].removeprefix("device"), "kind": "dram"}
        self.assertEqual(self.sample("ttmem_group_memory_used_bytes", comm="peer", **names), 21)
        self.assertEqual(self.sample("ttmem_group_memory_used_bytes", comm="other", **names), 300)

    def test_a_name_can_be_read_back(self):
        user = self.holder()
        for odd in ('a"b', "a\\b", "a\nb", "café", "a}b{,=", "\\n\"\n"):
            escaped = "".join(f"%{byte:02x}" for byte in odd.encode())
            user(f"name {escaped}")
            for file in ("ttmem.prom", "ttmem_pids.prom"):
                names = {dict(labels).get("comm") for _, labels in self.samples(file)}
                self.assertIn(odd, names)

    def test_counters_never_go_down_while_processes_come_and_go(self):
        before = self.samples()
        for number in range(12):
            peer = self.peer(f"alloc 0 dram 0x1000 {1000 + number} x", "alloc 0 l1 0x1000 5 y",
                             "free 0 l1 0x1000", "fail 0 dram 9 9")
            for end in (lambda: None, peer.kill if number % 2 else peer.close,
                        lambda: self.wait_gone(peer.pid)):  # pylint: disable=cell-var-from-loop
                end()
                after = self.samples()
                for key, value in before.items():
                    if COUNTER.search(key[0]):
                        self.assertGreaterEqual(after[key], value, key)
                before = after
        self.assertEqual(self.sample("ttmem_exited_processes_total"), 12)
        self.assertEqual(self.sample("ttmem_leaked_bytes_total"), sum(range(1000, 1012)))
        self.assertEqual(self.sample("ttmem_device_freed_bytes_total", device=0, kind="dram"),
                         sum(range(1000, 1012)))

    def test_the_mtime_is_now(self):
        for name in ("ttmem.prom", "ttmem_pids.prom"):
            path = self.daemon.path("metrics", name)
            for _ in range(3):
                before = time.time()
                with open(path, "rb") as file:
                    for info in (os.stat(path), os.fstat(file.fileno())):
                        self.assertTrue(before - 0.001 <= info.st_mtime <= time.time(), name)

    def test_metrics_by_process_are_for_their_group(self):
        try:
            group = grp.getgrnam("ttmem").gr_gid
        except KeyError:
            group = 0
        self.holder()
        info = os.stat(self.daemon.path("metrics", "ttmem_pids.prom"))
        self.assertEqual((stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid), (0o440, 0, group))
        denied = run("cat", self.daemon.path("metrics", "ttmem_pids.prom"), user=NOBODY)
        self.assertNotEqual(denied.returncode, 0)
        self.assertEqual(denied.stdout, "")
        allowed = run("cat", self.daemon.path("metrics", "ttmem.prom"), user=NOBODY)
        self.assertEqual(allowed.returncode, 0)


class Untracked(Metrics):
    def setUp(self):
        super().setUp()
        self.daemon.stop()
        self.daemon = harness.Daemon()
        self.tree = f"{self.daemon.dir}/driver"
        self.opener = Program("cat")
        run(f"{harness.BUILD}/ttmem-fake-driver", "--root", self.tree, "--devices", "n300",
            "--pids", f"0:{self.opener.pid}", check=True)
        self.daemon.options = ("--driver-sysfs", f"{self.tree}/class/tenstorrent",
                               "--driver-procfs", f"{self.tree}/proc")
        self.daemon.start()

    def test_who_only_has_a_device_open_counts_and_has_no_memory(self):
        eventually(lambda: self.sample("ttmem_device_processes", device=0) == 1, "the opener")
        for file in ("ttmem.prom", "ttmem_pids.prom"):
            self.assertNotIn("cat", {dict(k[1]).get("comm") for k in self.samples(file)})
        self.assertChecked()


class Exporter(Program):
    """A node_exporter that reads one directory, on a port of its own."""

    def __init__(self, daemon, directory, user=None):
        binary = f"{daemon.dir}/node_exporter"
        if not os.path.exists(binary):
            shutil.copy(debian_program("prometheus-node-exporter"), binary)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        super().__init__("sh", "-c", 'exec "$0" "$@" 2>&1', binary,
                         f"--web.listen-address={self.address}", "--collector.disable-defaults",
                         "--collector.textfile", f"--collector.textfile.directory={directory}",
                         user=user)
        while "Listening on" not in self.line():
            pass

    def scrape(self):
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def destroy(self):
        self.kill()


class NodeExporter(Metrics):
    def test_node_exporter_reads_the_mount(self):
        self.odd_peers()
        exporter = Exporter(self.daemon, self.daemon.path("metrics"))
        for _ in range(3):
            before = int(time.time())
            lines = exporter.scrape()
            self.assertIn("\nnode_textfile_scrape_error 0\n", lines)
            times = re.findall(r"\nnode_textfile_mtime_seconds\{file=\"(.*?)\"\} (\S+)", lines)
            self.assertEqual([os.path.basename(name) for name, _ in times],
                             ["ttmem.prom", "ttmem_pids.prom"])
            for _, mtime in times:
                self.assertTrue(before <= float(mtime) <= time.time())
        scraped = parse("".join(re.findall(r"^ttmem_.*\n", lines, re.M)))
        self.assertEqual(scraped, {**self.samples(), **self.samples("ttmem_pids.prom")})

    def test_a_scrape_is_fresh(self):
        user = self.holder(size=1)
        exporter = Exporter(self.daemon, self.daemon.path("metrics"))
        device = self.daemon.devices()[0].removeprefix("device")
        for size in (2, 3, 4):
            user(f"alloc 0 dram {size:#x}000 {size}")
            self.assertIn(f'\nttmem_device_memory_used_bytes{{device="{device}",kind="dram"}} '
                          f"{sum(range(size + 1))}\n", exporter.scrape())

    def test_an_ordinary_exporter_reads_one_file_by_a_link(self):
        """It may not read the other file, and one that it cannot read is an error to it."""
        self.holder()
        directory = f"{self.daemon.dir}/textfiles"
        os.mkdir(directory)
        os.symlink(self.daemon.path("metrics", "ttmem.prom"), f"{directory}/ttmem.prom")
        lines = Exporter(self.daemon, directory, NOBODY).scrape()
        self.assertIn("\nnode_textfile_scrape_error 0\n", lines)
        self.assertIn("\nttmem_device_memory_used_bytes{", lines)
        lines = Exporter(self.daemon, self.daemon.path("metrics"), NOBODY).scrape()
        self.assertIn("\nnode_textfile_scrape_error 1\n", lines)
        self.assertIn("\nttmem_device_memory_used_bytes{", lines)
