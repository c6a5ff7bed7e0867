# SPDX-License-Identifier: Apache-2.0
"""Measures ttmem against its baselines: make bench.

Everything is measured in every round, in an order that changes from round to round, and each
figure is the median over the rounds: what else the machine does then hits all of them alike.
Ends with 0 whatever the figures are, and with 1 when something did not run that could have.
"""

import argparse
import contextlib
import os
import random
import signal
import sys

sys.dont_write_bytecode = True  # nothing is written but under build/ and /tmp

import mounts
import programs
import report
import rows

DESCRIPTORS_PER_CLIENT = 5
WALKS = 3


class Run:
    """The state of one run: what is up, what was measured, what went wrong."""

    def __init__(self, options, directory, stack):
        self.options, self.directory, self.stack = options, directory, stack
        self.servers = {}  # number of processes: (server, mount, socket)
        self.attached = {}  # name: path, of the files to read
        self.rounds = []
        self.problems = {}  # name: (kind, text), the first of each name

    @contextlib.contextmanager
    def noting(self, name):
        """One part that cannot be measured does not stop the others."""
        try:
            yield
        except mounts.Skipped as reason:
            self.problems.setdefault(name, ("skipped", str(reason)))
        except (mounts.Failed, OSError, ValueError) as reason:
            self.problems.setdefault(name, ("failed", str(reason)))

    def start_daemons(self):
        """All daemons are up before the first client is: a daemon that starts takes in every
        process it finds, the clients of another too."""
        servers = {}
        for count in programs.PROCESSES:
            with self.noting(f"ttmemd with {count} attached"):
                mounts.raise_descriptor_limit(count * DESCRIPTORS_PER_CLIENT + 100)
                servers[count] = self.stack.enter_context(
                    mounts.daemon(self.options.build, self.directory, f"ttmemd-{count}"))
        with self.noting("ttmemd with many devices"):
            servers["wide"] = self.stack.enter_context(
                mounts.daemon(self.options.build, self.directory, "ttmemd-wide"))
        return servers

    def start_wide(self, server):
        """{name: path} of long texts, where processes use all of several devices."""
        devices, count = programs.WIDE
        with self.noting("many devices"):
            self.stack.enter_context(
                mounts.clients(self.options.build, count, *server, devices=devices))
            return {"snapshot": os.path.join(server[1], "snapshot.json"),
                    "summary": os.path.join(server[1], "summary")}
        return {}

    def start_mounts(self):
        """{name: path} of the files to read."""
        paths = programs.kernel_files()
        build = self.options.build
        with self.noting("minimal FUSE file system"):
            paths["minimal"] = self.stack.enter_context(
                mounts.minimal_file_system(build, self.directory))
            paths["awake"] = self.stack.enter_context(
                mounts.minimal_file_system(build, self.directory, "-a"))
        servers = self.start_daemons()
        wide = servers.pop("wide", None)
        self.servers = servers
        # The many first: should they overflow a backlog, their daemon looks for everybody's
        # processes, and there are none yet but its own.
        for count, server in sorted(servers.items(), reverse=True):
            with self.noting(f"{count} attached"):
                paths[f"ttmemd {count}"] = self.stack.enter_context(
                    mounts.clients(build, count, *server))
        if wide:
            paths |= self.start_wide(wide)
        with self.noting("ttmemd, fed by TT-Metal"):
            paths["metal"] = self.stack.enter_context(
                mounts.metal_process(build, self.directory))
        return paths

    def start_traffic(self):
        """What measures the older server's protocol."""
        socket = os.path.join(self.directory, "alloc.sock")
        with self.noting("ttmemd, as allocation server"):
            server, _, _ = self.stack.enter_context(mounts.daemon(
                self.options.build, self.directory, "ttmemd-alloc", f"--alloc-server={socket}"))
            return programs.traffic(self.options.build, server, socket, self.options.quick)
        return {}

    def start_quiet_daemons(self):
        """For events and for idling. What others have in shared memory is none of theirs."""
        servers = {}
        shm = os.path.join(self.directory, "nobody.shm")
        os.mkdir(shm)
        for number, (name, options) in enumerate({"watched": [], **programs.IDLE}.items()):
            with self.noting(f"ttmemd, {name}"):
                mounts.raise_descriptor_limit(programs.WATCHED * DESCRIPTORS_PER_CLIENT + 100)
                servers[name] = self.stack.enter_context(
                    mounts.daemon(self.options.build, self.directory, f"ttmemd-quiet-{number}",
                                  "--shm", shm, *options))
        return servers

    def start_watched(self, server):
        """One process keeps the device there while those that change something come and go."""
        with self.noting("watched, with a process"):
            self.stack.enter_context(mounts.clients(self.options.build, 1, *server))
            return programs.watching(self.options.build, *server[1:], self.options.quick)
        return {}

    def start_idling(self, servers):
        attached = {}
        for name, server in servers.items():
            with self.noting(f"{name}, with {programs.IDLE_CLIENTS} attached"):
                self.stack.enter_context(
                    mounts.clients(self.options.build, programs.IDLE_CLIENTS, *server))
                mounts.settle(server[0].pid, 0 if programs.IDLE[name] else 4)
                attached[name] = server[0]
        return programs.idling(attached, self.options.quick) if attached else {}

    def measure_round(self, measurements):
        """Some measurements can heat up or push out what the next one uses: no fixed order."""
        names = list(measurements)
        random.Random(len(self.rounds)).shuffle(names)
        figures = {}
        for name in names:
            with self.noting(name):
                figures[name] = measurements[name]()
        self.rounds.append(figures)

    def measure_walks(self):
        """Last, and not in every round: they take long, and keep the daemon busy for a while."""
        count = programs.PROCESSES[-1]
        if f"ttmemd {count}" not in self.attached:
            return
        rounds = self.rounds[:1 if self.options.quick else WALKS]
        print("files of all processes", file=sys.stderr, flush=True)
        with self.noting("the files of all processes"):
            server, mount, _ = self.servers[count]
            walks = []
            for _ in rounds:
                mounts.settle(server.pid)
                walks.append(programs.walk(mount))
            with mounts.memory_copy(os.path.join(mount, "pids")) as copy:
                for figures, walked in zip(rounds, walks):
                    figures["walk"] = {"ttmemd": walked, "copy": programs.walk(copy)}

    def measure_finds(self):
        """First, when there are no processes yet but those that are to be found."""
        count = programs.FOUND
        with self.noting("processes from before the daemon"):
            mounts.raise_descriptor_limit(count * DESCRIPTORS_PER_CLIENT + 100)
            return [mounts.seconds_to_find(self.options.build, self.directory,
                                           f"ttmemd-late-{number}", count)
                    for number in range(self.options.rounds)]
        return []

    def measure(self):
        options = self.options
        finds = self.measure_finds()
        measurements = programs.tracking(options.build, self.directory, options.quick)
        measurements |= self.start_traffic()
        quiet = self.start_quiet_daemons()  # before there is any client, as all of them
        self.attached = self.start_mounts()
        measurements |= programs.reading(options.build, self.attached, options.quick)
        watched = quiet.pop("watched", None)
        measurements |= self.start_idling(quiet)
        if watched:
            measurements |= self.start_watched(watched)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            self.measure_round(measurements)
        for figures, find in zip(self.rounds, finds):
            figures["find"] = find
        self.measure_walks()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default="build", help="where the programs are")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--rounds", type=int, help="default 7, or 3 with --quick")
    parser.add_argument("--quick", action="store_true", help="a minute or two, rough figures")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    options.build = os.path.abspath(options.build)
    return options


def on_signals(handler):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def leave(number, _frame):
    """Whoever ends us, mounts and processes are gone first."""
    on_signals(signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    options = parse()
    on_signals(leave)
    host = report.machine()
    with mounts.scratch() as directory, contextlib.ExitStack() as stack:
        run = Run(options, directory, stack)
        try:
            run.measure()
        finally:
            on_signals(signal.SIG_IGN)  # cleaning up is short, and must be whole
    figures = rows.all_rows(run.rounds)
    report.print_text(figures, run.problems, host, options.rounds)
    if options.json:
        report.write_json(options.json, figures, run.problems, host, run.rounds)
    return 1 if any(kind == "failed" for kind, _ in run.problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
