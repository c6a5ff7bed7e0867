# SPDX-License-Identifier: Apache-2.0
"""Every file that tells of its changes does, by inotify and by poll(2)."""
from harness import KINDS, MountTest
from watching import Inotify, Poller


class Telling(MountTest):
    def setUp(self):
        super().setUp()
        self.user = self.holder()
        self.device, = self.daemon.devices()

    def assert_told(self, path, change):
        """Of one change, to both who watch and who poll; and it is there when they hear of it."""
        with Inotify(path) as watch, Poller(path) as poller:
            before = poller.read()
            self.user(change)
            watch.modified(path)
            poller.wait()
            self.assertNotEqual(poller.read(), before)

    def test_each_kind_of_a_device(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.assert_told(self.daemon.path(self.device, f"{kind}_used"),
                                 f"alloc 0 {kind} 0x5000 64")

    def test_each_kind_of_a_process(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.assert_told(self.daemon.path("pids", self.user.pid, kind),
                                 f"alloc 0 {kind} 0x6000 64")

    def test_the_first_failure_in_the_report(self):
        self.assert_told(self.daemon.path(self.device, "oom"), "fail 0 dram 8192 64")

    def test_a_failure_in_the_report_and_in_both_counts(self):
        for path in (self.daemon.path(self.device, "oom"), self.daemon.path("events"),
                     self.daemon.path(self.device, "events")):
            with self.subTest(path=path):
                self.assert_told(path, "fail 0 dram 8192 64")
