# SPDX-License-Identifier: Apache-2.0
"""Many processes, many buffers, many changes: the numbers still hold."""
import os
import re
import signal
import threading
import time

from harness import CALM, KINDS, NOBODY, MountTest, Program, eventually, run
from storms import StormTest

CROWD, ROWS = 1000, 200_000


class Crowds(MountTest):
    def test_a_thousand_processes_are_listed_and_summed(self):
        crowd = Program(self.daemon.program("crowd"), CROWD, 0, KINDS.index("dram"), 4096,
                        TTMEM_SOCKET=self.daemon.socket)
        members = {int(line) for line in crowd.lines_until("ready")}
        self.assertEqual(len(members), CROWD)
        eventually(lambda: self.daemon.pids() == members, "all of them", 10)
        device, = self.daemon.devices()
        self.assertEqual(self.daemon.value(device, "dram_used"), CROWD * 4096)
        self.assertEqual({int(n) for n in os.listdir(self.daemon.path(device, "pids"))}, members)
        for pid in members:
            self.assertEqual(self.daemon.value("pids", pid, "total"), 4096)
        listed = run("ls", self.daemon.path("pids")).stdout.split()
        self.assertEqual({int(n) for n in listed if n.isdigit()}, members)
        self.assertGreaterEqual(self.daemon.text("summary").count("crowd-member"), 1)
        self.assertEqual(self.daemon.flat("status")["processes"], str(CROWD))
        crowd.close(limit=20)
        eventually(lambda: not self.daemon.pids(), "the end of all", 10)
        self.assertEqual(self.daemon.value(device, "dram_used"), 0)

    def test_descriptors_and_memory_come_back_when_a_crowd_leaves(self):
        def come_and_go():
            crowd = Program(self.daemon.program("crowd"), 300, 0, 0, 4096,
                            TTMEM_SOCKET=self.daemon.socket)
            crowd.lines_until("ready")
            eventually(lambda: len(self.daemon.pids()) == 300, "all of them", 10)
            self.daemon.text("summary")
            crowd.close()
            eventually(lambda: not self.daemon.pids(), "the end of all", 10)

        come_and_go()
        descriptors, memory = self.daemon.descriptors(), self.daemon.memory()
        for _ in range(3):
            come_and_go()
        eventually(lambda: self.daemon.descriptors() <= descriptors, "closed descriptors")
        self.assertLess(self.daemon.memory() - memory, 4 << 20)

    def test_a_directory_can_be_read_while_it_changes(self):
        """What is there from the beginning to the end is listed once, whatever comes and goes."""
        stays = {self.holder().pid for _ in range(50)}
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                crowd = Program(self.daemon.program("crowd"), 50, 0, 0, 1,
                                TTMEM_SOCKET=self.daemon.socket)
                crowd.lines_until("ready")
                crowd.close()

        churner = threading.Thread(target=churn)
        churner.start()
        try:
            for _ in range(50):
                names = os.listdir(self.daemon.path("pids"))
                self.assertEqual(len(names), len(set(names)))
                self.assertLessEqual(stays, {int(n) for n in names if n.isdigit()})
        finally:
            stop.set()
            churner.join()

    def test_a_long_table_is_whole_and_nobody_waits_for_its_reader(self):
        user = self.holder(size=0)
        user(f"fill 0 dram {ROWS} 64")
        device, = self.daemon.devices()
        self.assertEqual(self.daemon.value(device, "dram_used"), ROWS * 64)
        waits, texts = [], []

        def read_table():
            texts.append(self.daemon.text("pids", user.pid, "buffers"))

        reader = threading.Thread(target=read_table)
        reader.start()
        while reader.is_alive():
            started = time.monotonic()
            self.assertEqual(run("cat", self.daemon.path(device, "dram_used")).stdout,
                             f"{ROWS * 64}\n")
            waits.append(time.monotonic() - started)
        reader.join()
        header, *rows = texts[0].splitlines()
        self.assertEqual(len(rows), ROWS + 1)
        row_format = re.compile(r"(device)?\d+ +dram +0x[0-9a-f]+ +\d+ +[\d.]+ +\S+ +\d+ *\Z")
        self.assertEqual([row for row in rows if not row_format.match(row)], [])
        column = header.split().index("address")
        self.assertEqual(len({row.split()[column] for row in rows}), ROWS + 1)
        self.assertLess(max(waits), 1.0 * CALM)
        path = self.daemon.path("pids", user.pid, "buffers")
        self.assertEqual(run("sh", "-c", f"cat {path} | wc -l").stdout, f"{ROWS + 2}\n")

    def test_a_reader_that_stops_in_the_middle_of_a_long_table_holds_nobody_up(self):
        user = self.holder(size=0)
        user(f"fill 0 dram {ROWS} 64")
        path = self.daemon.path("pids", user.pid, "buffers")
        files = [open(path, "rb", buffering=0) for _ in range(10)]
        for file in files:
            self.assertNotEqual(file.read(4096), b"")
        self.assertEqual(self.daemon.value("pids", user.pid, "dram"), ROWS * 64)
        user.kill()
        self.wait_gone(user.pid)
        for file in files:
            file.close()


    def test_going_back_in_a_long_table_shows_rows_and_no_rubbish(self):
        user = self.holder(size=0)
        user(f"fill 0 dram {ROWS} 64")
        with open(self.daemon.path("pids", user.pid, "buffers"), "rb", buffering=0) as file:
            whole = file.readall()
            for offset in (len(whole) - 100, len(whole) // 2, 1000, len(whole) + 10, 1, 0):
                part = os.pread(file.fileno(), 300, offset)
                self.assertEqual(len(part), min(300, max(0, len(whole) - offset)))
                self.assertNotIn(b"\0", part)
                for row in part.split(b"\n")[1:-1]:
                    self.assertEqual(len(row.split()), 7, row)

    def test_readers_that_are_killed_leave_no_file_open(self):
        user = self.holder(size=0)
        user(f"fill 0 dram {ROWS} 64")
        path = self.daemon.path("pids", user.pid, "buffers")
        for turn in range(40):
            reader = Program("cat", path)
            time.sleep(turn * 0.001)  # to be at another place each time
            reader.process.kill()
            reader.destroy()
        eventually(lambda: self.daemon.flat("status")["open_files"] == "1", "closed files")
        eventually(lambda: int(self.daemon.flat("status")["text_bytes"]) < 4096, "freed texts")
        self.assertEqual(len(self.daemon.table("pids", user.pid, "buffers")), ROWS + 1)

    def test_open_tables_of_one_reader_do_not_fill_the_memory(self):
        user = self.holder(size=0, user=NOBODY)
        user("fill 0 dram 60000 64")  # a table of some 5 MB, whose text is kept
        script = ('for fd in $(seq 10 59); do eval "exec $fd< $1" || echo refused; done\n'
                  'echo done; read line')
        memory = self.daemon.memory()
        reader = Program("bash", "-c", script, "bash",
                         self.daemon.path("pids", user.pid, "buffers"), user=NOBODY)
        self.assertIn("refused", reader.lines_until("done"))
        self.assertLess(self.daemon.memory() - memory, 160 << 20)
        self.assertEqual(self.daemon.value("pids", user.pid, "dram"), 60000 * 64)
        self.assertEqual(len(self.daemon.table("pids", user.pid, "buffers")), 60001)
        reader.close()
        eventually(lambda: self.daemon.flat("status")["open_files"] == "1", "closed files")


class Storm(StormTest):
    def read_along(self):
        """While it storms: every row whole, every number a number."""
        for storm in self.storms[:3]:
            for row in self.daemon.table("pids", storm.pid, "buffers"):
                self.assertIn(row["kind"], KINDS)
                self.assertLess(int(row["size"]), 65536)
                slot = int(row["address"], 16)
                self.assertEqual(slot % (1 << 20), 0)
                self.assertLessEqual(slot >> 20, 4096)
            for kind in KINDS:
                self.assertLess(self.daemon.value("pids", storm.pid, kind), 4096 * 65536)

    def test_sums_hold_whenever_it_stands_still(self):
        for _ in range(5):
            self.read_along()
            self.check_storms(self.hold())
            self.go()

    def test_who_is_killed_in_the_middle_is_gone_from_the_numbers(self):
        self.read_along()
        victim = self.storms.pop()
        os.kill(victim.pid, signal.SIGKILL)
        self.read_along()
        self.wait_gone(victim.pid)
        self.check_storms(self.hold())
        self.go()
        victim.destroy()

    def test_who_is_stopped_in_the_middle_holds_nobody_up(self):
        """Stopped anywhere, in the middle of a record too: readers do not wait for him."""
        for storm in self.storms:
            os.kill(storm.pid, signal.SIGSTOP)
        try:
            self.read_along()
            self.assertEqual(len(self.daemon.pids()), self.count)
        finally:
            for storm in self.storms:
                os.kill(storm.pid, signal.SIGCONT)
        self.check_storms(self.hold())
        self.go()

    def test_a_restarted_daemon_finds_the_sums_again(self):
        self.read_along()
        self.daemon.kill()
        self.daemon.start()
        eventually(lambda: len(self.daemon.pids()) == self.count, "all of them")
        self.check_storms(self.hold())
        self.go()
