# SPDX-License-Identifier: Apache-2.0
"""Copies of the stand-in checkout, and the script that changes them."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SCRIPT = os.path.join(ROOT, "client/tt-metal/integrate")
BUFFER = "tt_metal/impl/buffers/buffer.cpp"
BUILD = "tt_metal/impl/CMakeLists.txt"
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
SOURCES = "tt_metal/impl/sources.cmake"


class Tree:
    """A checkout of one's own, in a directory below /tmp that goes with close()."""

    def __init__(self, name="checkout"):
        self.dir = tempfile.mkdtemp(prefix=f"ttmem-metal-{os.getpid()}-", dir="/tmp")
        self.root = os.path.join(self.dir, name)
        shutil.copytree(os.path.join(HERE, "checkout"), self.root)

    def close(self):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.root, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)

    def edit(self, name, old, new, times=1):
        """Replaces what must be there that often."""
        content = self.read(name)
        old, new = old.encode(), new.encode()
        assert content.count(old) == times, f"{name} has {old!r} {content.count(old)} times"
        self.write(name, content.replace(old, new))

    def state(self):
        """All that the script could change: each file with its bytes, mode and owner."""
        found = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                status = os.lstat(path)
                with open(path, "rb") as file:
                    found[path] = (file.read(), status.st_mode, status.st_uid, status.st_gid)
        return found

    def integrate(self, *options, script=SCRIPT, user=None):
        more = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        return subprocess.run([PYTHON, script, *options, self.root], timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False, **more)
