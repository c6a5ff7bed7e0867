# SPDX-License-Identifier: Apache-2.0
"""TT-Metal's own shared memory: files and directories that come and go."""
import os
import shutil

from harness import NOBODY, Daemon, Program, eventually
from metal import MIB, MetalTest, RegionFile
from watching import IN_CREATE, IN_DELETE, IN_ISDIR, Inotify


class Coming(MetalTest):
    def before_start(self):
        self.first = self.holder(0x1)

    def test_a_region_that_is_there_first_is_read(self):
        self.assertEqual(self.used(0x1), MIB)
        self.assertEqual(self.source(), ("up", 1, 1, "-"))

    def test_regions_come_and_go(self):
        file, process = self.first
        self.assertEqual(self.source()[1:3], (1, 1))
        for asic in range(2, 6):
            self.region(asic).slot(0, process.pid, dram=MIB)
            self.assertEqual((self.used(asic), self.held(process)), (MIB, asic * MIB))
        for asic in range(2, 6):
            file = self.files[asic - 1]
            file.free(0)
            os.unlink(file.path)
            self.assertFalse(self.has_device(asic))
            self.assertEqual(self.held(process), (6 - asic) * MIB)
        self.assertEqual(self.source(), ("up", 1, 1, "-"))

    def test_a_daemon_that_is_started_again_finds_all(self):
        self.assertEqual(self.used(0x1), MIB)
        self.daemon.stop()
        self.daemon = Daemon(*self.options).start()
        self.assertEqual(self.used(0x1), MIB)

    def test_a_directory_is_replaced_before_the_first_look(self):
        """What the daemon opened at its start is not what is there."""
        os.rename(self.shm, f"{self.folder}/old")
        os.mkdir(self.shm)
        process = self.process()
        self.region(0x2).slot(0, process.pid, dram=3 * MIB)
        eventually(lambda: self.has_device(0x2), "the new directory's region")
        self.assertEqual(self.used(0x2), 3 * MIB)

    def test_a_directory_is_removed_and_made_again(self):
        file, process = self.first
        self.assertEqual(self.used(0x1), MIB)
        shutil.rmtree(self.shm)
        eventually(lambda: self.source()[3].endswith("shm is not there or cannot be read"))
        self.assertEqual(self.held(process), MIB)  # it has it mapped
        os.mkdir(self.shm)
        other = self.process()
        self.region(0x1).slot(0, other.pid, dram=5 * MIB)
        eventually(lambda: self.daemon.exists("pids", other.pid), "the new region's process")
        self.assertEqual(self.used(0x1), 6 * MIB)
        self.assertWell()
        self.kill(process)
        self.assertEqual(self.used(0x1), 5 * MIB)
        self.assertAddsUp()

    def test_a_directory_above_is_replaced(self):
        self.daemon.stop()
        os.makedirs(f"{self.folder}/a/shm")
        self.daemon = Daemon("--shm", f"{self.folder}/a/shm").start()
        self.assertWell()
        os.rename(f"{self.folder}/a", f"{self.folder}/b")
        os.makedirs(f"{self.folder}/a/shm")
        self.region(0x2, folder=f"{self.folder}/a/shm")
        eventually(lambda: self.has_device(0x2), "what the path means now")

    def test_a_file_that_is_replaced_counts_for_those_who_stay(self):
        """Until they come to the new one, too."""
        _, process = self.first
        self.assertEqual(self.used(0x1), MIB)
        new = RegionFile(self.shm, 0x1, name="new")
        self.files.append(new)
        other = self.process()
        new.slot(0, other.pid, dram=2 * MIB)
        new.total(dram=2 * MIB)
        os.rename(new.path, self.files[0].path)
        self.assertEqual((self.used(0x1), self.held(process)), (3 * MIB, MIB))
        self.assertEqual((self.held(other), self.unattributed(0x1)), (2 * MIB, 0))
        new.slot(1, process.pid, dram=4 * MIB)
        self.assertEqual((self.used(0x1), self.held(process)), (6 * MIB, 4 * MIB))
        self.assertAddsUp()

    def test_an_unlinked_file_goes_with_its_last_process(self):
        file, process = self.first
        other = self.process()
        file.slot(1, other.pid, dram=2 * MIB)
        self.assertEqual(self.used(0x1), 3 * MIB)
        os.unlink(file.path)
        self.assertIn(f"{file.path} (deleted)", self.daemon.open_paths())
        file.slot(0, process.pid, dram=5 * MIB)
        self.assertEqual(self.used(0x1), 7 * MIB)
        self.kill(process)
        self.assertEqual((self.used(0x1), self.unattributed(0x1)), (2 * MIB, 0))
        self.kill(other)
        self.assertFalse(self.has_device(0x1))
        self.assertNotIn(f"{file.path} (deleted)", self.daemon.open_paths())
        self.assertEqual(self.source(), ("up", 0, 0, "-"))

    def test_a_file_that_is_moved_away_and_back_counts_once(self):
        file, process = self.first
        for _ in range(3):
            os.rename(file.path, f"{self.shm}/elsewhere")
            self.assertEqual(self.used(0x1), MIB)
            os.rename(f"{self.shm}/elsewhere", file.path)
            self.assertEqual((self.used(0x1), self.held(process)), (MIB, MIB))
        self.kill(process)
        self.assertEqual((self.used(0x1), self.unattributed(0x1)), (0, MIB))

    def test_a_storm_of_names_loses_none(self):
        """More than inotify's queue holds, between two looks."""
        with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
            most = int(file.read())
        self.assertEqual(self.used(0x1), MIB)
        for _ in range(most // 2 + 10):
            os.close(os.open(f"{self.shm}/x", os.O_CREAT | os.O_WRONLY))
            os.unlink(f"{self.shm}/x")
        self.region(0x2)
        os.unlink(self.files[0].path)
        self.files[0].free(0)
        eventually(lambda: self.has_device(0x2) and not self.has_device(0x1), "what is there")


class Directories(MetalTest):
    def shm_options(self):
        more = ("two", "late", "link", "two")
        return sum((("--shm", f"{self.folder}/{name}") for name in more), ("--shm", self.shm))

    def before_start(self):
        os.mkdir(f"{self.folder}/two")
        os.symlink("two", f"{self.folder}/link")

    def test_one_that_comes_later_is_read_then(self):
        self.assertFault("late is not there")
        process = self.process()
        os.mkdir(f"{self.folder}/late")
        self.region(0x7, folder=f"{self.folder}/late").slot(0, process.pid, dram=MIB)
        eventually(lambda: self.has_device(0x7), "the region")
        self.assertEqual(self.used(0x7), MIB)
        self.assertWell()

    def test_a_directory_that_is_given_twice_counts_once(self):
        file, process = self.holder(0x7, folder=f"{self.folder}/two")
        file.total(dram=3 * MIB)
        self.assertEqual((self.used(0x7), self.held(process)), (MIB, MIB))
        self.assertEqual(self.unattributed(0x7), 2 * MIB)
        file.slot(0, process.pid, dram=2 * MIB)
        self.assertEqual((self.used(0x7), self.held(process)), (2 * MIB, 2 * MIB))
        self.region(0x8, folder=f"{self.folder}/two")
        self.assertTrue(self.has_device(0x8))

    def test_regions_of_one_chip_in_several_add_up(self):
        os.mkdir(f"{self.folder}/late")
        holders = [self.holder(0x7, dram=size * MIB, folder=folder) for size, folder in
                   ((1, self.shm), (2, f"{self.folder}/two"), (4, f"{self.folder}/late"))]
        processes = [process for _, process in holders]
        both = self.process()
        for file, _ in holders:
            file.slot(1, both.pid, dram=MIB)
        eventually(lambda: len(self.daemon.pids()) == 4, "all of them")
        self.assertEqual(self.used(0x7), 10 * MIB)
        self.assertEqual([self.held(process) for process in processes], [MIB, 2 * MIB, 4 * MIB])
        self.assertEqual(self.held(both), 3 * MIB)
        self.assertEqual(len(self.daemon.devices()), 1)
        self.assertWell()
        self.assertAddsUp()
        self.kill(both)
        self.assertEqual(self.used(0x7), 7 * MIB)

    def test_a_directory_that_goes_takes_no_others(self):
        os.mkdir(f"{self.folder}/late")
        self.holder(0x7)
        eventually(lambda: self.source()[0] == "up", "the late one")
        os.rmdir(f"{self.folder}/late")
        eventually(lambda: self.source()[3].endswith("late is not there or cannot be read"))
        self.assertEqual(self.used(0x7), MIB)


class ComingBack(MetalTest):
    """Under the same name, while somebody watches: what has gone is removed by one of the daemon's
    own threads, and that must not be taken for what is there now."""

    def lister(self, path):
        """As long as an ordinary user has a directory open it is left alone."""
        program = Program("sh", "-c", 'exec 3<"$1"; echo there; read line', "sh", path, user=NOBODY)
        self.assertEqual(program.line(), "there")
        return program

    def untold(self):
        return int(self.daemon.flat("status")["untold_changes"])

    def wait_told(self, watch, name):
        """Of its end and its new beginning, unless that was given up, as on a slow machine."""
        def is_over():
            watch.take()
            masks = [m & ~IN_ISDIR for _, m, n in watch.seen if n == name]
            return self.untold() or IN_DELETE in masks and masks[-1] == IN_CREATE
        eventually(is_over, "an event")

    def test_a_device(self):
        root = self.daemon.mount
        for asic in range(1, 9):
            path = self.region(asic).path
            device = self.device(asic)
            with Inotify(root) as watch:
                lister = self.lister(root)
                os.unlink(path)
                self.assertFalse(self.has_device(asic))
                self.region(asic)
                there = os.open(f"{root}/{device}", os.O_RDONLY)
                self.addCleanup(os.close, there)
                lister.close()
                self.wait_told(watch, device)
                self.assertEqual(self.daemon.value(device, "l1_used"), 0)
                for folder in (there, f"{root}/{device}"):
                    self.assertIn("l1_used", os.listdir(folder))

    def test_the_device_of_a_process_that_somebody_is_in(self):
        first, process = self.holder(1)
        self.region(2).slot(0, process.pid, dram=MIB)
        again = self.files[1]
        folder = self.daemon.path("pids", process.pid)
        device = self.device(2)
        with Inotify(folder) as watch:
            there = os.open(f"{folder}/{device}", os.O_RDONLY)
            self.addCleanup(os.close, there)
            again.free(0)
            self.assertFalse(self.daemon.exists("pids", process.pid, device))
            watch.wait(lambda p, m, n: m & IN_DELETE and n == device)
            again.slot(0, process.pid, dram=2 * MIB)
            self.assertEqual(self.held(process), 3 * MIB)
            watch.wait(lambda p, m, n: m & IN_CREATE and n == device)
            self.assertEqual(self.daemon.value("pids", process.pid, device, "dram"), 2 * MIB)
            self.assertIn("dram", os.listdir(f"{folder}/{device}"))
            self.assertRaises(FileNotFoundError, os.listdir, there)
