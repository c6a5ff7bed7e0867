#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/host.md: what happens to the library in each situation of its host, and the tests of that.

usage: python3 tests/host_doc.py [--self-test]      from the project's root

Each row of a table ends with the tests that cover it, `life: a_grandchild_starts_clean`, where the
first word is a program tests/unit/<word>_unit.c, or as tests/mount/run.py names them,
`adoption.Adoption.a_crowd_is_found_at_once`; or with "none:" and why. Fails when one of them does
not exist, or when a row has none. Prints what is wrong and then exits with 1.
"""
import glob
import os
import re
import sys

DOC = "docs/host.md"


def load(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def unit_tests():
    """The tests that a program runs, not only has."""
    found = set()
    for path in glob.glob("tests/unit/*_unit.c"):
        name = os.path.basename(path)[:-len("_unit.c")]
        for claim in re.findall(r"^\t\t\w+\((\w+)\),$", load(path), re.M):
            found.add(f"{name}: {claim}")
    return found


def mount_tests():
    found = set()
    for path in glob.glob("tests/mount/test_*.py"):
        module, holder = os.path.basename(path)[len("test_"):-len(".py")], ""
        for line in load(path).splitlines():
            match = re.match(r"class (\w+)", line)
            holder = match[1] if match else holder
            match = re.match(r"    def test_(\w+)\(", line)
            if match:
                found.add(f"{module}.{holder}.{match[1]}")
    return found


def rows(text):
    """The cells of each row of each table, without its head."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        for line in block.splitlines()[2:]:
            yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def faults(text, known):
    found, count = [], 0
    for cells in rows(text):
        count += 1
        if len(cells) != 3 or not all(cells):
            found.append(f"a row is not of three cells: {cells[0]}")
            continue
        tests = re.findall(r"`([^`]+)`", cells[2])
        if not tests and not re.match(r"none: \w", cells[2]):
            found.append(f"no test and no reason: {cells[0]}")
        found += [f"there is no test {test}: {cells[0]}" for test in tests if test not in known]
    return found if count else ["there is no table"]


def self_test(text, known):
    failed = []
    row = next(line for line in text.splitlines() if re.search(r"`\w+: \w+`", line))
    test = re.search(r"`(\w+: \w+)`", row)[1]
    for what, broken in (("a test that is not there", text.replace(test, test + "_at_all")),
                         ("a row without a test", text + "\n|a|b|c|\n|-|-|-|\n| x | y | soon |\n"),
                         ("a row without an outcome", text + "\n|a|b|c|\n|-|-|-|\n| x |  | y |\n"),
                         ("no table", "nothing")):
        if len(faults(broken, known)) <= len(faults(text, known)):
            failed.append(f"self-test: {what} was not found")
    if faults(text, known - {test}) == faults(text, known):
        failed.append("self-test: a test that has gone was not missed")
    return failed


def main():
    if sys.argv[1:] not in ([], ["--self-test"]):
        print("usage: python3 tests/host_doc.py [--self-test]", file=sys.stderr)
        return 1
    check = self_test if sys.argv[1:] else faults
    found = check(load(DOC), unit_tests() | mount_tests())
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
