# SPDX-License-Identifier: Apache-2.0
"""Daemons, mounts and client processes that live for one run and never outlive it."""

import contextlib
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import time

READY_SEC = 30
SETTLE_SEC = 120  # how long the daemon remembers files that were read depends on the machine
TOOL_SEC = 120
ATTACH_PROCESS_BYTES = 4 << 20  # what each process of bench/attach.c holds


class Skipped(Exception):
    """The machine cannot do it, which is nobody's fault."""


class Failed(Exception):
    """It should have run, and did not."""


def clean_environment():
    """Nothing that the caller has set for ttmem may change what is measured, but TTMEM_RECORDS."""
    ours = ("TTMEM", "TT_ALLOC_TRACKING_ENABLED")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    if "TTMEM_RECORDS" in os.environ:
        environment["TTMEM_RECORDS"] = os.environ["TTMEM_RECORDS"]
    return environment


def is_mounted(directory):
    """Asks the mount table, because a stat of a dead mount may never return."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        return any(line.split()[4] == directory for line in table)


def raise_descriptor_limit(needed):
    """The daemon inherits it, and holds some descriptors for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Skipped(f"needs {needed} file descriptors, the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def need_fuse():
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Skipped("no access to /dev/fuse")


def end(process):
    """SIGTERM, and SIGKILL for what does not care."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def unmount(directory):
    """For what the server has left behind: each command may be missing or not allowed."""
    for command in (["umount", "-l"], ["fusermount3", "-uz"]):
        if not is_mounted(directory):
            return
        with contextlib.suppress(OSError):
            subprocess.run(command + [directory], stderr=subprocess.DEVNULL, check=False)


def read_text(path):
    """Reads in a process of its own: one that hangs can be killed, and this one cannot hang."""
    try:
        answer = subprocess.run(["cat", path], capture_output=True, timeout=5, check=False)
    except subprocess.TimeoutExpired:
        return None
    return answer.stdout.decode() if answer.returncode == 0 else None


def log_of(mount):
    """The end of what the server of this mount has said; shown when something goes wrong."""
    with open(mount + ".log", encoding="utf-8", errors="replace") as text:
        return text.read()[-500:].strip() or "it said nothing"


def wait_for(condition, complaint, server):
    deadline = time.monotonic() + READY_SEC
    while not condition():
        if server.poll() is not None or time.monotonic() > deadline:
            raise Failed(complaint())
        time.sleep(0.01)


@contextlib.contextmanager
def scratch():
    """A directory of our own. It is emptied by name: rmtree must never meet a mount."""
    directory = tempfile.mkdtemp(prefix="ttmem-bench-")
    try:
        yield directory
    finally:
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                (os.rmdir if os.path.isdir(path) else os.unlink)(path)
        with contextlib.suppress(OSError):
            os.rmdir(directory)


servers = {}  # mount: its server, while it is up


def servers_of(paths):
    """The processes that serve these files."""
    return [server.pid for path in paths for mount, server in servers.items()
            if path.startswith(mount + "/")]


@contextlib.contextmanager
def pinned(pids, cpu):
    """Keeps all threads of these processes on one CPU for the time."""
    allowed = os.sched_getaffinity(0)

    def pin(cpus):
        for pid in pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cpus)

    pin({cpu})
    try:
        yield
    finally:
        pin(allowed)


@contextlib.contextmanager
def busy(count):
    """Others who want so many CPUs."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextlib.contextmanager
def served(command, name, mount, probe):
    """Runs a file-system server until the end of the block, and unmounts whatever happens."""
    os.mkdir(mount)
    # A session of its own: Ctrl-C reaches us alone, and we end things in their order.
    with open(mount + ".log", "wb") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  env=clean_environment(), start_new_session=True)

    def complaint():
        return f"{name} did not come up: {log_of(mount)}"

    try:
        wait_for(lambda: read_text(os.path.join(mount, probe)), complaint, server)
        servers[mount] = server
        yield server
    finally:
        servers.pop(mount, None)
        end(server)
        unmount(mount)


@contextlib.contextmanager
def minimal_file_system(build, directory, *options):
    """Yields the path of its one file."""
    need_fuse()
    mount = os.path.join(directory, "fuse_min" + "".join(options))
    command = [os.path.join(build, "bench", "fuse_min"), *options, mount]
    with served(command, "fuse_min", mount, "device0/dram_used"):
        yield os.path.join(mount, "device0/dram_used")


@contextlib.contextmanager
def daemon(build, directory, name, *options):
    """Yields (server, mount, socket) of a ttmemd that has no clients yet."""
    need_fuse()
    mount = os.path.join(directory, name)
    socket = mount + ".sock"
    command = [os.path.join(build, "ttmemd"), "--foreground", "--mount", mount, "--socket", socket,
               *options]
    with served(command, "ttmemd", mount, "version") as server:
        yield server, mount, socket


def wait_until_ready(attach):
    """Its children report to it one by one; one that hangs must not hang us."""
    readable, _, _ = select.select([attach.stdout], [], [], READY_SEC)
    return bool(readable) and attach.stdout.readline() == b"ready\n"


def end_clients(attach):
    """The end of its input ends them all, in its own good time."""
    attach.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        attach.wait(10)
    end(attach)
    attach.stdout.close()


@contextlib.contextmanager
def attached(build, count, socket, devices=1):
    """So many processes that hold memory, whether or not there is a daemon for them yet."""
    attach = subprocess.Popen([os.path.join(build, "bench", "attach"), "-d", str(devices), str(count)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=clean_environment() | {"TTMEM_SOCKET": socket},
                              start_new_session=True)
    try:
        if not wait_until_ready(attach):
            raise Failed(f"{count} processes could not be started")
        yield
    finally:
        end_clients(attach)


def wait_for_all(count, server, mount):
    """Returns the path of device 0's dram_used, once it shows all the processes and none else."""
    path = os.path.join(mount, "device0", "dram_used")
    expected = f"{count * ATTACH_PROCESS_BYTES}\n"

    def complaint():
        return (f"{path} of {count} processes says {read_text(path)!r}, not {expected!r}; "
                f"the daemon: {log_of(mount)}")

    wait_for(lambda: read_text(path) == expected, complaint, server)
    return path


@contextlib.contextmanager
def clients(build, count, server, mount, socket, devices=1):
    """Yields the path of device 0's dram_used."""
    with attached(build, count, socket, devices):
        yield wait_for_all(count, server, mount)


def seconds_to_find(build, directory, name, count):
    """From the start of a daemon until its mount is there, and until it shows the processes that
    were there before it."""
    with attached(build, count, os.path.join(directory, name) + ".sock"):
        started = time.monotonic()
        with daemon(build, directory, name) as (server, mount, _):
            up = time.monotonic()
            wait_for_all(count, server, mount)
            return {"up": up - started, "found": time.monotonic() - started}


@contextlib.contextmanager
def metal_process(build, directory):
    """A ttmemd, and a model that publishes in TT-Metal's shared memory on device 0 and then waits.
    Yields the path of device 0's dram_used."""
    shm = os.path.join(directory, "shm")
    os.mkdir(shm)
    with daemon(build, directory, "ttmemd-metal", "--shm", shm) as (server, mount, _):
        model = subprocess.Popen(
            [os.path.join(build, "ttmem-sim"), "--as", "tt-metal", "--shm", shm, "--model", "resnet50",
             "--load-ms", "0", "--step-ms", "1000000", "--quiet"],
            env=clean_environment(), stdin=subprocess.DEVNULL, start_new_session=True)
        path = os.path.join(mount, "device0", "dram_used")
        try:
            wait_for(lambda: (read_text(path) or "0\n") != "0\n",
                     lambda: f"{path} shows nothing; the daemon: {log_of(mount)}", server)
            yield path
        finally:
            end(model)
            for name in os.listdir(shm):
                os.unlink(os.path.join(shm, name))


def run_tool(command, directory, output=subprocess.DEVNULL):
    """Runs a tool of the system in a directory; it must have nothing to complain of."""
    try:
        done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output,
                              stderr=subprocess.PIPE, timeout=TOOL_SEC, check=False,
                              env=clean_environment() | {"LC_ALL": "C"})
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]}: not done within {TOOL_SEC} s") from error
    if done.returncode:
        raise Failed(f"{command[0]}: {done.stderr.decode(errors='replace').strip()[-200:]}")


@contextlib.contextmanager
def memory_copy(tree):
    """Yields a directory in memory that has a copy of the tree, under the same name."""
    if not os.access("/dev/shm", os.W_OK):
        raise Skipped("no access to /dev/shm")
    with tempfile.TemporaryDirectory(prefix="ttmem-bench-", dir="/dev/shm") as directory:
        copy = os.path.join(directory, os.path.basename(tree))
        try:
            run_tool(["cp", "-r", "--no-preserve=mode", tree, copy], directory)
        except Failed as error:
            if "No space left" in str(error):
                raise Skipped(str(error)) from error
            raise
        yield directory


def wake_ups(pid):
    """How often the threads of a process have been woken. One that ends takes its share along."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                open(f"/proc/{pid}/task/{task}/status", encoding="ascii", errors="replace") as status:
            count += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M)[1])
    return count


def settle(pid, most=4):
    """Waits until a daemon does no more in three seconds than to keep its history; while it still
    follows files, it looks at them once a second too."""
    deadline = time.monotonic() + SETTLE_SEC
    woken = None
    while woken is None or not 0 <= woken <= most:
        if time.monotonic() > deadline:
            raise Failed(f"the daemon was still woken {woken} times in three seconds")
        before = wake_ups(pid)
        time.sleep(3)
        woken = wake_ups(pid) - before


def own_memory(pid):
    """Resident bytes of a process that are its own."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon:"))
