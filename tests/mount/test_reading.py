# SPDX-License-Identifier: Apache-2.0
"""What a read shows: all that happened before it, and one moment."""
import errno
import os
import random
import threading

from harness import MountTest, eventually, run


class Fresh(MountTest):
    """A read that starts after the allocation call returned shows it."""

    def test_the_next_read_shows_an_allocation(self):
        peer = self.holder(size=0)
        device, = self.daemon.devices()
        for i in range(1, 300):
            peer(f"alloc 0 dram {i + 0x1000} 10")
            self.assertEqual(self.daemon.value(device, "dram_used"), 10 * i)
            self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 10 * i)
        for i in range(299, 0, -1):
            peer(f"free 0 dram {i + 0x1000}")
            self.assertEqual(self.daemon.value("pids", peer.pid, device, "dram"), 10 * (i - 1))

    def test_cat_shows_the_allocation_just_made(self):
        peer = self.holder(size=0)
        path = self.daemon.path("pids", peer.pid, "total")
        for i in range(1, 40):
            peer(f"alloc 0 l1 {i} 3")
            self.assertEqual(run("cat", path).stdout, f"{3 * i}\n")

    def test_the_first_allocation_of_a_process_shows_at_once(self):
        for i in range(40):
            peer = self.peer(f"alloc 0 dram 0x1000 {i + 1}")
            self.assertEqual(self.daemon.value("pids", peer.pid, "total"), i + 1)
            self.assertIn(peer.pid, self.daemon.pids())
        device, = self.daemon.devices()
        self.assertEqual(self.daemon.value(device, "dram_used"), sum(range(1, 41)))

    def test_a_sum_shows_the_first_allocation_of_a_new_process(self):
        first = self.holder(size=1)
        device, = self.daemon.devices()
        for i in range(2, 30):
            self.peer("declare 0 asic=0xA51C", "alloc 0 dram 0x1000 1")
            self.assertEqual(self.daemon.value(device, "dram_used"), i)
        self.assertEqual(self.daemon.value("pids", first.pid, "dram"), 1)

    def test_rows_of_buffers_come_and_go_with_the_call(self):
        peer = self.holder()
        for i in range(100):
            peer(f"alloc 1 cb {i + 1} 64 t{i}")
            rows = self.daemon.table("pids", peer.pid, "buffers")
            self.assertEqual(sum(r["tag"] == f"t{i}" for r in rows), 1)
            peer(f"free 1 cb {i + 1}")
            rows = self.daemon.table("pids", peer.pid, "buffers")
            self.assertEqual(len(rows), 1)

    def test_a_new_device_shows_at_once(self):
        peer = self.holder()
        for i in range(1, 40):
            peer(f"declare {i} asic={0x9000 + i:#x}")
            names = {int(n, 16) for n in os.listdir(self.daemon.path("by-asic"))}
            self.assertIn(0x9000 + i, names)

    def test_no_allocation_is_seen_half(self):
        """Buffers of equal size in pairs: every sum that is seen is a whole number of buffers."""
        peer = self.holder(size=0)
        path = self.daemon.path("pids", peer.pid, "dram")
        stop = threading.Event()
        seen = []

        def look():
            while not stop.is_set():
                with open(path, encoding="ascii") as file:
                    seen.append(int(file.read()))

        readers = [threading.Thread(target=look) for _ in range(2)]
        for reader in readers:
            reader.start()
        for _ in range(10):
            peer("fill 0 dram 2000 1000003")
            peer("drain 0 dram 2000 1000003")
        stop.set()
        for reader in readers:
            reader.join()
        self.assertEqual({value % 1000003 for value in seen}, {0})
        self.assertLessEqual(max(seen), 2000 * 1000003)


class OneMoment(MountTest):
    """The text of an open file is made at open and at each read from offset 0, never between."""

    def setUp(self):
        super().setUp()
        self.user = self.holder(size=1000000)
        self.device, = self.daemon.devices()

    def open(self, *names):
        fd = os.open(self.daemon.path(*names), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        return fd

    def test_an_open_value_keeps_its_text_until_read_again_from_the_start(self):
        fd = self.open(self.device, "dram_used")
        self.assertEqual(os.read(fd, 4), b"1000")
        self.user("alloc 0 dram 0x2000 7777777")
        self.assertEqual(os.read(fd, 100), b"000\n")
        self.assertEqual(os.read(fd, 100), b"")
        self.assertEqual(os.pread(fd, 100, 2), b"00000\n")
        self.assertEqual(os.pread(fd, 100, 0), b"8777777\n")
        self.assertEqual(os.pread(fd, 100, 2), b"77777\n")

    def test_a_tables_text_is_of_the_open_if_the_start_is_never_read(self):
        fd = self.open("pids", self.user.pid, "peak")
        self.user("alloc 0 dram 0x2000 7777777")
        self.assertEqual(os.pread(fd, 10, 5), b"1000000\nl1")

    def test_a_values_text_is_of_the_first_read(self):
        fd = self.open("pids", self.user.pid, "dram")
        self.user("alloc 0 dram 0x2000 7777777")
        self.assertEqual(os.pread(fd, 100, 1), b"777777\n")
        self.user("free 0 dram 0x2000")
        self.assertEqual(os.pread(fd, 100, 1), b"777777\n")
        self.assertEqual(os.pread(fd, 100, 0), b"1000000\n")

    def test_two_open_files_have_moments_of_their_own(self):
        first = self.open(self.device, "dram_used")
        self.user("alloc 0 dram 0x2000 1000000")
        second = self.open(self.device, "dram_used")
        self.assertEqual(os.pread(second, 1, 0), b"2")
        self.assertEqual(os.pread(first, 1, 0), b"2")
        self.user("free 0 dram 0x2000")
        self.assertEqual(os.pread(first, 1, 0), b"1")
        self.assertEqual(os.pread(second, 100, 1), b"000000\n")
        self.assertEqual(os.read(second, 100), b"1000000\n")

    def test_a_shrinking_table_is_not_mixed_with_its_successor(self):
        self.user("fill 0 l1 1000 64")
        fd = self.open("pids", self.user.pid, "buffers")
        start = os.read(fd, 100)
        self.user("drain 0 l1 1000 64")
        rest = b"".join(iter(lambda: os.read(fd, 4096), b""))
        self.assertEqual((start + rest).count(b"\n"), 1002)
        widths = {len(line.split()) for line in (start + rest).splitlines()}
        self.assertEqual(len(widths), 1)
        os.lseek(fd, 0, os.SEEK_SET)
        self.assertEqual(os.read(fd, 1 << 20).count(b"\n"), 2)

    def test_random_offsets_give_one_text(self):
        self.user("fill 0 cb 2000 32")
        fd = self.open("pids", self.user.pid, "buffers")
        whole = b"".join(iter(lambda: os.read(fd, 65536), b""))
        self.user("drain 0 cb 1000 32")
        dice = random.Random(1)
        for _ in range(200):
            offset = dice.randrange(1, len(whole) + 10)
            size = dice.choice((1, 7, 80, 4096, 100000))
            self.assertEqual(os.pread(fd, size, offset), whole[offset:offset + size])

    def test_a_file_of_a_dead_process_says_so_and_does_not_hang(self):
        names = ("dram", "stat", "buffers", "total", "comm", f"{self.device}/dram")
        files = [self.open("pids", self.user.pid, name) for name in names]
        half = self.open("pids", self.user.pid, "buffers")
        beginning = os.read(half, 5)
        pid = self.user.pid
        self.user.kill()
        self.wait_gone(pid)
        for fd in files:
            try:
                self.assertNotEqual(os.pread(fd, 1 << 16, 0), b"")
            except OSError as error:
                self.assertEqual(error.errno, errno.ESRCH)
        try:
            self.assertIn(b"\n", beginning + os.read(half, 1 << 16))
        except OSError as error:
            self.assertEqual(error.errno, errno.ESRCH)

    def test_a_directory_of_a_dead_process_is_empty_or_gone(self):
        fd = os.open(self.daemon.path("pids", self.user.pid), os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, fd)
        self.user.kill()
        self.wait_gone(self.user.pid)

        def is_gone():
            try:
                os.stat("dram", dir_fd=fd)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOENT)  # nobody else has its number
                return True
            return False

        eventually(is_gone, "the end of its files")
        try:
            self.assertEqual(os.listdir(fd), [])
        except OSError as error:
            self.assertEqual(error.errno, errno.ENOENT)
