# SPDX-License-Identifier: Apache-2.0
"""TT-Metal's own shared memory: what cannot be read, or makes no sense."""
import os
import stat

from harness import NOBODY, eventually
from metal import MIB, MetalTest, RegionFile, region_name
from test_users import OwnDaemon


class UsersDaemon(OwnDaemon):
    def __init__(self, options):
        super().__init__()
        self.options = options

    def argv(self):
        return [*super().argv(), *self.options]


class Unreadable(MetalTest):
    """What cannot be read is told of, once it can be it counts, and nothing else suffers."""

    def spoil(self, change, pattern, repair):
        """A region keeps what was known of it while something is wrong, and is well again."""
        file, process = self.holder()
        other, another = self.holder(0xb)
        self.assertEqual(self.used(), MIB)
        change(file)
        file.slot(0, process.pid, dram=2 * MIB)
        other.slot(0, another.pid, dram=3 * MIB)
        self.assertFault(pattern)
        self.assertEqual((self.used(), self.held(process)), (MIB, MIB))
        self.assertEqual(self.used(0xb), 3 * MIB)
        repair(file)
        file.slot(0, process.pid, dram=2 * MIB)
        self.assertWell()
        self.assertEqual((self.used(), self.held(process)), (2 * MIB, 2 * MIB))
        change(file)
        self.assertFault(pattern)
        self.kill(process)
        self.assertEqual(self.used(), 0)

    def test_an_unknown_layout(self):
        self.spoil(lambda file: file.put("I", 0, 5),
                   rf"{region_name(0xa51c)}: unknown layout version 5",
                   lambda file: file.put("I", 0, 4))

    def test_one_that_is_being_initialised(self):
        self.spoil(lambda file: file.ready(1), "being initialised", lambda file: file.ready())

    def test_one_that_was_cut_off(self):
        def whole(file):
            os.ftruncate(file.fd, file.size)
            file.ready()
        self.spoil(lambda file: os.ftruncate(file.fd, 8000), r"only \d+ of 8576 bytes", whole)

    def test_one_that_was_emptied(self):
        def whole(file):
            os.ftruncate(file.fd, file.size)
            file.put("I", 0, 4)
            file.ready()
        self.spoil(lambda file: os.ftruncate(file.fd, 0), "not initialised yet|only 0 of 8576 bytes",
                   whole)

    def test_one_that_has_grown_is_read(self):
        file, process = self.holder()
        os.pwrite(file.fd, b"\xff" * 5000, 8576)
        file.slot(0, process.pid, dram=7)
        self.assertEqual(self.used(), 7)
        self.assertWell()

    def test_a_file_in_the_making_appears_when_it_is_ready(self):
        process = self.process()
        self.files.append(file := RegionFile(self.shm, 0xa51c, ready=False))
        file.slot(0, process.pid, dram=MIB)
        self.assertFault("being initialised")
        self.assertEqual((self.daemon.devices(), self.daemon.pids()), ([], set()))
        file.ready()
        self.assertEqual(self.used(), MIB)
        self.assertWell()

    def test_a_torn_simulator_shows_nothing(self):
        sim = self.sim("--fault", "torn")
        sim.line()
        self.assertFault("being initialised")
        self.assertEqual(self.daemon.pids(), set())

    def test_reads_during_truncations_show_what_was_there(self):
        sim = self.sim("--fault", "truncate", "--seed", "3")
        self.wait_waiting(sim)
        held = [self.held(sim, kind) for kind in ("dram", "l1", "cb", "trace", "l1_small")]
        states = set()
        def both():
            for _ in range(50):
                self.assertEqual([self.held(sim, kind) for kind in
                                  ("dram", "l1", "cb", "trace", "l1_small")], held)
                states.add(self.source()[0])
            return states == {"up", "error"}
        eventually(both, "short and whole files")

    def test_what_is_no_file_is_not_opened(self):
        path = f"{self.shm}/{region_name(0xa51c)}"
        RegionFile(self.folder, 0xa51c, name="real").close()
        def directory():
            os.mkdir(path)
        def fifo():
            os.mkfifo(path)
        def link():
            os.symlink(f"{self.folder}/real", path)
        def dead_link():
            os.symlink("nowhere", path)
        def device():
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        for make in (directory, fifo, link, dead_link, device):
            with self.subTest(make=make.__name__):
                make()
                self.assertFault(f"{region_name(0xa51c)}: (not a regular file|cannot be opened)")
                self.assertEqual(self.daemon.devices(), [])
                (os.rmdir if make is directory else os.unlink)(path)
                self.assertWell()
        self.holder()
        self.assertEqual(self.used(), MIB)

    def test_one_of_many_is_named(self):
        for asic in range(1, 5):
            self.region(asic).put("I", 0, 9 if asic > 2 else 4)
        self.assertFault(rf"\A2 of 4 regions; {self.shm}/{region_name(3)}: unknown layout")

    def test_totals_below_zero_are_no_numbers(self):
        file, process = self.holder()
        file.total(dram=-4096, cb=-1)
        self.assertFault("its total of dram is below zero")
        self.assertEqual((self.used(), self.unattributed(), self.unattributed(kind="cb")),
                         (MIB, 0, 0))
        file.total(dram=MIB)
        self.assertWell()
        file.slot(0, process.pid, dram=-1, l1=5)
        self.assertFault(f"the dram of process {process.pid} in it is below zero")
        self.assertEqual((self.used(), self.unattributed(), self.used(kind="l1")), (0, MIB, 5))
        file.slot(0, process.pid, dram=MIB)
        file.chip(0, 7, 1, trace=-1)
        self.assertFault("the trace of its chip 7 is below zero")
        self.assertAddsUp()

    def test_a_simulator_that_subtracts_twice(self):
        sim = self.sim("--fault", "wrap", "--steps", "1", "--step-ms", "1")
        sim.process.wait()
        self.assertFault("its total of .* is below zero")
        stat = self.stat(self.daemon.devices()[0])
        self.assertTrue(all(stat[f"{kind}_used"] == stat[f"{kind}_unattributed"] == 0
                            for kind in ("dram", "l1", "cb")), stat)

    def test_an_ordinary_user_is_told_whose_files_he_cannot_read(self):
        mine, process = self.holder(0x1)
        theirs, _ = self.holder(0x2)
        for file in (mine, theirs):
            os.fchmod(file.fd, 0o600)
        os.fchown(mine.fd, NOBODY.pw_uid, NOBODY.pw_gid)
        self.daemon.stop()
        self.daemon = UsersDaemon(self.options).start()
        self.assertFault(rf"{region_name(2)}: cannot be opened: Permission denied .*root")
        self.assertEqual((self.daemon.value("device0", "dram_used"), self.held(process)),
                         (MIB, MIB))
        self.assertEqual(self.source()[1:3], (1, 1))
        os.fchmod(theirs.fd, 0o644)
        self.assertWell()
        self.assertEqual(self.daemon.value("device1", "dram_used"), MIB)

    def test_a_user_fills_the_directory_with_no_more_than_his_share(self):
        aside = self.daemon.dir  # the daemon must not meet them while they are root's
        for asic in range(1000, 1300):
            file = RegionFile(aside, asic)
            os.fchown(file.fd, NOBODY.pw_uid, NOBODY.pw_gid)
            file.close()
            os.rename(file.path, f"{self.shm}/{region_name(asic)}")
        self.assertFault("shm has more regions than are read")
        self.holder()
        self.assertEqual(self.used(), MIB)
        self.assertEqual(len(self.daemon.devices()), 129)
        for asic in range(1000, 1250):
            os.unlink(f"{self.shm}/{region_name(asic)}")
        eventually(lambda: self.source()[:2] == ("up", 51), "the others")
