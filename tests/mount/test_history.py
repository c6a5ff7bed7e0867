# SPDX-License-Identifier: Apache-2.0
"""The history of a device, and what it costs the daemon."""
import os
import time

from harness import KINDS, MountTest, eventually, switches_of


def wake_ups(daemon):
    return sum(switches_of(daemon.pid).values())


def wake_ups_in(daemon, seconds):
    """In so many seconds with nobody reading; None: a sanitizer wakes up by itself."""
    if daemon.is_sanitized():
        return None
    before = wake_ups(daemon)
    time.sleep(seconds)  # the stretch of time that is measured
    return wake_ups(daemon) - before


class History(MountTest):
    def setUp(self):
        super().setUp()
        self.user = self.holder(size=1000)
        self.device, = self.daemon.devices()

    def rows(self):
        return self.daemon.table(self.device, "history")

    def test_each_second_is_a_row(self):
        eventually(lambda: len(self.rows()) >= 2, "two rows", 10)
        rows = self.rows()
        self.assertEqual(list(rows[0]), ["time", *KINDS])
        seconds = [int(float(row["time"])) for row in rows]
        self.assertEqual(seconds, sorted(set(seconds)))
        self.assertEqual((rows[-1]["dram"], rows[-1]["l1"]), ("1000", "0"))

    def test_it_has_what_nobody_has_read(self):
        self.user("alloc 0 l1 0x2000 777")
        eventually(lambda: "777" in [row["l1"] for row in self.rows()], "the row", 10)
        self.user("free 0 l1 0x2000")
        eventually(lambda: self.rows()[-1]["l1"] == "0", "the next row", 10)
        self.assertIn("777", [row["l1"] for row in self.rows()])

    def test_a_process_that_nobody_asks_for_is_seen(self):
        """A new device, too, is found by the tick."""
        other = self.holder(1, 0xB, size=5)
        eventually(lambda: self.daemon.exists("device1"), "the device")
        eventually(lambda: [r for r in self.daemon.table("device1", "history")
                            if r["dram"] == "5"], "a row of it", 10)
        self.assertTrue(other.pid)

    def test_a_peak_is_kept_current(self):
        """Without a read of it: between two ticks nobody else sums."""
        self.user("alloc 0 dram 0x2000 9000")
        eventually(lambda: [r for r in self.rows() if r["dram"] == "10000"], "a tick", 10)
        self.user("free 0 dram 0x2000")
        self.assertEqual(self.daemon.value(self.device, "dram_peak"), 10000)

    def test_it_takes_a_wake_up_a_second(self):
        def is_calm():
            count = wake_ups_in(self.daemon, 3)
            return count is None or 2 <= count <= 4

        eventually(is_calm, "a daemon that only ticks", 20)


class NoHistory(MountTest):
    options = ("--history=0",)

    def setUp(self):
        super().setUp()
        self.user = self.holder()
        self.device, = self.daemon.devices()

    def threshold(self, text):
        with open(self.daemon.path(self.device, "dram_high"), "w", encoding="ascii") as file:
            file.write(text)

    def test_there_is_no_file(self):
        self.assertFalse(self.daemon.exists(self.device, "history"))
        self.assertNotIn("history", os.listdir(self.daemon.path(self.device)))

    def test_it_never_wakes_up_but_while_a_threshold_is_set(self):
        def sleeps():
            return not wake_ups_in(self.daemon, 2)

        def ticks():
            count = wake_ups_in(self.daemon, 3)
            return count is None or 2 <= count <= 4

        eventually(sleeps, "an idle daemon", 20)
        self.threshold("1000000")
        eventually(ticks, "a daemon that ticks", 20)
        self.threshold("max")
        eventually(sleeps, "an idle daemon again", 20)


class ShortHistory(MountTest):
    options = ("--history=2",)

    def test_it_has_no_more_rows_than_asked_for(self):
        self.holder()
        device, = self.daemon.devices()
        first = eventually(lambda: self.daemon.table(device, "history"), "a row", 10)[0]["time"]
        eventually(lambda: first not in [row["time"] for row in
                                         self.daemon.table(device, "history")], "its end", 10)
        self.assertLessEqual(len(self.daemon.table(device, "history")), 2)
