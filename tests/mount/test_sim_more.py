# SPDX-License-Identifier: Apache-2.0
"""The simulator as a client of the allocation server, the fake driver, and what both refuse."""
import os
import re
import struct
import time
import unittest

import harness
from harness import eventually, run
from test_sim import BUSY, WAITING, Case, Listener, Sim

USAGE = 64


class Server(Case):
    def conversation(self, *options, form):
        stream = Listener(f"{self.dir}/s")
        sim = Sim("--as", "alloc-server", "--alloc-socket", f"{self.dir}/s", *BUSY, "--steps", 5,
                  *options)
        sim.pid_said = sim.process.wait(20 * harness.CALM)
        stream.join()
        os.unlink(f"{self.dir}/s")
        self.assertEqual((sim.pid_said, len(stream.data) % form), (0, 0))
        fields = [struct.unpack_from("<B3xiQB3xiQQ", event) for event in stream.events(form)]
        for event, (_, _, _, _, pid, _, _) in zip(stream.events(form), fields):
            self.assertEqual((event[1:4], event[17:20], pid), (b"\0" * 3, b"\0" * 3, sim.pid))
            self.assertEqual(event[40:], bytes(form - 40))
        return fields

    def replay(self, fields, pairs):
        """Every free names what is live, and nothing is live at the end."""
        live, kinds = {}, set()
        for kind, device, size, buffer_type, _, buffer, _ in fields:
            key = (pairs.get(kind, kind), device, buffer)
            if kind in pairs:
                live.pop(key)
            else:
                self.assertNotIn(key, live)
                live[key] = size
                kinds.add((kind, buffer_type))
        self.assertEqual(live, {})
        return kinds

    def test_every_form_carries_every_event(self):
        for form in (72, 112, 128, 144):
            fields = self.conversation("--form", form, "--devices", "0,7", form=form)
            self.assertEqual({device for _, device, *_ in fields}, {0, 7})
            now = time.time_ns()
            self.assertTrue(all(now - 60e9 < f[6] <= now for f in fields if f[0] in (1, 8, 10)))
            kinds = self.replay(fields, {2: 1, 9: 8, 11: 10})
            more = {(8, 0), (10, 0)} if form >= 128 else {(1, 5), (1, 6)}
            self.assertEqual(kinds, {(1, 0), (1, 1), (1, 3), (1, 4)} | more)

    def test_python_frees_on_device_0(self):
        fields = self.conversation("--python", "--devices", "5", form=112)
        self.assertEqual({f[:2] for f in fields}, {(1, 5), (2, 0)})

    def test_leak_frees_only_what_an_operation_took(self):
        fields = self.conversation("--leak", "--form", 144, form=144)
        self.assertNotIn(11, {f[0] for f in fields})

    def test_says_what_to_do_when_nobody_listens(self):
        result = run(f"{harness.BUILD}/ttmem-sim", "--as", "alloc-server", "--alloc-socket",
                     f"{self.dir}/none")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "start ttmemd .*--alloc-socket")


class Driver(Case):
    def driver(self, *options):
        return run(f"{harness.BUILD}/ttmem-fake-driver", "--root", f"{self.dir}/t", *options)

    def read(self, *names):
        with open("/".join([self.dir, "t", *names]), encoding="ascii") as file:
            return file.read()

    def test_a_tree_looks_like_the_drivers(self):
        self.assertEqual(self.driver("--devices", "n300,p150a", "--pids", "1:7,7,9").stderr, "")
        link = f"{self.dir}/t/class/tenstorrent/tenstorrent!1"
        self.assertEqual(os.readlink(link), "../../devices/pci0000:00/0000:02:00.0/tenstorrent/"
                                            "tenstorrent!1")
        self.assertEqual(os.path.basename(os.path.realpath(f"{link}/device")), "0000:02:00.0")
        for name, pattern in (
                ("tt_card_type", "p150a"), ("tt_serial", "[0-9A-F]{16}"),
                ("tt_asic_id", "[0-9A-F]{16}"), ("tt_fw_bundle_ver", r"\d+(\.\d+){3}"),
                ("tt_aiclk", r"\d+"), ("tt_heartbeat", r"\d+"), ("device/vendor", "0x1e52"),
                ("device/device", "0xb140"), ("device/numa_node", "0")):
            self.assertRegex(self.read("class/tenstorrent/tenstorrent!1", name),
                             rf"\A{pattern}\n\Z")
        self.assertEqual((self.read("proc/0/pids"), self.read("proc/1/pids")), ("", "7\n7\n9\n"))

    def test_a_device_comes_back_as_another_inode(self):
        self.driver("--devices", "n150,n150", "--pids", "0:5")
        link = f"{self.dir}/t/class/tenstorrent/tenstorrent!0"
        first = os.stat(link).st_ino
        self.assertEqual(self.driver("--devices", "n150").returncode, 0)
        self.assertEqual((os.stat(link).st_ino, self.read("proc/0/pids")), (first, "5\n"))
        self.assertEqual(self.driver("--remove", "0").stderr, "")
        self.assertFalse(os.path.lexists(link) or os.path.exists(f"{self.dir}/t/proc/0"))
        self.assertEqual(self.driver("--remove", "0").returncode, 1)
        self.driver("--devices", "n150")
        self.assertNotEqual(os.stat(link).st_ino, first)

    def test_simulators_hold_their_devices(self):
        self.driver("--devices", "n300,n300", "--pids", "0:1", "--pids", "1:")
        sims = [self.metal("--hold", f"{self.dir}/t", "--devices", "0,1", *WAITING)
                for _ in range(3)]
        def held():
            pids = self.read("proc/1/pids").split()
            return len(pids) == 3 and pids
        self.assertEqual(set(eventually(held)), {str(sim.pid) for sim in sims})
        ids = [int(self.read(f"class/tenstorrent/tenstorrent!{n}/tt_asic_id"), 16) for n in (0, 1)]
        eventually(lambda: all(os.path.exists(f"{self.dir}/tt_device_{i}_memory") for i in ids))
        self.assertEqual([sim.end() for sim in sims], [0] * 3)
        self.assertEqual((self.read("proc/0/pids"), self.read("proc/1/pids")), ("1\n", ""))


class CommandLines(unittest.TestCase):
    def test_what_makes_no_sense_is_a_usage_error(self):
        metal, server = "--as tt-metal ", "--as alloc-server "
        for line in ("--as x", "--layout 2", "--form 72", "--board n301", metal + "--python",
                     metal + "--layout 5", metal + "--clock boot", metal + "--gateway",
                     metal + "--gateway --devices 0-16", metal + "--fault torn --layout 3",
                     metal + "--fault x", server + "--form 100", server + "--devices 8",
                     server + "--fault ghost"):
            self.assertRefused("ttmem-sim", line)
        for line in ("", "--devices n300", "--root x", "--root x --devices n301",
                     "--root x --remove 0 --devices n300", "--root x --pids 0",
                     "--root x --pids 0:1,,2", "--root x --remove 255"):
            self.assertRefused("ttmem-fake-driver", line)

    def assertRefused(self, program, line):
        result = run(f"{harness.BUILD}/{program}", *line.split())
        self.assertEqual((result.returncode, result.stdout), (USAGE, ""), line)
        self.assertTrue(re.match(rf"{program}: .+\n", result.stderr), line)
