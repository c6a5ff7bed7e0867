# SPDX-License-Identifier: Apache-2.0
"""Processes that allocate and free at full speed, and what must be seen of them."""
import os

from harness import KINDS, MountTest, Program

THREADS, DEVICES = 3, 3


class StormTest(MountTest):
    """Processes that allocate and free at random, and stand still for a moment now and then."""

    count = 10

    def setUp(self):
        super().setUp()
        self.storms = []
        for _ in range(self.count):
            self.start_storm()

    def start_storm(self, program=None):
        seed = len(self.storms) + 1
        storm = Program(program or self.daemon.program("storm"), THREADS, DEVICES, seed,
                        TTMEM_SOCKET=self.daemon.socket)
        self.storms.append(storm)
        self.assertEqual(storm.line(), "going")

    def hold(self):
        """Lets all stand still. Returns {pid: {(device, kind): (bytes, buffers)}}."""
        for storm in self.storms:
            storm.send("hold")
        totals = {}
        for storm in self.storms:
            rows = [[int(n) for n in line.split()] for line in storm.lines_until("held")]
            totals[storm.pid] = {(f"device{d}", KINDS[k]): (size, number)
                                 for d, k, size, number, _, _ in rows}
        return totals

    def go(self):
        for storm in self.storms:
            storm.send("go")
        for storm in self.storms:
            self.assertEqual(storm.line(), "going")

    def device_names(self):
        names = {}
        for name in os.listdir(self.daemon.path("by-asic")):
            link = os.readlink(self.daemon.path("by-asic", name))[3:]
            names[link] = f"device{int(name, 16) - 0x57000}"
        return names

    def check_storms(self, totals):
        """What the mount shows of them is what they say, in every file."""
        names = self.device_names()
        self.assertEqual(len(names), DEVICES)
        self.assertEqual(self.daemon.pids(), set(totals))
        for link, device in names.items():
            for kind in KINDS:
                self.assertEqual(self.daemon.value(link, f"{kind}_used"),
                                 sum(own[device, kind][0] for own in totals.values()))
        for pid, own in totals.items():
            for kind in KINDS:
                self.assertEqual(self.daemon.value("pids", pid, kind),
                                 sum(size for (_, k), (size, _) in own.items() if k == kind))
                for link, device in names.items():
                    self.assertEqual(self.daemon.value("pids", pid, link, kind),
                                     own[device, kind][0])
            self.assertEqual(self.daemon.value("pids", pid, "total"),
                             sum(size for size, _ in own.values()))
            listed = {(names["device" + device.removeprefix("device")], kind): sums for
                      (device, kind), sums in self.daemon.sum_of_buffers(pid).items()}
            self.assertEqual(listed, {key: sums for key, sums in own.items() if sums[1]})
