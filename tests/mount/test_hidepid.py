# SPDX-License-Identifier: Apache-2.0
"""Processes that are hidden from other users: who can read what, and that nothing tells of them."""
import errno
import json
import os
import re
import stat
import threading
import unittest

from eyes import User, error_of, look_at, seen_by, walk
from harness import NOBODY, Daemon, MountTest, Peer, clean_up, eventually, mounts_at, run
from test_users import OwnDaemon

GROUP = 54329
STRANGER = User(54321, 54321, [])             # whose process it is that is hidden
MEMBER = User(54323, 54323, [54325, GROUP])   # of the exempt group
ROOT = None
SECRET = "zqxsecret"                          # the name of the stranger's process
ENOENT, EACCES = errno.ENOENT, errno.EACCES

# Outside of pids/, these name processes of all users. Not all of them are there in every release.
PRIVATE = {"summary", "exited", "holders", "tags", "snapshot.json", "oom", "users", "cgroups",
           "commands", "ttmem_pids.prom", "pids"}


class Hiding(MountTest):
    """A process of nobody's, and one of a stranger's that he must not see."""

    def setUp(self):
        super().setUp()
        self.own = self.holder(user=NOBODY, size=4096)
        self.other = self.holder(user=STRANGER, size=8192)
        self.other(f"name {SECRET}")
        self.device = self.daemon.devices()[0]

    def probe(self, user, paths=()):
        """What a user sees of these paths, or of all that he can find."""
        found = seen_by(user, lambda _: [look_at(path) for path in paths or
                                         walk(self.daemon.mount)])
        return {os.path.relpath(seen["path"], self.daemon.mount): seen for seen in found}

    def all_paths(self):
        return [path for path in self.probe(ROOT) if path != "pids/self"]

    def see(self, user, paths):
        return self.probe(user, [self.daemon.path(path) for path in paths])

    def is_private(self, path):
        parts = path.split("/")
        if parts[0] == "pids":
            return False
        return parts[-1] in PRIVATE or parts[-2:-1] == ["pids"]

    def process_of(self, path):
        """The process in whose directory a path is; None: in none's."""
        found = re.match(r"pids/(\d+)(/|$)", path)
        return found and {self.own.pid: NOBODY, self.other.pid: STRANGER}[int(found[1])]

    def expected(self, user, path):
        """The errors of lstat and open that the user gets."""
        if user is ROOT:
            return 0, 0
        owner = self.process_of(path)
        if path.endswith("/buffers"):
            seen = 0 if user in (owner, MEMBER) else self.hidden(path)
            return seen, 0 if user == owner else seen or EACCES
        if user == MEMBER or user == owner:
            return 0, 0
        if owner:
            return self.hidden(path), self.hidden(path) or EACCES
        if self.is_private(path):
            below = path.split("/")[-2:-1] == ["pids"]
            return EACCES if below else 0, EACCES
        return 0, 0

    def hidden(self, path):
        raise NotImplementedError

    def leaks(self, user):
        """What of the stranger's process a user can find in the texts and names of the mount. A
        counter may be the same number by chance, but not twice."""
        word = rf"(?<![\d.])({self.other.pid}|{STRANGER.pw_uid})(?![\d.])|{SECRET}"

        def once():
            return {(path, part) for path, seen in self.probe(user).items()
                    for part in ("path", "inside", "uid", "gid")
                    if re.search(word, json.dumps(seen.get(part)).replace(
                        self.daemon.dir, ""))}
        return once() & once()

    def assertOnlyDenied(self, result):
        for line in result.stderr.splitlines():
            self.assertRegex(line, r": Permission denied$")


class Checks:
    """What holds in both modes."""

    def test_every_path_is_for_whom_it_should_be(self):
        paths = self.all_paths()
        self.assertIn(f"pids/{self.other.pid}/{self.device}/dram", paths)
        self.assertIn(f"{self.device}/pids/{self.other.pid}", paths)
        for user in (ROOT, NOBODY, STRANGER, MEMBER):
            seen = self.see(user, paths)
            for path in paths:
                with self.subTest(path=path, user=user and user.pw_uid):
                    self.assertEqual((seen[path]["lstat"], seen[path]["open"]),
                                     self.expected(user, path))

    def test_modes_and_groups_say_so(self):
        for path, seen in self.see(ROOT, self.all_paths()).items():
            mode = stat.S_IMODE(seen["mode"])
            process_dir = re.fullmatch(r"pids/\d+(/device\d+)?", path)
            with self.subTest(path=path):
                if stat.S_ISLNK(seen["mode"]):
                    continue
                if process_dir or (self.is_private(path) and path != "pids"):
                    self.assertEqual(mode & 0o77, 0o50 if stat.S_ISDIR(seen["mode"]) else 0o40)
                    self.assertEqual(seen["gid"], GROUP)
                elif not path.startswith("pids/"):
                    self.assertEqual(mode & 0o44, 0o44)
                    self.assertEqual(seen["gid"], 0)

    def test_what_is_for_all_names_no_process_of_another(self):
        self.daemon.text("summary")  # its length and time are known to the daemon now
        holder = self.holder(user=STRANGER)
        eventually(lambda: self.daemon.exists("pids", holder.pid), "its coming")
        holder.kill()
        eventually(lambda: len(self.daemon.table("exited")), "its end")
        self.assertEqual(self.leaks(NOBODY) - self.may_be_seen(), set())
        names = {part for _, part in self.leaks(MEMBER)}
        self.assertEqual(names, {"path", "inside", "uid", "gid"})  # or this test sees nothing

    def test_lengths_and_times_of_what_is_private_tell_nothing(self):
        def attributes(paths):
            return {path: (seen["size"], seen["mtime"], seen["nlink"])
                    for path, seen in self.see(NOBODY, paths).items() if seen["lstat"] == 0}

        paths = ["pids", f"{self.device}/pids", "summary", "exited"]
        before = attributes(paths)
        self.assertEqual(len(before), len(paths))
        another = self.holder(user=STRANGER)
        for name in ("summary", "exited"):
            self.daemon.text(name)
        self.assertEqual(attributes(paths), before)
        another.kill()
        eventually(lambda: len(self.daemon.table("exited")), "its end")
        self.assertEqual(attributes(paths), before)
        with open(self.daemon.path("exited"), encoding="utf-8") as file:
            text = file.read()
            self.assertEqual(os.fstat(file.fileno()).st_size, len(text))

    def test_sums_of_devices_are_for_all(self):
        seen = self.see(NOBODY, [f"{self.device}/dram_used"])
        self.assertEqual(seen[f"{self.device}/dram_used"]["inside"], "12288\n")

    def test_tools_get_no_errors_but_permission_denied(self):
        for user in (NOBODY, STRANGER):
            for tool in (["find", self.daemon.mount], ["ls", "-lR", self.daemon.mount],
                         ["grep", "-r", "4096", self.daemon.mount]):
                with self.subTest(tool=tool[0], user=user.pw_uid):
                    self.assertOnlyDenied(run(*tool, user=user))
        for tool in (["find", self.daemon.mount], ["ls", "-lR", self.daemon.mount]):
            self.assertEqual(run(*tool, user=MEMBER).stderr, "")

    def test_self_is_still_the_reader(self):
        self.assertEqual(self.own(f"cat {self.daemon.path('pids/self/dram')}"), "4096")
        self.assertEqual(self.other(f"cat {self.daemon.path('pids/self/dram')}"), "8192")
        self.assertEqual(self.other(f"readlink {self.daemon.path('pids/self')}"),
                         str(self.other.pid))

    def test_an_open_file_stays_readable_by_whom_it_is_given_to(self):
        with open(self.daemon.path("pids", self.other.pid, "dram"), encoding="ascii") as file:
            result = run("cat", user=NOBODY, stdin=file)
        self.assertEqual((result.stdout, result.stderr), ("8192\n", ""))


class NoAccess(Checks, Hiding):
    options = ("--hidepid=noaccess", f"--hidepid-group={GROUP}")

    def hidden(self, path):
        return EACCES if path.count("/") > 1 else 0

    def may_be_seen(self):
        return {("pids", "inside"), (f"pids/{self.other.pid}", "path"),
                (f"pids/{self.other.pid}", "uid")}

    def test_a_process_is_there_but_closed(self):
        path = f"pids/{self.other.pid}"
        seen = self.see(NOBODY, [path])[path]
        self.assertEqual((oct(stat.S_IMODE(seen["mode"])), seen["uid"], seen["open"]),
                         (oct(0o550), STRANGER.pw_uid, EACCES))


class Invisible(Checks, Hiding):
    options = ("--hidepid=invisible", f"--hidepid-group={GROUP}")

    def hidden(self, _path):
        return ENOENT

    def may_be_seen(self):
        return set()

    def test_hidden_and_not_there_are_the_same(self):
        there, nowhere = self.other.pid, (1 << 22) + 1
        for user in (NOBODY, MEMBER):
            for tool in (["stat", "@"], ["cat", "@/dram"], ["ls", "@/"], ["mkdir", "@"],
                         ["readlink", "-e", "@"], ["rmdir", "@"], ["mv", "@", "@.old"],
                         ["touch", "@"], ["test", "-e", "@"], ["find", "@"], ["sh", "-c", "cd @"]):
                said = []
                for pid in (there, nowhere):
                    path = self.daemon.path("pids", pid)
                    os.path.exists(path)  # what root looks up may be kept
                    result = run(*(word.replace("@", path) for word in tool), user=user)
                    said.append((result.returncode, (result.stdout + result.stderr).replace(
                        str(pid), "N")))
                with self.subTest(tool=tool, user=user.pw_uid):
                    if user == NOBODY:
                        self.assertEqual(*said)
                    elif tool[0] in ("stat", "cat", "ls", "find", "sh"):
                        self.assertEqual((said[0][0], said[1][0] > 0), (0, True))

    def test_what_root_has_looked_up_is_not_there_for_others(self):
        paths = [self.daemon.path("pids", self.other.pid, *more)
                 for more in ((), ("dram",), (self.device,), (self.device, "dram"))]
        with open(paths[1], encoding="ascii") as file:
            for _ in range(10):
                for path in paths:
                    os.stat(path)
                self.assertEqual(file.read(), "8192\n")
                file.seek(0)
                seen = self.probe(NOBODY, paths)
                self.assertEqual({s["lstat"] for s in seen.values()}, {ENOENT})
                self.assertEqual(self.daemon.value("pids", self.other.pid, "dram"), 8192)

    def test_looking_at_the_same_moment_as_root_does_not_help(self):
        path, done = self.daemon.path("pids", self.other.pid), threading.Event()

        def look():
            while not done.is_set():
                os.stat(path + "/dram")
        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            found = seen_by(NOBODY, lambda _: sum(os.path.lexists(path) for _ in range(3000)))
        finally:
            done.set()
            watcher.join()
        self.assertEqual(found, 0)

    def test_a_held_directory_does_not_show_who_comes_later(self):
        later = []

        def look(pause):
            pids = os.open(self.daemon.path("pids"), os.O_RDONLY | os.O_DIRECTORY)
            before = os.listdir(pids)
            pause()
            return [before, os.listdir(pids)]

        def between():
            later.append(self.holder(user=STRANGER).pid)
            self.assertIn(later[0], self.daemon.pids())
        before, after = seen_by(NOBODY, look, between)
        self.assertEqual(len(later), 1)
        self.assertEqual(set(before), {"self", str(self.own.pid)})
        self.assertEqual(set(after), set(before))

    def test_a_directory_that_root_has_opened_shows_others_nothing(self):
        def look(pause):
            pause()
            return [error_of(os.listdir, fd), error_of(os.stat, name, dir_fd=fd)]

        for path, name in ((f"pids/{self.other.pid}", "dram"), ("pids", str(self.other.pid)),
                           (f"{self.device}/pids", str(self.other.pid))):
            fd = os.open(self.daemon.path(path), os.O_RDONLY | os.O_DIRECTORY)
            try:  # the child has it, too
                listed, error = seen_by(NOBODY, look,
                                        lambda: os.stat(name, dir_fd=fd))
            finally:
                os.close(fd)
            with self.subTest(path=path):
                self.assertNotIn(str(self.other.pid), str(listed))
                self.assertNotIn("dram", str(listed))
                self.assertIn(error, (ENOENT, EACCES))

    def test_who_has_left_the_group_finds_nothing_in_what_he_has_open(self):
        def look(_):
            os.setresuid(MEMBER.pw_uid, MEMBER.pw_uid, 0)
            pids = os.open(self.daemon.path("pids"), os.O_RDONLY | os.O_DIRECTORY)
            before = os.listdir(pids)
            os.seteuid(0)
            os.setgroups([])
            os.setresuid(*3 * [MEMBER.pw_uid])
            return [before, os.listdir(pids)]

        before, after = seen_by(MEMBER._replace(pw_uid=0), look)
        self.assertIn(str(self.other.pid), before)
        self.assertEqual(after, ["self"])

    def test_who_works_in_a_process_directory_is_not_put_out_by_a_strangers_look(self):
        path = self.daemon.path("pids", self.other.pid)

        def look(pause):
            os.chdir(path)
            pause()
            with open("dram", encoding="ascii") as file:
                text = file.read()
            os.stat(path)  # until somebody looks it up again, getcwd(2) does not know its name
            return [text, os.getcwd()]

        def between():
            self.assertEqual(seen_by(NOBODY, lambda _: error_of(os.stat, path)), ENOENT)
        self.assertEqual(seen_by(STRANGER, look, between), ["8192\n", path])

    def test_errors_name_no_hidden_process(self):
        for tool in (["find", self.daemon.mount], ["ls", "-lR", self.daemon.mount],
                     ["grep", "-r", "4096", self.daemon.mount]):
            result = run(*tool, user=NOBODY)
            self.assertNotRegex(result.stdout + result.stderr, rf"pids/{self.other.pid}\b")


class WithoutGroup(Hiding):
    options = ("--hidepid=invisible",)

    def test_all_is_for_root_and_the_owner(self):
        for user in (MEMBER, NOBODY):
            found = self.leaks(user)
            self.assertEqual(found, set())
        self.assertNotEqual(self.leaks(STRANGER), set())
        for name, mode in (("summary", 0o400), (f"pids/{self.other.pid}", 0o500),
                           (f"{self.device}/pids", 0o500)):
            self.assertEqual(stat.S_IMODE(os.stat(self.daemon.path(name)).st_mode), mode)


class Off(Hiding):
    options = ("--hidepid=off", f"--hidepid-group={GROUP}")

    def test_everybody_sees_all_but_buffers(self):
        paths = self.all_paths()
        for path, seen in self.see(NOBODY, paths).items():
            with self.subTest(path=path):
                closed = path in (f"pids/{self.other.pid}/buffers", "metrics/ttmem_pids.prom")
                self.assertEqual((seen["lstat"], seen["open"]), (0, EACCES if closed else 0))
                self.assertNotEqual(seen["gid"], GROUP)


class AnOrdinaryUsersDaemon(unittest.TestCase):
    def test_hides_nothing_from_its_owner(self):
        self.addCleanup(clean_up)
        daemon = OwnDaemon()
        argv = daemon.argv
        daemon.argv = lambda: [*argv(), "--hidepid=invisible"]
        daemon.start()
        peer = Peer(daemon, user=NOBODY)
        peer("alloc 0 dram 0x1000 4096")
        for names in (("summary",), ("pids", peer.pid, "dram")):
            self.assertEqual(daemon.inside("cat", daemon.path(*names)).returncode, 0)
        peer.close()


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = Daemon()

    def start(self, *options):
        return run(*self.daemon.argv(), *options)

    def test_a_wrong_mode_is_a_usage_error(self):
        for wrong in (["--hidepid=loud"], ["--hidepid="], ["--hidepid"], ["--hidepid=2"],
                      ["--hidepid=off", "--hidepid-group="], [f"--hidepid-group={GROUP}"]):
            with self.subTest(wrong=wrong):
                result = self.start(*wrong)
                self.assertEqual(result.returncode, 64, result.stderr)
                self.assertRegex(result.stderr, "hid|empty")
                self.assertEqual(result.stdout, "")

    def test_a_group_that_is_not_there_is_named(self):
        for wrong in ("no such group", "-1", "4294967295"):
            with self.subTest(wrong=wrong):
                result = self.start("--hidepid=noaccess", f"--hidepid-group={wrong}")
                self.assertEqual(result.returncode, 78, result.stderr)
                self.assertIn(f"'{wrong}'", result.stderr)
                self.assertIn("give another", result.stderr)
                self.assertEqual(mounts_at(self.daemon.mount), [])

    def test_a_group_can_be_named(self):
        self.daemon.options = ("--hidepid=noaccess", "--hidepid-group=nogroup")
        self.daemon.start()
        self.assertEqual(os.stat(self.daemon.path("summary")).st_gid, NOBODY.pw_gid)
        self.daemon.stop()
