# SPDX-License-Identifier: Apache-2.0
"""Daemons and their mounts, and the programs that talk to them.

Everything that is started here is known to `living` and ends with the test, or with clean_up() when
something goes wrong: no process and no mount is left behind. Nothing sleeps for a duration and then
asserts: what takes time is waited for with eventually().
"""
import ctypes
import fcntl
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BUILD = "build"
KINDS = ("dram", "l1", "system", "l1_small", "trace", "cb", "kernel")
CALM = float(os.environ.get("TTMEM_TEST_SLOWNESS", "1"))  # how much longer than usual to wait
NOBODY = pwd.getpwnam("nobody")
SUSPICIOUS = re.compile(r"\b(error|critical|assert\w*|panic|sanitizer|runtime error|leak)", re.I)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
MNT_FORCE, MNT_DETACH = 1, 2
LINES = re.compile(r"([^\x00-\x1f\x7f-\x9f\u2028\u2029]*\n)+")  # what files are made of
libc = ctypes.CDLL(None, use_errno=True)
living = []


def is_silent(path):
    """Its report says nothing before a request has failed; every other file says something."""
    return path.endswith("/oom")


def is_well_made(path, text):
    return bool(LINES.fullmatch(text)) or (is_silent(path) and not text)


def eventually(condition, what="that", limit=15):
    """Calls condition() until it is true, and returns what it says."""
    deadline = time.monotonic() + limit * CALM
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit * CALM:g} s in vain for {what}")
        time.sleep(0.002)


def mounts_at(path, mountinfo=None):
    """The types of what is mounted at a path. Reads the table only: a dead mount is no matter."""
    if mountinfo is None:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
            mountinfo = table.read()
    rows = [line.split() for line in mountinfo.splitlines()]
    return [row[row.index("-") + 1] for row in rows if row[4] == path]


def stacks(pid):
    """Where each thread of a process is, in the kernel."""
    told = []
    for task in sorted(os.listdir(f"/proc/{pid}/task")):
        for name in ("comm", "wchan", "syscall", "stack"):
            try:
                with open(f"/proc/{pid}/task/{task}/{name}", encoding="utf-8") as file:
                    told.append(f"{task} {name}: {file.read().strip()}")
            except OSError as error:
                told.append(f"{task} {name}: {error}")
    return "\n".join(told)


def force_unmount(path):
    while mounts_at(path) and libc.umount2(path.encode(), MNT_FORCE | MNT_DETACH) == 0:
        pass


def switches_of(pid):
    """{thread: how often it has been woken}; one that ends meanwhile is left out."""
    counts = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as status:
                counts[task] = int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", status.read())[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return counts


def clean_up():
    for thing in reversed(living[:]):
        thing.destroy()


def environment(**more):
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("TTMEM", "TT_ALLOC"))}
    mine.pop("XDG_RUNTIME_DIR", None)
    return {**mine, "LC_ALL": "C", **more}


class Stranger:
    """A user whom no other process of the tests has: the kernel counts, by user, what floods
    exhaust (descriptors in flight, for one)."""
    groups = []

    @property
    def pw_uid(self):
        return 100000 + os.getpid()

    pw_gid = pw_uid


STRANGER = Stranger()


def as_user(user):
    """Arguments of subprocess.Popen that make the child run as somebody else."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid,
            "extra_groups": getattr(user, "groups", [])}


def run(*argv, user=None, check=False, limit=20, **options):
    """Runs a tool to its end. Returns the CompletedProcess, with text output."""
    result = subprocess.run([str(a) for a in argv], capture_output=True, check=False,
                            timeout=limit * CALM, env=environment(), cwd="/", errors="replace",
                            **as_user(user), **options)
    if check and result.returncode:
        raise AssertionError(f"{argv} ended with {result.returncode}: {result.stderr}")
    return result


class Program:
    """A child that reads lines and answers with lines."""

    def __init__(self, *argv, user=None, pass_fds=(), **env):
        self.input = b""
        self.process = subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            cwd="/", env=environment(**env), pass_fds=pass_fds, **as_user(user))
        self.pid = self.process.pid
        living.append(self)

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")

    def line(self, limit=20):
        deadline = time.monotonic() + limit * CALM
        while b"\n" not in self.input:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"no answer from {self.process.args}")
            got = os.read(self.process.stdout.fileno(), 1 << 16)
            if not got:
                raise AssertionError(f"{self.process.args} ended: {self.process.wait()}")
            self.input += got
        line, self.input = self.input.split(b"\n", 1)
        return line.decode(errors="replace")

    def lines_until(self, last):
        return list(iter(self.line, last))

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self, limit=10):
        """Ends the child's input and waits for it."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        code = self.process.wait(limit * CALM)
        self.process.stdout.close()
        if self in living:
            living.remove(self)
        return code

    def destroy(self):
        try:
            self.close(limit=2)
        except subprocess.TimeoutExpired:
            self.kill()


class Peer(Program):
    """A client of libttmem: peer("alloc 0 dram 0x1000 4096 weights") returns what follows "ok"."""

    def __init__(self, daemon, user=None, start=True, **env):
        super().__init__(daemon.program("peer"), user=user, TTMEM_SOCKET=daemon.socket, **env)
        if start:
            self("start")

    def __call__(self, command):
        self.send(command)
        answer = self.line()
        if not answer.startswith("ok"):
            raise AssertionError(f"{command}: {answer}")
        return answer[3:]

    def totals(self, device, kind):
        words = self(f"totals {device} {kind}").split()
        return {k: int(v) for k, v in (word.split("=") for word in words)}


class Daemon:
    """A ttmemd on a mount point and a socket of its own, in a new directory below /tmp."""

    def __init__(self, *options, user=None):
        self.options, self.user, self.process = options, user, None
        self.allowed = re.compile(r"(?!)")  # what the log may say although it looks bad
        self.dir = tempfile.mkdtemp(prefix=f"ttmem-test-{os.getpid()}-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.mount, self.socket = f"{self.dir}/mnt", f"{self.dir}/run/ttmemd.sock"
        self.log_path = f"{self.dir}/log"
        for name in ("mnt", "run"):
            os.mkdir(f"{self.dir}/{name}")
            if user:
                os.chown(f"{self.dir}/{name}", user.pw_uid, user.pw_gid)
        living.append(self)

    def program(self, name):
        """A copy of a program that everybody can run, wherever the build directory is."""
        source = "ttmemd" if name == "ttmemd" else f"tests/peers/{name}"
        copy = f"{self.dir}/{name}"
        if not os.path.exists(copy):
            shutil.copy(os.path.join(BUILD, source), copy)
            os.chmod(copy, 0o755)
        return copy

    def argv(self):
        return [self.program("ttmemd"), "--foreground", "--mount", self.mount, "--socket",
                self.socket, "--log-level", "info", *self.options]

    def launch(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env=environment(), preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
                **as_user(self.user))
        self.pid = self.process.pid

    def start(self):
        self.launch()
        eventually(self.is_ready, "the mount", 10)
        return self

    def is_ready(self):
        if self.process and self.process.poll() is not None:
            raise AssertionError(f"ttmemd ended with {self.process.returncode}: {self.log()}")
        try:
            return bool(self.text("version"))
        except OSError:  # not there yet, or a dead mount of before, whose attributes are cached
            return False

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def send_signal(self, number):
        os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM):
        """Ends it as a service manager does. What it must leave behind: nothing."""
        # A test that failed may have left it stopped. After the other it would undo the stop by
        # which the leak sanitizer, at the daemon's end, waits for its threads.
        self.send_signal(signal.SIGCONT)
        self.send_signal(number)
        try:
            code = self.process.wait(10 * CALM)
        except subprocess.TimeoutExpired:
            where, log = stacks(self.pid), self.log()
            self.destroy()
            raise AssertionError(f"ttmemd does not end; its threads:\n{where}\n{log}") from None
        left, log = mounts_at(self.mount), self.log()
        has_socket = os.path.lexists(self.socket)
        self.destroy()
        bad = [line for line in log.splitlines()
               if SUSPICIOUS.search(line) and not self.allowed.search(line)]
        assert code == 0, f"ttmemd ended with {code}: {log}"
        assert not left, f"still mounted: {left}"
        assert not has_socket, "the socket is still there"
        assert not bad, f"in the log: {bad}"

    def kill(self):
        """A thread that waits for another's FUSE server outlives even this: do not wait for it."""
        self.process.kill()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            pass

    def destroy(self):
        if self.process and self.process.poll() is None:
            self.kill()
        force_unmount(self.mount)
        shutil.rmtree(self.dir, ignore_errors=True)
        if self in living:
            living.remove(self)

    # What is in the mount.
    def path(self, *names):
        return "/".join([self.mount, *(str(n) for n in names)])

    def exists(self, *names):
        return os.path.lexists(self.path(*names))

    def text(self, *names):
        with open(self.path(*names), encoding="utf-8") as file:
            return file.read()

    def value(self, *names):
        text = self.text(*names)
        assert re.fullmatch(r"[0-9]+\n", text), f"{names}: {text!r}"
        return int(text)

    def flat(self, *names):
        pairs = [line.split(" ", 1) for line in self.text(*names).splitlines()]
        assert all(len(pair) == 2 for pair in pairs), f"{names}: {pairs}"
        return {key: value.strip() for key, value in pairs}

    def table(self, *names):
        text = self.text(*names)
        assert text.endswith("\n"), f"{names}: {text[-80:]!r}"
        header, *rows = [line.split() for line in text.split("\n")[:-1]]
        rows = [row for row in rows if row[0] != "#"]  # a remark: the table is cut
        for row in rows:
            assert len(row) == len(header), f"{names}: {header} {row}"
        return [dict(zip(header, row)) for row in rows]

    def sum_of_buffers(self, pid):
        """Of each device and kind: bytes and number of the buffers that a process lists."""
        sums = {}
        for row in self.table("pids", pid, "buffers"):
            key = (row["device"], row["kind"])
            size, number = sums.get(key, (0, 0))
            sums[key] = (size + int(row["size"]), number + 1)
        return sums

    def devices(self):
        return sorted(n for n in os.listdir(self.mount) if n.startswith("device"))

    def pids(self):
        return {int(name) for name in os.listdir(self.path("pids")) if name.isdigit()}

    def files(self):
        """Every regular file below the mount."""
        for folder, _, names in os.walk(self.mount):
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    yield path

    # What the daemon uses.
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def open_paths(self):
        """What its descriptors are."""
        paths = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                paths.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
            except FileNotFoundError:  # closed meanwhile
                pass
        return paths

    def is_sanitized(self):
        """A sanitizer keeps what was freed, and may have threads of its own."""
        with open(self.program("ttmemd"), "rb") as binary:
            return bool(re.search(rb"__[at]san_init", binary.read()))

    def memory(self):
        """Resident bytes that are its own: shared pages of ledgers do not count. 0: no use."""
        if self.is_sanitized():
            return 0
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.read())[1]) << 10


def alone_with_stuck(test):
    """To be called by a test before it makes processes that hang whoever looks into them. Every
    daemon looks, those of other tests too, and each has room for a few that hang."""
    if not hasattr(test, "alone"):
        test.alone = os.open(os.path.dirname(__file__), os.O_RDONLY)
        test.addCleanup(os.close, test.alone)
        fcntl.flock(test.alone, fcntl.LOCK_EX)


class MountTest(unittest.TestCase):
    """A test with a daemon of its own. Everything it has started has ended when it is over."""

    options = ()

    def setUp(self):
        self.addCleanup(clean_up)  # if anything below, or the test, fails
        self.daemon = Daemon(*self.options).start()

    def tearDown(self):
        for thing in reversed(living[:]):
            if isinstance(thing, Program):
                thing.destroy()
        if self.daemon in living and self.daemon.process.poll() is None:
            self.daemon.stop()

    def peer(self, *commands, **options):
        peer = Peer(self.daemon, **options)
        for command in commands:
            peer(command)
        return peer

    def holder(self, device=0, asic=0xA51C, size=4096, **options):
        """A peer that holds one buffer of DRAM on a device that it has declared."""
        return self.peer(f"declare {device} asic={asic:#x}",
                         f"alloc {device} dram 0x1000 {size} weights", **options)

    def wait_gone(self, pid):
        eventually(lambda: not self.daemon.exists("pids", pid), f"the end of {pid}")
