# SPDX-License-Identifier: Apache-2.0
"""Attacks on the allocation server's socket. After each the daemon serves, and the numbers of others
are what they were."""
import os
import signal
import socket
import threading

from alloc import ALLOC, FREE, QUERY, AllocTest, message
from harness import NOBODY, eventually

GARBAGE = bytes(range(160, 255))


class Attack(AllocTest):
    """With connections of this process, that end with the test."""

    def connect(self):
        link = socket.socket(socket.AF_UNIX)
        self.addCleanup(link.close)
        link.settimeout(20)
        link.connect(self.path)
        return link

    def connect_as(self, user):
        """Connections of this process, but another user's."""
        os.seteuid(user.pw_uid)
        try:
            return self.connect()
        finally:
            os.seteuid(0)

    @staticmethod
    def fill(link, data):
        """Sends it again and again until no more fits. How many bytes that were."""
        sent = 0
        link.setblocking(False)
        try:
            while True:
                sent += link.send(data[sent % len(data):])
        except BlockingIOError:
            return sent

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


class Floods(Attack):
    LINKS = 100

    def flood(self, start, data):
        """What a user sends on many connections while the daemon stands still, and after that one
        event of another's. Returns how many bytes the flood has, and the other."""
        links, teller = [self.connect_as(NOBODY) for _ in range(self.LINKS)], self.teller()
        teller.alloc(1, 4096)
        for link in links:
            link.sendall(start)
        eventually(lambda: self.status("connections") == self.LINKS + 1)
        self.daemon.send_signal(signal.SIGSTOP)
        try:
            sent = sum(self.fill(link, data) for link in links)
            teller.alloc(2, 1)
            return sent, teller
        finally:
            self.daemon.send_signal(signal.SIGCONT)

    def test_a_reader_does_not_wait_for_garbage_that_is_dear_to_read(self):
        # Every fourth byte could be the start of a question.
        sent, teller = self.flood(self.event(ALLOC, 1, device=1) * 5 + GARBAGE,
                                  bytes((QUERY, 0, 0, 0)) * 16384)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4097)
        self.assertLess(self.status("garbage_bytes"), sent // 2)
