# SPDX-License-Identifier: Apache-2.0
"""Attacks on those who watch, and on the hands that tell them: what one process does to its ledger
or to its files takes no event from another's, and the hands touch nothing but their own mount."""
import fcntl
import os
import select
import signal
import sys

import harness
import trees
from harness import MNT_DETACH, NOBODY, MountTest, Peer, Program, eventually, libc, run
from watching import IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MODIFY, Inotify, Poller

# A write whose source is a page that nobody fills: it never ends, and holds its file's lock.
ENDLESS_WRITE = """
import ctypes, fcntl, mmap, os, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
faults = libc.syscall(323, 0)  # userfaultfd
fcntl.ioctl(faults, 0xc018aa3f, bytearray(struct.pack("QQQ", 0xaa, 0, 0)))
page = mmap.mmap(-1, 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
fcntl.ioctl(faults, 0xc020aa00, bytearray(struct.pack("QQQQ", address, 4096, 1, 0)))
file = os.open(sys.argv[1], os.O_RDWR)
write = lambda: libc.pwrite(file, ctypes.c_void_p(address), ctypes.c_size_t(8), ctypes.c_long(64))
threading.Thread(target=write, daemon=True).start()
os.read(faults, 32)  # it waits for the page
print("ready", flush=True)
sys.stdin.read()
os._exit(0)
"""

# The same for the names of a directory, as an ordinary user.
ENDLESS_LIST = ENDLESS_WRITE.replace("file = os.open(sys.argv[1], os.O_RDWR)", """
os.setgid(65534); os.setuid(65534)
file = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)""").replace(
    "libc.pwrite(file, ctypes.c_void_p(address), ctypes.c_size_t(8), ctypes.c_long(64))",
    "libc.syscall(217, file, ctypes.c_void_p(address), 4096)")

class Case(MountTest):
    def program(self, script, *arguments, **options):
        program = Program(sys.executable, "-c", script, *arguments, **options)
        self.assertEqual(program.line(), "ready")
        return program

    def status(self, name):
        return int(self.daemon.flat("status")[name])

    def settle(self):
        eventually(lambda: self.status("followed_files") <= 2, "the end of all following", 15)


class Locks(Case):
    def test_one_who_holds_his_ledger_s_lock_holds_up_nobody(self):
        peer, other = self.holder(), self.holder(asic=0xB, user=NOBODY)
        folder = f"/proc/{other.pid}/fd"
        ledger, = [f"{folder}/{n}" for n in os.listdir(folder)
                   if "memfd:ttmem" in os.readlink(f"{folder}/{n}")]
        program = self.program(ENDLESS_WRITE, ledger)
        try:
            for path in (("pids", other.pid, "dram"), ("pids", peer.pid, "dram")):
                result = run("cat", self.daemon.path(*path), limit=5)
                self.assertEqual(result.stdout, "4096\n")
        finally:
            program.kill()

    def test_one_who_holds_a_directory_s_lock_holds_up_nobody(self):
        peer, pids = self.holder(), self.daemon.path("pids")
        with Inotify(pids) as watch:
            lister = self.program(ENDLESS_LIST, pids)
            try:
                newcomer = self.holder(asic=0xB)
                for pid in (peer.pid, newcomer.pid):
                    result = run("cat", self.daemon.path("pids", pid, "dram"), limit=5)
                    self.assertEqual(result.stdout, "4096\n")
                eventually(lambda: self.status("untold_changes"))
                self.assertIn(str(newcomer.pid), run("ls", pids, limit=5).stdout.split())
            finally:
                lister.kill()
            watch.take()
            another = self.holder(asic=0xC)
            watch.wait(lambda p, m, n: m & IN_CREATE and n == str(another.pid))

    def test_who_lists_as_an_ordinary_user_takes_no_event_from_others(self):
        pids = self.daemon.path("pids")
        lister = Program("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}",
                         "--clear-groups", "sh", "-c", f"while :; do ls {pids} >/dev/null; done")
        try:
            with Inotify(pids) as watch:
                for _ in range(30):
                    newcomer = self.holder()
                    watch.wait(lambda p, m, n, pid=newcomer.pid: m & IN_CREATE and n == str(pid))
                    newcomer.kill()
                    watch.wait(lambda p, m, n, pid=newcomer.pid: m & IN_DELETE and n == str(pid))
        finally:
            lister.kill()
        self.assertEqual(self.status("untold_changes"), 0)

    def test_one_who_has_a_lease_on_his_file_keeps_no_event_from_others(self):
        peer, other = self.holder(), self.holder(user=NOBODY)
        lease = os.open(self.daemon.path("pids", other.pid, "dram"), os.O_RDONLY)
        self.addCleanup(os.close, lease)
        self.addCleanup(signal.signal, signal.SIGIO, signal.signal(signal.SIGIO, signal.SIG_IGN))
        fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        path = self.daemon.path("device0/dram_used")
        with Inotify(path, self.daemon.path("pids", other.pid, "dram")) as watch:
            for number in range(2, 6):
                other(f"alloc 0 dram {number:#x}000 64")
                peer(f"alloc 0 dram {number:#x}000 64")
                watch.modified(path)


class Hands(Case):
    def test_a_mount_with_a_long_path(self):
        self.daemon.stop()
        self.daemon = harness.Daemon()
        folder = f"{self.daemon.dir}/{'long' * 60}"
        self.daemon.mount = f"{folder}/mnt"
        os.makedirs(self.daemon.mount)
        self.daemon.start()
        path = self.daemon.path("device0/dram_used")
        peer = self.holder()
        with Inotify(path, self.daemon.path("pids")) as watch:
            peer("alloc 0 dram 0x2000 64")
            watch.modified(path)
            other = self.holder()
            watch.wait(lambda p, m, n: n == str(other.pid))

    def test_a_mount_point_that_is_a_link(self):
        self.daemon.stop()
        self.daemon = harness.Daemon()
        real, self.daemon.mount = self.daemon.mount, f"{self.daemon.dir}/link"
        os.symlink(real, self.daemon.mount)
        self.daemon.start()
        self.addCleanup(harness.force_unmount, real)
        peer = self.holder()
        path = self.daemon.path("device0/dram_used")
        with Inotify(path) as watch:
            self.settle()
            peer("alloc 0 dram 0x2000 64")
            watch.modified(path)

    def test_a_mount_that_was_moved_away_leaves_what_is_there_alone(self):
        self.holder()
        kept = os.open(self.daemon.path("status"), os.O_RDONLY)
        with Inotify(self.daemon.mount, self.daemon.path("device0"),
                     self.daemon.path("device0/dram_used")):
            self.assertEqual(libc.umount2(self.daemon.mount.encode(), MNT_DETACH), 0)
            os.mkdir(f"{self.daemon.mount}/device0")
            file = f"{self.daemon.mount}/device0/dram_used"
            with open(file, "w", encoding="ascii") as victim:
                victim.write("mine")
            before = self.notifications(kept)
            self.holder(size=64)
            self.holder(device=7, asic=0xB)
            eventually(lambda: self.notifications(kept) >= before + 2)
            os.close(kept)
            self.daemon.process.wait(10 * harness.CALM)
        self.assertEqual(os.listdir(self.daemon.mount), ["device0"])
        with open(file, encoding="ascii") as victim:
            self.assertEqual(victim.read(), "mine")

    @staticmethod
    def notifications(status):
        lines = os.pread(status, 8192, 0).decode().splitlines()
        return int(dict(line.split(" ", 1) for line in lines)["notifications"])


class Last(Case):
    """Whoever looks after each event and at no other time knows what is."""

    def test_a_value_that_comes_back_after_somebody_saw_another(self):
        peer = self.holder()
        path = self.daemon.path("device0/dram_used")
        with Inotify(path) as watch:
            for _ in range(20):
                peer("alloc 0 dram 0x2000 64")
                watch.modified(path)
                watch.take()
                watch.seen.clear()
                peer("alloc 0 dram 0x3000 64")
                seen = self.daemon.value("device0/dram_used")
                peer("free 0 dram 0x3000")
                while seen != 4160:
                    watch.modified(path)
                    seen = self.daemon.value("device0/dram_used")
                peer("free 0 dram 0x2000")
                while seen != 4096:
                    watch.modified(path)
                    seen = self.daemon.value("device0/dram_used")

    def test_one_who_waits_and_saw_another_value(self):
        peer = self.holder()
        with Poller(self.daemon.path("device0/dram_used")) as poller, select.epoll() as epoll:
            poller.read()
            epoll.register(poller.fd, select.EPOLLPRI)

            def read_until(seen, value):
                while seen != value:  # an epoll asks again only when it was woken
                    self.assertTrue(epoll.poll(5 * harness.CALM))
                    seen = poller.read()

            for _ in range(20):
                self.assertEqual(epoll.poll(0), [])
                peer("alloc 0 dram 0x2000 64")
                read_until(None, b"4160\n")
                peer("alloc 0 dram 0x3000 64")
                read_until(poller.read(), b"4224\n")
                self.assertFalse(epoll.poll(0))
                peer("free 0 dram 0x3000")
                read_until(b"4224\n", b"4160\n")
                peer("free 0 dram 0x2000")
                read_until(b"4160\n", b"4096\n")

    def test_a_watch_deep_below_a_process_ends_with_it(self):
        peer = self.holder()
        path = self.daemon.path("pids", peer.pid, "device0/dram")
        with Inotify(path) as watch:
            self.settle()
            peer.kill()
            watch.wait(lambda p, m, n: m & IN_DELETE_SELF)


class Late(Case):
    """What comes for the first time while somebody watches its directory."""

    def test_the_first_failed_request_is_told(self):
        peer = self.holder()
        folder = self.daemon.path("device0")
        with Inotify(folder) as watch:
            for number in range(2, 5):
                peer(f"fail 0 dram {number}000 1000")
                watch.modified(f"{folder}/oom")


class Tracked(trees.TreeTest):
    def test_a_process_that_was_not_tracked_when_it_was_watched(self):
        peer = Peer(self.daemon, start=False)
        self.tree.opens(0, peer.pid)
        self.wait_pids(peer.pid)
        folder = self.daemon.path("pids", peer.pid)
        with Inotify(folder) as watch:
            eventually(lambda: self.daemon.flat("status")["followed_files"] in ("0", "1"), limit=15)
            peer("start")
            for number in range(2, 6):
                peer(f"alloc 0 dram {number:#x}000 64")
                watch.modified(f"{folder}/dram")
