# SPDX-License-Identifier: Apache-2.0
"""Starting, ending, dying and coming back. What is left behind is checked by Daemon.stop()."""
import errno
import os
import signal
import subprocess
import time
import unittest

from harness import (Daemon, MountTest, clean_up, eventually, force_unmount, mounts_at, run,
                     switches_of)
from hidden import Hidden


class Ending(MountTest):
    def test_sigterm_leaves_nothing(self):
        self.daemon.stop(signal.SIGTERM)

    def test_sigint_leaves_nothing(self):
        self.daemon.stop(signal.SIGINT)

    def test_ends_with_clients_connected_and_they_run_on(self):
        holder = self.holder()
        self.daemon.stop()
        holder("alloc 0 dram 0x2000 4096")
        self.assertEqual(holder.totals(0, "dram")["live_bytes"], 8192)

    def test_ends_although_somebody_is_inside(self):
        with open(self.daemon.path("status"), "rb") as file:
            file.read(1)
            inside = subprocess.Popen(["sleep", "60"], cwd=self.daemon.path("pids"))
            self.addCleanup(inside.wait)
            self.addCleanup(inside.kill)
            self.daemon.stop()
            with self.assertRaises(OSError) as raised:
                os.pread(file.fileno(), 10, 0)
            self.assertIn(raised.exception.errno, (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO))

    def test_ends_although_the_mount_is_bound_elsewhere(self):
        elsewhere = f"{self.daemon.dir}/elsewhere"
        os.mkdir(elsewhere)
        run("mount", "--bind", self.daemon.mount, elsewhere, check=True)
        self.addCleanup(force_unmount, elsewhere)
        with open(f"{elsewhere}/version", encoding="ascii") as file:
            self.assertEqual(file.read(), self.daemon.text("version"))
        self.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.process.wait(10), 0, self.daemon.log())
        self.assertEqual(mounts_at(self.daemon.mount), [])
        self.assertRaises(OSError, os.listdir, elsewhere)
        force_unmount(elsewhere)

    def test_a_mount_that_is_taken_away_ends_the_daemon(self):
        run("umount", self.daemon.mount, check=True)
        eventually(lambda: self.daemon.process.poll() is not None, "the end of ttmemd")
        self.assertFalse(os.path.exists(self.daemon.socket))
        self.daemon.destroy()

    def test_the_mount_has_the_promised_type_and_options(self):
        with open("/proc/self/mountinfo", encoding="ascii") as table:
            row = next(line.split() for line in table if line.split()[4] == self.daemon.mount)
        kind, source, super_options = row[row.index("-") + 1:]
        self.assertEqual((kind, source), ("fuse.ttmem", "ttmem"))
        for option in ("nosuid", "nodev", "noexec"):
            self.assertIn(option, row[5].split(","))
        for option in ("default_permissions", "allow_other"):
            self.assertIn(option, super_options.split(","))


class Idle(MountTest):
    options = ("--history=0",)

    def test_nobody_reading_means_no_wake_ups(self):
        """Although there are clients, and they allocate; and one in a container that is not ours."""
        if self.daemon.is_sanitized():
            self.skipTest("a sanitizer wakes up by itself")
        user = self.holder()
        Hidden(self.daemon, TTMEM_SOCKET="/another")
        self.daemon.text("summary")

        def stays_asleep():
            before = switches_of(self.daemon.pid)
            user("fill 0 l1 1000 64")
            user("drain 0 l1 1000 64")
            time.sleep(0.5)  # the stretch of time that must pass without a wake-up
            return switches_of(self.daemon.pid) == before

        eventually(stays_asleep, "an idle daemon", 10)


class BusyPoll(unittest.TestCase):
    """Whether it pays to stay awake is the machine's affair, and tests/unit/eager_unit.c's."""

    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()

    def read_much(self):
        """(requests that it stayed awake for, in vain) after many reads, one right after the other."""
        for _ in range(3000):
            self.daemon.text("version")
        status = self.daemon.flat("status")
        return int(status["requests_awaited"]), int(status["requests_awaited_in_vain"])

    def test_with_0_it_never_stays_awake_for_a_request(self):
        self.daemon.options = ("--busy-poll=0",)
        self.daemon.start()
        self.assertEqual(self.read_much(), (0, 0))

    def test_with_one_processor_it_never_does(self):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
        self.addCleanup(os.sched_setaffinity, 0, allowed)
        self.daemon.start()
        self.assertEqual(self.read_much(), (0, 0))

    def test_it_tries_when_one_request_follows_the_other(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("needs two processors")
        self.daemon.start()
        eventually(lambda: self.read_much()[0] > 0, "a request that it stayed awake for", 20)


class ComingBack(unittest.TestCase):
    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()

    def test_a_restart_clears_the_mount_of_a_killed_daemon(self):
        self.daemon.start().kill()
        self.assertEqual(mounts_at(self.daemon.mount), ["fuse.ttmem"])
        self.assertTrue(os.path.exists(self.daemon.socket))
        self.daemon.start()
        self.assertEqual(mounts_at(self.daemon.mount), ["fuse.ttmem"])
        self.daemon.stop()

    def test_a_restart_clears_a_dead_mount_that_is_in_use(self):
        self.daemon.start()
        with open(self.daemon.path("status"), "rb") as file:
            file.read(1)
            self.daemon.kill()
            self.daemon.start()
            self.assertRegex(self.daemon.text("version"), r"^\d")
        self.daemon.stop()

    def test_a_second_sigterm_does_no_harm(self):
        self.daemon.start()
        for _ in range(5):
            self.daemon.send_signal(signal.SIGTERM)
        self.daemon.stop()

    def test_starts_and_ends_many_times(self):
        directory = self.daemon.dir
        for _ in range(5):
            self.daemon.launch()
            eventually(self.daemon.is_ready, "the mount")
            self.daemon.send_signal(signal.SIGTERM)
            self.assertEqual(self.daemon.process.wait(10), 0)
            self.assertEqual(mounts_at(self.daemon.mount), [])
        self.assertEqual(os.listdir(f"{directory}/run"), [])

    def test_a_signal_during_the_start_leaves_nothing(self):
        for turn in range(40):
            self.daemon.launch()
            time.sleep(turn * 0.0005)  # not to wait for anything: to be at another place each time
            self.daemon.send_signal(signal.SIGTERM)
            self.assertIn(self.daemon.process.wait(10), (0, -signal.SIGTERM), self.daemon.log())
            self.assertEqual(mounts_at(self.daemon.mount), [], turn)
            self.assertFalse(os.path.exists(self.daemon.socket), turn)
