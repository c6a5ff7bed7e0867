# SPDX-License-Identifier: Apache-2.0
"""Attacks on the allocation server's socket. After each the daemon serves, and the numbers of others
are what they were."""
import os
import socket
import threading

from alloc import ALLOC, FREE, QUERY, AllocTest, message
from harness import eventually

GARBAGE = bytes(range(160, 255))


class Attack(AllocTest):
    """With connections of this process, that end with the test."""

    def connect(self):
        link = socket.socket(socket.AF_UNIX)
        self.addCleanup(link.close)
        link.settimeout(20)
        link.connect(self.path)
        return link

    @staticmethod
    def event(kind, buffer, size=0, device=0, form=128):
        return message(form, kind, device, size, 0, os.getpid(), buffer, 1)

    def own(self, name="dram"):
        return self.daemon.value("pids", os.getpid(), name)


class Ends(Attack):
    def test_who_takes_no_answers_is_heard_still(self):
        link = self.connect()
        link.sendall(self.event(ALLOC, 1, 4096) * 4)
        link.shutdown(socket.SHUT_RD)
        link.sendall(message(128, QUERY) * 100)
        eventually(lambda: self.status("lost_answers") == 100)
        link.sendall(self.event(ALLOC, 2, 1))
        self.assertEqual(self.own(), 4097)
        link.sendall(message(128, QUERY))
        link.shutdown(socket.SHUT_WR)
        self.wait_gone(os.getpid())
        self.assertEqual(self.status("connections"), 0)
        self.assertEqual(self.status("lost_answers"), 101)

    def test_last_words_of_who_leaves_answers_unread_count(self):
        link = self.connect()
        link.sendall(b"".join(self.event(ALLOC, n, 4096) for n in range(6)))
        link.sendall(message(128, QUERY) * 2)
        link.recv(128)
        # Nothing follows it, so it waits for the end to be believed.
        link.sendall(GARBAGE + self.event(FREE, 3))
        self.assertEqual(self.own(), 6 * 4096)
        link.close()
        self.wait_gone(os.getpid())
        self.assertEqual(self.gone(os.getpid())["leaked"], str(5 * 4096))
        self.assertEqual(self.status("garbage_bytes"), len(GARBAGE))


class Questions(Attack):
    def test_who_goes_on_talking_holds_up_no_first_question(self):
        talker, ended = self.connect(), threading.Event()

        def talk():
            talker.sendall(message(128, QUERY))
            ended.wait(0.002)
            while not ended.is_set():
                talker.sendall(self.event(ALLOC, 1, 1) * 100)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            for _ in range(5):
                asker = self.connect()
                asker.sendall(message(72, QUERY))
                asker.settimeout(5)
                self.assertEqual(len(asker.recv(72)), 72)
        finally:
            ended.set()
            thread.join()
