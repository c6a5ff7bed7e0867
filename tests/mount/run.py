#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests on real mounts: run.py [--build build] [PATTERN...]

A pattern is a part of "file.Class.test"; without one everything runs. Needs root: ordinary users
are tried, too, and their programs are started from here. Much of a test is waiting, so several run
at a time, each class in one process.
"""
import argparse
import collections
import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import harness  # noqa: E402


class Watchdog(threading.Thread):
    """Breaks up a test, or the whole run, that takes too long. It must be a thread: the main one
    may be waiting for a file of the mount, where no Python signal handler gets a turn."""

    def __init__(self, test_limit, run_limit):
        super().__init__(daemon=True)
        self.test_limit, self.run_end = test_limit, time.monotonic() + run_limit
        self.test_end = None

    def run(self):
        while True:
            time.sleep(0.2)
            now = time.monotonic()
            if self.test_end and now > self.test_end:
                self.test_end = None
                print("\n*** the test takes too long: its daemon is killed", file=sys.stderr)
                self.break_up()
            if now > self.run_end:
                print("\n*** the run takes too long: given up", file=sys.stderr)
                self.break_up()
                harness.clean_up()
                os._exit(3)

    @staticmethod
    def break_up():
        faulthandler.dump_traceback()
        for thing in harness.living[:]:
            if isinstance(thing, harness.Daemon):
                if thing.process and thing.process.poll() is None:
                    thing.process.kill()
                harness.force_unmount(thing.mount)


class Result(unittest.TextTestResult):
    """A line for each test: how it went, how long it took, which claim."""

    watchdog = None

    def startTest(self, test):
        unittest.TestResult.startTest(self, test)
        self.started = time.monotonic()
        self.watchdog.test_end = self.started + self.watchdog.test_limit

    def stopTest(self, test):
        self.watchdog.test_end = None
        unittest.TestResult.stopTest(self, test)

    def say(self, how, test, more=""):
        taken = time.monotonic() - self.started
        self.stream.writeln(f"{how:5} {taken:6.2f} s  {name_of(test)}{more}")
        self.stream.flush()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.say("ok", test)

    def addError(self, test, err):
        unittest.TestResult.addError(self, test, err)
        self.say("ERROR", test)

    def addFailure(self, test, err):
        unittest.TestResult.addFailure(self, test, err)
        self.say("FAIL", test)

    def addSkip(self, test, reason):
        unittest.TestResult.addSkip(self, test, reason)
        self.say("skip", test, f": {reason}")

    def addExpectedFailure(self, test, err):
        unittest.TestResult.addExpectedFailure(self, test, err)
        self.say("xfail", test)

    def addSubTest(self, test, subtest, err):
        unittest.TestResult.addSubTest(self, test, subtest, err)
        if err:
            self.say("FAIL", test, f" {subtest._subDescription()}")


def name_of(test):
    return test.id().replace("test_", "")


def all_tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from all_tests(test)
        else:
            yield test


def chosen(patterns):
    found = unittest.defaultTestLoader.discover(HERE, pattern="test_*.py")
    return unittest.TestSuite(t for t in all_tests(found)
                              if not patterns or any(p in t.id() or p in name_of(t)
                                                     for p in patterns))


def by_class(suite):
    """The tests of each class, in the order in which they were found."""
    groups = collections.OrderedDict()
    for test in suite:
        groups.setdefault(type(test), []).append(test)
    return list(groups.values())


def run_here(tests, limits, stream):
    """Runs tests in this process. Returns what unittest knows of them."""
    harness.libc.prctl(harness.PR_SET_CHILD_SUBREAPER, 1)
    if not Result.watchdog:
        Result.watchdog = Watchdog(*limits)
        Result.watchdog.start()
    result = Result(stream, True, 0)
    unittest.TestSuite(tests).run(result)
    return result


def work(groups, todo, report, limits, stream):
    """A worker: takes a class at a time until there is none, and tells of those that failed."""
    harness.libc.prctl(harness.PR_SET_PDEATHSIG, signal.SIGINT)
    done, failed = 0, []
    while number := os.read(todo, 1):
        result = run_here(groups[ord(number)], limits, stream)
        done += result.testsRun
        for how, things in (("FAIL", result.failures), ("ERROR", result.errors)):
            failed += [(how, str(test), text) for test, text in things]
    with os.fdopen(report, "wb") as to:
        pickle.dump((done, failed), to)


def worker(groups, todo, report, limits, stream):
    """Never returns."""
    status = 1
    try:
        work(groups, todo, report, limits, stream)
        status = 0
    except KeyboardInterrupt:
        status = 130
    finally:
        harness.clean_up()
        os._exit(status)


def run_all(suite, jobs, limits, stream):
    """Returns how many tests ran, those that failed, and how many workers came to grief."""
    groups = by_class(suite)
    todo, more = os.pipe()
    os.write(more, bytes(range(len(groups))))
    os.close(more)
    reports, workers = [], []
    for _ in range(min(jobs, len(groups))):
        result, report = os.pipe()
        workers.append(os.fork())
        if not workers[-1]:
            worker(groups, todo, report, limits, stream)
        os.close(report)
        reports.append(result)
    ran, failed, lost = 0, [], 0
    for result in reports:
        with os.fdopen(result, "rb") as told:
            told = told.read()
        if not told:
            lost += 1
            continue
        done, bad = pickle.loads(told)
        ran += done
        failed += bad
    for pid in workers:
        os.waitpid(pid, 0)
    return ran, failed, lost


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="where ttmemd and the peers are")
    parser.add_argument("--limit", type=float, default=600, help="seconds for the whole run")
    parser.add_argument("--test-limit", type=float, default=40, help="seconds for one test")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() + 1, help="classes at a time")
    parser.add_argument("--list", action="store_true", help="only name the tests")
    parser.add_argument("pattern", nargs="*")
    arguments = parser.parse_args()
    suite = chosen(arguments.pattern)
    if arguments.list:
        print(*(name_of(test) for test in suite), sep="\n")
        return 0
    if os.geteuid() != 0:
        print("the tests on mounts need root", file=sys.stderr)
        return 77
    harness.BUILD = os.path.abspath(arguments.build)
    if not os.path.exists(os.path.join(harness.BUILD, "ttmemd")):
        print(f"there is no ttmemd in {harness.BUILD}: build it first", file=sys.stderr)
        return 64
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    stream = unittest.runner._WritelnDecorator(sys.stderr)
    limits = arguments.test_limit * harness.CALM, arguments.limit * harness.CALM
    started = time.monotonic()
    try:
        ran, failed, lost = run_all(suite, arguments.jobs, limits, stream)
    except KeyboardInterrupt:
        return 130
    for how, test, text in failed:
        stream.writeln(f"{'=' * 70}\n{how}: {test}\n{'-' * 70}\n{text}")
    stream.writeln(f"{'-' * 70}\nRan {ran} tests in {time.monotonic() - started:.3f}s\n")
    if failed or lost:
        stream.writeln(f"FAILED ({len(failed)}; {lost} workers did not end)")
    else:
        stream.writeln("OK")
    return 1 if failed or lost else 0


if __name__ == "__main__":
    sys.exit(main())
