#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the Python package promises, read back from the library itself.

usage: python3 tests/bindings/python_test.py BUILD_DIR [TEST...]      from the project's root
"""
import ctypes
import gc
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

BUILD = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build")
PACKAGE = os.path.abspath("client/python")
LIBRARY = os.path.join(BUILD, "libttmem.so.0")
for name in [n for n in os.environ if n.startswith(("TTMEM", "TT_ALLOC"))]:
    del os.environ[name]
os.environ |= {"TTMEM_LIBRARY": LIBRARY, "TTMEM_SOCKET": "/nonexistent", "PYTHONPATH": PACKAGE,
               "PYTHONDONTWRITEBYTECODE": "1"}
sys.path.insert(0, PACKAGE)
sys.dont_write_bytecode = True

import ttmem  # noqa: E402
from ttmem import Kind  # noqa: E402


def python(code, **env):
    """Runs a program of its own. Returns the CompletedProcess."""
    return subprocess.run([sys.executable, "-c", "import ttmem\n" + code], capture_output=True,
                          text=True, check=False, env={**os.environ, **env}, timeout=60)


def said(code, **env):
    result = python(code, **env)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def live(device, kind=Kind.DRAM):
    return ttmem.totals(device, kind).live_bytes


def live_of_tag(tag):
    return sum(row.live_bytes for row in ttmem.tags() if row.tag == tag)


class InOneProcess(unittest.TestCase):
    """Each test leaves nothing live behind."""

    @classmethod
    def setUpClass(cls):
        ttmem.start()

    def setUp(self):
        self.errors = ttmem.errors()

    def tearDown(self):
        self.assertEqual(ttmem.tags(), [])
        self.assertEqual(ttmem.errors(), self.errors)


class Calls(InOneProcess):
    def test_sums_are_what_was_reported(self):
        ttmem.alloc(0, Kind.DRAM, 0x1000, 100)
        ttmem.alloc(0, Kind.DRAM, 1 << 63, 1 << 40)
        ttmem.alloc(1, Kind.DRAM, 0x1000, 7)
        self.assertEqual(ttmem.totals(0, Kind.DRAM), ttmem.Totals(
            (1 << 40) + 100, 2, (1 << 40) + 100, (1 << 40) + 100, 2, 0))
        self.assertEqual(ttmem.totals(ttmem.ALL_DEVICES, Kind.DRAM).live_buffers, 3)
        for device, address in ((0, 0x1000), (0, 1 << 63), (1, 0x1000)):
            ttmem.free(device, Kind.DRAM, address)
        self.assertEqual(ttmem.totals(0, Kind.DRAM).live_bytes, 0)

    def test_failures_count(self):
        before = ttmem.totals(2, Kind.L1).failures
        ttmem.alloc_failed(2, Kind.L1, 4096)
        ttmem.alloc_failed(2, Kind.L1, 4096, 64)
        self.assertEqual(ttmem.totals(2, Kind.L1).failures, before + 2)

    def test_what_cannot_be_recorded_is_counted(self):
        before = self.errors
        ttmem.free(3, Kind.CB, 12345)
        ttmem.free_handle(1 << 40)
        ttmem.alloc(64, Kind.CB, 1, 1)
        ttmem.alloc(3, Kind.CB, 1, -1)
        self.errors = ttmem.errors()
        self.assertEqual(self.errors.unknown_frees, before.unknown_frees + 2)
        self.assertEqual(self.errors.bad_arguments, before.bad_arguments + 2)

    def test_devices_are_declared(self):
        self.assertTrue(ttmem.declare_device(0, board="n300", dram_total=1 << 30, is_remote=True))
        for index in (-1, 64, 1 << 32):
            self.assertRaises(ValueError, ttmem.declare_device, index)
        self.assertRaises(ValueError, ttmem.totals, 64, Kind.DRAM)
        self.assertRaises(ValueError, ttmem.totals, 0, 7)

    def test_every_tag_is_listed_by_use(self):
        for i in range(500):
            ttmem.alloc(4, Kind.TRACE, i, 1000 + i, f"tag {i}")
        rows = ttmem.tags()
        self.assertEqual([(row.tag, row.live_bytes) for row in rows],
                         [(f"tag {i}", 1000 + i) for i in range(499, -1, -1)])
        self.assertEqual(rows[0], ttmem.TagTotals("tag 499", 4, Kind.TRACE, 1499, 1))
        for i in range(500):
            ttmem.free(4, Kind.TRACE, i)

    def test_a_table_goes_to_a_file_or_a_descriptor(self):
        ttmem.alloc(5, Kind.KERNEL, 1, 2048, "kernels")
        with tempfile.TemporaryFile("w+") as file:
            file.write("before\n")
            self.assertTrue(ttmem.report(file))
            self.assertTrue(ttmem.report(file.fileno()))
            file.seek(0)
            text = file.read()
        self.assertTrue(text.startswith("before\nttmem: device memory of pid"))
        self.assertEqual(len(re.findall(r"kernels +5 +kernel +2.00 KiB", text)), 2)
        with open(os.devnull, encoding="ascii") as read_only:
            self.assertRaises(OSError, ttmem.report, read_only)
        ttmem.free(5, Kind.KERNEL, 1)


class Tags(InOneProcess):
    def test_a_block_has_a_tag_and_an_exception_ends_it(self):
        with ttmem.tag("outer"):
            try:
                with ttmem.tag("inner"):
                    ttmem.alloc(0, Kind.L1, 1, 1)
                    ttmem.alloc(0, Kind.L1, 2, 20, "own")
                    ttmem.alloc(0, Kind.L1, 3, 300, "")
                    raise KeyError
            except KeyError:
                pass
            ttmem.alloc(0, Kind.L1, 4, 4000)
        ttmem.alloc(0, Kind.L1, 5, 50000)
        self.assertEqual({row.tag: row.live_bytes for row in ttmem.tags()},
                         {"outer": 4000, "inner": 1, "own": 20, "": 50300})
        for address in range(1, 6):
            ttmem.free(0, Kind.L1, address)

    def test_a_function_has_a_tag_however_it_calls_itself(self):
        @ttmem.tag("layers")
        def load(depth):
            """Loads."""
            ttmem.alloc(0, Kind.L1, depth, 1)
            return load(depth - 1) + 1 if depth else 0

        self.assertEqual((load(9), load.__doc__), (9, "Loads."))
        ttmem.alloc(0, Kind.L1, 100, 5)
        self.assertEqual((live_of_tag("layers"), live_of_tag("")), (10, 5))
        for address in (*range(10), 100):
            ttmem.free(0, Kind.L1, address)

    def test_what_gives_way_to_others_is_not_decorated(self):
        async def coroutine():
            pass

        def generator():
            yield

        async def both():
            yield

        for function in (coroutine, generator, both):
            self.assertRaises(TypeError, ttmem.tag("x"), function)

    def test_any_text_is_a_tag(self):
        for text in ("né", "\udc80", "x" * 100, "é" * 30, "a\0b"):
            with ttmem.tag(text), ttmem.Buffer(0, Kind.L1, 1, 8):
                row, = ttmem.tags()
                self.assertTrue(text.encode("utf-8", "replace").startswith(row.tag[:1].encode()))
                self.assertLessEqual(len(row.tag), 47)

    def test_push_and_pop_are_there_too(self):
        ttmem.tag_push("pushed")
        ttmem.tag_push(None)
        with ttmem.Buffer(0, Kind.L1, 1, 8):
            self.assertEqual(live_of_tag(""), 8)
        ttmem.tag_pop()
        with ttmem.Buffer(0, Kind.L1, 1, 8):
            self.assertEqual(live_of_tag("pushed"), 8)
        ttmem.tag_pop()
        ttmem.tag_pop()


class Handles(InOneProcess):
    def test_a_handle_is_not_found_by_address(self):
        one = ttmem.alloc_handle(0, Kind.DRAM, 1, 10)
        two = ttmem.alloc_handle(0, Kind.DRAM, 1, 200, "two")
        self.assertEqual((live(0), live_of_tag("two")), (210, 200))
        ttmem.free_handle(one)
        self.assertEqual(live(0), 200)
        ttmem.free_handle(two)
        ttmem.free_handle(0)

    def test_a_buffer_ends_once_however_it_ends(self):
        with ttmem.Buffer(0, Kind.DRAM, 1, 10) as buffer:
            self.assertEqual(live(0), 10)
            self.assertNotEqual(buffer.handle, 0)
        self.assertEqual((live(0), buffer.handle), (0, 0))
        buffer.close()
        buffer = ttmem.Buffer(0, Kind.DRAM, 1, 10)
        del buffer
        gc.collect()
        self.assertEqual(live(0), 0)
        with self.assertRaises(ctypes.ArgumentError):
            ttmem.Buffer("no device", Kind.DRAM, 1, 10)


class Threads(InOneProcess):
    def test_threads_have_their_tags_and_free_each_others_buffers(self):
        allocated, counted = threading.Barrier(5), threading.Barrier(5)
        shared = ttmem.tag("shared")
        buffers = []

        def work(number):
            with ttmem.tag(f"thread {number}"):
                for i in range(200):
                    ttmem.alloc(0, Kind.DRAM, number * 1000 + i, 10)
            with shared:
                buffers.append(ttmem.Buffer(0, Kind.DRAM, number, 1))
            allocated.wait(30)
            counted.wait(30)
            for i in range(200):
                ttmem.free(0, Kind.DRAM, (number + 1) % 4 * 1000 + i)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        allocated.wait(30)
        sums = {row.tag: row.live_bytes for row in ttmem.tags()}
        counted.wait(30)
        for thread in threads:
            thread.join()
        self.assertEqual(sums, {"shared": 4, **{f"thread {n}": 2000 for n in range(4)}})
        for buffer in buffers:
            buffer.close()


class Processes(unittest.TestCase):
    FORKED = """
import os, sys
ttmem.start()
kept = ttmem.Buffer(0, 0, 1, 10)
with ttmem.tag("both"):
    pid = os.fork()
    if not pid:
        kept.close()
        ttmem.alloc(0, 0, 5, 700)
        (row,) = ttmem.tags()
        print(row.tag, ttmem.totals(0, 0).live_bytes, ttmem.errors().unknown_frees, flush=True)
        os._exit(0)
os.waitpid(pid, 0)
print(ttmem.totals(0, 0).live_bytes)
"""

    def test_a_forked_child_has_its_own_sums_and_the_tag(self):
        self.assertEqual(said(self.FORKED).split("\n"), ["both 700 0", "10"])

    def test_nothing_happens_while_tracking_is_off(self):
        self.assertEqual(said("""
with ttmem.tag("x"), ttmem.Buffer(0, 0, 1, 10) as buffer:
    ttmem.alloc(0, 0, 1, 1); ttmem.free(0, 0, 2); ttmem.alloc_failed(0, 0, 1)
    print(buffer.handle, ttmem.alloc_handle(0, 0, 1, 1), ttmem.enabled(), ttmem.tags(),
          sum(ttmem.totals(0, 0)), sum(ttmem.errors()), ttmem.declare_device(0), ttmem.report(1),
          ttmem._library.gate.value)
"""), "0 0 False [] 0 0 False False 0")

    def test_the_environment_switches_it_on(self):
        for env in ({"TTMEM": "1"}, {"TTMEM_REPORT": "exit"}, {"TT_ALLOC_TRACKING_ENABLED": "1"}):
            self.assertEqual(said("ttmem.alloc(0, 0, 1, 9); print(ttmem.totals(0, 0)[0])", **env),
                             "9")
        self.assertEqual(said("print(ttmem.enabled())", TTMEM="1"), "True")

    def test_a_report_is_written_at_exit(self):
        result = python("ttmem.alloc(0, 0, 1, 4096, 'leaked')", TTMEM_REPORT="exit")
        self.assertRegex(result.stderr, r"never freed, by tag\n.*\n +leaked +0 +dram +4.00 KiB")

    def test_a_start_that_fails_says_why(self):
        code = ("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
                "try: ttmem.start()\nexcept OSError as error: print(error.errno)\n"
                "print(ttmem.enabled())")
        self.assertEqual(said(code), "24\nFalse")


class Library(unittest.TestCase):
    def test_without_one_the_import_says_what_to_do(self):
        for place in ("", "/nonexistent/libttmem.so.0"):
            result = python("", TTMEM_LIBRARY=place)
            self.assertRegex(result.stderr, r"ImportError: ttmem needs the library libttmem \(.*"
                             r"make install.*TTMEM_LIBRARY")
            self.assertIn(place or "libttmem.so.0", result.stderr)

    def test_another_library_is_refused(self):
        self.assertIn("ImportError: ttmem needs libttmem 0.2 or later: libc.so.6 has no ttmem__",
                      python("", TTMEM_LIBRARY="libc.so.6").stderr)

    def test_one_beside_the_package_is_found(self):
        with tempfile.TemporaryDirectory() as root:
            packages = f"{root}/lib/python3/dist-packages"
            shutil.copytree(f"{PACKAGE}/ttmem", f"{packages}/ttmem")
            shutil.copy(LIBRARY, f"{root}/lib/")
            self.assertRegex(said("print(ttmem.version())", TTMEM_LIBRARY="", PYTHONPATH=packages),
                             r"^\d+\.\d+\.\d+$")

    def test_one_that_is_loaded_already_is_used(self):
        """A program's own allocator and its Python code then have one ledger."""
        self.assertEqual(subprocess.run([sys.executable, "-c", f"""
import ctypes
own = ctypes.CDLL({LIBRARY!r}, mode=ctypes.RTLD_GLOBAL)
own.ttmem_start()
own.ttmem__alloc(0, 0, ctypes.c_uint64(1), ctypes.c_uint64(77), None)
import ttmem
print(ttmem.totals(0, 0).live_bytes)
"""], capture_output=True, text=True, check=True,
            env={**os.environ, "TTMEM_LIBRARY": ""}).stdout, "77\n")

    def test_the_numbers_are_those_of_the_header(self):
        with open("client/ttmem.h", encoding="ascii") as file:
            header = file.read()
        kinds = dict(re.findall(r"\bTTMEM_(\w+) = (\d+)", header))
        kinds.pop("KINDS")
        self.assertEqual({name: int(value) for name, value in kinds.items()},
                         {kind.name: kind.value for kind in Kind})
        for name, fields in (("totals", ttmem.Totals._fields), ("errors", ttmem.Errors._fields),
                             ("tag_totals", ttmem.TagTotals._fields)):
            body = re.search(r"struct ttmem_%s \{(.*?)\n\};" % name, header, re.S)[1]
            body = re.sub(r"/\*.*?\*/|\[.*?\]", "", body, flags=re.S)
            self.assertEqual(re.findall(r"(\w+)[;,]", body), list(fields))


class Wheel(unittest.TestCase):
    def test_pip_needs_nothing_but_the_source(self):
        """By the hooks that it calls, because pip itself may not be there."""
        sys.path.insert(0, PACKAGE)
        import backend
        with tempfile.TemporaryDirectory() as place:
            wheel = os.path.join(place, backend.build_wheel(place))
            self.assertEqual(said("print(ttmem.__file__)", PYTHONPATH=wheel),
                             f"{wheel}/ttmem/__init__.py")
            files = subprocess.run([sys.executable, "-m", "zipfile", "-l", wheel], check=True,
                                   capture_output=True, text=True).stdout
            for path in glob.glob(f"{PACKAGE}/ttmem/*.*"):
                self.assertIn(f"ttmem/{os.path.basename(path)} ", files)

    def test_its_types_are_strict(self):
        result = subprocess.run(["mypy", "--strict", "--python-version", "3.9", "--cache-dir",
                                 os.devnull, "ttmem", os.path.abspath("examples/python/tags.py")],
                                cwd=PACKAGE, capture_output=True, text=True,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == "__main__":
    unittest.main()
