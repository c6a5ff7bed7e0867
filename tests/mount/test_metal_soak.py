# SPDX-License-Identifier: Apache-2.0
"""Regions that are written as fast as a process can while the mount is read."""
import os
import sys
import threading

from harness import Program
from metal import MIB, MetalTest, region_name

SLOTS, STEP, READS = 8, 0x0111111111111100, 300

# Each number is stored at once, as TT-Metal does it: 1 or 2 steps, plus the slot's number.
WRITER = f"""
import ctypes, mmap, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
pages = mmap.mmap(fd, 8576)
words = (ctypes.c_uint64 * (8576 // 8)).from_buffer(pages)
slots = [(856 + 120 * slot) // 8 for slot in range({SLOTS})]
print("there", flush=True)
while True:
    for steps in (1, 2):
        for slot, at in enumerate(slots):
            for number in range(5):
                words[at + 1 + number] = {STEP} * steps + slot
            words[at + 6] = time.time_ns()
        for number in range(5):
            words[6 + number] = {STEP} * steps
"""


class Soak(MetalTest):
    def possible(self, slot):
        return {STEP + slot, 2 * STEP + slot}

    def test_every_number_that_is_shown_was_written(self):
        file, processes = self.region(), [self.process() for _ in range(SLOTS)]
        numbers = dict.fromkeys(file.numbers, STEP)
        for slot, process in enumerate(processes):
            file.slot(slot, process.pid, **{kind: size + slot for kind, size in numbers.items()})
        writer = Program(sys.executable, "-c", WRITER, file.path)
        writer.line()
        seen, device, reads = [set() for _ in processes], self.device(), 0
        while reads < READS or min(len(values) for values in seen) < 2:
            kind = file.numbers[reads % 5]
            for slot, process in enumerate(processes):
                value = self.held(process, kind)
                self.assertIn(value, self.possible(slot), f"{value:#x}")
                seen[slot].add(value)
            stat = self.stat(device)
            steps, slots = divmod(stat[f"{kind}_used"], STEP)
            self.assertEqual(slots, sum(range(SLOTS)))
            self.assertTrue(SLOTS <= steps <= 2 * SLOTS, stat)
            self.assertWell()
            reads += 1
        writer.kill()
        self.assertAddsUp()

    def test_files_that_come_and_go_are_all_seen_in_the_end(self):
        process, stop = self.process(), threading.Event()
        def churn():
            for round_number in range(21 * 20):
                asic = 1 + round_number % 20
                path = f"{self.shm}/{region_name(asic)}"
                if os.path.exists(path):
                    os.unlink(path)
                else:
                    file = self.region(asic)
                    file.slot(3, process.pid, dram=MIB)
                    if asic % 2:
                        file.free(3)
                    file.close()
            stop.set()
        thread = threading.Thread(target=churn)
        thread.start()
        while not stop.is_set():
            self.daemon.text("summary")
        thread.join()
        for name in self.daemon.devices():  # whatever the kernel knew by these names
            self.daemon.value(name, "dram_used")
        self.assertAddsUp()
        self.assertEqual(self.source(), ("up", 20, 1, "-"))
        self.assertEqual(self.held(process), 10 * MIB)  # it has come to the newest of each
        self.kill(process)
        for asic in range(1, 21):
            self.assertEqual(self.used(asic), 0)
            os.unlink(f"{self.shm}/{region_name(asic)}")
        self.assertEqual(self.source(), ("up", 0, 0, "-"))
        self.assertEqual(self.daemon.devices(), [])
