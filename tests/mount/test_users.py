# SPDX-License-Identifier: Apache-2.0
"""Run by an ordinary user: fusermount3 mounts, below $XDG_RUNTIME_DIR, in a mount namespace of its
own where /dev/fuse is everybody's, as it is on most systems."""
import os
import shutil
import signal
import subprocess
import unittest

from harness import (NOBODY, PR_SET_PDEATHSIG, Daemon, Peer, clean_up, environment, eventually,
                     libc, mounts_at, run)

PREPARE = """
set -e
test -c "$1/fuse" || mknod -m 666 "$1/fuse" c 10 229
mount --bind "$1/fuse" /dev/fuse
shift
exec setpriv --reuid nobody --regid nogroup --clear-groups "$@"
"""


class OwnDaemon(Daemon):
    """A daemon of nobody's, on the places it chooses itself."""

    def __init__(self):
        super().__init__(user=NOBODY)
        self.runtime = f"{self.dir}/runtime"
        os.mkdir(self.runtime, 0o700)
        os.chown(self.runtime, NOBODY.pw_uid, NOBODY.pw_gid)
        self.mount = f"{self.runtime}/ttmem"
        self.socket = f"{self.runtime}/ttmemd/ttmemd.sock"
        self.namespace = None

    def argv(self):
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", PREPARE, "sh", self.dir,
                self.program("ttmemd"), "--foreground", "--log-level", "info"]

    def launch(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env=environment(XDG_RUNTIME_DIR=self.runtime, HOME="/nonexistent"))
        self.pid = self.process.pid

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"ttmemd ended with {self.process.returncode}: {self.log()}")
        return self.inside("cat", self.path("version")).returncode == 0

    def inside(self, *argv, user=NOBODY):
        """Runs a tool in the daemon's mount namespace."""
        where = f"/proc/{self.pid}/ns/mnt" if self.namespace is None else \
            f"/proc/{os.getpid()}/fd/{self.namespace}"
        drop = ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid),
                "--clear-groups"] if user else []
        return run("nsenter", f"--mount={where}", *drop, *argv)

    def keep_namespace(self):
        self.namespace = os.open(f"/proc/{self.pid}/ns/mnt", os.O_RDONLY)

    def mounts_inside(self):
        return mounts_at(self.mount, self.inside("cat", "/proc/self/mountinfo", user=None).stdout)

    def text(self, *names):
        result = self.inside("cat", self.path(*names))
        assert result.returncode == 0, result.stderr
        return result.stdout


class OrdinaryUser(unittest.TestCase):
    def setUp(self):
        for tool in ("unshare", "nsenter", "setpriv", "fusermount3"):
            if not shutil.which(tool):
                self.skipTest(f"no {tool}")
        self.addCleanup(clean_up)
        self.daemon = OwnDaemon()
        self.daemon.start()
        self.daemon.keep_namespace()
        self.addCleanup(os.close, self.daemon.namespace)
        self.user = Peer(self.daemon, user=NOBODY)
        self.user("alloc 0 dram 0x1000 4096 weights")

    def test_an_ordinary_user_sees_his_processes(self):
        self.assertEqual(self.daemon.value("pids", self.user.pid, "dram"), 4096)
        self.assertIn("weights", self.daemon.text("pids", self.user.pid, "buffers"))
        listed = self.daemon.inside("ls", "-lR", self.daemon.mount)
        self.assertEqual((listed.returncode, listed.stderr), (0, ""))
        self.assertIn("dram_used", listed.stdout)

    def test_nothing_is_followed_for_ever(self):
        """Others' processes cannot be looked at, and cannot enter either."""
        self.daemon.value("device0", "dram_used")
        eventually(lambda: int(self.daemon.flat("status")["followed_files"]) <= 1,
                   "the end of all following", 15)

    def test_leaves_nothing_behind(self):
        self.assertEqual(self.daemon.mounts_inside(), ["fuse.ttmem"])
        self.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.process.wait(10), 0, self.daemon.log())
        self.assertEqual(self.daemon.mounts_inside(), [])
        self.assertFalse(os.path.exists(self.daemon.socket))

    def test_clients_find_it_by_the_runtime_directory(self):
        peer = Peer(self.daemon, user=NOBODY, start=False, XDG_RUNTIME_DIR=self.daemon.runtime,
                    TTMEM="1")
        peer.close()
        finder = subprocess.Popen(
            [self.daemon.program("peer")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            bufsize=0, cwd="/", user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[],
            env=environment(XDG_RUNTIME_DIR=self.daemon.runtime))
        try:
            finder.stdin.write(b"start\nalloc 0 l1 0x1000 55\n")
            for _ in range(2):
                self.assertEqual(finder.stdout.readline(), b"ok\n")
            self.assertEqual(self.daemon.value("pids", finder.pid, "l1"), 55)
        finally:
            finder.stdin.close()
            finder.wait()
            finder.stdout.close()

    def test_a_client_that_ends_is_gone(self):
        self.user.kill()
        eventually(lambda: self.daemon.inside(
            "test", "-e", self.daemon.path("pids", self.user.pid)).returncode, "the end")

    def test_the_owner_may_reset_a_peak_but_change_nothing_else(self):
        path = self.daemon.path("device0", "dram_peak")
        if self.daemon.inside("test", "-e", path).returncode:
            self.fail("no device0")
        self.daemon.value("device0", "dram_peak")
        self.user("free 0 dram 0x1000")
        self.assertEqual(self.daemon.value("device0", "dram_peak"), 4096)
        result = self.daemon.inside("sh", "-c", 'echo 1 > "$1"', "sh", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.daemon.value("device0", "dram_peak"), 0)
        for command in ("mkdir", "touch"):
            result = self.daemon.inside(command, self.daemon.path("new"))
            self.assertNotEqual(result.returncode, 0)

    def test_a_restart_clears_the_mount_of_a_killed_daemon(self):
        self.daemon.kill()
        self.assertEqual(self.daemon.mounts_inside(), ["fuse.ttmem"])
        argv = ["nsenter", f"--mount=/proc/{os.getpid()}/fd/{self.daemon.namespace}", "setpriv",
                "--reuid", "nobody", "--regid", "nogroup", "--clear-groups",
                *self.daemon.argv()[-4:]]
        with open(self.daemon.log_path, "ab") as log:
            self.daemon.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env=environment(XDG_RUNTIME_DIR=self.daemon.runtime, HOME="/nonexistent"),
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM))
        self.daemon.pid = self.daemon.process.pid
        eventually(self.daemon.is_ready, "the mount", 10)
        self.assertEqual(self.daemon.mounts_inside(), ["fuse.ttmem"])
        eventually(lambda: self.daemon.inside(
            "test", "-e", self.daemon.path("pids", self.user.pid)).returncode == 0, "the process")
        self.assertEqual(self.daemon.value("pids", self.user.pid, "dram"), 4096)
        self.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.process.wait(10), 0, self.daemon.log())
        self.assertEqual(self.daemon.mounts_inside(), [])
