#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of client/tt-metal/: run.py [--build build] [PATTERN...]

A pattern is a part of "file.Class.test"; without one everything runs. Needs root for the mounts.
"""
import argparse
import faulthandler
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "mount")]
sys.dont_write_bytecode = True

import harness  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="where ttmemd and libttmem are")
    parser.add_argument("--limit", type=float, default=900, help="seconds for the whole run")
    parser.add_argument("pattern", nargs="*")
    arguments = parser.parse_args()
    harness.BUILD = os.path.abspath(arguments.build)
    faulthandler.dump_traceback_later(arguments.limit * harness.CALM, exit=True)
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{pattern}*" for pattern in arguments.pattern] or None
    suite = loader.discover(HERE, pattern="test_*.py")
    try:
        return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1
    finally:
        harness.clean_up()


if __name__ == "__main__":
    sys.exit(main())
