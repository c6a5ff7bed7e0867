# SPDX-License-Identifier: Apache-2.0
"""A daemon finds the processes that were there before it, and nothing that only looks like one."""
import os
import signal
import unittest

from harness import (NOBODY, Daemon, Peer, Program, alone_with_stuck, clean_up, eventually,
                     is_well_made)


class Adoption(unittest.TestCase):
    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()

    def assertHolds(self, peer, size):
        eventually(lambda: self.daemon.exists("pids", peer.pid), "the process")
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
        eventually(lambda: self.daemon.exists("pids", child), "the child")
        self.assertEqual(self.daemon.value("pids", child, "dram"), 888)
        self.assertEqual(self.daemon.pids(), {peer.pid, child})
        peer.close()
        eventually(lambda: not self.daemon.pids(), "the end of both")
        self.daemon.stop()

    def test_a_client_that_was_found_and_calls_exec_is_gone(self):
        peers = [Peer(self.daemon), Peer(self.daemon, user=NOBODY)]
        for peer in peers:
            peer("alloc 0 dram 0x1000 777")
        self.daemon.start()
        for peer in peers:
            self.assertHolds(peer, 777)
        peer = peers.pop()
        self.assertEqual(peer("exec"), "again")
        eventually(lambda: self.daemon.pids() == {peers[0].pid}, "the end of its ledger")
        device, = self.daemon.devices()
        self.assertEqual(self.daemon.value(device, "dram_used"), 777)
        peer("start")
        peer("alloc 0 dram 0x1000 5")
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 5)
        self.daemon.stop()

    def test_a_forked_child_without_calls_is_not_taken_for_its_parent(self):
        peer = Peer(self.daemon)
        peer("alloc 0 dram 0x1000 777")
        peer("fork")
        self.daemon.start()
        self.assertHolds(peer, 777)
        self.assertEqual(self.daemon.pids(), {peer.pid})
        self.daemon.stop()

    def test_a_descriptor_of_anothers_ledger_makes_no_process(self):
        peer = Peer(self.daemon)
        peer("alloc 0 dram 0x1000 777")
        ledger = next(path for path in (f"/proc/{peer.pid}/fd/{n}"
                                        for n in os.listdir(f"/proc/{peer.pid}/fd"))
                      if "ttmem-ledger" in os.readlink(path))
        for user in (None, NOBODY):
            with open(ledger, "r+b") as file:
                thief = Program("sh", "-c", "echo here; read x", user=user,
                                pass_fds=(file.fileno(),))
            self.assertEqual(thief.line(), "here")
        self.daemon.start()
        self.assertHolds(peer, 777)
        self.assertEqual(self.daemon.pids(), {peer.pid})
        peer.close()
        eventually(lambda: not self.daemon.pids(), "the end")
        self.daemon.stop()

    def test_a_crowd_is_found_at_once(self):
        self.daemon.start()
        crowd = Program(self.daemon.program("crowd"), 500, 0, 0, 4096,
                        TTMEM_SOCKET=self.daemon.socket)
        members = {int(line) for line in crowd.lines_until("ready")}
        self.daemon.kill()
        self.daemon.start()
        eventually(lambda: self.daemon.pids() == members, "all of them")
        device, = self.daemon.devices()
        self.assertEqual(self.daemon.value(device, "dram_used"), 500 * 4096)
        crowd.close()
        eventually(lambda: not self.daemon.pids(), "the end of all")
        self.daemon.stop()

    def test_liars_are_found_and_do_no_harm(self):
        self.daemon.start()
        peer = Peer(self.daemon)
        peer("alloc 0 dram 0x1000 777")
        liars = [Program(self.daemon.program("liar"), mode, self.daemon.socket, user=NOBODY)
                 for mode in ("scribble_tables", "holes", "identity", "tags", "counters")]
        for liar in liars:
            liar.line()
        self.daemon.kill()
        self.daemon.start()
        self.assertHolds(peer, 777)
        eventually(lambda: liars[-1].pid in self.daemon.pids(), "a liar")
        for path in self.daemon.files():
            try:
                with open(path, encoding="utf-8") as file:
                    self.assertTrue(is_well_made(path, file.read()), path)
            except (FileNotFoundError, ProcessLookupError):
                pass
        self.assertHolds(peer, 777)
        for liar in liars:
            liar.close()
        eventually(lambda: self.daemon.pids() == {peer.pid}, "the end of the liars")
        self.daemon.stop()

    def test_a_hoard_of_ledgers_does_not_keep_others_from_being_found(self):
        peers = [Peer(self.daemon, user=user) for user in (None, NOBODY, None)]
        hoards = [Program(self.daemon.program("forger"), "hoard", self.daemon.socket, "5000",
                          user=NOBODY) for _ in range(3)]
        for hoard in hoards:
            self.assertEqual(hoard.line(), "kept")
        peers += [Peer(self.daemon, user=user) for user in (None, NOBODY)]
        for peer in peers:
            peer("alloc 0 dram 0x1000 777")
        self.daemon.start()
        pids = {peer.pid for peer in peers}
        eventually(lambda: pids <= self.daemon.pids(), "the others", 3)
        for hoard in hoards:
            hoard.close()
        eventually(lambda: self.daemon.pids() == pids, "the end of the hoards")
        self.assertLess(self.daemon.descriptors(), 100)
        self.daemon.stop()

    def test_a_process_in_a_pid_namespace_is_found(self):
        inner = Program("unshare", "-pf", "--kill-child", self.daemon.program("peer"),
                        TTMEM_SOCKET=self.daemon.socket)
        for command in ("start", "alloc 0 dram 0x1000 777"):
            inner.send(command)
            self.assertEqual(inner.line(), "ok")
        self.daemon.start()
        eventually(self.daemon.pids, "the process")
        pid, = self.daemon.pids()
        self.assertEqual(self.daemon.value("pids", pid, "dram"), 777)
        inner.close()
        eventually(lambda: not self.daemon.pids(), "its end")
        self.daemon.stop()

    def test_processes_that_are_stuck_in_exec_keep_nobody_from_being_found(self):
        """Nor the daemon from ending. Whoever looks at their memory waits for them, without end."""
        alone_with_stuck(self)
        stuck = Program(self.daemon.program("stuck"), "exec", self.daemon.socket, 20)
        self.assertEqual(stuck.line(), "ready")
        peers = [Peer(self.daemon, user=user) for user in (None, NOBODY, None)]
        for peer in peers:
            peer("alloc 0 dram 0x1000 777")
        self.daemon.start()
        for peer in peers:
            self.assertHolds(peer, 777)
        self.assertEqual(self.daemon.pids(), {peer.pid for peer in peers})
        self.daemon.stop()
        stuck.close()

    def test_a_hello_from_one_that_is_stuck_in_exec_holds_up_nobody(self):
        alone_with_stuck(self)
        self.daemon.start()
        self.daemon.send_signal(signal.SIGSTOP)
        stuck = Program(self.daemon.program("stuck"), "hello", self.daemon.socket, 3)
        self.assertEqual(stuck.line(), "ready")
        self.daemon.send_signal(signal.SIGCONT)
        peer = Peer(self.daemon)
        peer("alloc 0 dram 0x1000 777")
        self.assertHolds(peer, 777)
        self.daemon.stop()
        stuck.close()
