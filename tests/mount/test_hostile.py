# SPDX-License-Identifier: Apache-2.0
"""Attacks on the socket and through ledgers. After each the daemon serves, other processes' numbers
are what they were, and descriptors and memory have come back."""
import errno
import os
import pwd
import re
import signal
import time

from harness import (CALM, STRANGER, MountTest, Program, alone_with_stuck, eventually,
                     is_well_made, mounts_at)

DAEMON = pwd.getpwnam("daemon")
MEMORY_LIMIT = 32 << 20
VANISHED = (errno.ENOENT, errno.ESRCH)

REFUSED_HELLOS = ("hello_magic", "hello_major", "hello_short", "hello_huge", "garbage",
                  "empty_message", "empty_with_descriptors", "no_descriptor", "flood")
REFUSED_DESCRIPTORS = ("many_descriptors", "a_pipe", "a_file", "a_directory", "a_socket",
                       "an_eventfd", "dev_zero")
REFUSED_LEDGERS = ("unsealed", "can_shrink", "cannot_be_sealed", "ledger_magic", "ledger_major",
                   "ledger_empty", "ledger_one_page", "ledger_short", "ledger_huge", "claims_more",
                   "offsets", "table_sizes", "another_pid")
EITHER_WAY = ("hello_size", "doorbell_is_a_pipe", "idle", "churn", "hit_and_run", "passed_on",
              "twice", "again")
LIES = ("scribble", "scribble_header", "scribble_tables", "holes", "shards_used", "chunks_used",
        "chunk_fill", "counters", "negative", "tags", "identity", "identities", "sequences",
        "records", "vast", "closed", "doorbell")


class Attack(MountTest):
    sums_are_safe = True  # a liar may claim to hold memory of anybody's device, by its index

    def setUp(self):
        super().setUp()
        self.victims = {self.holder(size=1001).pid: 1001,
                        self.holder(size=2002, user=STRANGER).pid: 2002}
        self.device, = self.daemon.devices()
        self.assertOthersUnchanged()
        # Each of those who live for a second gets one more.
        self.descriptors = self.daemon.descriptors() + len(self.victims)
        self.memory = self.daemon.memory()

    def assertOthersUnchanged(self):
        for pid, size in self.victims.items():
            self.assertEqual(self.daemon.value("pids", pid, "dram"), size)
            self.assertEqual(self.daemon.value("pids", pid, self.device, "dram"), size)
            self.assertEqual(self.daemon.value("pids", pid, "total"), size)
            self.assertEqual(len(self.daemon.table("pids", pid, "buffers")), 1)
        used = self.daemon.value(self.device, "dram_used")
        if self.sums_are_safe:
            self.assertEqual(used, sum(self.victims.values()))

    def assertNewcomersAreServed(self, user=None):
        newcomer = self.peer("alloc 1 l1 0x1000 77", user=user)
        eventually(lambda: self.daemon.exists("pids", newcomer.pid), "the newcomer")
        self.assertEqual(self.daemon.value("pids", newcomer.pid, "l1"), 77)
        newcomer.close()
        self.wait_gone(newcomer.pid)

    def read_everything(self):
        """Every file is printable lines, and none hangs. Returns what was read."""
        texts = {}
        for path in self.daemon.files():
            started = time.monotonic()
            try:
                with open(path, "rb") as file:
                    text = file.read()
            except OSError as error:
                self.assertIn(error.errno, VANISHED, path)
                continue
            self.assertLess(time.monotonic() - started, 10 * CALM, path)
            texts[path] = text.decode()
            self.assertTrue(is_well_made(path, texts[path]), f"{path}: {text[:2000]}")
            if path.endswith("/buffers"):
                header, *rows = texts[path].split("\n")[:-1]
                for row in rows:
                    self.assertTrue(len(row.split()) == len(header.split()) or
                                    row.startswith("# "), row)
        return texts

    def attack(self, program, mode, *arguments, user=STRANGER, verdict=None, rounds=2):
        attacker = Program(self.daemon.program(program), mode, self.daemon.socket, *arguments,
                           user=user)
        said = attacker.line()
        if verdict:
            self.assertEqual(said, verdict)
        else:
            self.assertIn(said, ("kept", "refused", "ready"))
        for _ in range(rounds):
            self.read_everything()
            self.assertOthersUnchanged()
        self.assertNewcomersAreServed(user=DAEMON)
        return attacker

    def assertRecovered(self):
        self.assertOthersUnchanged()
        self.assertNewcomersAreServed()
        self.assertNewcomersAreServed(user=STRANGER)
        eventually(lambda: self.daemon.pids() == set(self.victims), "the end of attackers")
        eventually(lambda: self.daemon.descriptors() <= self.descriptors, "closed descriptors")
        self.assertLess(self.daemon.memory() - self.memory, MEMORY_LIMIT)


class Refused(Attack):
    """What is refused is counted, leaves no process behind, and the attacker is hung up on."""

    def try_refusal(self, program, mode, *arguments, user=STRANGER):
        rejected = int(self.daemon.flat("status")["rejected_clients"])
        attacker = self.attack(program, mode, *arguments, user=user, verdict="refused")
        self.assertFalse(self.daemon.exists("pids", attacker.pid))
        self.assertGreater(int(self.daemon.flat("status")["rejected_clients"]), rejected)
        attacker.close()
        self.assertRecovered()

    def test_refuses_a_file_of_its_own_mount(self):
        """Closing it would wait for the daemon itself."""
        for name in ("version", "status", "pids", f"{self.device}/dram_peak"):
            self.try_refusal("hostile", "named", self.daemon.path(name))

    def test_refuses_a_ledger_that_belongs_to_another(self):
        for victim in self.victims:
            self.try_refusal("forger", "stolen", victim, user=None)


class Survived(Attack):
    def test_takes_a_good_forgery(self):
        """Shows that what the forgers change is why they are refused."""
        attacker = self.attack("hostile", "good", verdict="kept")
        self.assertEqual(self.daemon.value("pids", attacker.pid, "dram"), 4096)
        row, = self.daemon.table("pids", attacker.pid, "buffers")
        self.assertEqual((row["kind"], row["address"], row["size"], row["tag"]),
                         ("dram", "0x1000", "4096", "-"))
        attacker.close()
        self.assertRecovered()

    def test_a_ledger_sent_twice_counts_once(self):
        for mode in ("twice", "again"):
            attacker = self.attack("hostile", mode)
            if self.daemon.exists("pids", attacker.pid):
                self.assertEqual(self.daemon.value("pids", attacker.pid, "dram"), 4096)
            devices = [d for d in self.daemon.devices() if d != self.device]
            self.assertIn(sum(self.daemon.value(d, "dram_used") for d in devices), (0, 4096))
            attacker.close()
            self.assertRecovered()

    def test_a_connection_that_says_nothing_is_ended(self):
        attacker = self.attack("hostile", "idle", rounds=0)
        self.assertEqual(self.daemon.flat("status")["silent_connections"], "1")
        eventually(lambda: self.daemon.flat("status")["silent_connections"] == "0", "the end", 10)
        self.assertEqual(self.daemon.flat("status")["rejected_clients"], "1")
        self.assertRecovered()
        attacker.close()

    def test_a_thousand_connections_of_one_user_leave_room_for_others(self):
        attacker = self.attack("hostile", "crowd")
        for _ in range(20):
            self.assertNewcomersAreServed(user=DAEMON)
        attacker.close()
        self.assertRecovered()

    def test_hundreds_of_ledgers_of_one_user_leave_room_for_others(self):
        crowd = Program(self.daemon.program("crowd"), 400, 1, 0, 4096, user=STRANGER,
                        TTMEM_SOCKET=self.daemon.socket)
        crowd.lines_until("ready")
        self.assertLessEqual(len(self.daemon.pids()), 256 + len(self.victims))
        self.assertGreaterEqual(int(self.daemon.flat("status")["rejected_clients"]), 144)
        self.assertNewcomersAreServed(user=DAEMON)
        self.assertOthersUnchanged()
        crowd.close()
        eventually(lambda: self.daemon.pids() == set(self.victims), "the end of the crowd")
        self.assertRecovered()

    def stuck(self, mode, number, user=STRANGER):
        """The daemon is stopped while the descriptors are sent: so it finds several messages of a
        connection at once, and theirs are not yet the last references when the sender closes."""
        alone_with_stuck(self)
        self.daemon.send_signal(signal.SIGSTOP)
        attacker = Program(self.daemon.program("stuck"), mode, self.daemon.socket, number,
                           user=user)
        self.assertEqual(attacker.line(), "ready")
        self.daemon.send_signal(signal.SIGCONT)
        eventually(lambda: int(self.daemon.flat("status")["rejected_clients"]) == number, "refusal")
        return attacker

    def try_stuck(self, mode, number, user=STRANGER):
        attacker = self.stuck(mode, number, user=user)
        for _ in range(3):
            self.read_everything()
            self.assertOthersUnchanged()
        self.assertNewcomersAreServed(user=DAEMON)
        attacker.close()
        self.assertRecovered()

    def test_a_file_of_a_server_that_does_not_answer_holds_nobody_up(self):
        self.try_stuck("fuse", 6, user=None)

    def test_a_connection_that_lingers_holds_nobody_up(self):
        self.try_stuck("linger", 6)

    def test_descriptors_beyond_those_that_a_message_may_bring_hold_nobody_up(self):
        self.try_stuck("surplus", 4)

    def test_descriptors_that_nobody_received_hold_nobody_up(self):
        self.try_stuck("queued", 4)

    def test_more_descriptors_that_block_than_threads_come_back_too(self):
        self.try_stuck("linger", 60)

    def test_ends_while_closing_a_descriptor_takes_long(self):
        attacker = self.stuck("linger", 6)
        self.daemon.stop()
        attacker.close()

    def test_leaves_its_places_while_closing_a_descriptor_takes_for_ever(self):
        """The kernel lets no process go that waits for FLUSH. Mount, socket and lock must go."""
        attacker = self.stuck("fuse", 6, user=None)
        self.daemon.send_signal(signal.SIGTERM)
        eventually(lambda: not mounts_at(self.daemon.mount), "the unmounting")
        eventually(lambda: not os.path.exists(f"{self.daemon.socket}.lock"), "the end of the locks")
        waiting = self.daemon.process
        self.daemon.start()
        eventually(lambda: self.daemon.pids() == set(self.victims), "the others, found again")
        self.assertOthersUnchanged()
        self.assertNewcomersAreServed()
        attacker.close()
        self.assertEqual(waiting.wait(10), 0)

    def test_memory_does_not_grow_with_refusals(self):
        for _ in range(3):
            for mode in ("many_descriptors", "a_socket", "flood"):
                Program(self.daemon.program("hostile"), mode, self.daemon.socket).close()
        self.assertRecovered()
        self.assertLess(self.daemon.memory() - self.memory, 4 << 20)

    def test_a_vast_table_of_nothing_does_not_hold_others_up(self):
        liar = Program(self.daemon.program("liar"), "vast", self.daemon.socket, user=STRANGER)
        liar.line()
        reader = Program("sh", "-c", 'cat "$1" | wc -l', "sh",
                         self.daemon.path("pids", liar.pid, "buffers"))
        waits = []
        while reader.process.poll() is None:
            started = time.monotonic()
            self.assertOthersUnchanged()
            waits.append(time.monotonic() - started)
        self.assertEqual(reader.line(), "2")
        self.assertLess(max(waits), 1.0 * CALM)
        liar.close()
        self.assertRecovered()

    def test_names_from_identities_stay_inside_the_mount(self):
        liar = self.attack("liar", "identity")
        for folder, folders, names in os.walk(self.daemon.mount):
            for name in folders + names:
                self.assertRegex(name, r"\A[\w.:-]+\Z")
                path = os.path.join(folder, name)
                if os.path.islink(path) and name != "self":
                    target = os.path.realpath(path)
                    self.assertTrue(target.startswith(self.daemon.mount + "/"), path)
        liar.close()
        self.assertRecovered()

    def test_invented_devices_are_limited(self):
        liar = self.attack("liar", "identities", rounds=3)
        self.assertLessEqual(len(self.daemon.devices()), 140)
        other = self.peer("declare 2 asic=0x0BDE", "alloc 2 dram 0x1000 5", user=DAEMON)
        self.assertIn(0x0BDE, {int(n, 16) for n in os.listdir(self.daemon.path("by-asic"))})
        other.close()
        liar.close()
        self.assertRecovered()

    def test_huge_counters_do_not_spill_over(self):
        liar = self.attack("liar", "counters")
        for path, text in self.read_everything().items():
            if re.search(r"/(\w+_used|\w+_peak|total|dram)$", path):
                self.assertLess(int(text), 1 << 64, path)
        liar.close()
        self.assertRecovered()


def add_claims(case, claims):
    """A test method for each attack, so that each has a line of its own."""
    for name, test in claims:
        setattr(case, name, test)


def refusal(program, mode):
    return lambda self: self.try_refusal(program, mode)


def survival(program, mode):
    def test(self):
        self.sums_are_safe = mode not in ("scribble", "scribble_header")
        attacker = self.attack(program, mode)
        attacker.close()
        self.wait_gone(attacker.pid)
        self.sums_are_safe = True
        self.assertRecovered()
    return test


def killed(mode):
    def test(self):
        attacker = self.attack("liar", mode, rounds=1)
        attacker.kill()
        self.assertRecovered()
    return test


add_claims(Refused, [(f"test_refuses_{mode}", refusal(program, mode))
                     for program, modes in (("hostile", REFUSED_HELLOS + REFUSED_DESCRIPTORS),
                                            ("forger", REFUSED_LEDGERS)) for mode in modes])
add_claims(Survived, [(f"test_survives_{mode}", survival("hostile", mode)) for mode in EITHER_WAY])
add_claims(Survived, [(f"test_survives_lies_{mode}", survival("liar", mode)) for mode in LIES])
add_claims(Survived, [(f"test_survives_the_end_of_{mode}", killed(mode))
                      for mode in ("scribble_tables", "holes")])
