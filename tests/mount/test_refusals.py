# SPDX-License-Identifier: Apache-2.0
"""What the mount does not let anybody do, root included; and that nothing has changed then."""
import errno
import os
import stat

from harness import NOBODY, MountTest, run

REFUSED = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EROFS, errno.ENOSYS}
# Files whose text differs from one moment to the next although nothing happens.
RESTLESS = ("status", "history", "buffers", "summary", "snapshot.json", "holders", "ages")


class Refusals(MountTest):
    def setUp(self):
        super().setUp()
        self.user = self.holder(user=NOBODY)
        self.device = self.daemon.path(self.daemon.devices()[0])
        self.value = f"{self.device}/dram_used"
        self.before = self.picture()

    def picture(self):
        """All names with their modes, owners and, where they stand still, texts."""
        picture = {}
        for folder, folders, names in os.walk(self.daemon.mount):
            for name in folders + names:
                path = os.path.join(folder, name)
                info = os.lstat(path)
                picture[path] = (info.st_mode, info.st_uid, info.st_gid, info.st_ino)
                if stat.S_ISREG(info.st_mode) and name not in RESTLESS:
                    with open(path, encoding="ascii") as file:
                        picture[path] += (file.read(),)
        return picture

    def refused(self, call, *arguments, also=()):
        with self.assertRaises(OSError, msg=(call.__name__, *arguments)) as raised:
            call(*arguments)
        self.assertIn(raised.exception.errno, REFUSED | set(also), (call.__name__, *arguments))

    def tearDown(self):
        self.assertEqual(self.picture(), self.before)
        super().tearDown()

    def test_root_cannot_write_values(self):
        for name in ("status", "version", "summary"):
            self.refused(os.open, self.daemon.path(name), os.O_WRONLY)
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_APPEND,
                      os.O_WRONLY | os.O_CREAT):
            self.refused(os.open, self.value, flags)
            self.refused(os.open, self.daemon.path("pids", self.user.pid, "buffers"), flags)
        self.refused(os.truncate, self.value, 0)
        self.refused(os.truncate, self.value, 1 << 40)
        for flags in (os.O_WRONLY, os.O_RDWR):
            self.refused(os.open, self.daemon.mount, flags | os.O_DIRECTORY, also=(errno.EISDIR,))

    def test_root_cannot_make_anything(self):
        for folder in (self.daemon.mount, self.daemon.path("pids"), self.device,
                       self.daemon.path("pids", self.user.pid), self.device + "/pids",
                       self.daemon.path("by-asic"), self.daemon.path("by-pci")):
            new = folder + "/new"
            self.refused(os.open, new, os.O_CREAT | os.O_WRONLY)
            self.refused(os.open, new, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            self.refused(os.mkdir, new)
            self.refused(os.mknod, new, 0o666 | stat.S_IFREG)
            self.refused(os.mknod, new, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            self.refused(os.mkfifo, new)
            self.refused(os.symlink, "target", new)
            self.refused(os.link, self.value, new)
            self.refused(os.open, folder, os.O_TMPFILE | os.O_RDWR, also=(errno.EISDIR,))
        for number in ("12345678", str(os.getpid())):
            self.refused(os.mkdir, self.daemon.path("pids", number))

    def test_root_cannot_remove_or_rename_anything(self):
        pids = self.daemon.path("pids", self.user.pid)
        link = f"{self.device}/pids/{self.user.pid}"
        for path in (self.value, link, f"{pids}/buffers", self.daemon.path("status")):
            self.refused(os.unlink, path)
            self.refused(os.rename, path, self.daemon.path("new"))
            self.refused(os.rename, path, self.daemon.path("version"))
        for path in (pids, self.device, self.daemon.path("pids")):
            self.refused(os.rmdir, path, also=(errno.ENOTEMPTY,))
            self.refused(os.rename, path, self.daemon.path("new"))
        run("rm", "-rf", f"{self.daemon.mount}/device0", f"{pids}")

    def test_root_cannot_change_attributes(self):
        for path in (self.value, self.device, self.daemon.mount,
                     self.daemon.path("pids", self.user.pid), f"{self.device}/dram_peak"):
            self.refused(os.chmod, path, 0o777)
            self.refused(os.chown, path, 1, 1)
            self.refused(os.utime, path, (0, 0))
            self.refused(os.setxattr, path, "user.x", b"x")
            self.refused(os.setxattr, path, "trusted.x", b"x")
            self.refused(os.setxattr, path, "security.capability", b"\1\0\0\2" + bytes(16),
                         also=(errno.EINVAL,))
            self.refused(os.removexattr, path, "user.x")
        run("chattr", "+i", self.value)

    def test_root_cannot_allocate_or_write_through_an_open_file(self):
        with open(f"{self.device}/dram_peak", "r+b", buffering=0) as file:
            # posix_fallocate(3) would write zeros where fallocate(2) is not supported.
            self.assertNotEqual(run("fallocate", "-l", 4096, file.name).returncode, 0)
            self.assertNotEqual(run("fallocate", "-p", "-l", 1, file.name).returncode, 0)
            self.refused(os.fchmod, file.fileno(), 0o777)
            self.refused(os.fchown, file.fileno(), 1, 1)
        with open(self.value, "rb") as file:
            self.refused(os.write, file.fileno(), b"x", also=(errno.EBADF,))

    def test_nobody_cannot_do_any_of_it_either(self):
        pids = self.daemon.path("pids", self.user.pid)
        for command in (f"echo 1 > {self.value}", f"echo 1 > {self.device}/dram_peak",
                        f"echo 1 > {pids}/dram", f"echo 1 > {pids}/buffers",
                        f"touch {pids}/new", f"touch {self.daemon.mount}/new",
                        f"mkdir {pids}/new", f"rmdir {pids}", f"rm -f {pids}/dram",
                        f"mv {pids}/dram {pids}/new", f"ln -s x {pids}/new",
                        f"ln {pids}/dram {pids}/new", f"mkfifo {pids}/new",
                        f"chmod 666 {pids}/buffers", f"chmod 777 {pids}",
                        f"chown nobody {self.value}", f"touch {pids}/dram",
                        f"touch -d 2001-01-01 {pids}/dram", f"truncate -s 0 {pids}/dram"):
            with self.subTest(command=command):
                result = run("sh", "-c", command, user=NOBODY)
                self.assertNotEqual(result.returncode, 0)
                self.assertRegex(result.stderr,
                                 "Permission denied|not permitted|not supported|Read-only")

    def test_nothing_on_the_mount_can_be_executed(self):
        for user in (None, NOBODY):
            result = run("sh", "-c", f"exec {self.value}", user=user)
            self.assertEqual(result.returncode, 126, result.stderr)
