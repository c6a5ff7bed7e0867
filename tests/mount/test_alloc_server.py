# SPDX-License-Identifier: Apache-2.0
"""The older allocation server's protocol: events, and what the mount says of them."""
import os
import signal
import time

from alloc import (ALLOC, CB, CB_ALLOC, CB_FREE, DRAM, DUMP, FORMS, FREE, KERNEL, KERNEL_LOAD,
                   KERNEL_UNLOAD, L1, L1_SMALL, SYSTEM, TRACE, AllocTest, message)
from harness import KINDS, NOBODY, eventually

BY_KIND = {"dram": DRAM, "l1": L1, "system": SYSTEM, "l1_small": L1_SMALL, "trace": TRACE,
           "cb": CB, "kernel": KERNEL}


class Events(AllocTest):
    def sums(self, *place):
        return {k: self.daemon.value(*place, k) for k in KINDS}

    def test_every_form_counts_every_kind(self):
        for form in FORMS:
            teller = self.teller(form=form)
            for number, kind in enumerate(KINDS, 1):
                teller.alloc(number, number << 12, BY_KIND[kind], device=form % 7)
            expected = {kind: number << 12 for number, kind in enumerate(KINDS, 1)}
            self.assertEqual(self.sums("pids", teller.pid), expected)
            self.assertEqual(self.sums("pids", teller.pid, f"device{form % 7}"), expected)
            rows = self.daemon.table("pids", teller.pid, "buffers")
            self.assertEqual({(r["kind"], int(r["address"], 0), int(r["size"])) for r in rows},
                             {(k, n, n << 12) for n, k in enumerate(KINDS, 1)})
            self.assertEqual(self.daemon.text("pids", teller.pid, "source"), "alloc-server\n")
            for number in range(1, len(KINDS) + 1):
                teller.free(number, device=form % 7)
            self.assertEqual(set(self.sums("pids", teller.pid).values()), {0})
            self.assertEqual(self.daemon.table("pids", teller.pid, "buffers"), [])
            self.assertEqual(self.daemon.flat("pids", teller.pid, "peak")["dram"], str(1 << 12))
            teller.close()

    def test_a_read_shows_what_was_sent_before_it(self):
        teller = self.teller()
        for number in range(500):
            teller.alloc(number, 1 + number)
            self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 1 + number)
            self.assertEqual(self.daemon.value("device0/dram_used"), 1 + number)
            teller.free(number)
            self.assertEqual(self.daemon.value("device0/dram_used"), 0)

    def test_the_first_event_of_a_connection_is_shown_at_once(self):
        for form in FORMS:
            teller = self.teller(form=form)
            teller.alloc(1, 4096)
            self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4096)

    def test_messages_come_in_pieces_and_many_at_once(self):
        for form in FORMS:
            teller = self.teller(form=form)
            stream = b"".join(teller.event(ALLOC, n, 16, L1, 2) for n in range(1000))
            teller.raw(stream[:500 * form])
            for at in range(500 * form, 510 * form, 7):
                teller.raw(stream[at:min(at + 7, 510 * form)])
            teller.raw(stream[510 * form:])
            self.assertEqual(self.daemon.value("pids", teller.pid, "l1"), 16000)
        self.assertEqual(self.status("messages"), 4000)
        self.assertEqual(self.status("garbage_bytes"), 0)

    def test_an_event_is_believed_before_its_tail_has_come(self):
        teller = self.teller(form=144)
        event = teller.event(ALLOC, 1, 4096)
        teller.raw(event[:71])
        self.assertFalse(self.daemon.exists("pids", teller.pid))
        teller.raw(event[71:72])
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4096)
        teller.raw(event[72:])
        teller.alloc(2, 1)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4097)

    def test_garbage_between_messages_is_counted_and_costs_none(self):
        garbage = bytes(range(160, 255)) * 3
        for form in FORMS:
            before, teller = self.status("garbage_bytes"), self.teller(form=form)
            for number in range(6):
                teller.alloc(number, 4096)
            teller.raw(garbage)
            for number in range(6, 12):
                teller.alloc(number, 4096)
            eventually(lambda t=teller: self.daemon.value("pids", t.pid, "dram") == 12 * 4096)
            self.assertEqual(self.status("garbage_bytes") - before, len(garbage))
        self.assertIn("bytes that are no message", self.daemon.log())
        self.assertEqual(self.daemon.log().count("bytes that are no message"), 1)

    def test_a_stream_of_garbage_is_nobodys(self):
        teller = self.teller()
        teller.raw(b"GET / HTTP/1.1\r\n" * 20000)
        eventually(lambda: self.status("garbage_bytes") > 300000)
        self.assertFalse(self.daemon.exists("pids", teller.pid))

    def test_a_buffer_allocated_again_is_one_more_reference(self):
        teller = self.teller()
        for _ in range(3):
            teller.alloc(7, 4096)
        self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
        self.assertEqual(len(self.daemon.table("pids", teller.pid, "buffers")), 1)
        teller.free(7)
        teller.free(7)
        self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
        teller.free(7)
        self.assertEqual(self.daemon.value("device0/dram_used"), 0)

    def test_another_size_of_the_same_buffer_is_the_newest(self):
        teller = self.teller()
        teller.alloc(7, 4096)
        teller.alloc(7, 1024, L1)
        self.assertEqual(self.sums("pids", teller.pid)["dram"], 0)
        self.assertEqual(self.sums("pids", teller.pid)["l1"], 1024)
        self.assertEqual(self.daemon.flat("pids", teller.pid, "stat")["size_mismatches"], "1")

    def test_a_free_with_the_wrong_device_finds_the_buffer(self):
        teller = self.teller(form=112)
        teller.alloc(7, 4096, device=5)
        teller.free(7, device=0)
        self.assertEqual(self.daemon.value("device5/dram_used"), 0)
        teller.alloc(7, 1, device=0)
        teller.alloc(7, 2, device=5)
        teller.free(7, device=0)
        self.assertEqual((self.daemon.value("device0/dram_used"),
                          self.daemon.value("device5/dram_used")), (0, 2))

    def test_a_free_of_what_is_not_there_is_counted_and_changes_nothing(self):
        teller, other = self.teller(), self.teller()
        other.alloc(7, 4096)
        teller.alloc(1, 1)
        teller.free(7)
        self.assertEqual(self.daemon.value("pids", other.pid, "dram"), 4096)
        self.assertEqual(self.daemon.flat("pids", teller.pid, "stat")["unknown_frees"], "1")

    def test_circular_buffers_and_kernels_have_numbers_of_their_own(self):
        teller = self.teller()
        teller.alloc(7, 1)
        teller.tell(CB_ALLOC, 7, 10)
        for number, name in enumerate(("application", "fabric", "dispatch")):
            teller.tell(KERNEL_LOAD, number, 100, number)
        sums = self.sums("pids", teller.pid)
        self.assertEqual((sums["dram"], sums["cb"], sums["kernel"]), (1, 10, 300))
        tags = {r["tag"] for r in self.daemon.table("pids", teller.pid, "buffers")
                if r["kind"] == "kernel"}
        self.assertEqual(tags, {"application", "fabric", "dispatch"})
        teller.tell(CB_FREE, 7)
        teller.tell(KERNEL_UNLOAD, 1)
        sums = self.sums("pids", teller.pid)
        self.assertEqual((sums["dram"], sums["cb"], sums["kernel"]), (1, 0, 200))

    def test_the_kernel_says_who_it_is(self):
        teller, victim = self.teller(), self.teller()
        victim.alloc(1, 4096)
        liar = message(128, ALLOC, 0, 1 << 40, DRAM, victim.pid, 9)
        teller.raw(liar)
        teller.raw(message(128, FREE, 0, 0, DRAM, victim.pid, 1))
        self.assertEqual(self.daemon.value("pids", victim.pid, "dram"), 4096)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 1 << 40)

    def test_sizes_beyond_all_measure_do_not_wrap(self):
        teller = self.teller()
        for number in range(4):
            teller.alloc(number, (1 << 64) - 1 - number)
            teller.alloc(10 + number, (1 << 62) + number)
        used = self.daemon.value("device0/dram_used")
        self.assertEqual(used, (1 << 62))
        self.assertEqual(self.daemon.flat("pids", teller.pid, "stat")["untracked"], "7")
        for number in range(4):
            teller.free(10 + number)
        self.assertEqual(self.daemon.value("device0/dram_used"), 0)

    def test_a_device_that_cannot_be_is_a_bad_argument(self):
        teller = self.teller()
        teller.alloc(1, 4096, device=63)
        teller.alloc(2, 4096, device=-1)
        self.assertEqual(self.daemon.devices(), ["device63"])
        self.assertEqual(self.daemon.flat("pids", teller.pid, "stat")["bad_arguments"], "1")

    def test_counters_only_grow_and_peaks_are_exact(self):
        teller = self.teller()
        teller.raw(b"".join(teller.event(ALLOC, n, 100) for n in range(10)) +
                   b"".join(teller.event(FREE, n) for n in range(10)))
        stat = self.daemon.flat("device0/stat")
        self.assertEqual((stat["dram_used"], stat["dram_peak"], stat["dram_allocated_total"]),
                         ("0", "1000", "1000"))


class Ends(AllocTest):
    def test_death_releases_what_was_held_and_notes_it(self):
        teller = self.teller()
        teller.alloc(1, 4096)
        teller.alloc(2, 100, L1)
        self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
        teller.kill()
        self.wait_gone(teller.pid)
        self.assertEqual(self.daemon.value("device0/dram_used"), 0)
        row = self.gone(teller.pid)
        self.assertEqual((row["leaked"], row["dram_peak"]), ("4196", "4096"))

    def test_a_disconnect_releases_what_was_held_and_notes_it(self):
        teller = self.teller()
        teller.alloc(1, 4096)
        self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
        teller("close 0")
        self.wait_gone(teller.pid)
        self.assertEqual(self.gone(teller.pid)["leaked"], "4096")
        teller.open()
        teller.alloc(1, 1)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 1)

    def test_last_words_count(self):
        for _ in range(20):
            teller = self.teller()
            held = [teller.event(ALLOC, n, 64) for n in range(2000)]
            freed = [teller.event(FREE, n) for n in range(2000)]
            teller.alloc(9999, 1)
            self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 1)
            teller.free(9999)
            teller.send("quit " + b"".join(held + freed).hex())
            teller.process.wait()
            self.wait_gone(teller.pid)
            self.assertEqual((self.gone(teller.pid)["leaked"],
                              self.gone(teller.pid)["dram_peak"]), ("0", "128000"))

    def test_connections_of_one_process_add_up(self):
        teller = self.teller()
        teller.open(1)
        teller.alloc(1, 1000)
        teller.alloc(2, 100, link=1)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 1100)
        teller.free(1, link=1)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 100)
        teller("close 1")
        eventually(lambda: self.status("connections") == 1)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 100)
        teller("close 0")
        self.wait_gone(teller.pid)

    def test_an_end_by_a_signal_leaves_clients_alone(self):
        teller = self.teller()
        teller.alloc(1, 4096)
        self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
        self.daemon.stop()
        self.assertIsNone(teller.process.poll())

    def test_a_child_that_has_its_connection_does_not_outlive_its_parent_here(self):
        teller = self.teller()
        teller.alloc(1, 4096)
        child = int(teller("fork"))
        try:
            self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4096)
            teller.process.send_signal(signal.SIGKILL)
            teller.process.wait()
            self.wait_gone(teller.pid)
            eventually(lambda: self.status("connections") == 0)
        finally:
            os.kill(child, signal.SIGKILL)


class Crowd(AllocTest):
    def test_many_connections_of_many_processes_are_all_counted(self):
        tellers = [self.teller(form=FORMS[n % 4]) for n in range(24)]
        for number, teller in enumerate(tellers):
            teller.raw(b"".join(teller.event(ALLOC, n, 1 + number, DRAM, n % 8)
                                for n in range(400)))
        self.assertEqual(sum(self.daemon.value(f"device{n}/dram_used") for n in range(8)),
                         sum(400 * (1 + n) for n in range(24)))
        self.assertEqual(self.status("messages"), 24 * 400)
        self.assertEqual(self.status("connections"), 24)

    def test_an_ordinary_user_may_report_but_has_a_share(self):
        teller = self.teller(user=NOBODY)
        teller.alloc(1, 4096)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4096)
        self.assertEqual(self.daemon.value("pids", teller.pid, "uid"), NOBODY.pw_uid)
        for number in range(1, 200):
            teller(f"open {number} {self.path}")
        eventually(lambda: self.status("rejected") == 200 - 128)
        self.assertEqual(self.status("connections"), 128)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4096)
        root = self.teller()
        root.alloc(1, 1)
        self.assertEqual(self.daemon.value("pids", root.pid, "dram"), 1)

    def test_what_is_live_is_written_to_the_log(self):
        teller = self.teller()
        teller.alloc(0xABC000, 4096)
        teller.tell(DUMP, 0)
        eventually(lambda: "0xabc000: 4096 bytes" in self.daemon.log())
        self.assertIn(f"remaining: pid {teller.pid} (python3): 1 buffers of 4096 bytes",
                      self.daemon.log())
        teller.raw(b"".join(teller.event(DUMP, 0) for _ in range(1000)))
        self.daemon.text("status")
        self.assertLess(self.daemon.log().count("remaining:"), 10)

    def test_simulated_models_leave_nothing(self):
        from test_sim import BUSY, Sim
        sims = [Sim("--as", "alloc-server", "--alloc-socket", self.path, *BUSY, "--steps", "300",
                    "--form", str(form), "--devices", "0,1") for form in FORMS]
        pids = {sim.pid for sim in sims}
        seen = 0
        while any(sim.process.poll() is None for sim in sims):
            rows = {p for p in self.daemon.pids() if p in pids}
            seen = max(seen, len(rows))
            time.sleep(0.01)
        self.assertEqual([sim.process.wait() for sim in sims], [0] * 4)
        self.assertEqual(seen, 4)
        eventually(lambda: not self.daemon.pids())
        self.assertEqual({self.gone(pid)["leaked"] for pid in pids}, {"0"})
        for device in ("device0", "device1"):
            for kind in KINDS:
                self.assertEqual(self.daemon.value(device, f"{kind}_used"), 0)
        self.assertEqual(self.status("garbage_bytes"), 0)


