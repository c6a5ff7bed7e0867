# SPDX-License-Identifier: Apache-2.0
"""What the numbers count: references, frees, failures, peaks."""
import os

from harness import KINDS, NOBODY, MountTest, run


class Accounting(MountTest):
    def setUp(self):
        super().setUp()
        self.user = self.holder(size=1000)
        self.device, = self.daemon.devices()

    def dram(self):
        """The same number from every file that has it, and from the library."""
        values = {self.daemon.value("pids", self.user.pid, "dram"),
                  self.daemon.value("pids", self.user.pid, self.device, "dram"),
                  self.daemon.value(self.device, "dram_used"),
                  self.user.totals(0, "dram")["live_bytes"],
                  sum(size for (_, kind), (size, _) in
                      self.daemon.sum_of_buffers(self.user.pid).items() if kind == "dram")}
        self.assertEqual(len(values), 1, values)
        return values.pop()

    def rows(self):
        return len(self.daemon.table("pids", self.user.pid, "buffers"))

    def test_an_address_allocated_again_is_another_reference(self):
        self.user("alloc 0 dram 0x1000 1000")
        self.user("alloc 0 dram 0x1000 1000")
        self.assertEqual((self.dram(), self.rows()), (1000, 1))
        self.user("free 0 dram 0x1000")
        self.user("free 0 dram 0x1000")
        self.assertEqual((self.dram(), self.rows()), (1000, 1))
        self.user("free 0 dram 0x1000")
        self.assertEqual((self.dram(), self.rows()), (0, 0))

    def test_another_size_for_a_live_address_changes_nothing(self):
        self.user("alloc 0 dram 0x1000 5000")
        self.assertEqual(self.dram(), 1000)
        self.assertIn("size_mismatches=1", self.user("errors"))

    def test_references_from_another_thread_count(self):
        self.user("thread alloc 0 dram 0x1000 1000")
        self.user("thread free 0 dram 0x1000")
        self.assertEqual((self.dram(), self.rows()), (1000, 1))
        self.user("thread free 0 dram 0x1000")
        self.assertEqual((self.dram(), self.rows()), (0, 0))

    def test_a_free_of_an_unknown_address_changes_nothing(self):
        for wrong in ("free 0 dram 0x2000", "free 1 dram 0x1000", "free 0 l1 0x1000"):
            self.user(wrong)
        self.assertEqual((self.dram(), self.rows()), (1000, 1))
        self.assertIn("unknown_frees=3", self.user("errors"))
        self.user("free 0 dram 0x1000")
        self.user("free 0 dram 0x1000")
        self.assertEqual((self.dram(), self.rows()), (0, 0))

    def test_arguments_out_of_range_change_nothing(self):
        for wrong in ("alloc 64 dram 1 5", "alloc 4294967295 dram 1 5", "alloc 0 7 1 5",
                      "alloc 0 4294967295 1 5", "free 64 dram 1", "fail 64 dram 1 1"):
            self.user(wrong)
        self.assertEqual((self.dram(), self.rows()), (1000, 1))
        self.assertEqual(self.daemon.devices(), [self.device])

    def test_a_failure_changes_no_sum(self):
        self.user("fail 0 dram 99999999 4096")
        self.assertEqual(self.dram(), 1000)
        stat = self.daemon.flat(self.device, "stat")
        self.assertEqual(stat["dram_failures_total"], "1")
        self.assertEqual(stat["l1_failures_total"], "0")

    def test_every_kind_has_numbers_of_its_own(self):
        for number, kind in enumerate(KINDS):
            self.user(f"alloc 1 {kind} 0x1000 {10 ** number}")
        self.user("declare 1 asic=0xB")
        for number, kind in enumerate(KINDS):
            size = 10 ** number
            own = 1000 if kind == "dram" else 0
            self.assertEqual(self.daemon.value("pids", self.user.pid, kind), size + own)
            self.assertEqual(self.daemon.value(self.device, f"{kind}_used"), own)
        self.assertEqual(self.daemon.value("pids", self.user.pid, "total"), 1111111 + 1000)

    def test_sizes_beyond_32_bits_are_exact(self):
        self.user("alloc 0 dram 0xffffffff00000000 0x123456789abc")
        self.assertEqual(self.dram(), 1000 + 0x123456789ABC)

    def test_buffers_beyond_the_records_are_counted(self):
        small = self.peer("declare 0 asic=0xA51C", "fill 0 l1 1000 64", TTMEM_RECORDS="256")
        self.assertEqual(self.daemon.value("pids", small.pid, "l1"), 64000)
        text = self.daemon.text("pids", small.pid, "buffers")
        rows = [line for line in text.splitlines() if " l1 " in f" {line} "]
        self.assertGreaterEqual(len(rows), 256)
        self.assertLess(len(rows), 1000)
        small("drain 0 l1 1000 64")
        self.assertEqual(self.daemon.value("pids", small.pid, "l1"), 0)
        self.assertEqual(len(self.daemon.text("pids", small.pid, "buffers").splitlines()), 1)

    def test_many_threads_are_one_process(self):
        for i in range(100):
            self.user(f"thread alloc 0 dram {i + 0x10000} 7")
        self.assertEqual((self.dram(), self.rows()), (1700, 101))
        for i in range(100):
            self.user(f"thread free 0 dram {i + 0x10000}")
        self.assertEqual((self.dram(), self.rows()), (1000, 1))


class Peaks(MountTest):
    def setUp(self):
        super().setUp()
        self.user = self.holder(size=1000)
        self.device, = self.daemon.devices()

    def assertDevicePeak(self, size):
        self.assertEqual(self.daemon.value(self.device, "dram_peak"), size)

    def process_peak(self):
        values = self.daemon.flat("pids", self.user.pid, "peak")
        found = [int(v) for k, v in values.items() if k.startswith("dram")]
        self.assertEqual(len(found), 1, values)
        return found[0]

    def test_a_process_peak_needs_no_reader(self):
        self.user("alloc 0 dram 0x2000 5000")
        self.user("free 0 dram 0x2000")
        self.assertEqual(self.process_peak(), 6000)
        self.assertEqual(self.daemon.value("pids", self.user.pid, "dram"), 1000)

    def test_a_device_peak_is_the_highest_sum_that_was_read(self):
        other = self.holder(size=500)
        self.assertEqual(self.daemon.value(self.device, "dram_used"), 1500)
        other.kill()
        self.wait_gone(other.pid)
        self.assertEqual(self.daemon.value(self.device, "dram_used"), 1000)
        self.assertDevicePeak(1500)
        self.user("alloc 0 dram 0x2000 7000")
        self.assertDevicePeak(8000)
        self.user("free 0 dram 0x2000")
        self.assertDevicePeak(8000)

    def test_writing_starts_a_peak_afresh(self):
        for command in ('echo 1 > "$1"', 'echo reset >> "$1"', 'printf x | tee "$1"',
                        'printf "" > "$1"; printf 0 > "$1"',
                        'dd if=/dev/zero of="$1" bs=5000 count=1 status=none',
                        'dd if=/dev/zero of="$1" bs=1 count=3 conv=notrunc status=none'):
            with self.subTest(command=command):
                self.user("alloc 0 dram 0x2000 7000")
                self.assertDevicePeak(8000)
                self.user("free 0 dram 0x2000")
                self.assertDevicePeak(8000)
                run("sh", "-c", command, "sh", self.daemon.path(self.device, "dram_peak"),
                    check=True)
                self.assertDevicePeak(1000)
        self.assertEqual(self.process_peak(), 8000)

    def test_one_kinds_reset_leaves_the_others(self):
        self.user("alloc 0 l1 0x2000 7000")
        self.daemon.value(self.device, "l1_peak")
        self.user("free 0 l1 0x2000")
        with open(self.daemon.path(self.device, "dram_peak"), "w", encoding="ascii") as file:
            file.write("1\n")
        self.assertEqual(self.daemon.value(self.device, "l1_peak"), 7000)

    def test_opening_for_writing_alone_resets_nothing(self):
        self.user("alloc 0 dram 0x2000 7000")
        self.assertDevicePeak(8000)
        self.user("free 0 dram 0x2000")
        os.close(os.open(self.daemon.path(self.device, "dram_peak"), os.O_RDWR))
        self.assertDevicePeak(8000)

    def test_a_file_open_for_both_reads_what_its_write_made(self):
        self.user("alloc 0 dram 0x2000 7000")
        self.assertDevicePeak(8000)
        self.user("free 0 dram 0x2000")
        fd = os.open(self.daemon.path(self.device, "dram_peak"), os.O_RDWR)
        try:
            self.assertEqual(os.pread(fd, 100, 0), b"8000\n")
            self.assertEqual(os.pwrite(fd, b"1\n", 0), 2)
            self.assertEqual(os.pread(fd, 100, 0), b"1000\n")
        finally:
            os.close(fd)

    def test_only_root_may_reset_a_peak(self):
        self.user("alloc 0 dram 0x2000 7000")
        self.assertDevicePeak(8000)
        self.user("free 0 dram 0x2000")
        path = self.daemon.path(self.device, "dram_peak")
        result = run("sh", "-c", 'echo 1 > "$1"', "sh", path, user=NOBODY)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("Permission denied", result.stderr)
        self.assertEqual(run("cat", path, user=NOBODY).stdout, "8000\n")
