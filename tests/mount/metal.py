# SPDX-License-Identifier: Apache-2.0
"""Files of TT-Metal's as its writers make them, and daemons that look for them."""
import os
import shutil
import struct
import tempfile
import time

import harness
from harness import MountTest, Program, eventually

NUMBERS = ("dram", "l1", "l1_small", "trace", "cb", "kernel")
READY_AT, READY = 8536, 0x52454459
MIB = 1 << 20


def region_name(asic):
    return f"tt_device_{asic}_memory"


def is_waiting(pid):
    """A simulator without pauses sleeps only before its first free: then all its threads do."""
    states = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii", errors="replace") as stat:
            states.append(stat.read().rsplit(")", 1)[1].split()[0])
    return len(states) > 1 and set(states) == {"S"}


class RegionFile:
    """A file that is written field by field, in any layout; its offsets are the published ones."""

    def __init__(self, folder, asic, layout=4, ready=True, name=None):
        self.asic, self.layout = asic, layout
        self.path = f"{folder}/{name or region_name(asic)}"
        first = layout == 1
        self.numbers = NUMBERS if first else NUMBERS[:5]
        self.size = 9280 if first else 8576
        self.chips_at, self.chip_size = (96, 56) if first else (88, 48)
        self.slots_at, self.slot_size = (992, 128) if first else (856, 120)
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        os.ftruncate(self.fd, self.size)
        self.put("Q", 32, 0 if first else asic)
        if layout > 2:
            for chip in range(16):
                self.put("I", self.chips_at + chip * self.chip_size, 0xffffffff)
        self.put("I", 0, layout)
        if ready:
            self.ready()

    def ready(self, state=READY):
        if self.layout == 4:
            self.put("I", READY_AT, state)

    def put(self, form, offset, *values):
        os.pwrite(self.fd, struct.pack("<" + form, *values), offset)

    def put_sums(self, offset, sums):
        assert set(sums) <= set(self.numbers)
        self.put(f"{len(self.numbers)}Q", offset,
                 *(sums.get(name, 0) % (1 << 64) for name in self.numbers))

    def total(self, **sums):
        self.put_sums(48, sums)

    def chip(self, place, number, remote, **sums):
        offset = self.chips_at + place * self.chip_size
        self.put("II", offset, number, remote)
        self.put_sums(offset + 8, sums)

    def slot(self, place, pid, updated=None, **sums):
        """In one write, as a reader sees it at best."""
        count = len(self.numbers)
        self.put(f"i4x{count}QQ64s", self.slots_at + place * self.slot_size, pid,
                 *(sums.get(name, 0) % (1 << 64) for name in self.numbers),
                 time.time_ns() if updated is None else updated, b"model")

    def free(self, place):
        self.put(f"{self.slot_size}s", self.slots_at + place * self.slot_size, b"")

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class MetalTest(MountTest):
    """Daemons that look into a directory of the test's, where no region is at first."""

    user = None

    def setUp(self):
        self.addCleanup(self.remove_folder)
        self.folder = tempfile.mkdtemp(prefix="ttmem-metal-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.shm, self.tree = f"{self.folder}/shm", f"{self.folder}/tree"
        os.mkdir(self.shm)
        self.files = []
        self.before_start()
        self.options = (*self.shm_options(), "--driver-sysfs", f"{self.tree}/class/tenstorrent",
                        "--driver-procfs", f"{self.tree}/proc")
        super().setUp()

    def before_start(self):
        """What is there already when the daemon starts."""

    def shm_options(self):
        return ("--shm", self.shm)

    def remove_folder(self):
        for file in self.files:
            file.close()
        shutil.rmtree(self.folder)

    def driver(self, *options):
        harness.run(f"{harness.BUILD}/ttmem-fake-driver", "--root", self.tree, *options,
                    check=True)

    def region(self, asic=0xa51c, layout=4, folder=None, **options):
        file = RegionFile(folder or self.shm, asic, layout, **options)
        self.files.append(file)
        return file

    def process(self, user=None):
        """One that lives until the test kills it."""
        return Program("cat", user=user)

    def holder(self, asic=0xa51c, dram=MIB, **options):
        """A region with one process in it."""
        file, process = self.region(asic, **options), self.process()
        file.total(dram=dram)
        file.slot(0, process.pid, dram=dram)
        return file, process

    def sim(self, *options):
        sim = Program(f"{harness.BUILD}/ttmem-sim", "--as", "tt-metal", "--shm", self.shm,
                      "--model", "resnet50", "--load-ms", "0", "--step-ms", "200000", *options)
        sim.destroy = sim.kill
        return sim

    def wait_waiting(self, sim):
        """It has taken all that it takes in its first step, and is shown."""
        eventually(lambda: is_waiting(sim.pid) and self.daemon.exists("pids", sim.pid, "l1"),
                   "a simulator that waits")
        self.assertGreater(self.held(sim, "l1"), 0)

    # What the mount says.
    def device(self, asic=0xa51c):
        return os.path.basename(os.readlink(self.daemon.path("by-asic", f"{asic:016x}")))

    def has_device(self, asic=0xa51c):
        return self.daemon.exists("by-asic", f"{asic:016x}")

    def stat(self, device):
        return {key: int(value) for key, value in self.daemon.flat(device, "stat").items()}

    def used(self, asic=0xa51c, kind="dram"):
        return self.daemon.value(self.device(asic), f"{kind}_used")

    def unattributed(self, asic=0xa51c, kind="dram"):
        return self.stat(self.device(asic))[f"{kind}_unattributed"]

    def held(self, process, kind="dram"):
        return self.daemon.value("pids", process.pid, kind)

    def source(self, name="tt-metal"):
        """State, number of devices, of processes, and what is wrong."""
        rows = [line.split(None, 5) for line in self.daemon.text("sources").splitlines()]
        row = next(row for row in rows if row[0] == name)
        return row[1], int(row[2]), int(row[3]), row[5]

    def has_exited(self, pid):
        return str(pid) in [row["pid"] for row in self.daemon.table("exited")]

    def assertFault(self, pattern):
        state, _, _, detail = self.source()
        self.assertEqual(state, "error", detail)
        self.assertRegex(detail, pattern)

    def assertWell(self):
        state, _, _, detail = self.source()
        self.assertEqual((state, detail), ("up", "-"))

    def assertAddsUp(self):
        """Over processes as over devices, in every kind."""
        for kind in harness.KINDS:
            pids = sum(self.daemon.value("pids", pid, kind) for pid in self.daemon.pids())
            devices = sum(self.daemon.value(name, f"{kind}_used")
                          for name in self.daemon.devices())
            self.assertEqual(pids, devices, kind)

    def kill(self, process):
        """Afterwards nothing is left of it but a row of `exited`."""
        pid = process.pid
        process.kill()
        self.wait_gone(pid)
        eventually(lambda: self.has_exited(pid), f"{pid} among the exited")
