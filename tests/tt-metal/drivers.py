# SPDX-License-Identifier: Apache-2.0
"""The programs of builds.py, to talk with."""
import unittest

import builds
import harness
from harness import Program, clean_up


class Driver(Program):
    """A program: driver("create a 0 dram 4096") returns what follows "ok"."""

    def __init__(self, name, daemon=None, **env):
        socket = daemon.socket if daemon else "/nonexistent"
        super().__init__(builds.made().program(name), **{"TTMEM": "1", "TTMEM_SOCKET": socket, **env})

    def __call__(self, *commands):
        for command in commands:
            self.send(command)
            answer = self.line()
            if not answer.startswith("ok"):
                raise AssertionError(f"{command}: {answer}")
        return answer[3:]

    def refuses(self, command):
        self.send(command)
        return self.line()

    def numbers(self, command):
        return {key: int(value) for key, value in (w.split("=") for w in self(command).split())}

    def live(self, device, kind):
        totals = self.numbers(f"totals {device} {kind}")
        return totals["bytes"], totals["buffers"]


class DriverTest(unittest.TestCase):
    """What holds wherever buffers are seen. A call that is not as the library wants is a fault."""

    name = "hooks"
    attach = ()

    def setUp(self):
        self.addCleanup(clean_up)
        self.driver = Driver(self.name)
        if self.attach:
            self.driver(*self.attach)

    def tearDown(self):
        if self.driver in harness.living:
            self.assertEqual(self.driver.numbers("errors"),
                             {"unknown": 0, "sizes": 0, "bad": 0, "untracked": 0})
            self.assertEqual(self.driver.close(), 0)
