# SPDX-License-Identifier: Apache-2.0
"""The daemon is replaced, killed or stopped while others work: what they hold is there again, all of it,
with what they did meanwhile."""
import signal
import time
import unittest

import harness
from harness import NOBODY, Daemon, Peer, Program, clean_up, eventually
from storms import StormTest


def end_politely(daemon):
    daemon.process.terminate()
    assert daemon.process.wait(10 * harness.CALM) == 0, daemon.log()


def end_at_once(daemon):
    daemon.kill()


WAYS = (end_politely, end_at_once)


class UnderLoad(StormTest):
    count = 6

    def test_nothing_is_lost(self):
        pids = {storm.pid for storm in self.storms}
        for end in WAYS * 2:
            end(self.daemon)
            self.daemon.start()
            eventually(lambda: self.daemon.pids() == pids, "all of them")
            self.check_storms(self.hold())
            self.go()

    def test_nothing_is_lost_when_they_stand_still_meanwhile(self):
        """Not a byte is taken from what they hold, and not a call of theirs counted twice."""
        totals = self.hold()
        self.check_storms(totals)
        stats = {pid: self.daemon.text("pids", pid, "stat") for pid in totals}
        peaks = {pid: self.daemon.text("pids", pid, "peak") for pid in totals}
        for end in WAYS:
            end(self.daemon)
            self.daemon.start()
            eventually(lambda: self.daemon.pids() == set(totals), "all of them")
            self.check_storms(totals)
            for pid in totals:
                self.assertEqual(self.daemon.text("pids", pid, "stat"), stats[pid])
                self.assertEqual(self.daemon.text("pids", pid, "peak"), peaks[pid])
        self.go()


class AtThatMoment(unittest.TestCase):
    """Clients that start while nobody listens, or while nobody who listens will ever answer."""

    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()

    def client(self, size, user=None):
        peer = Peer(self.daemon, user=user)
        peer(f"alloc 0 dram 0x1000 {size}")
        return peer

    def assert_there(self, **clients):
        eventually(lambda: self.daemon.pids() == {c.pid for c in clients.values()}, "all")
        for size, client in clients.items():
            self.assertEqual(self.daemon.value("pids", client.pid, "dram"), int(size[1:]))

    def test_whose_hello_waits_when_the_daemon_dies(self):
        for user in (None, NOBODY):
            self.daemon.start()
            self.daemon.send_signal(signal.SIGSTOP)
            client = self.client(777, user)
            self.daemon.kill()
            self.daemon.start()
            self.assert_there(_777=client)
            client.close()
            end_politely(self.daemon)

    def test_who_starts_between_two_daemons(self):
        for end in WAYS:
            self.daemon.start()
            end(self.daemon)
            client = self.client(777)
            self.daemon.start()
            self.assert_there(_777=client)
            client.close()
            end_politely(self.daemon)

    def test_who_starts_while_the_daemon_starts(self):
        """Before it listens, before it has looked around, and so on."""
        early = self.client(1)
        for turn in range(40):
            self.daemon.launch()
            time.sleep(turn * 0.0005)  # not to wait for anything: to be at another place each time
            self.daemon.send_signal(signal.SIGSTOP)
            client = self.client(777)
            self.daemon.send_signal(signal.SIGCONT)
            eventually(self.daemon.is_ready, "the mount", 10)
            self.assert_there(_1=early, _777=client)
            client.close()
            self.daemon.kill() if turn % 2 else end_politely(self.daemon)

    def test_a_crowd_that_is_born_meanwhile(self):
        self.daemon.start()
        crowds, members = [], set()
        for turn in range(6):
            crowd = Program(self.daemon.program("crowd"), 60, 0, 0, 4096,
                            TTMEM_SOCKET=self.daemon.socket)
            crowds.append(crowd)
            members.add(int(crowd.line()))  # it has begun
            WAYS[turn % 2](self.daemon)
            self.daemon.start()
            members |= {int(line) for line in crowd.lines_until("ready")}
        eventually(lambda: self.daemon.pids() == members, "all of them")
        self.assertEqual(len(members), 360)
        self.assertEqual(self.daemon.value("device0", "dram_used"), 360 * 4096)
        for crowd in crowds:
            crowd.close()
        eventually(lambda: not self.daemon.pids(), "the end of all")
        self.daemon.stop()
