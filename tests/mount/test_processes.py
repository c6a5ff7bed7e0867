# SPDX-License-Identifier: Apache-2.0
"""Processes come, fork, exec, rename themselves, share devices, and go."""
import os
import signal
import subprocess
import threading
import time

from harness import NOBODY, MountTest, eventually


class Leaving(MountTest):
    def setUp(self):
        super().setUp()
        self.stays = self.holder(size=1)
        self.device, = self.daemon.devices()

    def assertAlone(self):
        self.assertEqual(self.daemon.pids(), {self.stays.pid})
        self.assertEqual(os.listdir(self.daemon.path(self.device, "pids")), [str(self.stays.pid)])
        self.assertEqual(self.daemon.value(self.device, "dram_used"), 1)
        self.assertEqual(self.daemon.flat("status")["processes"], "1")

    def test_a_process_that_exits_is_gone(self):
        for command in ("quit", "exit 3"):
            leaver = self.holder(size=4096)
            self.assertEqual(self.daemon.value(self.device, "dram_used"), 4097)
            leaver.send(command)
            leaver.process.wait()
            self.wait_gone(leaver.pid)
            self.assertAlone()

    def test_a_process_that_is_killed_is_gone(self):
        for number in (signal.SIGKILL, signal.SIGABRT, signal.SIGTERM):
            leaver = self.holder(size=4096)
            self.assertIn(leaver.pid, self.daemon.pids())
            os.kill(leaver.pid, number)
            leaver.process.wait()
            self.wait_gone(leaver.pid)
            self.assertAlone()

    def test_numbers_go_within_a_moment(self):
        """Within 50 ms of the end; here with room for a busy machine."""
        leaver = self.holder(size=4096)
        leaver.kill()
        eventually(lambda: self.daemon.value(self.device, "dram_used") == 1, "the end", 0.5)

    def test_a_zombie_is_gone(self):
        leaver = self.holder(size=4096)
        leaver.send("quit")  # and is not waited for
        self.wait_gone(leaver.pid)
        self.assertAlone()

    def test_an_exec_ends_the_ledger(self):
        peer = self.holder(size=4096)
        self.assertEqual(peer("exec"), "again")
        self.wait_gone(peer.pid)
        self.assertAlone()
        peer("start")
        peer("alloc 0 l1 0x1000 55")
        self.assertEqual(self.daemon.value("pids", peer.pid, "total"), 55)

    def test_a_device_outlives_its_processes_and_keeps_its_number(self):
        peer = self.peer("declare 9 asic=0xDE7", "alloc 9 dram 0x1000 4096")
        link = os.readlink(self.daemon.path("by-asic", self.asic_name(0xDE7)))
        peer.kill()
        self.wait_gone(peer.pid)
        again = self.peer("declare 2 asic=0xDE7", "alloc 2 dram 0x1000 8192")
        self.assertEqual(os.readlink(self.daemon.path("by-asic", self.asic_name(0xDE7))), link)
        self.assertEqual(self.daemon.value(link[3:], "dram_used"), 8192)
        self.assertEqual(self.daemon.value("pids", again.pid, link[3:], "dram"), 8192)

    def asic_name(self, asic):
        name, = (n for n in os.listdir(self.daemon.path("by-asic")) if int(n, 16) == asic)
        return name

    def test_a_pid_that_is_used_again_inherits_nothing(self):
        for _ in range(20):
            leaver = self.holder(size=4096)
            leaver.kill()
            try:
                with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
                    file.write(str(leaver.pid - 1))
            except OSError as error:
                self.skipTest(f"cannot choose pids: {error}")
            heir = self.peer()
            if heir.pid == leaver.pid:
                break
            heir.close()
        else:
            self.skipTest("the pid is taken")
        heir("alloc 0 l1 0x1000 7")
        self.assertEqual(self.daemon.value("pids", heir.pid, "dram"), 0)
        self.assertEqual(self.daemon.value("pids", heir.pid, "total"), 7)
        self.assertEqual(self.daemon.value(self.device, "dram_used"), 1)

    def test_hundreds_come_and_go(self):
        def come_and_go():
            for _ in range(25):
                peer = self.peer("alloc 0 dram 0x1000 4096")
                peer.kill()

        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for pid in self.daemon.pids():
                try:
                    self.daemon.value("pids", pid, "total")
                except (FileNotFoundError, ProcessLookupError):
                    pass
        for thread in threads:
            thread.join()
        eventually(lambda: len(self.daemon.pids()) == 1, "the end of all")
        self.assertAlone()


class Forking(MountTest):
    def test_a_child_has_a_ledger_of_its_own(self):
        for kind in ("fork", "fork raw"):
            with self.subTest(kind=kind):
                parent = self.holder(size=1000)
                child = int(parent(kind))
                self.assertEqual(self.daemon.pids(), {parent.pid})
                parent("child declare 0 asic=0xA51C")
                parent("child alloc 0 dram 0x1000 30")
                self.assertEqual(self.daemon.value("pids", child, "dram"), 30)
                self.assertEqual(self.daemon.value("pids", parent.pid, "dram"), 1000)
                parent("alloc 0 dram 0x2000 1")
                parent("child free 0 dram 0x2000")
                self.assertEqual(self.daemon.value("pids", child, "dram"), 30)
                self.assertEqual(self.daemon.value("pids", parent.pid, "dram"), 1001)
                parent("wait")
                self.wait_gone(child)
                self.assertEqual(self.daemon.value("pids", parent.pid, "dram"), 1001)
                parent.close()
                self.wait_gone(parent.pid)

    def test_a_child_that_makes_no_call_does_not_keep_its_parent_listed(self):
        parent = self.holder()
        child = int(parent("fork"))
        os.kill(parent.pid, signal.SIGSTOP)
        parent.kill()
        self.wait_gone(parent.pid)
        self.assertNotIn(child, self.daemon.pids())

    def test_an_exec_shows_although_a_child_runs_on(self):
        """Which holds the connection, if it was made behind the back of the C library."""
        for kind in ("fork silent", "fork raw silent"):
            with self.subTest(kind=kind):
                parent = self.holder(size=4096)
                child = int(parent(kind))
                self.stays_for_a_while(parent, 4096)
                self.assertEqual(parent("exec"), "again")
                self.wait_gone(parent.pid)
                parent("start")
                parent("alloc 0 l1 0x1000 55")
                self.assertEqual(self.daemon.value("pids", parent.pid, "total"), 55)
                self.assertNotIn(child, self.daemon.pids())

    def test_a_process_that_closes_all_its_descriptors_lives_on(self):
        peer = self.holder(size=4096)
        peer("close")
        peer("alloc 0 dram 0x2000 10")
        self.stays_for_a_while(peer, 4106)
        self.assertEqual(peer("exec"), "again")
        self.wait_gone(peer.pid)

    def stays_for_a_while(self, peer, size):
        """So long that all that looks after the process has looked."""
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), size)
            time.sleep(0.05)

    def test_a_silent_raw_child_does_not_stand_for_its_parent(self):
        parent = self.holder(size=4096)
        parent("fork raw silent")
        self.stays_for_a_while(parent, 4096)
        parent.kill()
        self.wait_gone(parent.pid)


class Names(MountTest):
    def test_a_new_name_shows(self):
        peer = self.holder()
        for name in ("trainer", "loader 2"):
            peer(f"name {name}")
            self.assertEqual(self.daemon.text("pids", peer.pid, "comm"), name + "\n")

    def test_tracking_switches_on_by_the_environment(self):
        for variable in ("TTMEM", "TT_ALLOC_TRACKING_ENABLED"):
            peer = self.peer("alloc 0 dram 0x1000 9", start=False, **{variable: "1"})
            self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 9)
        off = self.peer("alloc 0 dram 0x1000 9", start=False, TTMEM="0",
                        TT_ALLOC_TRACKING_ENABLED="1")
        silent = self.peer("alloc 0 dram 0x1000 9", start=False)
        self.assertFalse({off.pid, silent.pid} & self.daemon.pids())

    def test_processes_of_several_users_belong_to_them(self):
        for user in (None, NOBODY):
            peer = self.holder(user=user)
            info = os.stat(self.daemon.path("pids", peer.pid))
            self.assertEqual(info.st_uid, user.pw_uid if user else 0)
            self.assertEqual(info.st_gid, user.pw_gid if user else 0)

    def test_a_process_in_a_pid_namespace_has_our_number(self):
        script = f'exec unshare -pf --kill-child "{self.daemon.program("peer")}"'
        outer = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, bufsize=0,
                                 env={**os.environ, "TTMEM_SOCKET": self.daemon.socket})
        try:
            outer.stdin.write(b"start\nalloc 0 dram 0x1000 4096\n")
            for _ in range(2):
                self.assertEqual(outer.stdout.readline(), b"ok\n")
            pid, = self.daemon.pids()
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                self.assertRegex(file.read(), rf"NSpid:\s+{pid}\s+1\n")
            self.assertEqual(self.daemon.value("pids", pid, "dram"), 4096)
            outer.stdin.write(f"readlink {self.daemon.path('pids/self')}\n".encode())
            self.assertEqual(outer.stdout.readline(), f"ok {pid}\n".encode())
        finally:
            outer.stdin.close()
            outer.wait()
            outer.stdout.close()


class Sharing(MountTest):
    def device_of(self, asic):
        for name in os.listdir(self.daemon.path("by-asic")):
            if int(name, 16) == asic:
                return os.readlink(self.daemon.path("by-asic", name))[3:]
        raise AssertionError(f"no device {asic:#x}")

    def test_one_asic_under_two_indices_is_one_device(self):
        first = self.holder(device=0, asic=0x1111, size=100)
        second = self.holder(device=5, asic=0x1111, size=23)
        device = self.device_of(0x1111)
        self.assertEqual(self.daemon.devices(), [device])
        self.assertEqual(self.daemon.value(device, "dram_used"), 123)
        self.assertEqual(self.daemon.value("pids", first.pid, device, "dram"), 100)
        self.assertEqual(self.daemon.value("pids", second.pid, device, "dram"), 23)

    def test_two_asics_under_one_index_are_two_devices(self):
        self.holder(device=0, asic=0x1111, size=100)
        self.holder(device=0, asic=0x2222, size=23)
        first, second = self.device_of(0x1111), self.device_of(0x2222)
        self.assertNotEqual(first, second)
        self.assertEqual(self.daemon.value(first, "dram_used"), 100)
        self.assertEqual(self.daemon.value(second, "dram_used"), 23)

    def test_a_pci_address_joins_those_that_know_no_asic(self):
        self.peer("declare 0 pci=0000:81:00.0", "alloc 0 dram 0x1000 100")
        self.peer("declare 3 pci=0000:81:00.0", "alloc 3 dram 0x1000 23")
        device, = self.daemon.devices()
        self.assertEqual(self.daemon.value(device, "dram_used"), 123)
        link = os.readlink(self.daemon.path("by-pci", "0000:81:00.0"))
        self.assertEqual(link, f"../{device}")

    def test_a_device_that_is_declared_late_moves_with_its_buffers(self):
        self.holder(device=0, asic=0x1111, size=100)
        late = self.peer("alloc 0 dram 0x1000 23")
        self.daemon.text("summary")
        late("declare 0 asic=0x2222")
        first, second = self.device_of(0x1111), self.device_of(0x2222)
        self.assertEqual(self.daemon.value(first, "dram_used"), 100)
        self.assertEqual(self.daemon.value(second, "dram_used"), 23)
        self.assertEqual(self.daemon.value("pids", late.pid, "total"), 23)
        self.assertEqual(self.daemon.value("pids", late.pid, second, "dram"), 23)

    def test_one_process_on_many_devices_adds_up(self):
        peer = self.peer()
        for device in range(64):
            peer(f"declare {device} asic={0x6400 + device:#x}")
            peer(f"alloc {device} l1 0x1000 {device + 1}")
        self.assertEqual(len(self.daemon.devices()), 64)
        for device in range(64):
            name = self.device_of(0x6400 + device)
            self.assertEqual(self.daemon.value(name, "l1_used"), device + 1)
            self.assertEqual(self.daemon.value("pids", peer.pid, name, "l1"), device + 1)
        self.assertEqual(self.daemon.value("pids", peer.pid, "l1"), 64 * 65 // 2)
