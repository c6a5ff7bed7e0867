# SPDX-License-Identifier: Apache-2.0
"""Processes that live for some milliseconds each: directories stay right while they come and go."""
import errno
import os
import re
import subprocess
import threading

from harness import KINDS, MountTest, Program, eventually, run
from watching import IN_CREATE, IN_DELETE, Inotify

MEMBERS, TOGETHER, MILLISECONDS = 900, 6, 15  # some 300 a second, where the machine is idle
EXITED_MAX = 256
GONE = (errno.ENOENT, errno.ESRCH)
GONE_WORDS = re.compile(r": (No such file or directory|No such process)$")
IN_Q_OVERFLOW = 0x4000


class Beside:
    """Calls something over and over in a thread, for as long as the block lasts."""

    def __init__(self, call):
        self.call, self.rounds, self.failure = call, 0, None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        try:
            while not self.stop.is_set():
                self.call()
                self.rounds += 1
        except BaseException as error:  # to be raised where the block ends
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *raised):
        self.stop.set()
        self.thread.join()
        if self.failure and not raised[0]:
            raise self.failure


class Churn(MountTest):
    def setUp(self):
        super().setUp()
        self.stays = self.holder(size=5)
        self.device, = self.daemon.devices()
        self.dirs = [self.daemon.path("pids"), self.daemon.path(self.device, "pids")]

    def churn(self):
        return Program(self.daemon.program("churn"), MEMBERS, TOGETHER, MILLISECONDS,
                       TTMEM_SOCKET=self.daemon.socket)

    def members(self, churn):
        """Those that have been, when the last has ended."""
        lines = churn.lines_until("done")
        self.assertEqual(len(lines), MEMBERS)
        self.assertNotIn("failed", lines)
        self.assertEqual(churn.close(), 0)
        self.wait_alone()
        return {int(line) for line in lines}

    def wait_alone(self):
        eventually(lambda: self.daemon.pids() == {self.stays.pid}, "the end of all others", 10)
        self.assertEqual(os.listdir(self.dirs[1]), [str(self.stays.pid)])

    def assert_sums_are_back(self):
        for kind in KINDS:
            held = 5 if kind == "dram" else 0
            self.assertEqual(self.daemon.value(self.device, f"{kind}_used"), held)
            self.assertEqual(self.daemon.value("pids", self.stays.pid, kind), held)
        self.assertEqual([r["pid"] for r in self.daemon.table(self.device, "holders")],
                         [str(self.stays.pid)])

    def only_gone(self, call, *arguments, **more):
        """What a call returns, or None if what it is for has gone; that is how it may fail."""
        try:
            return call(*arguments, **more)
        except OSError as error:
            self.assertIn(error.errno, GONE, f"{arguments}: {error}")
            return None

    def tool(self, *argv):
        result = run(*argv)
        self.assertIn(result.returncode, (0, 1, 2), result.stderr)
        for line in result.stderr.splitlines():
            self.assertRegex(line, GONE_WORDS)
        self.assertIn(str(self.stays.pid), result.stdout)
        return result.stdout

    def read_all(self):
        for name in os.listdir(self.dirs[0]):
            for file in ("dram", "buffers", f"{self.device}/dram"):
                text = self.only_gone(self.daemon.text, "pids", name, file)
                if text is not None:
                    self.assertRegex(text, r"\A(\d|device)[^\0]*\n\Z", name)

    def test_listings_and_reads_beside_it_miss_only_what_has_gone(self):
        def listing():
            names = os.listdir(self.dirs[0])
            self.assertEqual(len(names), len(set(names)))
            self.assertLessEqual({"self", str(self.stays.pid)}, set(names))
            self.assertIn(str(self.stays.pid), os.listdir(self.dirs[1]))

        churn = self.churn()
        with Beside(lambda: self.tool("ls", "-R", self.daemon.mount)) as ls, \
                Beside(lambda: self.tool("find", self.daemon.mount, "-type", "f")) as find, \
                Beside(self.read_all) as reads, Beside(listing) as listings:
            self.members(churn)
        for beside in (ls, find, reads, listings):
            self.assertGreater(beside.rounds, 0)
        self.assert_sums_are_back()

    def test_each_that_was_announced_is_taken_back(self):
        before = self.daemon.flat("events")
        with Inotify(*self.dirs) as watch:
            members = self.members(self.churn())
            # This one comes behind all of them, so when its end is told theirs are.
            last = self.holder(size=1)
            name = str(last.pid)
            self.wait_told(watch, IN_CREATE, name)
            last.kill()
            self.wait_told(watch, IN_DELETE, name)
            events = watch.seen
        self.assertEqual([e for e in events if e[1] & IN_Q_OVERFLOW], [])
        for path in self.dirs:
            self.assert_told_in_pairs([e for e in events if e[0] == path], members | {last.pid})
        after = self.daemon.flat("events")
        came, went = (int(after[key]) - int(before[key])
                      for key in ("process_start", "process_exit"))
        self.assertEqual(came, went)
        self.assertLessEqual(came, MEMBERS + 1)  # less: ended before it was taken notice of
        self.assertEqual(self.daemon.flat("status")["untold_changes"], "0")

    def wait_told(self, watch, what, name):
        """In both directories."""
        def is_told():
            watch.take()
            return {p for p, m, n in watch.seen if m & what and n == name} == set(self.dirs)
        eventually(is_told, f"{name} in both directories")

    def assert_told_in_pairs(self, events, members):
        """Each name comes once and then goes once."""
        there, been = set(), set()
        for _, mask, name in events:
            if mask & IN_CREATE:
                self.assertNotIn(name, there | been)
                there.add(name)
            elif mask & IN_DELETE:
                self.assertIn(name, there)
                there.remove(name)
                been.add(name)
        self.assertEqual(there, set())
        self.assertLessEqual({int(name) for name in been}, members)
        self.assertGreater(len(been), 1)

    def test_inotifywait_of_the_whole_tree_sees_as_many_go_as_come(self):
        watcher = subprocess.Popen(
            ["stdbuf", "-oL", "inotifywait", "-m", "-r", "-e", "create,delete", "--format",
             "%w%f %e", self.daemon.mount], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace")
        lines, complaints = [], []
        readers = [threading.Thread(target=lambda: lines.extend(iter(watcher.stdout.readline, ""))),
                   threading.Thread(target=lambda: complaints.extend(
                       iter(watcher.stderr.readline, "")))]

        def told(what):
            found = [re.search(rf"/mnt/pids/(\d+) {what},ISDIR", line) for line in lines[:]]
            return sorted(match[1] for match in found if match)

        for reader in readers:
            reader.start()
        try:
            eventually(lambda: any("established" in line for line in complaints))
            with Beside(self.read_all):
                members = self.members(self.churn())
            eventually(lambda: told("CREATE") and told("CREATE") == told("DELETE"), "their ends")
            self.assertLessEqual({int(name) for name in told("CREATE")}, members)
            self.assertIsNone(watcher.poll())
        finally:
            watcher.kill()
            watcher.wait()
            for reader in readers:
                reader.join()
        self.assert_sums_are_back()

    def test_open_directories_and_files_of_those_that_have_gone_say_so(self):
        held = {}

        def hold():
            for name in os.listdir(self.dirs[0]):
                path = self.daemon.path("pids", name)
                if name.isdigit() and int(name) not in held and len(held) < 200:
                    folder = self.only_gone(os.open, path, os.O_RDONLY | os.O_DIRECTORY)
                    file = self.only_gone(os.open, f"{path}/dram", os.O_RDONLY)
                    for fd in (folder, file):
                        if fd is not None:
                            self.addCleanup(os.close, fd)
                    if None not in (folder, file):
                        held[int(name)] = folder, file

        top = os.open(self.dirs[0], os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, top)
        members, gone = set(), []
        while not gone:  # those that went too fast for us
            churn = self.churn()
            with Beside(hold):
                members |= self.members(churn)
            gone = [fds for pid, fds in held.items() if pid in members]
        for folder, file in gone:
            self.assertFalse(self.only_gone(os.listdir, folder))
            for name in ("dram", "stat", f"{self.device}/dram", self.device):
                self.assertIsNone(self.only_gone(os.stat, name, dir_fd=folder))
            self.only_gone(os.pread, file, 100, 0)
        for pid in members:
            self.assertIsNone(self.only_gone(os.stat, f"{pid}/dram", dir_fd=top))
        self.assertEqual(set(os.listdir(top)), {"self", str(self.stays.pid)})

    def test_they_are_among_the_exited_and_nothing_of_theirs_stays(self):
        def used():
            status = self.daemon.flat("status")
            return self.daemon.descriptors(), int(status["nodes"]), int(status["open_files"])

        def is_back():
            """Names that nobody asks for again stay in the kernel's cache as long as it likes."""
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as caches:
                caches.write("2\n")
            return all(now <= then for now, then in zip(used(), before))

        with Beside(self.read_all):
            ever = self.members(self.churn())  # whatever is made once is made now
        self.assert_sums_are_back()
        self.daemon.table("exited")
        before = used()
        with Beside(self.read_all), Inotify(*self.dirs, mask=IN_CREATE | IN_DELETE):
            ever |= self.members(self.churn())
        rows = self.daemon.table("exited")
        exits = int(self.daemon.flat("events")["process_exit"])
        self.assertEqual(len(rows), min(EXITED_MAX, exits))
        self.assertLessEqual({int(row["pid"]) for row in rows}, ever)
        self.assertEqual({row["comm"] for row in rows}, {"churn-member"})
        self.assert_sums_are_back()
        eventually(is_back, f"what was used before: {before}")
