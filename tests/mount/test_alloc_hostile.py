# SPDX-License-Identifier: Apache-2.0
"""Attacks on the allocation server's socket. After each the daemon serves, and the numbers of others
are what they were."""
import ctypes
import os
import random
import re
import resource
import signal
import socket
import struct
import threading
import time

from alloc import ALLOC, CB_ALLOC, CB_FREE, DUMP, FORMS, FREE, QUERY, AllocTest, message
from harness import NOBODY, Daemon, eventually, libc

SYS_CLONE3, SYS_PIDFD_GETFD = 435, 438
GARBAGE = bytes(range(160, 255))


class Attack(AllocTest):
    """With connections of this process, that end with the test."""

    def connect(self):
        link = socket.socket(socket.AF_UNIX)
        self.addCleanup(link.close)
        link.connect(self.path)  # without a timeout, with which it would not wait for its turn
        link.settimeout(20)
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


def child_of_number(pid):
    """A child that has this pid, which must be free, and waits to be killed."""
    number = (ctypes.c_int * 1)(pid)
    arguments = struct.pack("11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(number), 1, 0)
    child = libc.syscall(SYS_CLONE3, arguments, len(arguments))
    while child == 0:
        signal.pause()
    return child


class Identity(Attack):
    def test_a_reused_number_does_not_inherit_a_connection(self):
        self.daemon.text("version")
        self.daemon.send_signal(signal.SIGSTOP)
        try:
            teller = self.teller()
            teller.alloc(1, 4096)
            teller.kill()
            child = child_of_number(teller.pid)
            if child != teller.pid:
                self.skipTest(f"cannot choose pids: {os.strerror(ctypes.get_errno())}")
        finally:
            self.daemon.send_signal(signal.SIGCONT)
        try:
            eventually(lambda: self.status("lost_events") == 1)
            self.assertFalse(self.daemon.exists("pids", child))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


    def test_two_users_in_one_process_are_one_process(self):
        first, second = self.connect_as(NOBODY), self.connect()
        first.sendall(self.event(ALLOC, 1, 4096))
        self.assertEqual(self.own(), 4096)
        second.sendall(self.event(ALLOC, 2, 1) + self.event(ALLOC, 1, 4096))
        self.assertEqual(self.own(), 4097)
        self.assertEqual(self.daemon.value("pids", os.getpid(), "uid"), NOBODY.pw_uid)
        first.close()
        eventually(lambda: self.status("connections") == 1)
        self.assertEqual(self.own(), 4097)
        second.close()
        self.wait_gone(os.getpid())
        self.assertEqual(self.gone(os.getpid())["leaked"], "4097")

    def test_a_connection_that_is_handed_on_stays_its_makers(self):
        teller = self.teller()
        number, = [int(n) for n in os.listdir(f"/proc/{teller.pid}/fd")
                   if os.readlink(f"/proc/{teller.pid}/fd/{n}").startswith("socket:")]
        pidfd = os.pidfd_open(teller.pid)
        link = socket.socket(fileno=libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0))
        os.close(pidfd)
        link.sendall(self.event(ALLOC, 1, 4096) * 3)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4096)
        self.assertFalse(self.daemon.exists("pids", os.getpid()))
        teller.kill()
        self.wait_gone(teller.pid)
        with self.assertRaises(OSError):
            link.sendall(self.event(ALLOC, 2, 4096))
        link.close()
        self.assertEqual(self.daemon.value("device0/dram_used"), 0)
        self.assertEqual(self.status("connections"), 0)


class Counts(Attack):
    @staticmethod
    def note(list_, kind, device, buffer, size):
        """What the event does to {(is_cb, device, buffer): [references, size]}."""
        is_cb = kind in (CB_ALLOC, CB_FREE)
        if kind in (ALLOC, CB_ALLOC):
            references = list_.get((is_cb, device, buffer), [0])[0]
            list_[is_cb, device, buffer] = [references + 1, size]
            return
        for place in (device, *range(8)):
            entry = list_.get((is_cb, place, buffer))
            if entry:
                entry[0] -= 1
                if not entry[0]:
                    del list_[is_cb, place, buffer]
                return

    @staticmethod
    def sums(list_):
        sums = {}
        for (is_cb, device, _), (_, size) in list_.items():
            key = str(device), "cb" if is_cb else "dram"
            held, number = sums.get(key, (0, 0))
            sums[key] = held + size, number + 1
        return sums

    def test_random_events_in_random_pieces_are_what_a_list_says(self):
        dice = random.Random(1)
        for form in FORMS:
            link, list_, kinds = self.connect(), {}, (ALLOC, FREE)
            if form >= 128:
                kinds += (CB_ALLOC, CB_FREE)
            for _ in range(20):
                data = b""
                for _ in range(dice.choice((1, 10, 100))):
                    kind, device, buffer = dice.choice(kinds), dice.choice((0, 1, 7)), dice.randrange(20)
                    size = dice.choice((0, 64, 1 << 33))
                    data += self.event(kind, buffer, size, device, form)
                    data += dice.choice((b"", b"", b"", message(form, dice.choice((QUERY, DUMP)))))
                    self.note(list_, kind, device, buffer, size)
                while data:
                    piece = dice.choice((1, 24, 71, 72, 129, 5000))
                    link.sendall(data[:piece])
                    data = data[piece:]
                self.assertEqual(self.daemon.sum_of_buffers(os.getpid()), self.sums(list_))
            self.assertEqual(self.status("garbage_bytes"), 0)
            link.close()
            self.wait_gone(os.getpid())


class Descriptors(Attack):
    def descriptors(self):
        """Without those of the look at all processes, with which the daemon starts."""
        return sum(not re.match("/proc(/[0-9].*)?$", path) for path in self.daemon.open_paths())

    def test_when_there_are_none_it_says_so_once_and_goes_on_later(self):
        teller, most = self.teller(), resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)
        teller.alloc(1, 4096)
        self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
        for failures in (1, 2):
            # Whatever the daemon closes meanwhile, it does not get these three.
            resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (3, most[1]))
            link, end = self.connect(), time.monotonic() + 1.2
            link.sendall(self.event(ALLOC, 1, 1))
            eventually(lambda: "cannot accept connections" in self.daemon.text("sources"))
            while time.monotonic() < end:  # several attempts, none of which is a change
                self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
            self.assertEqual(self.daemon.log().count("cannot accept connections"), failures)
            resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, most)
            eventually(lambda: self.daemon.exists("pids", os.getpid()))
            self.assertRegex(self.daemon.text("sources"), "alloc-server +up ")
            link.close()
            self.wait_gone(os.getpid())

    def test_those_who_come_and_go_leave_nothing(self):
        keeper = self.connect()
        self.assertEqual(self.status("connections"), 1)
        before = self.descriptors()
        for number in range(600):
            link = self.connect()
            link.sendall((b"", GARBAGE, self.event(ALLOC, 1, 1), message(128, QUERY))[number % 4])
            link.close()
        eventually(lambda: self.status("connections") == 1)
        # Something else that the daemon did may have been under way before.
        eventually(lambda: self.descriptors() <= before)
        keeper.close()
        eventually(lambda: not self.daemon.exists("pids", os.getpid()))

    def test_where_they_are_few_some_are_left_for_others(self):
        second = Daemon()
        second.options = (f"--alloc-server={second.dir}/alloc.sock",)
        plain = second.argv
        second.argv = lambda: ["prlimit", "--nofile=256:256", *plain()]
        self.daemon, self.path = second.start(), f"{second.dir}/alloc.sock"
        links = [self.connect_as(NOBODY) for _ in range(100)]
        links += [self.connect() for _ in range(140)]
        for link in links:
            try:
                link.sendall(self.event(ALLOC, 1, 1))
            except BrokenPipeError:
                pass
        peer = self.peer("alloc 1 l1 0x1000 77")
        self.assertEqual(self.daemon.value("pids", peer.pid, "l1"), 77)
        self.assertEqual(self.own(), 1)
        self.assertEqual(self.status("connections"), 32)
        self.assertEqual(self.status("rejected"), 92 + 116)


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

    def flood(self, start, data, before=lambda: None, after=lambda: None):
        """What a user sends on many connections while the daemon stands still, and after that one
        event of another's. Returns how many bytes the flood has, and the other."""
        links, teller = [self.connect_as(NOBODY) for _ in range(self.LINKS)], self.teller()
        teller.alloc(1, 4096)
        for link in links:
            link.sendall(start)
        eventually(lambda: self.status("connections") >= self.LINKS + 1)
        self.daemon.send_signal(signal.SIGSTOP)
        try:
            before()
            sent = sum(self.fill(link, data) for link in links)
            teller.alloc(2, 1)
            after()
            return sent, teller
        finally:
            self.daemon.send_signal(signal.SIGCONT)

    def test_a_reader_does_not_wait_for_garbage_that_is_dear_to_read(self):
        # Every fourth byte could be the start of a question.
        sent, teller = self.flood(self.event(ALLOC, 1, device=1) * 5 + GARBAGE,
                                  bytes((QUERY, 0, 0, 0)) * 16384)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4097)
        # Each of a reader's requests takes in what the user's share allows, and no more.
        self.assertLess(self.status("garbage_bytes"), sent)

    def test_last_words_count_in_the_flood_of_ones_own_user(self):
        """A reader has it taken in until that is enough, and then somebody has ended."""
        leaver = self.teller(user=NOBODY)
        leaver.alloc(1, 4096)
        self.assertEqual(self.daemon.value("pids", leaver.pid, "dram"), 4096)
        reader = threading.Thread(target=self.daemon.text, args=("summary",))

        def leave():
            leaver.send(f"quit {leaver.event(FREE, 1).hex()}")
            leaver.process.wait()

        self.flood(self.event(ALLOC, 1, device=1) * 5 + GARBAGE,
                   bytes((QUERY, 0, 0, 0)) * 16384, reader.start, leave)
        reader.join()
        self.assertEqual(self.gone(leaver.pid)["leaked"], "0")

    def test_it_ends_in_the_midst_of_it(self):
        _, teller = self.flood(self.event(ALLOC, 1, 1), self.event(FREE, 1) + message(128, QUERY))
        self.daemon.stop()
        self.assertIsNone(teller.process.poll())


class Sleep(Attack):
    def ticks(self):
        """Of processor time that the daemon has used."""
        with open(f"/proc/{self.daemon.pid}/stat", encoding="ascii") as stat:
            return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))

    def is_asleep(self):
        before = self.ticks()
        time.sleep(0.2)
        return self.ticks() == before

    def test_connections_in_odd_states_wake_nobody(self):
        def blocked():
            link = self.connect()
            link.sendall(message(128, QUERY) * 3000)
            return link

        for state in (blocked, lambda: blocked().shutdown(socket.SHUT_WR),
                      lambda: blocked().shutdown(socket.SHUT_RD),
                      lambda: blocked().shutdown(socket.SHUT_RDWR),
                      lambda: self.fill(blocked(), message(128, QUERY)),
                      lambda: self.connect().sendall(message(128, QUERY)[:80]),
                      lambda: self.connect().sendall(message(128, QUERY) + GARBAGE[:3])):
            state()
            eventually(self.is_asleep, "sleep")
