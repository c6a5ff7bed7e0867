# SPDX-License-Identifier: Apache-2.0
"""Processes in containers that do not see the daemon's socket."""
import os

from harness import Peer, Program

NAMESPACES = ("unshare", "--pid", "--mount", "--net", "--fork", "--kill-child")
HIDE = 'mount -t tmpfs none "$1" && shift && exec "$@"'


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


class Hidden(Peer):
    """In a container of its own, in which there is nothing where the socket is."""

    def __init__(self, daemon, *, start=True, **env):
        Program.__init__(self, *NAMESPACES, "sh", "-c", HIDE, "sh",
                         os.path.dirname(daemon.socket), daemon.program("peer"),
                         **{"TTMEM_SOCKET": daemon.socket, **env})
        self("pid")  # it is there
        self.pid, = children(self.pid)
        if start:
            self("start")
