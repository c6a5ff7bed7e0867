# SPDX-License-Identifier: Apache-2.0
"""The allocation server's messages, and processes that send them."""
import os
import shutil
import struct

from harness import Daemon, MountTest, Program, clean_up, eventually

ALLOC, FREE, QUERY, RESPONSE, DUMP, INFO, INFO_RESPONSE = range(1, 8)
CB_ALLOC, CB_FREE, KERNEL_LOAD, KERNEL_UNLOAD = range(8, 12)
DRAM, L1, SYSTEM, L1_SMALL, TRACE, CB, KERNEL = range(7)
FORMS = (72, 112, 128, 144)
PYTHON = "/usr/bin/python3"  # everybody's, where the one that runs the tests may be root's
TELLER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "teller.py")


def message(form, kind, device=0, size=0, memory=0, pid=0, buffer=0, time=0):
    return struct.pack("<B3xiQB3xiQQ", kind, device, size, memory, pid, buffer, time).ljust(form, b"\0")


def response(data):
    """The fields of an answer, by its length."""
    fields = dict(zip(("type", "device", "dram", "l1", "l1_small", "trace"),
                      struct.unpack_from("<B3xi32x4Q", data)))
    if len(data) >= 128:
        fields["cb"], fields["kernel"] = struct.unpack_from("<QQ", data, 72)
    at = {72: None, 112: 72}.get(len(data), 88)
    if at:
        fields["total_dram"], fields["total_l1"] = struct.unpack_from("<QQ", data, at)
        fields.update(zip(("arch", "channels", "channel_bytes", "core_bytes", "available",
                           "devices"), struct.unpack_from("<6I", data, at + 16)))
    return fields


class Teller(Program):
    """One process; connection 0 is open, unless open=False."""

    def __init__(self, path, form=128, user=None, is_open=True):
        script = os.path.join(os.path.dirname(path), "teller.py")  # where everybody can read it
        if not os.path.exists(script):
            shutil.copy(TELLER, script)
            os.chmod(script, 0o644)
        super().__init__(PYTHON, script, user=user)
        self.path, self.form = path, form
        if is_open:
            self.open()

    def __call__(self, command):
        self.send(command)
        answer = self.line()
        if not answer.startswith("ok"):
            raise AssertionError(f"{command[:80]}: {answer}")
        return answer[3:]

    def open(self, link=0):
        self(f"open {link} {self.path}")

    def raw(self, data, link=0):
        self(f"send {link} {data.hex()}")

    def event(self, kind, buffer, size=0, memory=0, device=0):
        return message(self.form, kind, device, size, memory, self.pid, buffer, 1)

    def tell(self, *arguments, link=0, **options):
        self.raw(self.event(*arguments, **options), link)

    def alloc(self, buffer, size, memory=DRAM, device=0, link=0):
        self.tell(ALLOC, buffer, size, memory, device, link=link)

    def free(self, buffer, device=0, link=0):
        self.tell(FREE, buffer, device=device, link=link)

    def ask(self, kind, device, form=None, link=0):
        form = form or self.form
        self.raw(message(form, kind, device), link)
        return response(bytes.fromhex(self(f"recv {link} {form}")))


class AllocTest(MountTest):
    """A daemon that is the allocation server, too."""

    more = ()

    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()
        self.path = f"{self.daemon.dir}/alloc.sock"
        self.daemon.options = (f"--alloc-server={self.path}", *self.more)
        self.daemon.start()

    def teller(self, **options):
        return Teller(self.path, **options)

    def status(self, name):
        return int(self.daemon.flat("status")["alloc_server_" + name])

    def gone(self, pid):
        """Its row in `exited`, once it is there."""
        def look():
            rows = [r for r in self.daemon.table("exited") if r["pid"] == str(pid)]
            return rows and rows[-1]
        return eventually(look, f"{pid} in exited")
