# SPDX-License-Identifier: Apache-2.0
"""What the allocation server's clients are answered, and how it begins and ends."""
import os
import socket

import harness
from alloc import (ALLOC, FORMS, INFO, INFO_RESPONSE, L1, QUERY, RESPONSE, AllocTest, message,
                   response)
from harness import MountTest, eventually, run

N300 = {"arch": 2, "channels": 12, "channel_bytes": 1 << 30, "core_bytes": 1499136, "available": 1,
        "total_dram": 12 << 30, "total_l1": 64 * 1499136}


class Answers(AllocTest):
    def test_a_question_alone_is_answered_in_its_form(self):
        for form in FORMS:
            asker = self.teller(form=form)
            answer = asker.ask(QUERY, 3)
            self.assertEqual((answer["type"], answer["device"], answer["dram"]), (RESPONSE, 3, 0))
            self.assertEqual(asker.ask(INFO, -1)["type"], INFO_RESPONSE)
            self.assertFalse(self.daemon.exists("pids", asker.pid))

    def test_answers_are_of_all_sources_together(self):
        self.peer("alloc 0 dram 0x1000 1000000", "alloc 0 trace 0x1000 5", "alloc 0 cb 0x1 70",
                  "alloc 0 kernel 0x1 800")
        teller = self.teller()
        teller.alloc(1, 234567)
        teller.alloc(2, 64, L1)
        for form in FORMS:
            answer = self.teller(form=form).ask(QUERY, 0)
            expected = {"dram": 1234567, "l1": 64, "l1_small": 0, "trace": 5}
            if form >= 128:
                expected.update(cb=70, kernel=800)
            self.assertEqual({k: answer[k] for k in expected}, expected)

    def test_an_answer_shows_what_the_asker_sent_before(self):
        for form in FORMS:
            teller = self.teller(form=form)
            for number in range(100):
                teller.alloc(number, 1)
                self.assertEqual(teller.ask(QUERY, 0)["dram"], number + 1)
            teller.close()
            self.wait_gone(teller.pid)

    def test_many_questions_at_once_are_answered_in_their_order(self):
        for form in FORMS:
            asker = self.teller(form=form)
            asker.raw(b"".join(message(form, QUERY, n % 8) for n in range(600)))
            data = bytes.fromhex(asker(f"recv 0 {600 * form}"))
            answers = [response(data[at:at + form]) for at in range(0, len(data), form)]
            self.assertEqual([a["device"] for a in answers], [n % 8 for n in range(600)])

    def test_who_sends_no_more_is_answered_still(self):
        for form in FORMS:
            asker = self.teller(form=form)
            asker.raw(message(form, QUERY, 1) * 3)
            asker("shut 0")
            self.assertEqual(len(bytes.fromhex(asker(f"recv 0 {4 * form}"))), 3 * form)
            eventually(lambda: self.status("connections") == 0)

    def test_a_question_in_pieces_is_answered_once(self):
        asker = self.teller(form=112)
        question = message(112, QUERY, 2)
        asker.raw(question[:50])
        asker.raw(question[50:])
        self.assertEqual(response(bytes.fromhex(asker("recv 0 112")))["device"], 2)
        asker.raw(question[:100])
        self.daemon.text("summary")
        asker.raw(question[100:] + question)
        self.assertEqual(len(bytes.fromhex(asker("recv 0 224"))), 224)

    def test_who_never_reads_holds_nobody_up(self):
        deaf, teller = self.teller(form=128), self.teller()
        question = message(128, QUERY, 0).hex()
        while not self.status("lost_answers"):
            deaf(f"try 0 {question} 2000")
        sent = self.status("messages")
        teller.alloc(1, 4096)
        self.assertEqual(self.daemon.value("pids", teller.pid, "dram"), 4096)
        self.assertEqual(teller.ask(QUERY, 0)["dram"], 4096)
        self.assertEqual(self.status("messages"), sent + 2)
        # What it tells is taken in all the same; a question may have been cut in two.
        cut = self.status("messages")
        deaf.raw(message(128, ALLOC, 0, 1, 0, deaf.pid, 5) * 40)
        eventually(lambda: self.daemon.exists("pids", deaf.pid) and self.status("messages") > cut)
        deaf.kill()
        eventually(lambda: self.status("connections") == 1)


class Devices(AllocTest):
    def setUp(self):
        super().setUp()
        self.daemon.stop()
        self.daemon = harness.Daemon()
        self.path = f"{self.daemon.dir}/alloc.sock"
        tree = f"{self.daemon.dir}/driver"
        run(f"{harness.BUILD}/ttmem-fake-driver", "--root", tree, "--devices", "n300,p150a",
            check=True)
        self.daemon.options = (f"--alloc-server={self.path}", "--driver-sysfs",
                               f"{tree}/class/tenstorrent", "--driver-procfs", f"{tree}/proc")
        self.daemon.start()

    def test_a_card_is_described(self):
        for form in FORMS[1:]:
            asker = self.teller(form=form)
            answer = asker.ask(INFO, 0)
            self.assertEqual({k: answer[k] for k in N300}, N300)
            self.assertEqual((answer["devices"], asker.ask(INFO, -1)["devices"]), (2, 2))
            self.assertEqual(asker.ask(INFO, 1)["channel_bytes"], 4278190080)
            missing = asker.ask(INFO, 7)
            self.assertEqual((missing["available"], missing["total_dram"]), (0, 0))

    def test_a_process_is_joined_to_the_drivers_device(self):
        teller = self.teller()
        teller.alloc(1, 4096, device=1)
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertEqual(self.daemon.value("device1/dram_used"), 4096)
        self.assertEqual(self.daemon.text("device1/board"), "p150a\n")

    def test_a_process_that_reports_twice_counts_once(self):
        peer = self.peer(f"tell {self.path} 0 1 4096", f"tell {self.path} 1 2 64", start=False)
        self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
        peer("start")
        peer("alloc 0 dram 0x1000 100")
        self.assertEqual(self.daemon.value("device0/dram_used"), 100)
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 164)
        self.assertEqual(self.daemon.text("pids", peer.pid, "device0", "source"), "native\n")
        self.assertEqual(self.daemon.text("pids", peer.pid, "device1", "source"), "alloc-server\n")
        rows = self.daemon.table("pids", peer.pid, "buffers")
        self.assertEqual({(r["device"], r["size"]) for r in rows}, {("0", "100"), ("1", "64")})
        self.assertEqual(self.teller().ask(QUERY, 0)["dram"], 100)
        peer.kill()
        self.wait_gone(peer.pid)
        self.assertEqual(self.gone(peer.pid)["leaked"], "164")


class Places(MountTest):
    def argv(self, path):
        return (self.daemon.program("ttmemd"), "-f", "-m", f"{self.daemon.dir}/m2", "-s",
                f"{self.daemon.dir}/s2", f"--alloc-server={path}")

    def setUp(self):
        super().setUp()
        os.mkdir(f"{self.daemon.dir}/m2")

    def refusal(self, path, reason):
        result = run(*self.argv(path))
        self.assertEqual(result.returncode, 78)
        self.assertRegex(result.stderr, reason)
        self.assertIn("another --alloc-server=PATH", result.stderr)

    def test_without_being_asked_it_is_down(self):
        rows = self.daemon.text("sources").splitlines()
        self.assertRegex(rows[3], "^alloc-server down .*start ttmemd with --alloc-server$")

    def test_a_place_that_is_taken_is_left_alone(self):
        path = f"{self.daemon.dir}/taken"
        with open(path, "w", encoding="ascii") as file:
            file.write("mine")
        self.refusal(path, "is not a socket")
        os.unlink(path)
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            with socket.socket(socket.AF_UNIX, kind) as server:
                server.bind(path)
                server.listen()
                self.refusal(path, "another allocation server answers")
            os.unlink(path)
        self.refusal(f"{self.daemon.dir}/no/such", "No such file")
        self.refusal(f"{self.daemon.dir}/{'x' * 120}", "too long")
        self.refusal(self.daemon.dir, "is not a socket")

    def test_a_dead_servers_place_is_taken_and_given_back(self):
        second = harness.Daemon()
        path = f"{second.dir}/alloc.sock"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
        second.options = (f"--alloc-server={path}",)
        second.start()
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o666)
        self.assertRegex(second.text("sources"), "alloc-server up")
        gone = []
        second.destroy, destroy = lambda: (gone.append(os.path.exists(path)), destroy()), second.destroy
        second.stop()
        self.assertEqual(gone, [False])

    def test_a_place_that_has_become_anothers_is_not_removed(self):
        second = harness.Daemon()
        path = f"{second.dir}/alloc.sock"
        second.options = (f"--alloc-server={path}",)
        second.start()
        os.unlink(path)
        with open(path, "w", encoding="ascii") as file:
            file.write("mine")
        left = []
        second.destroy, destroy = lambda: (left.append(os.path.exists(path)), destroy()), second.destroy
        second.stop()
        self.assertEqual(left, [True])


