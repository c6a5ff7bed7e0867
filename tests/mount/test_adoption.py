# SPDX-License-Identifier: Apache-2.0
"""A daemon finds the processes that were there before it, and nothing that only looks like one."""
import unittest

from harness import NOBODY, Daemon, Peer, clean_up, eventually


class Adoption(unittest.TestCase):
    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()

    def assertHolds(self, peer, size):
        eventually(lambda: self.daemon.exists("pids", peer.pid), "the process", 2)
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), size)

    def test_clients_are_found_again_after_a_crash(self):
        self.daemon.start()
        peers = [Peer(self.daemon), Peer(self.daemon, user=NOBODY)]
        for peer in peers:
            peer("declare 0 asic=0x77")
            peer("alloc 0 dram 0x1000 1111")
        self.daemon.kill()
        for peer in peers:
            peer("alloc 0 dram 0x2000 2222")
        self.daemon.start()
        for peer in peers:
            self.assertHolds(peer, 3333)
            peer("free 0 dram 0x1000")
            self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 2222)
        self.daemon.stop()

    def test_clients_that_start_first_are_found(self):
        peer = Peer(self.daemon)
        peer("alloc 3 dram 0x1000 777")
        child = int(peer("fork"))
        peer("child alloc 3 dram 0x1000 888")
        self.daemon.start()
        self.assertHolds(peer, 777)
        eventually(lambda: self.daemon.exists("pids", child), "the child", 2)
        self.assertEqual(self.daemon.value("pids", child, "dram"), 888)
        self.assertEqual(self.daemon.pids(), {peer.pid, child})
        peer.close()
        eventually(lambda: not self.daemon.pids(), "the end of both")
        self.daemon.stop()

    def test_a_forked_child_without_calls_is_not_taken_for_its_parent(self):
        peer = Peer(self.daemon)
        peer("alloc 0 dram 0x1000 777")
        peer("fork")
        self.daemon.start()
        self.assertHolds(peer, 777)
        self.assertEqual(self.daemon.pids(), {peer.pid})
        self.daemon.stop()
