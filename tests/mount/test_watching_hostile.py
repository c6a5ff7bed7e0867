# SPDX-License-Identifier: Apache-2.0
"""Attacks on those who watch, and on the hands that tell them: what one process does to its ledger
or to its files takes no event from another's, and the hands touch nothing but their own mount."""
import os
import sys

import harness
from harness import MNT_DETACH, NOBODY, MountTest, Program, eventually, libc, run
from watching import IN_DELETE_SELF, IN_MODIFY, Inotify, Poller

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

class Case(MountTest):
    def program(self, script, *arguments, **options):
        program = Program(sys.executable, "-c", script, *arguments, **options)
        self.assertEqual(program.line(), "ready")
        return program

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
