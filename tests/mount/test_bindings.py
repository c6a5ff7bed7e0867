# SPDX-License-Identifier: Apache-2.0
"""What the guide, the C++ header and the Python package report, seen from outside."""
import os
import re
import subprocess
import sys

import harness
from harness import CALM, MountTest, Program, environment, eventually

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = """
import os, sys
import ttmem
from ttmem import Kind

held = []
for line in sys.stdin:
    words = line.split()
    if words[0] == "hold":
        with ttmem.tag(words[1]):
            held.append(ttmem.Buffer(int(words[2]), Kind[words[3]], len(held), int(words[4])))
    elif words[0] == "drop":
        held.clear()
    elif words[0] == "fork":
        child = os.fork()
        if not child:
            os.close(0)
            ttmem.alloc(0, Kind.L1, 1, 11, "child's")
            print(os.getpid(), flush=True)
            os.read(int(sys.argv[1]), 1)
            os._exit(0)
        continue
    print("ok", flush=True)
"""


class Bindings(MountTest):
    def setUp(self):
        super().setUp()
        if self.daemon.is_sanitized():
            self.skipTest("other people's programs are not linked with the sanitizers")

    def python(self, *arguments, **options):
        return Program(sys.executable, "-c", PYTHON, *arguments, TTMEM="1",
                       TTMEM_SOCKET=self.daemon.socket, PYTHONPATH=f"{ROOT}/client/python",
                       PYTHONDONTWRITEBYTECODE="1",
                       TTMEM_LIBRARY=f"{harness.BUILD}/libttmem.so.0", **options)

    def say(self, program, line):
        program.send(line)
        self.assertEqual(program.line(), "ok")

    def tags(self, pid):
        return [(row["tag"], row["device"], row["kind"], row["bytes"], row["buffers"])
                for row in self.daemon.table("pids", pid, "tags")]

    def test_a_python_program_is_there_with_its_tags(self):
        program = self.python()
        self.say(program, "hold weights 0 DRAM 1000000")
        self.say(program, "hold weights 0 DRAM 1000000")
        self.say(program, "hold kv_cache 3 L1 4096")
        self.assertEqual(self.tags(program.pid), [("weights", "0", "dram", "2000000", "2"),
                                                  ("kv_cache", "3", "l1", "4096", "1")])
        self.assertEqual(self.daemon.value("pids", program.pid, "dram"), 2000000)
        self.assertEqual(self.daemon.text("pids", program.pid, "source"), "native\n")
        self.say(program, "drop")
        self.assertEqual(self.tags(program.pid), [])
        self.assertEqual(program.close(), 0)
        self.wait_gone(program.pid)

    def test_a_forked_child_of_python_is_there_with_its_own(self):
        end, more = os.pipe()
        program = self.python(str(end), pass_fds=(end,))
        os.close(end)
        self.say(program, "hold weights 0 DRAM 1000000")
        program.send("fork")
        child = int(program.line())
        self.assertEqual(self.tags(child), [("child's", "0", "l1", "11", "1")])
        self.assertEqual(self.tags(program.pid), [("weights", "0", "dram", "1000000", "1")])
        os.close(more)
        self.wait_gone(child)
        self.assertEqual(program.close(), 0)

    def test_the_guide_is_true(self):
        result = subprocess.run(
            ["tests/installed.sh", harness.BUILD, sys.executable, "tests/blocks.py", "--mount",
             self.daemon.mount, "docs/instrument.md"], cwd=ROOT, capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL, timeout=35 * CALM,
            env=environment(TTMEM_SOCKET=self.daemon.socket))
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
        # The program that ran before the last block has ended, and was seen to.
        rows = eventually(lambda: self.daemon.table("exited"), "the end of the guide's program")
        self.assertTrue(any(re.match(r"pool$", row["comm"]) for row in rows), rows)
