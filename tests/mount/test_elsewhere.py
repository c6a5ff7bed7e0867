# SPDX-License-Identifier: Apache-2.0
"""Processes that do not see the socket, and have no device open by the driver's word: they are found
when somebody reads."""
import os
import re
import shutil
import unittest

from harness import Daemon, MountTest, Peer, Program, clean_up, eventually, run
from hidden import HIDE, NAMESPACES, Hidden
from watching import IN_CREATE, Inotify


class Elsewhere(MountTest):
    def wait_held(self, peer, size):
        eventually(lambda: self.daemon.exists("pids", peer.pid), "the process")
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), size)
        self.assertEqual(self.daemon.text("pids", peer.pid, "source"), "native\n")

    def test_one_that_starts_later_is_found(self):
        peer = Hidden(self.daemon)
        peer("alloc 0 dram 0x1000 777")
        self.wait_held(peer, 777)
        peer("alloc 0 dram 0x2000 1")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 778)
        peer.close()
        self.wait_gone(peer.pid)

    def test_a_ledger_that_is_made_later_is_found(self):
        peer, other = Hidden(self.daemon, start=False), Hidden(self.daemon)
        self.wait_held(other, 0)
        self.assertEqual(self.daemon.pids(), {other.pid})
        peer("start")
        peer("alloc 0 dram 0x1000 777")
        self.wait_held(peer, 777)

    def test_one_in_another_root_is_found(self):
        jail = f"{self.daemon.dir}/jail"
        program = self.daemon.program("peer")
        for path in re.findall(r"(/\S+) \(0x", run("ldd", program, check=True).stdout):
            os.makedirs(f"{jail}{os.path.dirname(path)}", exist_ok=True)
            shutil.copy(path, f"{jail}{path}")
        shutil.copy(program, jail)
        peer = Peer.__new__(Peer)
        Program.__init__(peer, "chroot", jail, "/peer", TTMEM_SOCKET=self.daemon.socket)
        peer("start")
        peer("alloc 0 dram 0x1000 777")
        self.wait_held(peer, 777)

    def test_a_watch_on_the_processes_hears_of_it(self):
        pids = self.daemon.path("pids")
        with Inotify(pids) as watch:
            peer = Hidden(self.daemon)
            self.daemon.text("summary")
            eventually(lambda: peer.pid in self.daemon.pids(), "the process")
            watch.wait(lambda path, mask, name: mask & IN_CREATE and name == str(peer.pid))

    def test_a_crowd_in_a_container_is_found(self):
        crowd = Program(*NAMESPACES, "sh", "-c", HIDE, "sh", os.path.dirname(self.daemon.socket),
                        self.daemon.program("crowd"), 200, 0, 0, 4096,
                        TTMEM_SOCKET=self.daemon.socket)
        crowd.lines_until("ready")
        eventually(lambda: len(self.daemon.pids()) == 200, "all of them")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 200 * 4096)
        crowd.close()
        eventually(lambda: not self.daemon.pids(), "their end")

    def test_one_for_another_socket_is_left_alone(self):
        other = Hidden(self.daemon, TTMEM_SOCKET=f"{self.daemon.dir}/other.sock")
        other("alloc 0 dram 0x1000 777")
        mine = Hidden(self.daemon)
        mine("alloc 0 dram 0x1000 1")
        self.wait_held(mine, 1)
        self.assertEqual(self.daemon.pids(), {mine.pid})
        self.assertEqual(self.daemon.value("device0", "dram_used"), 1)

    def test_a_forked_child_is_not_taken_for_its_parent(self):
        peer = Hidden(self.daemon)
        peer("alloc 0 dram 0x1000 777")
        peer("fork")
        self.wait_held(peer, 777)
        marker = Hidden(self.daemon)  # found by a look that has seen the child, too
        self.wait_held(marker, 0)
        self.assertEqual(self.daemon.pids(), {peer.pid, marker.pid})


class BeforeTheDaemon(unittest.TestCase):
    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()

    def test_one_that_was_there_is_found(self):
        peer = Hidden(self.daemon)
        peer("alloc 0 dram 0x1000 777")
        self.daemon.start()
        eventually(lambda: peer.pid in self.daemon.pids(), "the process")
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 777)
        self.daemon.stop()
