# SPDX-License-Identifier: Apache-2.0
"""The simulator as an unmodified TT-Metal process, byte by byte. No daemon is needed."""
import glob
import os
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
import unittest

import harness
from harness import Program, clean_up, eventually, living

COLUMNS = ("dram", "l1", "l1_small", "trace", "cb", "kernel")
BY_TYPE = {0: "dram", 1: "l1", 3: "l1_small", 4: "trace", 5: "cb", 6: "kernel"}
WAITING = ("--model", "resnet50", "--load-ms", "0", "--step-ms", "200000")
BUSY = ("--model", "resnet50", "--load-ms", "0", "--step-ms", "1", "--quiet")


class Sim(Program):
    def __init__(self, *options):
        super().__init__(f"{harness.BUILD}/ttmem-sim", *options)

    def end(self, number=signal.SIGTERM):
        """Its exit status."""
        self.process.send_signal(number)
        self.process.communicate(timeout=20 * harness.CALM)
        living.remove(self)
        return self.process.returncode

    def destroy(self):
        self.end(signal.SIGKILL)


class Region:
    """One look at a file of TT-Metal's."""

    def __init__(self, path, layout):
        first = layout == 1
        self.columns = COLUMNS if first else COLUMNS[:5]
        self.totals_at, self.chips_at, self.chip = (48, 96, 56) if first else (48, 88, 48)
        self.slots_at, self.slot_size = (992, 128) if first else (856, 120)
        with open(path, "rb") as file:
            data = file.read()
        self.size, self.data = len(data), data.ljust(9280, b"\0")  # it may be in the making

    def get(self, form, offset):
        return struct.unpack_from("<" + form, self.data, offset)[0]

    def sums(self, offset):
        values = struct.unpack_from(f"<{len(self.columns)}Q", self.data, offset)
        return {name: value for name, value in zip(self.columns, values) if value}

    totals = property(lambda self: self.sums(self.totals_at))
    chips = property(lambda self: [
        (*struct.unpack_from("<II", self.data, at), self.sums(at + 8))
        for at in range(self.chips_at, self.chips_at + 16 * self.chip, self.chip)])

    @property
    def slots(self):
        """pid -> (sums, last update, name) of those that are not free."""
        found = {}
        for at in range(self.slots_at, self.slots_at + 64 * self.slot_size, self.slot_size):
            if self.get("i", at):
                rest = at + 8 + 8 * len(self.columns)
                name = self.data[rest + 8:rest + 72].rstrip(b"\0").decode()
                found[self.get("i", at)] = self.sums(at + 8), self.get("Q", rest), name
        return found


class Listener(threading.Thread):
    """A stream server that keeps what the only client sends."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        self.data = b""
        self.start()

    def run(self):
        with self.socket, self.socket.accept()[0] as client:
            while got := client.recv(1 << 16):
                self.data += got

    def events(self, form):
        return [self.data[at:at + form] for at in range(0, len(self.data) // form * form, form)]


class Case(unittest.TestCase):
    def setUp(self):
        self.addCleanup(clean_up)
        self.dir = tempfile.mkdtemp(prefix="ttmem-sim-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.dir)

    def metal(self, *options):
        return Sim("--as", "tt-metal", "--shm", self.dir, *options)

    def region(self, layout=4, index=0):
        return Region(sorted(glob.glob(f"{self.dir}/tt_device_*_memory"))[index], layout)

    def slot(self, sim, layout=4):
        """The sums of a process that has come to where it waits: the last it takes is L1."""
        def look():
            paths = glob.glob(f"{self.dir}/tt_device_*_memory")
            found = paths and self.region(layout).slots.get(sim.pid)
            return found and found[0] == self.expected(layout) and found
        return eventually(look, "the sums of a waiting model")

    def expected(self, layout=4):
        """What a waiting model holds, from what it says on a socket: all before the first free."""
        if not hasattr(self, "held"):
            with tempfile.TemporaryDirectory(dir=self.dir) as folder:
                stream = Listener(f"{folder}/s")
                sim = Sim("--as", "alloc-server", "--alloc-socket", f"{folder}/s", *WAITING,
                          "--form", "72")
                eventually(lambda: sum(e[16] == 1 for e in stream.events(72)) == 3, "3 in L1")
                self.held = {}
                for event in stream.events(72):
                    kind = BY_TYPE[event[16]]
                    self.held[kind] = self.held.get(kind, 0) + struct.unpack_from("<Q", event, 8)[0]
                self.assertEqual(sim.end(), 0)
                stream.join()
        return {kind: size for kind, size in self.held.items() if kind != "kernel" or layout == 1}

    def assertEmpty(self, region):
        self.assertEqual((region.totals, region.slots), ({}, {}))
        self.assertEqual((region.get("I", 4), region.get("I", 16)), (0, 0))
        self.assertEqual([chip[2] for chip in region.chips], [{}] * 16)


class Metal(Case):
    def test_every_layout_has_its_fields_where_they_belong(self):
        for layout in (1, 2, 3, 4):
            with self.subTest(layout=layout):
                self.check_layout(layout, time.time_ns())

    def check_layout(self, layout, before):
        sim = self.metal("--layout", layout, "--devices", "3", *WAITING)
        sums, updated, name = self.slot(sim, layout)
        r, path = self.region(layout), glob.glob(f"{self.dir}/tt_device_*")[0]
        self.assertEqual((r.size, os.stat(path).st_mode), (9280 if layout == 1 else 8576, 0o100666))
        identity = (r.get("Q", 24) << 8 | r.get("Q", 32)) % (1 << 64)
        self.assertEqual(os.path.basename(path), f"tt_device_{identity}_memory")
        self.assertEqual(r.get("Q", 24) >> 36 & 0xfffff, 0x14 if layout == 1 else 0)
        self.assertEqual([r.get("I", at) for at in (0, 4, 16, 40)], [layout, 1, 1, 0])
        self.assertEqual((name, r.totals, r.chips[0]), ("resnet50", sums, (0, 0, sums)))
        self.assertTrue(before < updated <= r.get("Q", 8) <= time.time_ns())
        unused = 0xffffffff if layout > 2 else 0
        self.assertEqual(r.chips[1:], [(unused, 0, {})] * 15)
        self.assertEqual(r.get("I", 8536), 0x52454459 if layout == 4 else 0)
        self.assertEqual(sim.end(), 0)
        self.assertEmpty(self.region(layout))
        os.unlink(path)

    def test_old_layouts_can_have_the_time_since_boot(self):
        sim = self.metal("--layout", 2, "--clock", "boot", *WAITING)
        updated = self.slot(sim, 2)[1]
        self.assertTrue(0 < updated <= time.monotonic_ns())

    def test_a_gateway_counts_its_remote_chips(self):
        sim = self.metal("--gateway", "--devices", "0-2", "--scale", "0.1", *WAITING)
        def whole():
            r = self.region()
            sums = r.slots[sim.pid][0]
            parts = [chip[2] for chip in r.chips[:3]]
            return parts[2].get("l1") and r.totals == sums and r.totals == {
                kind: sum(part.get(kind, 0) for part in parts) for kind in COLUMNS[:5]} and r
        sim.line()
        r = eventually(whole, "chips that add up")
        self.assertEqual([chip[:2] for chip in r.chips[:4]],
                         [(0, 0), (1, 1), (2, 1), (0xffffffff, 0)])
        self.assertEqual(len(os.listdir(self.dir)), 1)
        self.assertEqual(sim.end(), 0)
        self.assertEmpty(self.region())

    def test_processes_at_once_leave_nothing_in_the_sums(self):
        sims = [self.metal("--threads", 8, *BUSY) for _ in range(4)]
        eventually(lambda: os.listdir(self.dir) and len(self.region().slots) == 4, "four slots")
        self.assertEqual([sim.end() for sim in sims], [0] * 4)
        self.assertEmpty(self.region())

    def test_what_is_leaked_leaves_with_the_process(self):
        sim = self.metal("--leak", *WAITING)
        self.slot(sim)
        self.assertEqual(sim.end(), 0)
        self.assertEmpty(self.region())

    def test_ghosts_stay(self):
        killed, ghost = self.metal(*WAITING), self.metal("--fault", "ghost", *WAITING)
        sums = self.slot(killed)[0]
        self.assertEqual(self.slot(ghost)[0], sums)
        self.assertEqual(killed.end(signal.SIGKILL), -signal.SIGKILL)
        self.assertEqual(ghost.end(), 0)
        r = self.region()
        self.assertEqual(set(r.slots), {killed.pid, ghost.pid})
        self.assertEqual(r.totals, {kind: 2 * size for kind, size in sums.items()})
        self.assertEqual((r.get("I", 4), r.get("I", 16)), (2, 2))

    def test_wrap_takes_totals_below_zero(self):
        sim = self.metal("--fault", "wrap", *WAITING)
        sums = self.slot(sim)[0]
        self.assertEqual(sim.end(), 0)
        self.assertEqual(self.region().totals, {k: (1 << 64) - size for k, size in sums.items()})

    def test_a_crowd_leaves_no_slot(self):
        sim = self.metal("--fault", "crowd", *WAITING)
        eventually(lambda: os.listdir(self.dir) and self.region().totals.get("l1") ==
                   self.expected()["l1"], "the sums")
        r = self.region()
        self.assertEqual(len(r.slots), 64)
        self.assertNotIn(sim.pid, r.slots)
        for pid, (sums, *_) in r.slots.items():
            os.kill(pid, 0)
            self.assertEqual(sums, {"dram": 4096})
        self.assertEqual(r.totals["dram"], self.expected()["dram"] + 64 * 4096)
        self.assertEqual(sim.end(), 0)
        self.assertEmpty(self.region())

    def test_a_crowd_ends_with_its_process(self):
        sim = self.metal("--fault", "crowd", *WAITING)
        eventually(lambda: os.listdir(self.dir) and len(self.region().slots) == 64, "the crowd")
        sim.end(signal.SIGKILL)
        eventually(lambda: not any(is_alive(pid) for pid in self.region().slots), "their end")

    def test_a_torn_file_never_gets_ready(self):
        sim = self.metal("--fault", "torn", *WAITING)
        self.assertRegex(sim.line(), "loading")
        self.assertEqual((self.region().get("I", 8536), self.region().size), (1, 8576))
        self.assertEqual(sim.end(), 0)
        self.assertEqual(self.region().get("I", 8536), 1)

    def test_a_truncated_file_is_short_and_whole_in_turn(self):
        sim = self.metal("--fault", "truncate", *BUSY)
        for short in (True, False, True):
            eventually(lambda: os.listdir(self.dir) and
                       (self.region().size < 8576) == short, f"short={short}")
        self.assertEqual(sim.end(), 0)
        self.assertEqual(self.region().size, 8576)
        self.assertEmpty(self.region())


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
