#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles and runs what the code blocks of Markdown documents say.

usage: tests/installed.sh BUILD_DIR python3 tests/blocks.py [--mount DIR] DOCUMENT...
       tests/blocks.py --self-test

The blocks of a document are taken in order, in one empty directory and one shell:

  ```c, ```cpp, ```python    a program. If its first line is a comment that begins with a file's
                             name, as in "/* pool.c: ...", it is written there, and a later console
                             block must use it; otherwise it is compiled and run here.
  ```console                 lines that begin with "$ " are typed, and must succeed. If lines
                             follow, they are what it prints: "..." stands for any lines, a number
                             after "pid " for any number.
  other blocks               are not looked at.

/run/ttmem stands for the mount DIR, and what is read there is waited for. Without --mount, a
document's console blocks end at the first that mentions it.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

COMPILERS = {"c": [os.environ.get("CC", "cc"), "-std=gnu11"],
             "cpp": [os.environ.get("CXX", "c++"), "-std=c++17"]}
SUFFIXES = {"c": ".c", "cpp": ".cpp", "python": ".py"}
NAMED = re.compile(r"(?:/\*|//|#) ([\w-]+\.(?:c|cpp|py))\b")
MOUNT = "/run/ttmem"
WAIT_SEC = 10 * float(os.environ.get("TTMEM_TEST_SLOWNESS", "1"))


class Wrong(Exception):
    """What a document says is not so."""


def blocks_of(text):
    """(line, language, lines) of each code block."""
    block, found = None, []
    for number, line in enumerate(text.splitlines(), 1):
        if block is None and line.startswith("```"):
            block = (number, line[3:].strip(), [])
        elif block is not None and line == "```":
            found.append(block)
            block = None
        elif block is not None:
            block[2].append(line)
    if block:
        raise Wrong(f"{block[0]}: the block does not end")
    return found


def commands_of(lines):
    """(command, [line that it prints]) of a console block."""
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and found[-1][0].endswith("\\"):
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        elif found:
            found[-1][1].append(line)
        else:
            raise Wrong(f"{line!r} comes before a command")
    return found


def is_printed(expected, printed):
    """Whether lines are as a document has them."""
    pattern = "".join("(?:.*\n)*?" if line == "..." else
                      re.sub(r"pid\\ \d+", r"pid\\ \\d+", re.escape(line)) + "\n"
                      for line in expected)
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


class Shell:
    """Types commands. Background jobs end with it."""

    def __init__(self, directory):
        self.process = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, cwd=directory, text=True,
                                        start_new_session=True)

    def type(self, command):
        """Returns the status and the lines."""
        self.process.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\n\\001%d\\n' $?\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith("\001"):
                break
            lines.append(line.rstrip("\n"))
        else:
            raise Wrong(f"{command}: the shell has ended: {lines}")
        while lines and not lines[-1]:
            lines.pop()
        return int(line[1:]), lines

    def end(self):
        self.type("kill $(jobs -p) 2>/dev/null; wait")
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Document:
    def __init__(self, path, directory, mount):
        self.path, self.directory, self.mount = path, directory, mount
        self.unused, self.ran, self.is_cut = {}, 0, False
        self.shell = Shell(directory)

    def run(self):
        with open(self.path, encoding="utf-8") as file:
            blocks = blocks_of(file.read())
        for number, language, lines in blocks:
            try:
                if language in SUFFIXES:
                    self.program(language, lines)
                elif language == "console":
                    self.console(lines)
            except Wrong as error:
                raise Wrong(f"{self.path}:{number}: {error}") from None
        if self.unused and not self.is_cut:
            raise Wrong(f"{self.path}: nothing uses {', '.join(self.unused)}")

    def program(self, language, lines):
        named = NAMED.match(lines[0]) if lines else None
        name = named[1] if named else f"unnamed{SUFFIXES[language]}"
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        if named:
            self.unused[name] = True
            return
        if language in COMPILERS:
            flags = "-Wall -Wextra -Werror $(pkg-config --cflags --libs ttmem)"
            self.succeed(f"{' '.join(COMPILERS[language])} -o unnamed {name} {flags}")
            self.succeed("./unnamed")
        else:
            self.succeed(f"python3 {name}")

    def console(self, lines):
        commands = commands_of(lines)
        if not self.mount and any(MOUNT in command for command, _ in commands):
            self.is_cut = True
        if self.is_cut:
            return
        for command, expected in commands:
            self.unused = {name: True for name in self.unused if name not in command}
            self.succeed(command, expected)

    def succeed(self, command, expected=()):
        typed = command.replace(MOUNT, self.mount) if self.mount else command
        deadline = time.monotonic() + (WAIT_SEC if MOUNT in command else 0)
        self.ran += 1
        while True:
            status, printed = self.shell.type(typed)
            if status == 0 and (not expected or is_printed(expected, printed)):
                return
            if time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        told = "\n".join(["", *expected, "--- but it ended with %d and printed" % status, *printed])
        raise Wrong(f"$ {command}{told}")


def run(path, mount=None):
    """Returns how many commands ran."""
    with tempfile.TemporaryDirectory() as directory:
        document = Document(path, directory, mount)
        try:
            document.run()
        finally:
            document.shell.end()
    return document.ran


def self_test():
    """Documents that are right, and some that are not."""
    right = ("```python\n# a.py: says it\nprint('pid 12')\n```\n```console\n$ python3 a.py\npid 7\n"
             "$ seq 9\n1\n...\n9\n$ sleep 1000 &\n$ true\n```\n```\nno code\n```\n"
             "```python\nprint(1)\n```\n")
    wrong = {"other output": ("pid 7", "pid x"), "a line too many": ("...\n9", "9"),
             "an unused program": ("$ python3 a.py\npid 7\n", ""), "a failure": ("true", "false"),
             "a program that fails": ("print(1)", "print(x)"), "no end": ("print(1)\n```", "")}
    failed = []
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "document.md")

        def says(text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            try:
                return run(path)
            except Wrong as error:
                return str(error)
        if says(right) != 5:
            failed.append(f"self-test: a good document: {says(right)}")
        for what, (old, new) in wrong.items():
            if isinstance(says(right.replace(old, new)), int):
                failed.append(f"self-test: {what} was not found")
    return failed


def main():
    arguments, mount = sys.argv[1:], None
    if arguments == ["--self-test"]:
        faults = self_test()
        print(*faults, sep="\n", end="\n" if faults else "")
        return 1 if faults else 0
    if arguments[:1] == ["--mount"]:
        mount, arguments = arguments[1], arguments[2:]
    try:
        for path in arguments:
            if not run(path, mount):
                raise Wrong(f"{path}: there is nothing to run")
    except Wrong as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
