# SPDX-License-Identifier: Apache-2.0
"""The tables of who holds what, for what and how long; and by user, cgroup and command."""
import errno
import glob
import os
import re
import shutil
import stat
import tempfile
import threading

from alloc import ALLOC, DRAM, FREE, L1, AllocTest
from harness import KINDS, NOBODY, MountTest, eventually, run
from test_sim import WAITING, Sim

AGES = ("1s", "10s", "1min", "10min", "1h", "older")
MILLION = 1_000_000
ENDED = (errno.ENOENT, errno.ESRCH)


def declare(device):
    return f"declare {device} asic={0xA000 + device:#x}"


def total(rows, column="bytes", **where):
    return sum(int(row[column]) for row in rows
               if all(row[key] == str(value) for key, value in where.items()))


class TablesTest(MountTest):
    def crowd(self):
        """Three processes of two users on two devices. The sums differ in every place."""
        self.one = self.peer(declare(0), declare(1), "alloc 0 dram 0x1000 1000 weights",
                             "alloc 0 dram 0x2000 200 kv", "alloc 0 l1 0x1000 30",
                             "alloc 1 dram 0x1000 4 weights")
        self.two = self.peer(declare(0), "alloc 0 dram 0x1000 50000 kv", "alloc 0 cb 1 7 kv")
        self.other = self.peer(declare(1), "alloc 1 trace 0x1000 600000 kv",
                               "alloc 1 dram 0x1000 8000000", user=NOBODY)
        self.devices = {number: os.path.basename(os.readlink(
            self.daemon.path("by-asic", f"{0xA000 + number:016x}"))) for number in (0, 1)}

    def rows(self, *names):
        return self.daemon.table(*names)


class Holders(TablesTest):
    def test_there_is_a_row_for_each_process_and_kind_by_use(self):
        self.crowd()
        rows = self.rows(self.devices[0], "holders")
        self.assertEqual(list(rows[0]), ["pid", "comm", "uid", "kind", "bytes", "buffers",
                                         "oldest_sec"])
        self.assertEqual(
            [(int(r["pid"]), r["comm"], r["uid"], r["kind"], r["bytes"], r["buffers"])
             for r in rows],
            [(self.two.pid, "peer", "0", "dram", "50000", "1"),
             (self.one.pid, "peer", "0", "dram", "1200", "2"),
             (self.one.pid, "peer", "0", "l1", "30", "1"),
             (self.two.pid, "peer", "0", "cb", "7", "1")])
        self.assertEqual(
            [(int(r["pid"]), r["uid"], r["kind"], r["bytes"])
             for r in self.rows(self.devices[1], "holders")],
            [(self.other.pid, str(NOBODY.pw_uid), "dram", "8000000"),
             (self.other.pid, str(NOBODY.pw_uid), "trace", "600000"),
             (self.one.pid, "0", "dram", "4")])

    def test_their_sum_is_what_the_device_says(self):
        self.crowd()
        for device in self.devices.values():
            rows = self.rows(device, "holders")
            for kind in KINDS:
                self.assertEqual(total(rows, kind=kind), self.daemon.value(device, f"{kind}_used"))

    def test_the_next_read_shows_an_allocation(self):
        peer = self.holder(size=0)
        device, = self.daemon.devices()
        for i in range(1, 100):
            peer(f"alloc 0 l1 {i} 10")
            row, = (r for r in self.rows(device, "holders") if r["kind"] == "l1")
            self.assertEqual((row["bytes"], row["buffers"]), (str(10 * i), str(i)))
            self.assertNotEqual(row["oldest_sec"], "-")

    def test_the_oldest_buffer_is_that_of_the_list(self):
        self.crowd()
        self.one("free 0 dram 0x1000")
        before = self.rows("pids", self.one.pid, "buffers")
        row, = (r for r in self.rows(self.devices[0], "holders")
                if r["pid"] == str(self.one.pid) and r["kind"] == "dram")
        after = self.rows("pids", self.one.pid, "buffers")
        ages = [max(float(r["age_sec"]) for r in rows
                    if r["kind"] == "dram" and self.devices[0] == f"device{r['device']}")
                for rows in (before, after)]
        self.assertLessEqual(ages[0], float(row["oldest_sec"]))
        self.assertLessEqual(float(row["oldest_sec"]), ages[1])

    def test_who_has_freed_all_has_no_row(self):
        peer = self.holder()
        device, = self.daemon.devices()
        self.assertEqual(len(self.rows(device, "holders")), 1)
        peer("free 0 dram 0x1000")
        self.assertEqual(self.rows(device, "holders"), [])

    def test_no_name_breaks_a_table(self):
        peer = self.holder()
        device, = self.daemon.devices()
        peer("alloc 0 l1 1 1 a\\b\x1b[31m\xa0\u202e")
        for name in ("a%0ab c", "%09%0d%1b[2J", "%ff%fe%c3", "1 2 3 4 5", "%e2%80%a8", "-", " "):
            peer(f"name {name}")
            for path in ((device, "holders"), (device, "tags"), ("pids", peer.pid, "tags"),
                         ("commands",), ("users",), ("cgroups",)):
                self.assertEqual(len(self.rows(*path)), 2 if path[-1] in ("holders", "tags") else 1)
                self.assertNotRegex(self.daemon.text(*path), "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]")


class Tags(TablesTest):
    def test_tags_of_a_device_are_sums_over_its_processes(self):
        self.crowd()
        rows = self.rows(self.devices[0], "tags")
        self.assertEqual([tuple(r.values()) for r in rows],
                         [("kv", "dram", "50200", "2"), ("weights", "dram", "1000", "1"),
                          ("-", "l1", "30", "1"), ("kv", "cb", "7", "1")])

    def test_tags_of_a_process_are_those_of_its_buffers(self):
        self.crowd()
        self.one("fill 1 cb 3000 64")
        want = {}
        for row in self.rows("pids", self.one.pid, "buffers"):
            key = (row["tag"], row["device"], row["kind"])
            size, number = want.get(key, (0, 0))
            want[key] = (size + int(row["size"]), number + 1)
        rows = self.rows("pids", self.one.pid, "tags")
        self.assertEqual({(r["tag"], r["device"], r["kind"]): (int(r["bytes"]), int(r["buffers"]))
                          for r in rows}, want)
        sizes = [int(r["bytes"]) for r in rows]
        self.assertEqual(sizes, sorted(sizes, reverse=True))

    def test_the_last_row_has_the_tags_for_which_there_is_no_room(self):
        peers = [self.holder() for _ in range(6)]
        for number, peer in enumerate(peers):
            for i in range(900):
                peer(f"alloc 0 dram {i + 0x2000} 100 tag-{number}-{i}")
        device, = self.daemon.devices()
        rows = self.rows(device, "tags")
        self.assertEqual(len(rows), 4096)
        self.assertEqual((rows[0]["tag"], rows[0]["bytes"]), ("weights", str(6 * 4096)))
        self.assertEqual((rows[-1]["tag"], rows[-1]["kind"]), ("other", "-"))
        self.assertEqual(total(rows), self.daemon.value(device, "dram_used"))

    def test_they_are_for_everybody(self):
        self.crowd()
        for path in (f"{self.devices[0]}/tags", f"{self.devices[0]}/ages",
                     f"{self.devices[0]}/holders", f"pids/{self.one.pid}/tags", "users",
                     "cgroups", "commands", f"pids/{self.one.pid}/cgroup"):
            info = os.stat(self.daemon.path(path))
            self.assertEqual(stat.S_IMODE(info.st_mode), 0o444)
            result = run("cat", self.daemon.path(path), user=NOBODY, check=True)
            self.assertEqual(os.stat(self.daemon.path(path)).st_size,
                             4096 if path.endswith("/cgroup") else len(result.stdout))


class Ages(TablesTest):
    def columns(self, device):
        """Of each kind, bytes and buffers by age."""
        rows = {row["kind"]: row for row in self.rows(device, "ages")}
        self.assertEqual(tuple(rows), KINDS)
        return {kind: [(int(row[f"{age}_bytes"]), int(row[f"{age}_buffers"])) for age in AGES]
                for kind, row in rows.items()}

    def test_every_buffer_is_in_one_column(self):
        self.crowd()
        for device in self.devices.values():
            stat_file = self.daemon.flat(device, "stat")
            for kind, ages in self.columns(device).items():
                self.assertEqual(tuple(map(sum, zip(*ages))),
                                 (int(stat_file[f"{kind}_used"]), int(stat_file[f"{kind}_buffers"])))

    def test_what_is_young_becomes_older(self):
        self.holder(size=77)
        device, = self.daemon.devices()
        ages = eventually(lambda: self.columns(device)["dram"][0] == (0, 0) and
                          self.columns(device)["dram"], "a second to pass")
        self.assertEqual([column for column in ages if column[1]], [(77, 1)])


class Million(TablesTest):
    """One process holds a million buffers: the loop looks at some thousands in one turn."""

    def setUp(self):
        super().setUp()
        self.user = self.holder()
        self.user(f"fill 0 dram {MILLION} 64")
        self.device, = self.daemon.devices()
        self.others = 0  # reads of another file that were begun and ended while a table was made

    def read_beside(self, *names):
        """Reads a table, and meanwhile again and again another file."""
        texts = []
        reader = threading.Thread(target=lambda: texts.append(self.daemon.text(*names)))
        reader.start()
        while reader.is_alive():
            self.assertEqual(self.daemon.value(self.device, "dram_used"), MILLION * 64 + 4096)
            self.others += reader.is_alive()
        reader.join()
        return texts[0]

    def test_others_read_on_while_tags_are_summed(self):
        def enough():
            text = self.read_beside(self.device, "tags")
            self.assertIn(f" {MILLION * 64} ", text)
            return self.others >= 20

        eventually(enough, "20 reads meanwhile", 30)

    def test_many_tables_at_once_are_all_right(self):
        texts, names = [], [(self.device, name) for name in ("tags", "ages", "holders")]
        names = [*names, ("pids", self.user.pid, "tags")] * 3
        readers = [threading.Thread(target=lambda n=n: texts.append(self.daemon.text(*n)))
                   for n in names]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.assertEqual(len(texts), len(names))
        sums = [text for text in texts if f"{MILLION * 64} " in text and "_bytes" not in text]
        self.assertEqual(len(sums), 6)  # tags; the others also count what is not of the fill
        holders = [text for text in texts if f"{MILLION * 64 + 4096} " in text and
                   "_bytes" not in text]
        self.assertEqual(len(holders), 3)
        # On a slow machine the fill is of several ages.
        dram = [re.search(r"^dram (.*)$", text, re.M)[1].split() for text in texts
                if "_bytes" in text]
        self.assertEqual([sum(map(int, row[::2])) for row in dram], [MILLION * 64 + 4096] * 3)

    def test_a_process_may_end_while_its_buffers_are_looked_at(self):
        results, begun = [], threading.Barrier(5)

        def read(*names):
            begun.wait()
            try:
                results.append(self.daemon.text(*names))
            except OSError as error:
                self.assertIn(error.errno, ENDED)
                results.append("")

        own = ("pids", self.user.pid, "tags")
        readers = [threading.Thread(target=read, args=names)
                   for names in (own, (self.device, "tags"), (self.device, "holders"),
                                 (self.device, "ages"))]
        for reader in readers:
            reader.start()
        begun.wait()
        self.user.kill()
        for reader in readers:
            reader.join()
        self.assertEqual(len(results), 4)
        self.wait_gone(self.user.pid)
        device = self.daemon.path(self.device)
        if os.path.exists(device):
            self.assertEqual(self.rows(self.device, "holders"), [])
            self.assertEqual(self.rows(self.device, "tags"), [])

    def test_a_reader_that_gives_up_leaves_nothing_behind(self):
        path, files = self.daemon.path(self.device, "tags"), self.open_files()
        for _ in range(5):
            reader = self.program_that_reads(path)
            reader.kill()
        eventually(lambda: self.open_files() == files, "closed files")
        self.assertIn(f" {MILLION * 64} ", self.daemon.text(self.device, "tags"))

    def open_files(self):
        return int(self.daemon.flat("status")["open_files"])

    def program_that_reads(self, path):
        peer = self.peer(start=False)
        peer.send(f"cat {path}")
        return peer


class Groups(TablesTest):
    def test_users_come_by_use(self):
        self.crowd()
        rows = self.rows("users")
        self.assertEqual(list(rows[0]), ["uid", "processes", "total", *KINDS])
        self.assertEqual([(r["uid"], r["processes"], r["total"], r["dram"], r["trace"], r["l1"])
                          for r in rows],
                         [(str(NOBODY.pw_uid), "1", "8600000", "8000000", "600000", "0"),
                          ("0", "2", "51241", "51204", "0", "30")])

    def test_commands_are_by_name(self):
        self.crowd()
        self.two("name llama 8b")
        self.other("name llama 8b")
        self.assertEqual([(r["comm"], r["processes"], r["total"]) for r in self.rows("commands")],
                         [("llama?8b", "2", str(8600000 + 50007)), ("peer", "1", "1234")])

    def test_the_next_read_shows_an_allocation(self):
        peer = self.holder(size=0)
        for i in range(1, 50):
            peer(f"alloc 0 l1 {i} 10")
            for name in ("users", "commands", "cgroups"):
                self.assertEqual(total(self.rows(name), "total"), 10 * i)

    def cgroup_said(self, pid):
        """What /proc has for it, by the rule in the manual."""
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
        unified = [path for number, names, path in lines if (number, names) == ("0", "")]
        first = [path for _, names, path in lines if names and not names.startswith("name=")]
        return [*unified, *first][0]

    def test_the_cgroup_of_a_process_is_that_of_proc(self):
        peer = self.holder()
        said = self.cgroup_said(peer.pid)
        self.assertEqual(self.daemon.text("pids", peer.pid, "cgroup"), said + "\n")
        row, = self.rows("cgroups")
        self.assertEqual((row["cgroup"], row["processes"]), (said, "1"))

    def new_cgroup(self, name):
        with open("/proc/self/mountinfo", encoding="utf-8") as table:
            places = [row.split()[4] for row in table if " - cgroup2 " in row]
        try:
            path = f"{places[0]}/ttmem-test-{os.getpid()}-{name}"
            os.mkdir(path)
        except (IndexError, OSError) as error:
            self.skipTest(f"no cgroup can be made: {error}")
        self.addCleanup(lambda: eventually(lambda: self.removed(path), f"the end of {path}"))
        return path

    @staticmethod
    def removed(path):
        try:
            os.rmdir(path)
        except OSError as error:
            return error.errno == errno.ENOENT
        return True

    def test_use_by_cgroup_follows_a_process_that_moves(self):
        path = self.new_cgroup("a b")
        mover, stays = self.holder(size=1000), self.holder(size=1)
        self.assertEqual(len(self.rows("cgroups")), 1)
        with open(f"{path}/cgroup.procs", "w", encoding="ascii") as procs:
            procs.write(str(mover.pid))
        said = self.cgroup_said(mover.pid)
        self.assertTrue(said.endswith("a b"))
        self.assertEqual([(r["cgroup"], r["total"]) for r in self.rows("cgroups")],
                         [(said.replace(" ", "?"), "1000"), (self.cgroup_said(stays.pid), "1")])
        self.assertEqual(self.daemon.text("pids", mover.pid, "cgroup"), said + "\n")


class OfSums(MountTest):
    """TT-Metal publishes sums: whose buffers they are, and how old, nobody knows."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="ttmem-shm-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.dir)
        self.options = ("--shm", self.dir)
        super().setUp()

    def test_holders_have_its_bytes_and_no_buffers(self):
        sim = Sim("--as", "tt-metal", "--shm", self.dir, *WAITING)
        eventually(lambda: glob.glob(f"{self.dir}/*"), "a region")
        eventually(lambda: self.daemon.exists("pids", sim.pid), "the process")
        device, = eventually(self.daemon.devices, "its device")
        eventually(lambda: self.daemon.value(device, "l1_used"), "the last that it takes")
        rows = self.daemon.table(device, "holders")
        self.assertEqual({(r["pid"], r["buffers"], r["oldest_sec"]) for r in rows},
                         {(str(sim.pid), "-", "-")})
        for kind in KINDS:
            self.assertEqual(total(rows, kind=kind), self.daemon.value(device, f"{kind}_used"))
        self.assertEqual(self.daemon.table(device, "tags"), [])
        self.assertFalse(self.daemon.exists("pids", sim.pid, "tags"))
        self.assertEqual(total(self.daemon.table("users"), "total"),
                         self.daemon.value("pids", sim.pid, "total"))
        self.assertEqual(sim.end(), 0)


class OfEvents(AllocTest):
    """The older protocol reports buffers one by one, without tags."""

    def test_its_buffers_count_in_all_tables(self):
        teller = self.teller()
        for number in range(1, 1001):
            teller.alloc(number, 10)
        teller.alloc(5000, 7, L1)
        device, = self.daemon.devices()
        for rows in (self.daemon.table(device, "tags"), self.daemon.table("pids", teller.pid, "tags")):
            self.assertEqual([(r["tag"], r["kind"], r["bytes"], r["buffers"]) for r in rows],
                             [("-", "dram", "10000", "1000"), ("-", "l1", "7", "1")])
        rows = self.daemon.table(device, "holders")
        self.assertEqual([(r["kind"], r["bytes"], r["buffers"]) for r in rows],
                         [("dram", "10000", "1000"), ("l1", "7", "1")])
        self.assertNotIn("-", {r["oldest_sec"] for r in rows})
        teller.tell(FREE, 5000)
        teller.tell(ALLOC, 5001, 3, DRAM)
        self.assertEqual([(r["bytes"], r["buffers"]) for r in self.daemon.table(device, "tags")],
                         [("10003", "1001")])
