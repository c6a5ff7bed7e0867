# SPDX-License-Identifier: Apache-2.0
"""inotify and poll(2) by way of the C library: what a watcher sees, event by event."""
import ctypes
import os
import select
import struct
import time

import harness
from harness import libc

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_OPEN = 2, 4, 8, 0x20
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_IGNORED, IN_ISDIR = 0x100, 0x200, 0x400, 0x8000, 0x40000000
USEFUL = IN_MODIFY | IN_CREATE | IN_DELETE | IN_DELETE_SELF


class Inotify:
    """Watches; events come as (path, mask, name)."""

    def __init__(self, *paths, mask=USEFUL):
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.paths, self.seen = {}, []
        for path in paths:
            self.add(path, mask)

    def add(self, path, mask=USEFUL):
        watch = libc.inotify_add_watch(self.fd, path.encode(), ctypes.c_uint32(mask))
        if watch < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        self.paths[watch] = path

    def take(self):
        """Adds what has come to `seen`."""
        try:
            data = os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return []
        at, new = 0, []
        while at < len(data):
            watch, mask, _, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16:at + 16 + length].rstrip(b"\0").decode()
            if not mask & IN_IGNORED:
                new.append((self.paths.get(watch), mask, name))
            at += 16 + length
        self.seen += new
        return new

    def wait(self, wanted, what="an event", limit=15):
        """Until wanted(path, mask, name) is true of an event that was not waited for before."""
        end = time.monotonic() + limit * harness.CALM
        while True:
            for i, event in enumerate(self.seen):
                if wanted(*event):
                    del self.seen[:i + 1]
                    return event
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"waited in vain for {what}: {self.seen}")
            select.select([self.fd], [], [], left)
            self.take()

    def modified(self, path, limit=15):
        return self.wait(lambda p, m, n: m & IN_MODIFY and
                         path in (p, os.path.join(p, n)), f"a change of {path}", limit)

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Poller:
    """An open file that is polled as one of sysfs."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLPRI | select.POLLERR)

    def read(self):
        return os.pread(self.fd, 4096, 0)

    def is_news(self):
        return bool(self.poll.poll(0))

    def wait(self, limit=15):
        if not self.poll.poll(limit * 1000 * harness.CALM):
            raise AssertionError("waited in vain to be woken")

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
