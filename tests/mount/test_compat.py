# SPDX-License-Identifier: Apache-2.0
"""The last release and this one, where not everything is upgraded at once: its programs under this
daemon, this one's under its daemon, its programs with this library, and ledgers yet to come."""
import glob
import os
import subprocess
import unittest

import harness
from harness import KINDS, Daemon, MountTest, Peer, Program, clean_up, eventually
from storms import StormTest
from watching import Inotify

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARCHIVE, = glob.glob(f"{ROOT}/tests/compat/ttmem-*.tar.xz")
RELEASE = os.path.basename(ARCHIVE).removesuffix(".tar.xz")
OLD = f"{ROOT}/build/compat/{RELEASE}/build"


def setUpModule():
    subprocess.run(["make", "-s", "compat"], cwd=ROOT, check=True, timeout=300 * harness.CALM)


class EitherDaemon(Daemon):
    """Of this release, or of the last."""

    is_old = False

    def argv(self):
        argv = super().argv()
        return [f"{OLD}/ttmemd", *argv[1:]] if self.is_old else argv


class OtherPeer(Peer):
    """The program that peers are, of another build."""

    def __init__(self, daemon, program, **env):
        Program.__init__(self, program, TTMEM_SOCKET=daemon.socket, **env)
        self("start")

    def libraries(self):
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as maps:
            return {line.split()[-1] for line in maps if "/libttmem.so" in line}


class Meeting(unittest.TestCase):
    """What a client and a daemon of whatever releases owe to each other."""

    def assert_understood(self, daemon, peer):
        sizes = {kind: 1000 + number for number, kind in enumerate(KINDS)}
        peer("declare 0 asic=0xA51C board=n300 dram=1000000 l1=2000")
        for kind, size in sizes.items():
            peer(f"alloc 0 {kind} 0x1000 {size} tag-{kind}")
            peer(f"alloc 0 {kind} 0x2000 7")
            peer(f"thread alloc 0 {kind} 0x3000 70 threads")
            peer(f"free 0 {kind} 0x2000")
        peer("alloc 0 dram 0x1000 1000")
        failures = self.failures(daemon)
        peer("fail 0 dram 4096 64")
        self.assert_numbers(daemon, peer, {kind: size + 70 for kind, size in sizes.items()})
        device, = daemon.devices()
        self.assertEqual(daemon.value(device, "dram_total"), 1000000)
        self.assertEqual(self.failures(daemon), failures + 1)
        self.assertEqual(daemon.text(device, "board"), "n300\n")
        self.assert_told(daemon, peer, device)
        for kind in KINDS:
            peer(f"free 0 {kind} 0x1000")
            peer(f"free 0 {kind} 0x3000")
        peer("free 0 dram 0x1000")
        self.assert_numbers(daemon, peer, dict.fromkeys(KINDS, 0))
        self.assertEqual(len(daemon.table("pids", peer.pid, "buffers")), 0)

    def failures(self, daemon):
        return sum(int(daemon.flat(device, "stat")["dram_failures_total"])
                   for device in daemon.devices())

    def assert_numbers(self, daemon, peer, sizes):
        eventually(lambda: daemon.exists("pids", peer.pid), "the client")
        device, = daemon.devices()
        for kind, size in sizes.items():
            self.assertEqual(daemon.value(device, f"{kind}_used"), size)
            self.assertEqual(daemon.value("pids", peer.pid, kind), size)
            self.assertEqual(peer.totals(0, kind)["live_bytes"], size)
            if not size:
                continue
            self.assertEqual(daemon.sum_of_buffers(peer.pid)[device[6:], kind], (size, 2))
            tags = {row["tag"] for row in daemon.table("pids", peer.pid, "tags")
                    if row["kind"] == kind}
            self.assertEqual(tags, {f"tag-{kind}", "threads"})
        self.assertEqual(daemon.value("pids", peer.pid, "total"), sum(sizes.values()))

    def assert_told(self, daemon, peer, device):
        path = daemon.path(device, "l1_used")
        with Inotify(path) as watch:
            for address in ("0x8000", "0x9000"):
                before = daemon.value(device, "l1_used")
                peer(f"alloc 0 l1 {address} 5")
                watch.modified(path)
                eventually(lambda: daemon.value(device, "l1_used") == before + 5, "the change")
        rings = int(daemon.flat("status")["doorbells"])
        self.assertGreater(rings, 0, "it was polled")
        for address in ("0x8000", "0x9000"):
            peer(f"free 0 l1 {address}")

    def assert_gone(self, daemon, peer):
        peer("alloc 0 dram 0x1000 1234")
        peer.kill()
        eventually(lambda: not daemon.exists("pids", peer.pid), "the client's end")
        row = next(r for r in daemon.table("exited") if r["pid"] == str(peer.pid))
        self.assertEqual(row["leaked"], "1234")


class OldClients(Meeting, MountTest):
    """Programs that were linked with the last release's library."""

    def test_with_the_library_in_them(self):
        peer = OtherPeer(self.daemon, f"{OLD}/tests/peers/peer")
        self.assert_understood(self.daemon, peer)
        self.assert_gone(self.daemon, peer)

    def test_with_the_library_beside_them(self):
        for kind in ("peer-pie", "peer-no-pie"):
            with self.subTest(kind=kind):
                peer = OtherPeer(self.daemon, f"{OLD}/{kind}", LD_LIBRARY_PATH=OLD)
                self.assertEqual(peer.libraries(), {f"{OLD}/libttmem.so.0"})
                self.assert_understood(self.daemon, peer)
                self.assert_gone(self.daemon, peer)

    def test_with_the_new_library_beside_them(self):
        if self.daemon.is_sanitized():
            self.skipTest("the program would have to be sanitized as the library is")
        for kind in ("peer-pie", "peer-no-pie"):
            with self.subTest(kind=kind):
                peer = OtherPeer(self.daemon, f"{OLD}/{kind}", LD_LIBRARY_PATH=harness.BUILD)
                self.assertEqual(peer.libraries(), {f"{harness.BUILD}/libttmem.so.0"})
                self.assert_understood(self.daemon, peer)
                self.assert_gone(self.daemon, peer)

    def test_are_found_by_a_daemon_that_starts_later(self):
        peer = OtherPeer(self.daemon, f"{OLD}/tests/peers/peer")
        peer("alloc 0 dram 0x5000 555")
        self.daemon.kill()
        self.daemon.start()
        eventually(lambda: self.daemon.exists("pids", peer.pid), "the client")
        self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 555)
        peer("free 0 dram 0x5000")
        self.assert_understood(self.daemon, peer)
        self.assert_gone(self.daemon, peer)

    def test_a_simulated_model(self):
        sim = Program(f"{OLD}/ttmem-sim", "--model", "resnet50", "--load-ms", "0", "--step-ms",
                      "200000", "--devices", "0-1", TTMEM_SOCKET=self.daemon.socket)
        self.assert_model(self.daemon, sim)

    def numbers(self, daemon, sim, sums):
        """What the files of devices and of the process have for these."""
        pairs = {(number, kind): (daemon.value("pids", sim.pid, f"device{number}", kind), count)
                 for (number, kind), (_, count) in sums.items()}
        used = all(daemon.value(f"device{number}", f"{kind}_used") == size
                   for (number, kind), (size, _) in pairs.items())
        total = daemon.value("pids", sim.pid, "total")
        return pairs if used and total == sum(size for size, _ in pairs.values()) else None

    def assert_model(self, daemon, sim):
        eventually(lambda: daemon.exists("pids", sim.pid), "the model")

        def has_started():
            """Each device's thread has made its trace, and no buffer comes or goes meanwhile."""
            sums = daemon.sum_of_buffers(sim.pid)
            return sums.keys() >= {("0", "trace"), ("1", "trace")} and \
                sums == self.numbers(daemon, sim, sums) == daemon.sum_of_buffers(sim.pid)

        eventually(has_started, "numbers that agree")
        sim.kill()


class NewClients(OldClients):
    """This release's, under the last one's daemon."""

    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = EitherDaemon()
        self.daemon.is_old = True
        self.daemon.start()
        self.assertEqual(f"ttmem-{self.daemon.text('version').strip()}", RELEASE)

    def test_with_the_library_in_them(self):
        peer = Peer(self.daemon)
        self.assert_understood(self.daemon, peer)
        self.assert_gone(self.daemon, peer)

    test_with_the_library_beside_them = None

    def test_are_found_by_a_daemon_that_starts_later(self):
        self.daemon.kill()
        peer = Peer(self.daemon)
        peer("alloc 0 dram 0x5000 555")
        self.daemon.start()
        eventually(lambda: self.daemon.exists("pids", peer.pid), "the client")
        peer("free 0 dram 0x5000")
        self.assert_understood(self.daemon, peer)
        self.assert_gone(self.daemon, peer)

    def test_a_simulated_model(self):
        sim = Program(f"{harness.BUILD}/ttmem-sim", "--model", "resnet50", "--load-ms", "0",
                      "--step-ms", "200000", "--devices", "0-1", TTMEM_SOCKET=self.daemon.socket)
        self.assert_model(self.daemon, sim)


class Upgrade(StormTest):
    """From the last release's daemon to this one's and back, while its clients and ours allocate."""

    count = 2

    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = EitherDaemon()
        self.daemon.is_old = True
        self.daemon.start()
        self.storms = []
        for _ in range(self.count):
            self.start_storm()
            self.start_storm(f"{OLD}/tests/peers/storm")

    def change(self, to_old, end):
        end()
        self.daemon.is_old = to_old
        self.daemon.start()
        pids = {storm.pid for storm in self.storms}
        eventually(lambda: self.daemon.pids() == pids, "all of them")
        self.check_storms(self.hold())
        self.go()

    def sigterm(self):
        self.daemon.process.terminate()
        self.assertEqual(self.daemon.process.wait(10 * harness.CALM), 0)

    def test_loses_nothing(self):
        for to_old, end in ((False, self.sigterm), (True, self.daemon.kill),
                            (False, self.daemon.kill), (True, self.sigterm)):
            with self.subTest(to_old=to_old, end=end.__name__):
                self.change(to_old, end)


class Later(MountTest):
    """Ledgers of releases to come."""

    def newer(self, mode):
        program = Program(self.daemon.program("newer"), mode, self.daemon.socket)
        return program, program.line()

    def assert_read(self, newer):
        eventually(lambda: self.daemon.exists("pids", newer.pid), "the newer one")
        self.assertEqual(self.daemon.value("pids", newer.pid, "dram"), 4096)
        device, = self.daemon.devices()
        self.assertEqual(self.daemon.value(device, "dram_used"), 4096)
        self.assertEqual(self.daemon.text(device, "board"), "n300\n")
        self.assertFalse(self.daemon.exists(device, "remote"))
        row, = self.daemon.table("pids", newer.pid, "buffers")
        self.assertEqual((row["address"], row["size"], row["tag"]), ("0x1000", "4096", "weights"))
        self.assertEqual(self.daemon.flat("status")["rejected_clients"], "0")

    def test_a_later_minor_is_read(self):
        newer, _ = self.newer("hello_minor")
        self.assert_read(newer)
        newer.close()
        self.wait_gone(newer.pid)

    def test_a_later_minor_is_found_and_read(self):
        self.daemon.kill()
        newer, _ = self.newer("found_minor")
        self.daemon.start()
        self.assert_read(newer)

    def assert_refused(self, newer):
        eventually(lambda: self.daemon.flat("status")["rejected_clients"] == "1", "the refusal")
        self.assertFalse(self.daemon.exists("pids", newer.pid))
        self.assertEqual(self.daemon.devices(), [])
        lines = [line for line in self.daemon.log().splitlines() if f"pid {newer.pid}:" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], "another major version; upgrade the older side")

    def test_a_later_major_is_refused(self):
        newer, said = self.newer("hello_major")
        self.assertEqual(said, "refused")
        self.assert_refused(newer)

    def test_a_later_major_is_found_and_refused(self):
        self.daemon.kill()
        newer, _ = self.newer("found_major")
        self.daemon.start()
        self.assert_refused(newer)
