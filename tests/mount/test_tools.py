# SPDX-License-Identifier: Apache-2.0
"""The tools that people use on files, on the mount: each must show what cat shows, and end."""
import errno
import hashlib
import mmap
import os
import re
import shutil
import socket

from harness import NOBODY, MountTest, is_silent, run

# Files whose text differs from one moment to the next although nothing happens.
RESTLESS = re.compile(r"/(status|history|buffers|summary|snapshot\.json|holders|ages)$")


class Tools(MountTest):
    def setUp(self):
        super().setUp()
        self.user = self.holder(user=NOBODY, size=123456)
        self.user("fill 0 l1 300 1024")
        self.mount = self.daemon.mount
        self.folder = self.daemon.path("pids", self.user.pid)
        self.device = self.daemon.path(self.daemon.devices()[0])
        self.value = f"{self.device}/dram_used"
        self.short = f"{self.folder}/stat"
        self.long = f"{self.folder}/buffers"
        self.copies = f"{self.daemon.dir}/copies"
        os.mkdir(self.copies)
        os.chmod(self.copies, 0o777)

    def quiet_files(self):
        return [path for path in self.daemon.files() if not RESTLESS.search(path)]

    def tool(self, *argv, user=None):
        result = run(*argv, user=user)
        self.assertEqual((result.returncode, result.stderr), (0, ""), argv)
        return result.stdout

    def same_everywhere(self, *argv):
        """The tool's output on each quiet file is what the file says."""
        for path in self.quiet_files():
            with open(path, encoding="ascii") as file:
                self.assertEqual(self.tool(*argv, path), file.read(), path)

    def assertCopied(self, copy, path):
        with open(copy, encoding="ascii") as file:
            self.assertEqual(without_ages(file.read()), without_ages(read_all(path)), path)

    def test_cat_shows_files_whole(self):
        self.assertEqual(self.tool("cat", self.value), "123456\n")
        self.assertEqual(self.tool("cat", self.value, user=NOBODY), "123456\n")
        self.assertEqual(len(self.tool("cat", self.long).splitlines()), 302)
        self.same_everywhere("cat")

    def test_head_and_tail_show_both_ends(self):
        self.assertEqual(self.tool("head", "-c", "1", self.value), "1")
        self.assertEqual(self.tool("tail", "-c", "1", self.value), "\n")
        self.assertEqual(self.tool("tail", "-c", "3", self.value), "56\n")
        for path in (self.value, self.short, self.long):
            lines = without_ages(read_all(path)).splitlines()
            header = read_all(path).splitlines(keepends=True)[0]
            for number in (1, 2, 10):
                head = without_ages(self.tool("head", "-n", number, path)).splitlines()
                tail = self.tool("tail", "-n", number, path)
                self.assertEqual(head, lines[:number], path)
                if len(lines) > number:
                    tail = without_ages(header + tail).splitlines()[1:]
                    self.assertEqual(tail, lines[-number:], path)
        self.same_everywhere("tail", "-n", "+1")
        self.same_everywhere("tac", "-s", "no such separator")

    def test_wc_counts_what_cat_shows(self):
        for path in self.daemon.files():
            bytes_before, bytes_counted, bytes_after = (
                len(read_all(path)), int(self.tool("wc", "-c", path).split()[0]),
                len(read_all(path)))
            slack = 4 if path.endswith(".json") else 0  # its time has no zeros at its end
            self.assertTrue(bytes_before - slack <= bytes_counted <= bytes_after + slack, path)
            self.assertEqual(self.tool("wc", "-l", path).split()[0],
                             str(read_all(path).count("\n")), path)

    def test_wc_is_right_without_a_read_before(self):
        fresh = self.peer("fill 0 cb 500 64")
        path = self.daemon.path("pids", fresh.pid, "buffers")
        counted = int(self.tool("wc", "-c", path).split()[0])
        self.assertEqual(counted, len(read_all(path)))

    def test_ls_lists_everything(self):
        for options in ("-l", "-la", "-R", "-lR", "-li", "-1f"):
            self.assertIn("version", self.tool("ls", options, self.mount))
        listed = self.tool("ls", "-l", self.value, user=NOBODY)
        self.assertRegex(listed, r"\A-r--r--r-- 1 root root 4096 ")
        self.assertRegex(self.tool("ls", "-ld", self.folder), r"\Adr-xr-xr-x \d+ nobody nogroup ")

    def test_stat_shows_attributes(self):
        self.assertEqual(self.tool("stat", "-c", "%F %a %s", self.value),
                         "regular file 444 4096\n")
        self.assertIn("ID: 0", self.tool("stat", "-f", self.mount).replace("ID: 00", "ID: 0"))

    def test_find_visits_every_file(self):
        found = set(self.tool("find", self.mount, "-type", "f").splitlines())
        self.assertEqual(found, set(self.daemon.files()))
        self.assertEqual(self.tool("find", self.mount, "-type", "f", "-empty"),
                         f"{self.device}/oom\n")  # no request has failed
        values = self.tool("find", "-L", self.device, "-name", "dram", user=NOBODY)
        self.assertIn(f"/pids/{self.user.pid}/dram", values)

    def test_grep_finds_a_value(self):
        found = self.tool("grep", "-r", ".", self.mount)
        self.assertIn(f"{self.value}:123456\n", found)
        self.assertNotIn("Binary", found)
        result = run("grep", "-rs", ".", self.mount, user=NOBODY)
        self.assertIn(f"{self.folder}/dram:123456\n", result.stdout)

    def test_no_file_that_says_something_looks_empty(self):
        for path in self.daemon.files():
            self.assertEqual(run("test", "-s", path).returncode, int(is_silent(path)), path)

    def test_cp_copies_files_whole(self):
        for path in (self.value, self.short, self.long):
            for options in ([], ["-p"], ["--sparse=always"], ["--reflink=auto"]):
                copy = f"{self.copies}/copy"
                run("cp", *options, path, copy, check=True)
                self.assertCopied(copy, path)
                os.unlink(copy)
        run("cp", self.long, f"{self.copies}/nobody", user=NOBODY, check=True)
        self.assertCopied(f"{self.copies}/nobody", self.long)

    def test_cp_r_copies_the_tree_and_diff_and_cmp_see_no_difference(self):
        copy = f"{self.copies}/tree"
        run("cp", "-r", self.mount, copy, check=True)
        for path in self.quiet_files():
            self.assertCopied(copy + path.removeprefix(self.mount), path)
        differences = run("diff", "-r", self.mount, copy).stdout
        for name in re.findall(r"^diff -r (\S+)", differences, re.M):
            self.assertRegex(name, RESTLESS)
        for path in self.quiet_files():
            self.tool("cmp", path, copy + path.removeprefix(self.mount))

    def test_dd_reads_byte_by_byte(self):
        for path in (self.value, self.short):
            for size in (1, 3, 7, 4096):
                result = run("dd", f"if={path}", f"bs={size}", "status=none", check=True)
                self.assertEqual(result.stdout, read_all(path))
        result = run("dd", f"if={self.value}", "bs=1", "skip=2", "count=2", "status=none")
        self.assertEqual(result.stdout, "34")
        result = run("dd", f"if={self.value}", "iflag=direct", "status=none")
        self.assertIn((result.returncode, result.stdout), ((0, "123456\n"), (1, "")))

    def test_tar_keeps_every_name(self):
        archive = f"{self.copies}/tree.tar"
        result = run("tar", "-cf", archive, "-C", self.mount, ".")
        self.assertIn(result.returncode, (0, 1), result.stderr)  # 1: a file is shorter than 4096
        names = self.tool("tar", "-tf", archive).splitlines()
        for path in self.daemon.files():
            self.assertIn("." + path.removeprefix(self.mount), names)
        name = "." + self.value.removeprefix(self.mount)
        text = run("tar", "-xOf", archive, name).stdout
        self.assertTrue(text.startswith("123456\n"), text)

    def test_sums_and_sorts_work(self):
        text = read_all(self.value)
        self.assertEqual(self.tool("sha256sum", self.value).split()[0],
                         hashlib.sha256(text.encode()).hexdigest())
        self.assertEqual(self.tool("sort", "-n", self.value), text)
        self.assertEqual(self.tool("awk", "{ print $1 + 1 }", self.value), "123457\n")
        self.assertEqual(self.tool("sed", "-n", "1p", self.value), text)
        self.assertEqual(self.tool("sh", "-c", 'read -r x < "$1"; echo "$x"', "sh", self.value),
                         text)
        self.assertIn("dram", self.tool("od", "-c", "-An", "-w1", "-v", self.short)
                      .replace("\n", "").replace(" ", ""))

    def test_python_reads_in_every_way(self):
        for path in (self.value, self.short):
            text = read_all(path).encode()
            with open(path, "rb", buffering=0) as file:
                self.assertEqual(file.readall(), text)
            with open(path, "rb") as file:
                self.assertEqual(b"".join(iter(lambda: file.read(3), b"")), text)
                file.seek(0)
                self.assertEqual(file.readlines(), text.splitlines(keepends=True))
                file.seek(2)
                self.assertEqual(file.read(), text[2:])
                self.assertFalse(file.isatty())
            copy = f"{self.copies}/python"
            for copier in (shutil.copyfile, shutil.copy, shutil.copy2):
                copier(path, copy)
                self.assertCopied(copy, path)
        shutil.copyfile(self.long, f"{self.copies}/long")
        self.assertCopied(f"{self.copies}/long", self.long)

    def test_pread_is_consistent_at_any_offset(self):
        with open(self.short, "rb", buffering=0) as file:
            text = file.readall()
            for offset in (*range(1, len(text) + 3, 7), len(text) - 1, len(text), 1 << 40):
                for size in (1, 2, 13, 100000):
                    self.assertEqual(os.pread(file.fileno(), size, offset),
                                     text[offset:offset + size])
            self.assertEqual(os.preadv(file.fileno(), [first := bytearray(3),
                                                       second := bytearray(5)], 4), 8)
            self.assertEqual(bytes(first + second), text[4:12])

    def test_sendfile_and_splice_send_everything(self):
        for path in (self.value, self.long):
            whole = without_ages(read_all(path))
            with open(path, "rb") as file, open(f"{self.copies}/sent", "w+b") as target:
                while os.sendfile(target.fileno(), file.fileno(), None, 1 << 20):
                    pass
                target.seek(0)
                self.assertEqual(without_ages(target.read().decode()), whole)
            with open(path, "rb") as file:
                source, sink = os.pipe()
                got = b""
                while os.splice(file.fileno(), sink, 4096):
                    got += os.read(source, 1 << 16)
                os.close(source)
                os.close(sink)
                self.assertEqual(without_ages(got.decode()), whole)

    def test_mmap_fails_or_shows_the_text(self):
        for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
            with open(self.value, "rb") as file:
                try:
                    with mmap.mmap(file.fileno(), 4096, flags, mmap.PROT_READ) as pages:
                        self.assertEqual(pages[:7], b"123456\n")
                except OSError as error:
                    self.assertIn(error.errno, (errno.ENODEV, errno.EACCES, errno.EINVAL))
        self.assertEqual(self.tool("cat", self.value), "123456\n")

    def test_odd_calls_get_an_answer(self):
        with open(self.value, "rb") as file:
            fd = file.fileno()
            self.assertEqual(os.lseek(fd, 0, os.SEEK_SET), 0)
            self.assertRaises(OSError, os.lseek, fd, -1, os.SEEK_SET)
            self.assertRaises(OSError, os.ftruncate, fd, 0)
            self.assertRaises(OSError, os.write, fd, b"x")
            self.assertEqual(os.read(fd, 0), b"")
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
        self.assertRaises(NotADirectoryError, os.listdir, self.value)
        self.assertRaises(NotADirectoryError, os.stat, self.value + "/x")
        self.assertRaises(IsADirectoryError, open, self.folder, "rb")
        self.assertRaises(OSError, os.readlink, self.value)
        self.assertRaises(OSError, os.listxattr, self.value)
        self.assertRaises(OSError, os.getxattr, self.value, "user.x")
        with socket.socket(socket.AF_UNIX) as server:
            self.assertRaises(OSError, server.bind, f"{self.mount}/socket")

    def test_many_readers_at_once_all_get_it(self):
        script = ('i=0; while [ $i -lt 50 ]; do read -r x < "$1"; [ "$x" = 123456 ] || exit 1; '
                  'i=$((i+1)); done & ' * 8) + 'for p in $(jobs -p); do wait $p || exit 1; done'
        self.tool("bash", "-c", script, "sh", self.value, user=NOBODY)


def read_all(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def without_ages(text):
    """A table of buffers without the column that changes by itself."""
    lines = [line.split() for line in text.splitlines(keepends=True)]
    if not lines or "age_sec" not in lines[0]:
        return text
    age = lines[0].index("age_sec")
    return "\n".join(" ".join(line[:age] + line[age + 1:]) for line in lines) + "\n"
