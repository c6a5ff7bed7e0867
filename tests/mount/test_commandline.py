# SPDX-License-Identifier: Apache-2.0
"""The command line of ttmemd: what it says, what it refuses, and with which exit status."""
import os
import signal
import stat
import unittest

from harness import (NOBODY, Daemon, MountTest, clean_up, eventually, force_unmount, mounts_at,
                     run)

USAGE, CONFIG = 64, 78


class CommandLine(unittest.TestCase):
    """A daemon that is not started, for its directories."""

    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()

    def ttmemd(self, *options, user=None):
        return run(self.daemon.program("ttmemd"), *options, user=user)

    def start(self, mount=None, path=None, user=None):
        return self.ttmemd("--foreground", "--mount", mount or self.daemon.mount, "--socket",
                           path or self.daemon.socket, user=user)

    def assertRefused(self, result, *words):
        """Exit status 78, and a message that names what is wrong: a person can act on it."""
        self.assertEqual(result.returncode, CONFIG, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertRegex(result.stderr, "give|make|stop|run as|unmount|install|try")
        self.assertEqual(mounts_at(self.daemon.mount), [])
        self.assertFalse(os.path.exists(self.daemon.socket))

    def test_version_is_a_release_number(self):
        result = self.ttmemd("--version")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"\A\S*\s?\d+\.\d+\.\d+\n\Z")

    def test_help_names_every_option(self):
        result = self.ttmemd("--help")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for option in ("--mount", "--socket", "--history", "--notify-interval", "--busy-poll",
                       "--hidepid", "--foreground", "--log-level",
                       "--version"):
            self.assertIn(option, result.stdout)

    def test_a_wrong_command_line_is_a_usage_error(self):
        for wrong in (["--no-such-option"], ["--mount"], ["--socket"], ["--log-level", "loud"],
                      ["--log-level"], ["--notify-interval=0"], ["--busy-poll=1001"],
                      ["--busy-poll=x"], ["--history=x"], ["stray"], ["-Z"], ["--mount", ""], ["--socket", ""]):
            with self.subTest(wrong=wrong):
                result = self.ttmemd(*wrong)
                self.assertEqual(result.returncode, USAGE, result.stderr)
                self.assertNotEqual(result.stderr, "")
                self.assertEqual(result.stdout, "")

    def test_refuses_a_missing_mount_point(self):
        missing = self.daemon.dir + "/missing"
        self.assertRefused(self.start(mount=missing), missing)

    def test_refuses_a_file_as_mount_point(self):
        path = self.daemon.dir + "/file"
        with open(path, "w", encoding="ascii") as file:
            file.write("precious\n")
        self.assertRefused(self.start(mount=path), path)
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "precious\n")

    def test_refuses_a_mount_point_that_is_not_empty(self):
        with open(self.daemon.mount + "/precious", "w", encoding="ascii"):
            pass
        self.assertRefused(self.start(), self.daemon.mount)
        self.assertEqual(os.listdir(self.daemon.mount), ["precious"])

    def test_refuses_a_mount_point_with_another_file_system(self):
        run("mount", "-t", "tmpfs", "other", self.daemon.mount, check=True)
        self.addCleanup(force_unmount, self.daemon.mount)
        result = self.start()
        self.assertEqual(result.returncode, CONFIG, result.stderr)
        self.assertIn(self.daemon.mount, result.stderr)
        self.assertEqual(mounts_at(self.daemon.mount), ["tmpfs"])

    def test_refuses_a_missing_socket_directory(self):
        path = self.daemon.dir + "/missing/socket"
        self.assertRefused(self.start(path=path), os.path.dirname(path))

    def test_refuses_a_socket_directory_that_is_not_writable(self):
        os.chown(self.daemon.mount, NOBODY.pw_uid, NOBODY.pw_gid)
        self.assertRefused(self.start(user=NOBODY), os.path.dirname(self.daemon.socket))

    def test_refuses_a_socket_path_that_is_too_long(self):
        result = self.start(path=self.daemon.dir + "/run/" + "x" * 120)
        self.assertIn(result.returncode, (USAGE, CONFIG), result.stderr)
        self.assertEqual(mounts_at(self.daemon.mount), [])

    def test_keeps_a_file_that_is_where_the_socket_should_be(self):
        with open(self.daemon.socket, "w", encoding="ascii") as file:
            file.write("precious\n")
        result = self.start()
        self.assertEqual(result.returncode, CONFIG, result.stderr)
        self.assertIn(self.daemon.socket, result.stderr)
        with open(self.daemon.socket, encoding="ascii") as file:
            self.assertEqual(file.read(), "precious\n")

    def test_a_failed_start_in_the_background_has_its_exit_status(self):
        result = self.ttmemd("--mount", self.daemon.dir + "/missing", "--socket",
                             self.daemon.socket)
        self.assertRefused(result, self.daemon.dir + "/missing")

    def test_without_foreground_it_returns_when_mounted(self):
        argv = [a for a in self.daemon.argv() if a != "--foreground"]
        result = run(*argv)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(self.daemon.text("version"), r"\A\d+\.\d+\.\d+\n\Z")
        pid = find_daemon(self.daemon.socket)
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            session = file.read().rsplit(")", 1)[1].split()[3]
        self.assertNotEqual(int(session), os.getsid(0))
        for number in (0, 1):
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{number}"), "/dev/null")
        os.kill(pid, signal.SIGTERM)
        _, status = eventually(lambda: reap(pid), "the end of the daemon", 10)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)
        self.assertEqual(mounts_at(self.daemon.mount), [])
        self.assertFalse(os.path.exists(self.daemon.socket))


def reap(pid):
    """The daemon is our child: it was orphaned, and we are a subreaper."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return (found, status) if found else None


def find_daemon(path):
    """The one process whose arguments have the path of our socket."""
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if name.isdigit() and path.encode() in file.read().split(b"\0"):
                    return int(name)
        except OSError:
            pass
    raise AssertionError("no daemon")


class TwoDaemons(MountTest):
    def second(self, mount, path):
        return run(self.daemon.program("ttmemd"), "--foreground", "--mount", mount, "--socket",
                   path)

    def assertFirstServes(self):
        holder = self.holder(size=12345)
        self.assertEqual(self.daemon.value("pids", holder.pid, "dram"), 12345)

    def test_refuses_the_mount_point_of_a_living_ttmemd(self):
        result = self.second(self.daemon.mount, self.daemon.dir + "/run/other.sock")
        self.assertEqual(result.returncode, CONFIG, result.stderr)
        self.assertIn(self.daemon.mount, result.stderr)
        self.assertEqual(mounts_at(self.daemon.mount), ["fuse.ttmem"])
        self.assertFirstServes()

    def test_refuses_the_socket_of_a_living_ttmemd(self):
        other = self.daemon.dir + "/other"
        os.mkdir(other)
        result = self.second(other, self.daemon.socket)
        self.assertEqual(result.returncode, CONFIG, result.stderr)
        self.assertIn(self.daemon.socket, result.stderr)
        self.assertEqual(mounts_at(other), [])
        self.assertFirstServes()

    def test_two_on_places_of_their_own_do_not_meet(self):
        other = Daemon().start()
        holder = self.holder()
        self.assertIn(holder.pid, self.daemon.pids())
        self.assertNotIn(holder.pid, other.pids())
        other.stop()
        self.assertFirstServes()

    def test_everybody_may_connect_to_the_socket(self):
        self.assertTrue(stat.S_ISSOCK(os.stat(self.daemon.socket).st_mode))
        holder = self.holder(user=NOBODY)
        self.assertEqual(self.daemon.value("pids", holder.pid, "uid"), NOBODY.pw_uid)
