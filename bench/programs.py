# SPDX-License-Identifier: Apache-2.0
"""The programs of one round: what is run, and how its figures come back."""

import json
import os
import subprocess
import tempfile
import time
from concurrent import futures
from statistics import mean

from mounts import (Failed, Skipped, busy as others, clean_environment, own_memory, pinned, run_tool,
                    servers_of, wake_ups)

EXIT_SKIPPED = 77  # bench/measure.h
TIMEOUT_SEC = 120

LIVE = (1_000, 100_000, 1_000_000)
# Options of bench/alloccost.c, and the numbers of live buffers worth the time.
VARIANTS = {
    "same": ([], LIVE),
    "anyhow": (["-r"], LIVE),
    "backwards": (["-b", "-s", "8"], LIVE[1:]),
    "past": ([], (2 * LIVE[-1],)),
    "moving": (["-m"], LIVE),
    "tagged": (["-g", "weights"], LIVE[:1]),
    "handles": (["-H"], LIVE),
    # So many for each of the two.
    "ranges": (["-t", "2"], LIVE),
    "interleaved": (["-t", "2", "-i"], LIVE),
}
PROCESSES = (1, 100, 1000)
FOUND = 200  # processes that a daemon finds when it starts
WIDE = (8, 100)  # devices, and processes that each hold memory of all of them
DOCUMENTS = ("snapshot", "summary")
WATCHED = 200  # processes whose files change all the time
CHANGES = 100  # one at a time, in a round
IDLE_CLIENTS = 100
# How much history the daemons keep that are to do nothing.
IDLE = {"idle": [], "idle, no history": ["--history=0"]}

# Something that is there on every kernel comes last.
SYSFS = ("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/uevent_seqnum")
PROCFS = ("/proc/sys/kernel/ostype", "/proc/loadavg")


def run_json(command, environment):
    """Runs one measurement to its end and returns what it prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SEC,
                              env=environment, check=False)
    except OSError as error:
        raise Failed(str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"no answer within {TIMEOUT_SEC} s") from error
    complaint = done.stderr.strip()[-500:]
    if done.returncode == EXIT_SKIPPED:
        raise Skipped(complaint)
    if done.returncode:
        raise Failed(complaint or f"ended with {done.returncode}")
    return json.loads(done.stdout)


def tracking(build, directory, quick):
    """{name: function} of what measures the client library. No daemon has a part in it."""
    slices = "12" if quick else "40"
    programs = os.path.join(build, "bench")
    on = clean_environment() | {"TTMEM_SOCKET": os.path.join(directory, "nobody.sock")}
    off = clean_environment() | {"TTMEM": "0"}
    # On one CPU each message is a switch; that is the scheduler's business, not ours.
    pinned = ["-p"] if len(os.sched_getaffinity(0)) > 1 else []

    def program(environment, name, *options):
        command = [os.path.join(programs, name), "-s", slices, *options]
        return lambda: run_json(command, environment)

    def pair(options, live):
        if "-t" not in options:
            return program(on, "alloccost", "-l", str(live), *options)
        # All of them in the ledger.
        records = {"TTMEM_RECORDS": str(max(2 * live, LIVE[-1]))}
        together = program(on | records, "alloccost", "-l", str(2 * live), *options)
        alone = program(on | records, "alloccost", "-l", str(live))

        def apart():
            """Two processes at once: what the machine takes for using two CPUs."""
            with futures.ThreadPoolExecutor() as pool:
                return mean(pool.map(on_cpu, sorted(os.sched_getaffinity(0))[:2]))

        def on_cpu(cpu):
            command = ["taskset", "-c", str(cpu), os.path.join(programs, "alloccost")]
            return run_json([*command, "-s", slices, "-l", str(live)], on | records)["pair_ns"]

        def compare():
            """What one pays alone, just before and after: a machine has its moods."""
            before, figures, after = alone(), together(), alone()
            return figures | {"alone_ns": mean((before["pair_ns"], after["pair_ns"])),
                              "apart_ns": apart()}
        return compare

    measurements = {f"{variant} {live}": pair(options, live)
                    for variant, (options, counts) in VARIANTS.items() for live in counts}
    for live in LIVE[1:]:
        measurements[f"cold {live}"] = program(off, "coldread", str(live))
    measurements["socket"] = program(off, "socketcost", *pinned)
    measurements["off"] = program(off, "offcost")
    return measurements


def traffic(build, server, socket, quick):
    """{name: function} of what sends the older protocol's events, to us and to a process that throws
    them away."""
    program = [os.path.join(build, "bench", "alloctraffic"), "-e", "100000" if quick else "500000"]

    def to_us():
        figures = run_json([*program, socket], clean_environment())
        return figures | {"memory_bytes": own_memory(server.pid)}

    return {"traffic": to_us, "drain": lambda: run_json(program, clean_environment())}


def watching(build, mount, socket, quick):
    """{name: function} of what watches files that change."""
    programs = os.path.join(build, "bench")
    environment = clean_environment() | {"TTMEM_SOCKET": socket}
    latency = [os.path.join(programs, "eventlatency"), "-n", str(CHANGES // 2 if quick else CHANGES),
               os.path.join(mount, "device0", "dram_used")]
    rate = [os.path.join(programs, "eventrate"), "-n", str(WATCHED),
            "-s", "1000" if quick else "3000", mount]
    return {"latency": lambda: run_json(latency, environment),
            "rate": lambda: run_json(rate, environment)}


def idling(servers, quick):
    """{name: function} of what counts how often the daemons {name: process} are woken for nothing:
    all at once, because it takes its time. They must have settled, and nobody may touch them."""
    seconds = 3 if quick else 10

    def count():
        pids = {name: server.pid for name, server in servers.items()}
        before = {name: wake_ups(pid) for name, pid in pids.items()}
        time.sleep(seconds)
        return {name: {"wake_ups": wake_ups(pid) - before[name], "seconds": seconds}
                for name, pid in pids.items()}

    return {"idling": count}


def seconds_of(command, directory):
    """A tool's wall time. Its output goes to a file: grep stops early when nobody sees it."""
    with tempfile.TemporaryFile() as output:
        begun = time.monotonic()
        run_tool(command, directory, output)
        return time.monotonic() - begun


def walk(directory):
    """What tools take that go through all processes."""
    return {"ls": seconds_of(["ls", "pids"], directory),
            "grep": seconds_of(["grep", "-r", ".", "pids"], directory)}


def first_readable(candidates):
    return next((path for path in candidates if os.access(path, os.R_OK)), None)


def kernel_files():
    """{name: path} of the kernel's own files to compare with."""
    found = {"sysfs": first_readable(SYSFS), "procfs": first_readable(PROCFS)}
    return {name: path for name, path in found.items() if path}


def reading(build, paths, quick):
    """{name: function} of what reads the files {name: path}, which take turns."""
    program = os.path.join(build, "bench", "readcost")

    def read(names, *options, cpu=None):
        present = [name for name in names if name in paths]
        begin = ["taskset", "-c", str(cpu)] if cpu is not None else []
        figures = run_json([*begin, program, *options, *(paths[name] for name in present)],
                           clean_environment())
        return dict(zip(present, figures))

    pair = [name for name in ("ttmemd 1", "minimal", "awake") if name in paths]

    def apart():
        """As the kernel does where there are more CPUs: the servers on another than the reader."""
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise Skipped("needs two CPUs")
        with pinned(servers_of(paths[name] for name in pair), cpus[1]):
            return read(pair, *busy, cpu=cpus[0])

    def crowded():
        with others(len(os.sched_getaffinity(0))):
            return read(pair, *busy)

    # Short slices, many of them: the files are compared with each other, not with yesterday.
    busy = ["-s", "20" if quick else "60", "-r", "100", "-w", "30"]
    rested = ["-s", "4" if quick else "10", "-r", "20", "-w", "0", "-p", "3000"]
    return {
        "busy": lambda: read([name for name in paths if name not in DOCUMENTS], *busy),
        "apart": apart,
        "crowded": crowded,
        "documents": lambda: read(DOCUMENTS, "-s", "4", "-r", "15", "-w", "3", "-b", "131072"),
        "rested": lambda: read(["ttmemd 1", "minimal", "sysfs"], *rested),
    }
