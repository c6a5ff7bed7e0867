# SPDX-License-Identifier: Apache-2.0
"""TT-Metal's own shared memory: who counts, and for how much."""
import os
import threading
import time

from harness import eventually
from metal import MIB, NUMBERS, MetalTest, RegionFile, is_waiting, region_name


class Layouts(MetalTest):
    def test_every_number_of_every_layout_is_shown(self):
        for layout in (1, 2, 3, 4):
            with self.subTest(layout=layout):
                self.check_layout(layout, 0x1000 + layout)

    def check_layout(self, layout, asic):
        file, process = self.region(asic, layout), self.process()
        sums = {name: (i + 1) * 1000 + layout for i, name in enumerate(file.numbers)}
        file.total(**sums)
        file.slot(63, process.pid, **sums)
        device = self.device(asic)
        for kind in NUMBERS:
            self.assertEqual(self.held(process, kind), sums.get(kind, 0))
            self.assertEqual(self.used(asic, kind), sums.get(kind, 0))
            self.assertEqual(self.daemon.value("pids", process.pid, device, kind),
                             sums.get(kind, 0))
        self.assertEqual(self.daemon.text("pids", process.pid, "source"), "tt-metal\n")
        self.assertEqual(self.stat(device)["dram_unattributed"], 0)
        self.assertWell()
        self.kill(process)

    def test_the_simulators_layouts_are_all_read(self):
        for layout in (1, 2, 3, 4):
            with self.subTest(layout=layout):
                sim = self.sim("--layout", layout, "--devices", layout)
                self.wait_waiting(sim)
                self.assertEqual(self.held(sim, "kernel") > 0, layout == 1)
                self.assertAddsUp()
                self.assertWell()
                self.kill(sim)
                os.unlink(f"{self.shm}/{os.listdir(self.shm)[0]}")

    def test_layout_1_is_joined_by_the_boards_serial_number(self):
        self.driver("--devices", "n150,p150a")
        eventually(lambda: len(self.daemon.devices()) == 2, "the driver's devices")
        sim = self.sim("--layout", "1", "--devices", "1", "--board", "p150a")
        eventually(lambda: self.daemon.exists("pids", sim.pid, "device1"), "the device")
        self.assertEqual(len(self.daemon.devices()), 2)
        self.kill(sim)

    def test_a_region_is_the_drivers_device_of_its_number(self):
        self.driver("--devices", "n150,n150")
        sim = self.sim("--devices", "0,1")
        self.wait_waiting(sim)
        self.assertTrue(self.daemon.exists("pids", sim.pid, "device1"))
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertAddsUp()
        self.kill(sim)


class Life(MetalTest):
    """Processes, and slots whose process is another or none."""

    def test_a_killed_process_leaves_what_nobody_has(self):
        file, process = self.holder(dram=5 * MIB)
        other = self.process()
        file.slot(1, other.pid, dram=3 * MIB)
        file.total(dram=8 * MIB)
        self.assertEqual((self.used(), self.unattributed()), (8 * MIB, 0))
        self.kill(process)
        self.assertEqual((self.used(), self.unattributed()), (3 * MIB, 5 * MIB))
        self.assertEqual(self.held(other), 3 * MIB)
        row = next(row for row in self.daemon.table("exited") if row["pid"] == str(process.pid))
        self.assertEqual((row["dram_peak"], row["leaked"]), (str(5 * MIB), str(5 * MIB)))
        self.assertAddsUp()

    def test_a_simulator_that_was_killed_is_a_ghost(self):
        killed, sim = self.sim(), self.sim()
        self.wait_waiting(killed)
        self.wait_waiting(sim)
        device = self.daemon.devices()[0]
        before = self.stat(device)
        self.assertEqual(before["dram_unattributed"], 0)
        self.kill(killed)
        after = self.stat(device)
        for kind in NUMBERS[:5]:
            self.assertEqual(after[f"{kind}_used"] * 2, before[f"{kind}_used"], kind)
            self.assertEqual(after[f"{kind}_unattributed"], after[f"{kind}_used"], kind)
        self.kill(sim)
        self.assertEqual(self.stat(device)["dram_unattributed"], before["dram_used"])

    def test_a_slot_that_was_there_before_its_process_is_a_ghosts(self):
        before, process = time.time_ns() - 10**9, self.process()
        file = self.region()
        file.total(dram=MIB)
        for updated in (before, 0, 1, time.monotonic_ns() - 10**9):
            file.slot(0, process.pid, updated, dram=MIB)
            self.assertFalse(self.daemon.exists("pids", process.pid), updated)
            self.assertEqual((self.used(), self.unattributed()), (0, MIB))
        file.slot(0, process.pid, dram=2 * MIB)
        file.total(dram=2 * MIB)
        self.assertEqual((self.used(), self.unattributed()), (2 * MIB, 0))
        self.kill(process)

    def test_a_process_that_does_not_exist_counts_for_nothing(self):
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
            most = int(file.read())
        file = self.region()
        file.total(dram=MIB)
        for pid in (most - 1, (1 << 31) - 1, -1, -2, -(1 << 31)):
            file.slot(0, pid, dram=MIB)
            self.assertEqual((self.used(), self.unattributed()), (0, MIB), pid)
        self.assertEqual(self.daemon.pids(), set())

    def test_a_zombie_holds_nothing(self):
        file, process = self.holder()
        self.assertEqual(self.held(process), MIB)
        os.kill(process.pid, 9)
        self.wait_gone(process.pid)
        self.assertEqual(process.process.returncode, None)  # nobody has waited for it
        file.slot(0, process.pid, dram=2 * MIB)
        self.assertEqual((self.used(), self.unattributed()), (0, MIB))
        self.assertEqual(sum(row["pid"] == str(process.pid)
                             for row in self.daemon.table("exited")), 1)

    def test_a_thread_is_no_process(self):
        stop, file = threading.Event(), self.region()
        self.addCleanup(stop.set)
        thread = threading.Thread(target=stop.wait)
        thread.start()
        file.slot(0, thread.native_id, dram=MIB)
        file.total(dram=MIB)
        self.assertEqual((self.used(), self.unattributed()), (0, MIB))
        file.slot(0, os.getpid(), dram=MIB)
        self.assertEqual((self.used(), self.unattributed()), (MIB, 0))
        self.assertNotIn("cannot watch", self.daemon.log())
        stop.set()
        thread.join()

    def test_time_may_be_counted_since_boot(self):
        for asic, layout in ((1, 1), (2, 2)):
            file, process = self.region(asic, layout), self.process()
            file.slot(0, process.pid, time.monotonic_ns(), dram=MIB)
            self.assertEqual(self.used(asic), MIB)
            self.kill(process)
        sim = self.sim("--layout", "2", "--clock", "boot")
        eventually(lambda: self.daemon.exists("pids", sim.pid, "l1"), "the simulator")
        self.kill(sim)

    def test_a_slot_that_was_freed_is_let_go(self):
        file, process = self.holder()
        other = self.process()
        file.slot(1, other.pid, dram=2 * MIB)
        self.assertEqual(self.used(), 3 * MIB)
        file.free(0)
        self.assertFalse(self.daemon.exists("pids", process.pid))
        self.assertEqual(self.used(), 2 * MIB)
        file.slot(0, process.pid, dram=7 * MIB)
        self.assertEqual((self.used(), self.held(process)), (9 * MIB, 7 * MIB))

    def test_a_process_in_two_slots_has_the_sum(self):
        file, process = self.holder()
        file.slot(40, process.pid, dram=2 * MIB, cb=5)
        self.assertEqual((self.held(process), self.held(process, "cb")), (3 * MIB, 5))
        file.free(0)
        self.assertEqual(self.held(process), 2 * MIB)

    def test_processes_without_a_slot_are_in_the_totals(self):
        sim = self.sim("--fault", "crowd")
        eventually(lambda: is_waiting(sim.pid), "its sums")
        self.assertEqual(len(self.daemon.pids()), 64)
        stat = self.stat(self.daemon.devices()[0])
        self.assertEqual(stat["dram_used"], 64 * 4096)
        self.assertEqual((stat["l1_used"], stat["processes"]), (0, 64))
        self.assertGreater(stat["l1_unattributed"], 0)
        self.assertNotIn(sim.pid, self.daemon.pids())
        self.assertAddsUp()
        sim.kill()
        eventually(lambda: not self.daemon.pids(), "the end of all")

    def test_a_process_on_several_devices_is_one(self):
        process = self.process()
        for asic in range(1, 9):
            file = self.region(asic)
            file.slot(asic, process.pid, dram=asic * MIB)
            file.total(dram=asic * MIB)
        self.assertEqual(self.daemon.pids(), {process.pid})
        self.assertEqual(self.held(process), 36 * MIB)
        self.assertEqual([self.used(asic) for asic in range(1, 9)],
                         [asic * MIB for asic in range(1, 9)])
        self.assertEqual(self.source(), ("up", 8, 1, "-"))
        self.kill(process)
        self.assertEqual([self.unattributed(asic) for asic in range(1, 9)],
                         [asic * MIB for asic in range(1, 9)])

    def test_the_peak_is_the_highest_that_was_read(self):
        file, process = self.holder(dram=MIB)
        self.assertEqual(self.used(), MIB)
        for size in (9 * MIB, 2 * MIB):
            file.slot(0, process.pid, dram=size)
            self.assertEqual(self.used(), size)
        self.assertEqual(int(self.daemon.flat("pids", process.pid, "peak")["dram"]), 9 * MIB)
        self.assertEqual(self.daemon.value(self.device(), "dram_peak"), 9 * MIB)

    def test_a_ledger_counts_more_than_a_region(self):
        file = self.region()
        peer = self.peer("declare 0 asic=0xa51c", "alloc 0 dram 0x1000 4096 weights")
        file.slot(0, peer.pid, dram=MIB)
        file.total(dram=MIB)
        self.assertEqual((self.used(), self.held(peer)), (4096, 4096))
        self.assertEqual(self.daemon.text("pids", peer.pid, "source"), "native\n")
        peer.kill()
        self.wait_gone(peer.pid)
        self.assertEqual((self.used(), self.unattributed()), (0, MIB))


class Gateways(MetalTest):
    def remote(self):
        return [name for name in self.daemon.devices() if self.daemon.exists(name, "remote")
                and self.daemon.text(name, "remote") == "1\n"]

    def test_chips_behind_a_gateway_are_devices(self):
        sim = self.sim("--gateway", "--devices", "0-2", "--scale", "0.1")
        self.wait_waiting(sim)
        self.assertEqual((len(self.remote()), len(self.daemon.devices())), (2, 3))
        self.assertAddsUp()
        self.assertWell()
        for name in self.remote():
            self.assertGreater(self.daemon.value(name, "dram_used"), 0)
            self.assertEqual(self.stat(name)["dram_unattributed"], 0)
        self.kill(sim)

    def test_a_chips_sum_is_divided_in_proportion(self):
        for layout in (1, 2, 3, 4):
            asic = 0x100 * layout
            file, two = self.region(asic, layout), (self.process(), self.process())
            file.total(dram=400)
            file.chip(0, 0, 0, dram=300)
            file.chip(1, 1, 1, dram=100)
            file.slot(0, two[0].pid, dram=300)
            file.slot(1, two[1].pid, dram=100)
            chip = eventually(self.remote)[-1]
            self.assertEqual((self.used(asic), self.daemon.value(chip, "dram_used")), (300, 100))
            self.assertEqual([self.daemon.value("pids", p.pid, chip, "dram") for p in two],
                             [75, 25])
            self.assertEqual([self.held(process) for process in two], [300, 100])
            self.kill(two[1])
            self.assertEqual((self.used(asic), self.daemon.value(chip, "dram_used")), (225, 75))
            self.assertEqual((self.unattributed(asic), self.stat(chip)["dram_unattributed"]),
                             (75, 25))
            os.unlink(file.path)
            self.kill(two[0])
            self.assertFalse(self.has_device(asic))
            self.assertNotIn(chip, self.daemon.devices())

    def test_a_chip_with_a_region_of_its_own_is_one_device(self):
        """However the files come: the process's numbers tell which it is."""
        for asic in (0x1000, 0x2000):
            process, files = self.process(), {}
            for one in (asic, asic + 1) if asic == 0x1000 else (asic + 1, asic):
                files[one] = self.region(one)
                files[one].put("i", 40, one - asic)
                files[one].slot(0, process.pid, dram=0)
            files[asic].chip(0, 0, 0, dram=30)
            files[asic].chip(1, 1, 1, dram=10)
            files[asic].total(dram=40)
            files[asic].slot(0, process.pid, dram=40)
            self.assertEqual((self.used(asic), self.used(asic + 1)), (30, 10))
            self.assertEqual(self.remote(), [])
            self.kill(process)

    def test_a_chip_that_gets_a_region_later_is_no_second_device(self):
        file, process = self.holder(0x1000, dram=40)
        file.chip(0, 0, 0, dram=30)
        file.chip(1, 1, 1, dram=10)
        self.assertEqual((self.used(0x1000), len(self.remote())), (30, 1))
        later = self.region(0x1001)
        later.put("i", 40, 1)
        later.slot(0, process.pid, dram=0)
        self.assertEqual((self.used(0x1001), self.remote()), (10, []))
        os.unlink(later.path)
        later.free(0)
        self.assertFalse(self.has_device(0x1001))
        eventually(self.remote, "the chip's own device, whose name the kernel may not know again")
        self.assertEqual((self.used(0x1000), len(self.remote())), (30, 1))
        self.assertAddsUp()

    def test_the_same_chip_of_two_directories_is_one_device(self):
        folder = f"{self.folder}/more"
        self.daemon.stop()
        os.mkdir(folder)
        self.daemon = type(self.daemon)(*self.options, "--shm", folder).start()
        for place in (self.shm, folder):
            file, _ = self.holder(0x1000, dram=40, folder=place)
            file.chip(0, 1, 1, dram=10)
        self.assertEqual((self.used(0x1000), len(self.daemon.devices())), (60, 2))
        self.assertEqual(self.daemon.value(self.remote()[0], "dram_used"), 20)


class Names(MetalTest):
    def test_other_names_are_left_alone(self):
        for name in ("tt_device_1_memory.tmp", "tt_device_01_memory", "tt_device_-1_memory",
                     "tt_device_18446744073709551616_memory", "tt_device__memory", "sem.tt"):
            RegionFile(self.shm, 1, name=name).close()
        self.region((1 << 64) - 1)
        self.assertTrue(self.has_device((1 << 64) - 1))
        self.assertEqual(self.source(), ("up", 1, 0, "-"))
        self.assertEqual(region_name(7), "tt_device_7_memory")
