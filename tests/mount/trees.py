# SPDX-License-Identifier: Apache-2.0
"""What the driver and TT-Metal would show of made-up devices, and daemons that look there."""
import os
import re
import struct
import tempfile
import time

import harness
from harness import Daemon, MountTest, Program, clean_up, eventually, run


class Tree:
    """The driver's files below a directory that everybody can read."""

    def __init__(self, root, *boards):
        self.root = root
        self.class_dir, self.proc_dir = f"{root}/class/tenstorrent", f"{root}/proc"
        if boards:
            self.make(*boards)

    def driver(self, *options):
        run(f"{harness.BUILD}/ttmem-fake-driver", "--root", self.root, *options, check=True)

    def make(self, *boards):
        self.driver("--devices", ",".join(boards))

    def remove(self, *numbers):
        for number in numbers:
            self.driver("--remove", number)

    def opens(self, number, *pids):
        self.driver("--pids", f"{number}:" + ",".join(str(pid) for pid in pids))

    def path(self, number, name):
        return f"{self.class_dir}/tenstorrent!{number}/{name}"

    def pids_path(self, number):
        return f"{self.proc_dir}/{number}/pids"

    def read(self, number, name):
        with open(self.path(number, name), encoding="ascii") as file:
            return file.read().rstrip("\n")

    def asic(self, number):
        return int(self.read(number, "tt_asic_id"), 16)

    @staticmethod
    def replace(path, text):
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(f"{path}.new", path)


class Region:
    """A file of TT-Metal's, layout 3, as its writers would leave it. It is written in place: who
    has a file that was replaced open would go on writing there."""

    def __init__(self, folder, asic):
        self.path, self.asic, self.slots = f"{folder}/tt_device_{asic}_memory", asic, {}

    def write(self):
        data = bytearray(8576)
        sums = [sum(column) for column in zip(*self.slots.values())] or [0] * 5
        struct.pack_into("<IIQIxxxxQQixxxx5Q", data, 0, 3, len(self.slots), time.time_ns(),
                         len(self.slots), 0, self.asic, 0, *sums)
        struct.pack_into("<II5Q", data, 88, 0, 0, *sums)
        for chip in range(1, 16):
            struct.pack_into("<I", data, 88 + 48 * chip, 0xffffffff)
        for place, (pid, used) in enumerate(self.slots.items()):
            struct.pack_into("<ixxxx5QQ64s", data, 856 + 120 * place, pid, *used, time.time_ns(),
                             b"model")
        if not os.path.exists(self.path):
            with open(f"{self.path}.new", "wb") as file:
                file.write(data)
            os.rename(f"{self.path}.new", self.path)
        with open(self.path, "r+b", buffering=0) as file:
            file.write(data)

    def put(self, pid, dram=0, l1=0):
        self.slots[pid] = (dram, l1, 0, 0, 0)
        self.write()


class TreeTest(MountTest):
    """A daemon that looks at a tree of the driver's and at an empty directory for regions."""

    boards = ("n300", "p150a")

    def setUp(self):
        self.addCleanup(clean_up)
        self.dir = tempfile.mkdtemp(prefix="ttmem-tree-", dir="/tmp")
        self.addCleanup(run, "rm", "-rf", self.dir)
        os.chmod(self.dir, 0o755)
        self.shm = f"{self.dir}/shm"
        os.mkdir(self.shm)
        self.tree = Tree(f"{self.dir}/tree", *self.boards)
        self.prepare()
        self.daemon = Daemon("--driver-sysfs", self.tree.class_dir, "--driver-procfs",
                             self.tree.proc_dir, "--shm", self.shm).start()

    def prepare(self):
        """What must be there before the daemon."""

    def waiter(self, **options):
        """A process that is there and does nothing."""
        return Program("cat", **options)

    def lines(self, name="summary"):
        """The words of each line of the summary, by the first."""
        return {words[0]: words for words in
                (line.split() for line in self.daemon.text(name).splitlines()) if words}

    def source(self, name):
        """State, devices, processes, last update, and the detail."""
        line = next(line for line in self.daemon.text("sources").splitlines()
                    if line.startswith(f"{name} "))
        return re.fullmatch(r"\S+ +(\S+) +(\d+) +(\d+) +(\S+) +(.*)", line).groups()

    def wait_devices(self, *numbers):
        wanted = [f"device{number}" for number in numbers]
        eventually(lambda: self.daemon.devices() == wanted, f"{wanted}")

    def wait_pids(self, *pids):
        eventually(lambda: self.daemon.pids() == set(pids), f"the processes {pids}")

    def wait_text(self, text, *names):
        def is_it():
            try:
                return self.daemon.text(*names) == f"{text}\n"
            except OSError:
                return False
        eventually(is_it, f"{text} in {names}")
