# SPDX-License-Identifier: Apache-2.0
"""What ttmemd shows of both ways to report TT-Metal's buffers."""
import os
import signal
import unittest

import builds
import harness
from drivers import Driver
from harness import Daemon, clean_up, eventually

GIB = 1 << 30


def setUpModule():
    builds.made()


@unittest.skipUnless(os.geteuid() == 0, "mounts need root")
class OnAMount(unittest.TestCase):
    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon().start()

    def tearDown(self):
        for thing in reversed(harness.living[:]):
            if isinstance(thing, Driver):
                thing.destroy()
        self.daemon.stop()

    def driver(self, name, *commands):
        driver = Driver(name, self.daemon)
        driver(*commands)
        eventually(lambda: self.daemon.exists("pids", driver.pid), "the program")
        return driver

    def tags(self, pid):
        return {(row["tag"], row["device"], row["kind"]): int(row["bytes"])
                for row in self.daemon.table("pids", pid, "tags")}

    def asic_ids(self):
        return {int(name, 16) for name in os.listdir(self.daemon.path("by-asic"))}

    def test_the_six_lines_show_buffers_and_devices(self):
        driver = self.driver("hooks", "create a mesh dram 4096", "in-thread create b 0 dram 1024")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 5120)
        self.assertEqual(self.daemon.value("device1", "dram_used"), 4096)
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        for device, asic, remote in (("device0", "a51c000", "0"), ("device1", "a51c001", "1")):
            self.assertEqual(int(self.daemon.text(device, "asic_id"), 16), int(asic, 16))
            self.assertEqual(self.daemon.text(device, "arch"), "wormhole_b0\n")
            self.assertEqual(self.daemon.text(device, "remote"), remote + "\n")
            self.assertEqual(self.daemon.value(device, "dram_total"), 12 * GIB)
            self.assertEqual(self.daemon.value(device, "l1_total"), 64 * 1499136)
        driver("free a")
        self.assertEqual(self.daemon.value("device1", "dram_used"), 0)
        self.assertEqual(self.daemon.sum_of_buffers(driver.pid), {("0", "dram"): (1024, 1)})

    def test_the_six_lines_show_requests_that_failed(self):
        driver = self.driver("hooks", "create a mesh dram 4096")
        driver.refuses("create b mesh dram 0x4000000000")
        for device in ("device0", "device1"):
            self.assertEqual(self.daemon.flat(device, "events")["oom"], "1")
            self.assertEqual(self.daemon.value(device, "dram_largest_free"), 4 * ((1 << 26) - 1024))

    def test_the_processor_shows_operations_as_tags(self):
        long = "ttnn::" + "very_" * 10 + "long"
        driver = self.driver(
            "processor", "attach", "push model", "create w 0 dram 8192",
            "begin ttnn::matmul", "create a 0 dram 4096", "begin ttnn::prim::matmul",
            "cb 0 local 0x1000 100 0 0 7 7", "create b 0 l1 512", "end", "create c 0 dram 64",
            "end with-output", "create d 0 dram 32", f"begin {long}", "create e 0 trace 16", "end",
            "end", "create f 1 dram 8", "begin one", "begin two", "end all",
            "create g 0 dram 4", "end", "end", "create i 0 dram 1", "pop", "create h 0 dram 2")
        expected = {("model", "0", "dram"): 8192 + 32 + 4 + 1, ("model", "1", "dram"): 8,
                    ("ttnn::matmul", "0", "dram"): 4096 + 64,
                    ("ttnn::prim::matmul", "0", "l1"): 512,
                    ("ttnn::prim::matmul", "0", "cb"): 6400,
                    (long[:47], "0", "trace"): 16, ("-", "0", "dram"): 2}
        self.assertEqual(self.tags(driver.pid), expected)
        self.assertEqual(self.daemon.value("device0", "cb_used"), 6400)
        driver("cb-free 0", "free a")
        del expected["ttnn::prim::matmul", "0", "cb"]
        expected["ttnn::matmul", "0", "dram"] = 64
        self.assertEqual(self.tags(driver.pid), expected)

    def test_a_forked_child_tells_of_its_devices_itself(self):
        # Its parent has told of them, but is gone before anybody listens.
        self.daemon.stop()
        self.daemon = Daemon()
        driver = Driver("hooks", self.daemon)
        driver("create a 0 dram 4096")
        self.assertEqual(driver("in-child hold;create b 0 dram 64;hold"), "holds")
        os.kill(driver.pid, signal.SIGKILL)
        driver.process.wait()
        self.daemon.start()
        self.assertEqual(driver("go on"), "holds")
        eventually(lambda: 0xa51c000 in self.asic_ids(), "the child's device")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 64)
        driver.send("go on")
        eventually(lambda: not self.daemon.pids(), "the child's end")

    def test_together_they_show_both(self):
        driver = self.driver("both", "attach-ops", "begin ttnn::add", "create a 0 dram 4096",
                             "in-thread create b 0 dram 1024", "cb 0 local 0x1000 100 0 0 1 0", "end")
        self.assertEqual(self.tags(driver.pid), {("ttnn::add", "0", "dram"): 4096,
                                                 ("ttnn::add", "0", "cb"): 200,
                                                 ("-", "0", "dram"): 1024})

    def test_a_program_can_say_the_asic_ids(self):
        driver = self.driver("processor", "attach", "create a 0 dram 64")
        self.assertFalse(self.daemon.exists("device0", "asic_id"))
        driver("asic-ids 0xbeef00", "create b mesh dram 64")
        self.assertEqual(self.asic_ids(), {0xbeef00, 0xbeef01})
        driver.close()
        self.driver("hooks", "asic-ids 0xcafe00", "create a 1 dram 64")
        self.assertIn(0xcafe01, self.asic_ids())
        self.assertNotIn(0xa51c001, self.asic_ids())
