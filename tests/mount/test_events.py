# SPDX-License-Identifier: Apache-2.0
"""Counted events, thresholds, failed requests, and how processes ended."""
import errno
import os
import re
import time
import unittest

from harness import NOBODY, Daemon, MountTest, clean_up, eventually, run

ASIC, TOTAL = 0xA51C, 1 << 20


class EventsTest(MountTest):
    def setUp(self):
        super().setUp()
        self.user = self.peer(f"declare 0 asic={ASIC:#x} dram={TOTAL}",
                              "alloc 0 dram 0x1000 1000 weights")
        self.device, = self.daemon.devices()

    def events(self, *folder):
        return {key: int(value) for key, value in self.daemon.flat(*folder, "events").items()}

    def assertEvents(self, **wanted):
        """Of the device where it has them, and of the root."""
        for folder in ((), (self.device,)):
            events = self.events(*folder)
            for name, count in wanted.items():
                if folder == () or name in ("high", "oom"):
                    self.assertEqual(events[name], count, (folder, events))

    def exit_of(self, pid):
        def look():
            rows = [r for r in self.daemon.table("exited") if r["pid"] == str(pid)]
            return rows[0] if rows else None
        return eventually(look, f"{pid} in exited")


class Comings(EventsTest):
    def test_every_key_is_there_from_the_start(self):
        self.assertEqual(list(self.daemon.flat("events")),
                         ["process_start", "process_exit", "high", "oom", "leaked", "device_add",
                          "device_remove"])
        self.assertEqual(list(self.daemon.flat(self.device, "events")), ["high", "oom"])

    def test_processes_and_devices_count_once(self):
        self.assertEvents(process_start=1, process_exit=0, leaked=0, device_add=1)
        clean = self.holder(1, 0xB)
        self.daemon.text("summary")
        clean("free 1 dram 0x1000")
        clean.close()
        self.wait_gone(clean.pid)
        self.assertEvents(process_start=2, process_exit=1, leaked=0, device_add=2)
        self.user.kill()
        self.wait_gone(self.user.pid)
        self.assertEvents(process_start=2, process_exit=2, leaked=1, device_add=2,
                          device_remove=0)

    def test_how_a_process_ended_is_said_where_it_is_known(self):
        def ended(command=None):
            user = self.holder()
            eventually(lambda: self.daemon.exists("pids", user.pid))
            if command is None:
                user.kill()
            else:
                user.send(command)
                user.process.wait()
            return self.exit_of(user.pid)["how"]

        self.assertEqual(ended(), "signal:9")
        self.assertEqual(ended("exit 3"), "exit:3")
        self.assertEqual(ended("quit"), "exit:0")

    def test_a_process_that_lives_on_without_its_ledger_is_detached(self):
        pid = self.user.pid
        self.user("exec")
        row = self.exit_of(pid)
        self.assertEqual((row["how"], row["leaked"]), ("detached", "1000"))
        self.assertGreaterEqual(int(row["lifetime_sec"]), 0)


class Thresholds(EventsTest):
    options = ("--history=0",)

    def write(self, value, name="dram_high"):
        with open(self.daemon.path(self.device, name), "w", encoding="ascii") as file:
            file.write(value)

    def high(self, name="dram_high"):
        return self.daemon.text(self.device, name)

    def shell(self, command, user=None):
        return run("sh", "-c", command, "sh", self.daemon.path(self.device, "dram_high"),
                   user=user)

    def test_it_is_max_and_reads_back_as_written(self):
        self.assertEqual((self.high(), self.high("l1_high")), ("max\n", "max\n"))
        for value in ("123456", "18446744073709551615", "0", "max", "42"):
            self.write(value + "\n")
            self.assertEqual((self.high(), self.high("l1_high")), (value + "\n", "max\n"))

    def test_shells_and_tools_can_write_it(self):
        for number, command in enumerate((
                'echo {} > "$1"', 'echo {} >> "$1"', 'printf {} > "$1"', 'printf " {}\n\n" > "$1"',
                'echo {} | tee "$1"', 'echo {} | tee -a "$1"',
                'printf "{}\n" | dd of="$1" conv=notrunc status=none')):
            with self.subTest(command=command):
                result = self.shell(command.format(1000 + number))
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertEqual(self.high(), f"{1000 + number}\n")

    def test_what_is_no_number_is_refused_and_changes_nothing(self):
        self.write("77")
        for bad in ("x", "-1", "0x10", "5 5", "5x", "\n", " ", "1.5", "1K", "maximum",
                    "18446744073709551616", "5" * 100000):
            with self.subTest(bad=bad[:30]):
                with self.assertRaises(OSError) as caught:
                    self.write(bad)
                self.assertEqual(caught.exception.errno, errno.EINVAL)
                self.assertEqual(self.high(), "77\n")
        result = self.shell('echo 12 34 > "$1"')
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("Invalid argument", self.shell('/bin/echo x > "$1"').stderr)
        self.assertEqual(self.high(), "77\n")

    def test_to_open_and_truncate_it_changes_nothing(self):
        self.write("77")
        path = self.daemon.path(self.device, "dram_high")
        os.close(os.open(path, os.O_RDWR | os.O_TRUNC))
        os.truncate(path, 0)
        self.assertEqual(self.high(), "77\n")

    def test_pieces_behind_the_first_are_refused(self):
        fd = os.open(self.daemon.path(self.device, "dram_high"), os.O_WRONLY)
        try:
            os.write(fd, b"12")
            with self.assertRaises(OSError) as caught:
                os.write(fd, b"34\n")
            self.assertEqual(caught.exception.errno, errno.EINVAL)
            self.assertEqual(self.high(), "12\n")
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, b"34\n")
            self.assertEqual(self.high(), "34\n")
        finally:
            os.close(fd)

    def test_only_root_may_write_it(self):
        for command in ('echo 1 > "$1"', 'echo 1 >> "$1"'):
            result = self.shell(command, user=NOBODY)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn("Permission denied", result.stderr)
        self.assertEqual(self.shell('cat "$1"', user=NOBODY).stdout, "max\n")

    def test_the_events_cannot_be_written(self):
        for path in (self.daemon.path("events"), self.daemon.path(self.device, "events")):
            with self.assertRaises(PermissionError):
                os.open(path, os.O_WRONLY)

    def test_crossing_up_counts_once_and_again_after_it_was_below(self):
        self.write("4000")
        self.assertEvents(high=0)
        self.user("alloc 0 dram 0x2000 3000")
        self.assertEvents(high=0)
        self.user("alloc 0 dram 0x3000 1")
        for _ in range(3):
            self.assertEvents(high=1)
            self.daemon.text("summary")
            self.daemon.value(self.device, "dram_used")
        self.user("free 0 dram 0x3000")
        self.assertEvents(high=1)
        self.user("alloc 0 dram 0x3000 1")
        self.assertEvents(high=2)
        self.user("alloc 0 l1 0x3000 100000")
        self.assertEvents(high=2)
        self.write("5", "l1_high")
        self.assertEvents(high=3)

    def test_l1_has_a_threshold_of_its_own(self):
        self.write("100", "l1_high")
        self.assertEqual(self.daemon.value(self.device, "l1_high"), 100)
        self.assertEqual(self.high(), "max\n")
        self.user("alloc 0 dram 0x2000 5000")
        self.user("alloc 0 l1 0x2000 100")
        self.assertEvents(high=0)
        self.user("alloc 0 l1 0x3000 1")
        self.assertEvents(high=1)

    def test_a_crossing_is_noticed_although_nobody_reads(self):
        """At each look of ours the use is below: it was above at one of the daemon's own."""
        self.write("4000")

        def has_crossed():
            self.user("alloc 0 dram 0x2000 5000")
            time.sleep(0.3)  # for a tick to fall into
            self.user("free 0 dram 0x2000")
            return self.events()["high"]

        self.assertGreaterEqual(eventually(has_crossed, "the daemon's own look", 20), 1)


class Failures(EventsTest):
    options = ("--history=0",)

    def report(self):
        return self.daemon.flat(self.device, "oom")

    def test_before_any_failure_the_report_is_empty(self):
        path = self.daemon.path(self.device, "oom")
        self.assertIn("oom", os.listdir(self.daemon.path(self.device)))
        for _ in range(2):
            self.assertEqual(os.stat(path).st_size, 0)
            self.assertEqual(self.daemon.text(self.device, "oom"), "")
        self.user("fail 0 dram 999999 4096")
        self.assertGreater(os.stat(path).st_size, 0)
        self.assertEqual(os.stat(path).st_size, len(self.daemon.text(self.device, "oom")))

    def test_a_device_of_which_no_more_is_known_has_a_report_too(self):
        other = self.peer("alloc 7 l1 0x1000 5")
        device = next(name for name in self.daemon.devices() if name != self.device)
        self.assertEqual(self.daemon.text(device, "oom"), "")
        other("fail 7 l1 4096 0")
        self.assertEqual(self.daemon.flat(device, "oom")["requested"], "4096")

    def test_a_failed_request_is_reported_with_who_held_what(self):
        other = self.holder(size=70000, user=NOBODY)
        other("name big one")
        self.user("fail 0 dram 999999 4096")
        report = self.report()
        self.assertEqual(report["pid"], str(self.user.pid))
        self.assertEqual((report["comm"], report["uid"], report["kind"]), ("peer", "0", "dram"))
        self.assertEqual((report["requested"], report["largest_free"]), ("999999", "4096"))
        self.assertEqual((report["process_used"], report["used"]), ("1000", "71000"))
        self.assertEqual((report["failures"], report["free"]), ("1", str(TOTAL - 71000)))
        self.assertEqual(report["holder_1"], f"{other.pid} {NOBODY.pw_uid} 70000 big one")
        self.assertEqual(report["holder_2"], f"{self.user.pid} 0 1000 peer")
        self.assertNotIn("holder_3", report)
        self.assertRegex(report["time"], r"\A\d+\.\d{3}\Z")
        self.assertGreaterEqual(float(report["seen"]) + 0.02, float(report["time"]))
        self.assertEvents(oom=1)

    def test_holders_are_reported_with_their_largest_tags(self):
        other = self.holder(size=100)
        for number, (size, tag) in enumerate(((300, "kv_cache"), (60, "act"), (1, "x"), (7, "")), 2):
            other(f"alloc 0 dram {number:#x}000 {size} {tag}".rstrip())
        other("alloc 0 l1 0x9000 5000 circular")
        self.user("fail 0 dram 999999 4096")
        report = self.report()
        self.assertEqual(report["holder_1_tags"], "weights=1000")
        self.assertEqual(report["holder_2_tags"], "kv_cache=300 weights=100 act=60")
        self.user("fail 0 l1 999999 4096")
        eventually(lambda: self.report()["kind"] == "l1", "the second report")
        self.assertEqual(self.report()["holder_1_tags"], "circular=5000")
        self.assertNotIn("holder_2", self.report())

    def test_a_holder_of_many_buffers_is_reported_without_its_tags(self):
        """To look at them would take long."""
        other = self.holder(size=70000)
        other("fill 0 dram 5000 64 0x100000")
        self.user("fail 0 dram 999999 4096")
        report = self.report()
        self.assertTrue(report["holder_1"].startswith(f"{other.pid} "))
        self.assertNotIn("holder_1_tags", report)
        self.assertEqual(report["holder_2_tags"], "weights=1000")

    def test_each_failure_counts_once_whoever_reads(self):
        self.user("fail 0 dram 1 1")
        self.user("fail 0 l1 2 2")
        self.user("thread fail 0 dram 3 3")
        for _ in range(3):
            self.daemon.text("summary")
            self.daemon.text("pids", self.user.pid, "dram")
            self.daemon.text("pids", self.user.pid, self.device, "l1")
            self.daemon.text(self.device, "stat")
            self.assertEvents(oom=3)

    def test_the_report_stays_as_it_was(self):
        self.user("fail 0 dram 5 0")
        before = self.daemon.text(self.device, "oom")
        self.user("alloc 0 dram 0x2000 5000")
        self.assertEqual(self.daemon.text(self.device, "oom"), before)
        self.assertNotIn("largest_free", before)

    def test_the_largest_free_block_is_the_newest_that_a_process_has_told(self):
        name = (self.device, "dram_largest_free")
        self.assertFalse(self.daemon.exists(*name))
        self.user("fail 0 l1 999 77")
        self.user("fail 0 dram 999 0")  # it does not say
        self.assertFalse(self.daemon.exists(*name))
        self.user("fail 0 dram 999 4096")
        self.assertEqual(self.daemon.value(*name), 4096)
        other = self.holder()
        other("fail 0 dram 999 512")
        self.assertEqual(self.daemon.value(*name), 512)
        other.kill()
        self.wait_gone(other.pid)
        self.assertEqual(self.daemon.value(*name), 4096)
        self.user.kill()
        self.wait_gone(self.user.pid)
        self.assertFalse(self.daemon.exists(*name))
        self.assertNotIn("dram_largest_free", os.listdir(self.daemon.path(self.device)))

    def test_the_last_words_of_a_process_are_heard(self):
        """It comes to a device, fails there and is gone before anybody has looked."""
        user = self.peer()
        eventually(lambda: self.daemon.exists("pids", user.pid), "the process")
        user(f"declare 0 asic={ASIC:#x}")
        user("fail 0 l1 4711 12")
        user.kill()
        self.wait_gone(user.pid)
        self.assertEqual((self.report()["pid"], self.report()["requested"]),
                         (str(user.pid), "4711"))
        self.assertEvents(oom=1)

    def test_a_new_daemon_does_not_tell_of_old_failures(self):
        self.user("fail 0 dram 5 0")
        self.assertEvents(oom=1)
        self.daemon.kill()
        self.daemon.start()
        eventually(lambda: self.daemon.exists("pids", self.user.pid), "the process again")
        self.assertEvents(oom=0)
        self.assertEqual(self.daemon.text(self.device, "oom"), "")
        self.user("fail 0 dram 6 0")
        self.assertEqual(self.report()["requested"], "6")


class Options(unittest.TestCase):
    def setUp(self):
        self.addCleanup(clean_up)

    def test_a_history_that_is_no_number_of_seconds_is_a_usage_error(self):
        daemon = Daemon()
        for wrong in ("x", "-1", "1.5", "", "86401", "1s"):
            result = run(daemon.program("ttmemd"), "--foreground", "--mount", daemon.mount,
                         "--socket", daemon.socket, f"--history={wrong}")
            self.assertEqual(result.returncode, 64, result.stderr)
            self.assertTrue(re.search("seconds|empty", result.stderr), result.stderr)


if __name__ == "__main__":
    unittest.main()
