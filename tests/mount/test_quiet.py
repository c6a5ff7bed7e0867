# SPDX-License-Identifier: Apache-2.0
"""The library makes no system call for an allocation or a free, and none from time to time: programs
that allocate without a pause under a filter that counts them."""
import os

from harness import MountTest, Program, eventually
from test_churn import Beside
from watching import Inotify

STRETCH_MS = 1200  # in which something that is done every second would be done


class Quiet(MountTest):
    def setUp(self):
        super().setUp()
        if self.daemon.is_sanitized():
            self.skipTest("a sanitizer makes calls of its own")

    def client(self, threads=1):
        client = Program(self.daemon.program("quiet"), threads, STRETCH_MS,
                         TTMEM_SOCKET=self.daemon.socket)
        self.assertEqual(client.line(), "0 0 0")
        return client

    def calls(self, client):
        """System calls in a stretch of allocating, the last one, and how many for each buffer."""
        client.send("")
        pairs, calls, last = (int(word) for word in client.line().split())
        self.assertGreater(pairs, 10000)
        return calls, last, calls / pairs

    def assert_quiet(self, client):
        calls, last, _ = self.calls(client)
        self.assertEqual(calls, 0, f"system call {last}")

    def test_none_while_nobody_reads(self):
        client = self.client()
        self.assert_quiet(client)
        self.assertEqual(self.daemon.value("pids", client.pid, "total"), 0)
        self.assertEqual(self.daemon.flat("status")["doorbells"], "0")

    def test_next_to_none_while_others_read(self):
        """A reader may be about to watch what he has looked up, and counts as one for a moment."""
        client = self.client()
        with Beside(lambda: self.daemon.table("pids", client.pid, "buffers")) as reading:
            self.assertLess(self.calls(client)[2], 0.001)
        self.assertGreater(reading.rounds, 0)

    def test_none_without_a_collector_and_when_one_comes(self):
        self.daemon.kill()
        client = self.client()
        self.assert_quiet(client)
        client.send("")
        self.daemon.start()
        eventually(lambda: client.pid in self.daemon.pids(), "the client")
        self.assertEqual(client.line().split()[1], "0")

    def test_none_but_to_wait_for_each_other_by_several_threads(self):
        client = self.client(threads=3)
        self.assert_quiet(client)
        self.assertEqual(len(os.listdir(f"/proc/{client.pid}/task")), 1 + 3)

    def test_the_doorbell_rings_when_somebody_watches(self):
        """So there are calls that would be seen."""
        client = self.client()
        path = self.daemon.path("pids", client.pid, "l1")
        with Inotify(path):
            self.daemon.text("pids", client.pid, "l1")
            calls, _, _ = self.calls(client)
        self.assertGreater(calls, 0)
