# SPDX-License-Identifier: Apache-2.0
"""What several sources say of one process on one device counts once, in the mount."""
import glob
import os
import signal

import harness
from harness import NOBODY, Peer, Program, alone_with_stuck, eventually, living
from trees import Region, TreeTest


class Sim(Program):
    def __init__(self, *options):
        super().__init__(f"{harness.BUILD}/ttmem-sim", *options)

    def destroy(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=20 * harness.CALM)
        living.remove(self)


class JoinTest(TreeTest):
    def region(self, number):
        return Region(self.shm, self.tree.asic(number))

    def ledger(self, *numbers, size=4096, **options):
        """A peer that holds so much on these devices of the driver."""
        return self.peer(*(f"declare {n} asic={self.tree.asic(n):#x}" for n in numbers),
                         *(f"alloc {n} dram 0x1000 {size} weights" for n in numbers), **options)

    def sources_of(self, pid, number=None):
        names = ("pids", pid, "source") if number is None else \
            ("pids", pid, f"device{number}", "source")
        return self.daemon.text(*names).split()

    def used(self, number):
        return self.daemon.value(f"device{number}", "dram_used")

    def allocated(self, number):
        return int(self.daemon.flat(f"device{number}", "stat")["dram_allocated_total"])

    def assertAddsUp(self):
        """Sums over processes are those over devices, and those of the summary's parts."""
        devices = sum(self.daemon.value(d, "dram_used") for d in self.daemon.devices())
        processes = sum(self.daemon.value("pids", pid, "dram") for pid in self.daemon.pids()
                        if self.daemon.exists("pids", pid, "dram"))
        self.assertEqual(devices, processes)


class Devices(JoinTest):
    def test_a_client_that_says_the_asic_id_means_the_drivers_device(self):
        self.peer(f"declare 5 asic={self.tree.asic(1):#x}", "alloc 5 dram 0x1000 100")
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertEqual((self.used(0), self.used(1)), (0, 100))

    def test_a_client_that_says_the_address_or_the_number_does_so_too(self):
        self.peer("declare 7 pci=0000:02:00.0", "alloc 7 dram 0x1000 100")
        self.peer("alloc 1 dram 0x1000 11")
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertEqual((self.used(0), self.used(1)), (0, 111))

    def test_a_region_means_the_device_of_its_asic_id(self):
        process = self.waiter()
        self.region(1).put(process.pid, dram=100)
        self.wait_pids(process.pid)
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertEqual(self.used(1), 100)
        self.assertEqual([self.source(name)[1] for name in ("native", "tt-metal", "kmd")],
                         ["0", "1", "2"])

    def test_a_region_of_layout_1_means_the_board_of_its_serial_number(self):
        sim = Sim("--as", "tt-metal", "--layout", 1, "--shm", self.shm, "--devices", "0",
                  "--board", "n300", "--model", "resnet50", "--load-ms", 0, "--step-ms", 200000)
        self.wait_pids(sim.pid)
        eventually(lambda: self.used(0), "its memory")
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertEqual(self.sources_of(sim.pid, 0), ["tt-metal"])

    def test_a_client_cannot_change_what_the_driver_says(self):
        self.peer(f"declare 0 asic={self.tree.asic(0):#x} pci=0000:09:00.0 arch=x board=p150a "
                  "remote=1", "alloc 0 dram 0x1000 1", user=NOBODY)
        for name, text in (("pci", "0000:01:00.0"), ("board", "n300"), ("arch", "wormhole_b0"),
                           ("remote", "0")):
            self.assertEqual(self.daemon.text("device0", name), f"{text}\n")
        self.assertEqual(set(os.listdir(self.daemon.path("by-pci"))),
                         {"0000:01:00.0", "0000:02:00.0"})


class Processes(JoinTest):
    def test_a_process_that_reports_to_all_counts_once(self):
        peer = self.ledger(0, size=1000)
        self.region(0).put(peer.pid, dram=900)
        self.tree.opens(0, peer.pid)
        eventually(lambda: [self.source(name)[2] for name in ("native", "tt-metal", "kmd")] ==
                   ["1", "1", "1"], "all sources")
        self.assertEqual(self.daemon.pids(), {peer.pid})
        self.assertEqual((self.used(0), self.allocated(0)), (1000, 1000))
        self.assertEqual(self.sources_of(peer.pid), ["native"])
        self.assertEqual(self.sources_of(peer.pid, 0), ["native"])
        self.assertNotIn("untracked", self.daemon.text("summary"))
        self.assertAddsUp()
        peer.kill()
        self.wait_gone(peer.pid)
        row, = self.daemon.table("exited")
        self.assertEqual((row["leaked"], row["dram_peak"]), ("1000", "1000"))
        self.assertEqual((self.used(0), self.allocated(0)), (0, 1000))

    def test_each_device_has_the_best_source_of_its_own(self):
        peer = self.ledger(0, size=1000)
        for number in (0, 1):
            self.region(number).put(peer.pid, dram=10)
        eventually(lambda: self.used(1) == 10, "the region")
        self.assertEqual(self.sources_of(peer.pid), ["native", "tt-metal"])
        self.assertEqual([self.sources_of(peer.pid, n) for n in (0, 1)], [["native"], ["tt-metal"]])
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 1010)
        self.assertEqual(self.daemon.value("pids", peer.pid, "total"), 1010)
        self.assertAddsUp()
        self.assertEqual(self.daemon.flat("pids", peer.pid, "peak")["dram"], "1010")
        peer("free 0 dram 0x1000")
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 10)
        self.assertEqual(self.daemon.flat("pids", peer.pid, "peak")["dram"], "1010")

    def test_a_better_source_that_comes_later_takes_over(self):
        peer = Peer(self.daemon, start=False)
        pid = peer.pid
        self.tree.opens(0, pid)
        self.wait_pids(pid)
        self.assertEqual(self.sources_of(pid), ["kmd"])
        self.assertFalse(self.daemon.exists("pids", pid, "dram"))
        region = self.region(0)
        region.put(pid, dram=500)
        self.wait_text("500", "pids", pid, "dram")
        self.assertEqual(self.sources_of(pid), ["tt-metal"])
        peer("start")
        peer(f"declare 0 asic={self.tree.asic(0):#x}")
        peer("alloc 0 dram 0x1000 600")
        self.assertEqual(self.used(0), 600)
        self.assertEqual(self.sources_of(pid), ["native"])
        # What the ledger had when it took over may be what the region had; what came then is new.
        self.assertIn(self.allocated(0), (600, 1100))
        self.assertAddsUp()

    def test_a_better_source_that_leaves_gives_way(self):
        peer = self.ledger(0, size=600)
        region = self.region(0)
        region.put(peer.pid, dram=500)
        self.tree.opens(0, peer.pid)
        eventually(lambda: self.source("tt-metal")[2] == self.source("kmd")[2] == "1", "both")
        peer.send("exec cat")  # the ledger goes, the process stays
        self.wait_text("tt-metal", "pids", peer.pid, "source")
        self.assertEqual((self.used(0), self.allocated(0)), (500, 600))
        self.assertEqual(self.daemon.flat("pids", peer.pid, "peak")["dram"], "600")
        self.assertAddsUp()
        region.slots.clear()
        region.write()
        self.wait_text("kmd", "pids", peer.pid, "source")
        self.assertIn("untracked", self.daemon.text("summary"))
        self.assertFalse(self.daemon.exists("pids", peer.pid, "dram"))
        self.assertEqual((self.used(0), self.allocated(0)), (0, 600))
        self.tree.opens(0)
        self.wait_pids()

    def test_a_device_that_is_only_open_has_no_memory_files(self):
        peer = self.ledger(0)
        self.tree.opens(0, peer.pid)
        self.tree.opens(1, peer.pid)
        eventually(lambda: self.daemon.exists("pids", peer.pid, "device1"), "the second device")
        self.assertEqual(self.sources_of(peer.pid), ["native", "kmd"])
        self.assertEqual(os.listdir(self.daemon.path("pids", peer.pid, "device1")), ["source"])
        self.assertTrue(self.daemon.exists("pids", peer.pid, "device0", "dram"))
        stat = self.daemon.flat("pids", peer.pid, "stat")
        self.assertEqual((stat["devices"], stat["device1_untracked"]), ("2", "1"))
        self.assertNotIn("device1_dram_used", stat)

    def test_the_simulated_model_counts_once(self):
        sim = Sim("--as", "tt-metal", "--shm", self.shm, "--hold", self.tree.root, "--devices",
                  "0,1", "--model", "resnet50", "--load-ms", 0, "--step-ms", 200000)
        eventually(lambda: self.source("kmd")[2] == self.source("tt-metal")[2] == "1", "it")
        self.assertEqual(self.daemon.pids(), {sim.pid})
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertEqual(self.sources_of(sim.pid), ["tt-metal"])
        sim.destroy()
        self.wait_pids()
        self.assertEqual((self.used(0), self.used(1)), (0, 0))

    def test_ghosts_of_the_killed_are_not_in_the_sums(self):
        peer, other = self.ledger(0, size=600), self.waiter()
        region = self.region(0)
        region.put(peer.pid, dram=500)
        region.put(other.pid, dram=7)
        eventually(lambda: self.used(0) == 607, "both")
        peer.kill()
        other.kill()
        eventually(lambda: self.used(0) == 0, "their end")
        self.assertEqual(self.daemon.flat("device0", "stat")["dram_unattributed"], "507")
        self.assertEqual(self.daemon.pids(), set())
        self.assertEqual(sorted(row["leaked"] for row in self.daemon.table("exited")),
                         ["600", "7"])

    def test_many_of_both_add_up(self):
        peers = [self.ledger(0, 1, size=100 + i) for i in range(20)]
        regions = [self.region(number) for number in (0, 1)]
        for peer in peers[10:]:
            for region in regions:
                region.slots[peer.pid] = (50, 0, 0, 0, 0)
        others = [self.waiter() for _ in range(10)]
        for other in others:
            regions[1].slots[other.pid] = (7, 0, 0, 0, 0)
        for region in regions:
            region.write()
        eventually(lambda: self.source("tt-metal")[2] == "20", "all")
        ledgers = sum(100 + i for i in range(20))
        self.assertEqual((self.used(0), self.used(1)), (ledgers, ledgers + 70))
        self.assertAddsUp()
        for thing in peers[5:15] + others:
            thing.kill()
        left = sum(100 + i for i in (*range(5), *range(15, 20)))
        eventually(lambda: (self.used(0), self.used(1)) == (left, left), "their end")
        self.assertAddsUp()


# A process in a mount namespace of its own, in which /dev is a file system that never answers.
STUCK = """
import ctypes, os
libc = ctypes.CDLL(None)
fuse = os.open("/dev/fuse", os.O_RDWR)
assert libc.unshare(0x20000) == 0
assert libc.mount(None, b"/", None, 0x4000 | 1 << 18, None) == 0
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
assert libc.mount(b"deaf", b"/dev", b"fuse.deaf", 0, options) == 0
print("stuck", flush=True)
os.read(0, 1)
"""


class Containers(JoinTest):
    """A process that does not see the socket, because something is mounted over its directory."""

    def start_hidden(self, *unshare, drop=()):
        script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
        return Program("unshare", *unshare, "--mount", "sh", "-c", script, "sh",
                       os.path.dirname(self.daemon.socket), *drop, self.daemon.program("peer"),
                       TTMEM_SOCKET=self.daemon.socket)

    def hidden(self, *unshare, drop=()):
        peer = self.start_hidden(*unshare, drop=drop)
        for command in ("start", f"declare 0 asic={self.tree.asic(0):#x}",
                        "alloc 0 dram 0x1000 777"):
            peer.send(command)
            self.assertEqual(peer.line(), "ok")
        return peer

    def test_its_ledger_is_found_by_the_drivers_list(self):
        """Also in our own root, where nothing else looks for it."""
        os.chmod(os.path.dirname(self.daemon.socket), 0o700)
        peer = self.ledger(0, size=777, user=NOBODY)
        while self.daemon.pids():  # by the look at the start, which was not over
            peer.kill()
            self.wait_gone(peer.pid)
            peer = self.ledger(0, size=777, user=NOBODY)
        self.tree.opens(0, peer.pid)
        self.wait_text("native", "pids", peer.pid, "source")
        self.assertEqual(self.used(0), 777)
        peer.send("alloc 0 dram 0x2000 1")
        self.assertEqual(peer.line(), "ok")
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 778)
        self.tree.opens(0)
        eventually(lambda: self.source("kmd")[2] == "0", "the closing")
        self.assertEqual(self.used(0), 778)
        peer.kill()
        self.wait_gone(peer.pid)

    def hanging(self):
        """Threads of the daemon that wait and can only be killed."""
        states = []
        for path in glob.glob(f"/proc/{self.daemon.pid}/task/*/stat"):
            try:
                with open(path, encoding="utf-8") as file:
                    states.append(file.read().rsplit(") ", 1)[1][0])
            except (FileNotFoundError, ProcessLookupError):  # it has ended
                pass
        return states.count("D")

    def test_containers_that_do_not_answer_hold_up_nobody_else(self):
        alone_with_stuck(self)
        stuck = [Program("python3", "-c", STUCK) for _ in range(6)]
        for process in stuck:
            self.assertEqual(process.line(), "stuck")
        def threads():
            return len(os.listdir(f"/proc/{self.daemon.pid}/task"))
        own = threads()
        self.tree.opens(0, *(process.pid for process in stuck))
        self.wait_pids(*(process.pid for process in stuck))
        eventually(lambda: self.hanging() >= 6, "those that hang")
        drop = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
        peer = self.hidden(drop=drop)
        self.tree.opens(1, peer.pid)
        self.wait_text("native kmd", "pids", peer.pid, "source")
        self.assertEqual(self.used(0), 777)
        self.assertLessEqual(threads(), own + 6 + 6)  # its own, those that hang, and a few more
        self.assertEqual(len(self.daemon.pids()), 7)
        peer.close()
        self.daemon.stop()
        for process in stuck:
            process.close()

    def test_it_is_found_in_a_pid_namespace_too(self):
        outer = self.hidden("--pid", "--fork", "--kill-child")
        with open(f"/proc/{outer.pid}/task/{outer.pid}/children", encoding="ascii") as file:
            pid = int(file.read())
        self.tree.opens(0, pid)
        self.wait_text("native", "pids", pid, "source")
        self.assertEqual(self.daemon.value("pids", pid, "dram"), 777)
        self.assertEqual(self.daemon.pids(), {pid})

    def test_a_ledger_that_is_made_later_is_found(self):
        peer = self.start_hidden()
        peer.send("pid")
        peer.line()
        self.tree.opens(0, peer.pid)
        self.wait_text("kmd", "pids", peer.pid, "source")
        for command in ("start", "alloc 0 dram 0x1000 777"):
            peer.send(command)
            self.assertEqual(peer.line(), "ok")
        self.wait_text("777", "pids", peer.pid, "dram")
        self.assertEqual(self.used(0), 777)

    def test_a_ledger_for_another_socket_is_left_alone(self):
        peer = Program(self.daemon.program("peer"), TTMEM_SOCKET=f"{self.dir}/other.sock")
        for command in ("start", "alloc 0 dram 0x1000 777"):
            peer.send(command)
            self.assertEqual(peer.line(), "ok")
        marker = self.hidden()
        self.tree.opens(0, peer.pid, marker.pid)
        self.wait_text("native", "pids", marker.pid, "source")
        self.wait_text("kmd", "pids", peer.pid, "source")
        self.assertEqual(self.used(0), 777)
