# SPDX-License-Identifier: Apache-2.0
"""What a container can do to a daemon that looks into it, and directories that are shared."""
import os
import sys
import unittest

import harness
from harness import alone_with_stuck, eventually, libc, mounts_at
from metal import MIB, region_name
from test_containers import Container, ContainerTest, Inside

# A FUSE server that answers nothing, not even the first request.
STUCK = """
import ctypes, os, sys
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"stuck", b"/dev/shm", b"fuse", 0, options):
    raise OSError(ctypes.get_errno(), "mount")
print("there", flush=True)
sys.stdin.read()
"""


class Hostile(ContainerTest):
    def stuck(self, number):
        alone_with_stuck(self)
        stuck = [Inside("unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable,
                        "-c", STUCK) for _ in range(number)]
        self.open_device(*stuck)
        eventually(lambda: {process.pid for process in stuck} <= self.daemon.pids(), "all of them")
        return stuck

    def test_the_daemon_ends_although_a_look_hangs(self):
        stuck = self.stuck(2)
        self.daemon.stop()
        for process in stuck:
            process.kill()

    def test_a_file_system_that_does_not_answer_holds_up_nobody(self):
        stuck = self.stuck(3)
        container, host = self.container(), self.process()
        self.region(self.asic).slot(0, host.pid, dram=2 * MIB)
        self.wait_held(container, MIB)
        self.assertEqual(self.held(host), 2 * MIB)
        for process in stuck:
            self.assertFalse(self.daemon.exists("pids", process.pid, "dram"))
            process.kill()
            self.wait_gone(process.pid)
        self.assertEqual(self.daemon.value("device0", "dram_used"), 3 * MIB)

    def test_what_is_no_tmpfs_is_not_looked_into(self):
        os.mkdir(f"{self.folder}/disk")
        kind = os.statvfs(self.folder)
        container = Container(f"mount --bind {self.folder}/disk /dev/shm && ")
        with open(f"/proc/{container.pid}/mounts", encoding="utf-8") as mounts:
            types = [line.split()[2] for line in mounts if line.split()[1] == "/dev/shm"]
        if types[-1] == "tmpfs":
            self.skipTest(f"/tmp is a tmpfs here: {kind}")
        self.region(self.asic, folder=container.shm).slot(0, 1, dram=MIB)
        good = self.container()
        self.open_device(container)
        self.wait_held(good, MIB)
        eventually(lambda: container.pid in self.daemon.pids(), "the process")
        self.assertEqual(self.daemon.value("device0", "dram_used"), MIB)


class Shared(ContainerTest):
    """The host's own directory seen from a container."""

    def before_start(self):
        super().before_start()
        if libc.mount(b"none", self.shm.encode(), b"tmpfs", 0, None):
            raise unittest.SkipTest("no tmpfs can be mounted")
        self.addCleanup(self.unmount)

    def unmount(self):
        for file in self.files:
            file.close()
        while mounts_at(self.shm):
            libc.umount2(self.shm.encode(), harness.MNT_DETACH)

    def test_a_number_in_the_hosts_directory_may_be_a_containers(self):
        container = Container(f"mount --bind {self.shm} /dev/shm && ")
        host = self.process()
        file = self.region(self.asic)
        file.slot(0, container.inner, dram=MIB)
        file.slot(1, host.pid, dram=2 * MIB)
        file.total(dram=3 * MIB)
        self.open_device(container)
        self.wait_held(container, MIB)
        self.assertEqual(self.held(host), 2 * MIB)
        self.assertEqual(self.daemon.value("device0", "dram_used"), 3 * MIB)
        self.assertEqual(self.stat("device0")["dram_unattributed"], 0)
        self.kill(container)
        self.assertEqual(self.daemon.value("device0", "dram_used"), 2 * MIB)
        self.assertTrue(os.path.exists(f"{self.shm}/{region_name(self.asic)}"))
        self.assertWell()

    def test_a_link_in_a_container_does_not_lead_into_the_hosts_directory(self):
        liar = Container(f"mount -t tmpfs none /dev && ln -s {self.shm} /dev/shm && ")
        inside = liar.enter()  # its number is a thread of the kernel's here, which holds nothing
        file = self.region(self.asic)
        file.slot(0, inside.inner, dram=MIB)
        file.total(dram=MIB)
        self.open_device(liar, inside)
        eventually(lambda: {liar.pid, inside.pid} <= self.daemon.pids(), "both")
        honest = self.container(dram=2 * MIB)
        self.wait_held(honest, 2 * MIB)
        self.assertFalse(self.daemon.exists("pids", inside.pid, "dram"))
        self.assertEqual(self.daemon.value("device0", "dram_used"), 2 * MIB)
