# SPDX-License-Identifier: Apache-2.0
"""What is compiled: ttmem installed below a directory, and the stand-in with programs of its.

    hooks       the script was run on the checkout, which was built by CMake
    both        the same, and the program has the processor
    processor   the checkout as it is, with clang++
    earlier     the same with what an earlier release has not, with g++
"""
import atexit
import concurrent.futures
import os
import shutil
import subprocess

import harness
from checkouts import HERE, ROOT, Tree

WARNINGS = ("-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror")
PROCESSOR = ("ttmem_tt_metal.cpp", "ttmem_tt_metal_processor.cpp")


def run(*argv, **more):
    """Not as a part of the make that runs the tests."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    env.update(more.pop("env", {}))
    done = subprocess.run([str(a) for a in argv], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=300 * harness.CALM, **more)
    if done.returncode:
        raise AssertionError(f"{argv} ended with {done.returncode}:\n{done.stdout.decode()}")
    return done.stdout.decode()


class Builds:
    def __init__(self):
        self.plain, self.changed = Tree("plain"), Tree("changed")
        self.prefix = os.path.join(self.plain.dir, "prefix")
        self.sources = f"{self.prefix}/share/ttmem/tt-metal"
        os.chmod(self.plain.dir, 0o755)

    def close(self):
        self.plain.close()
        self.changed.close()

    def make(self):
        run("make", "-s", f"BUILD={harness.BUILD}", f"PREFIX={self.prefix}", "DESTDIR=", "install",
            cwd=ROOT)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(self.make_changed),
                    pool.submit(self.make_plain, "processor", "clang++"),
                    pool.submit(self.make_plain, "earlier", "g++", "-DSTANDIN_EARLIER",
                                "-DSTANDIN_CORES_IN_NAMESPACE")]
            for job in jobs:
                job.result()

    def program(self, name):
        return f"{self.prefix}/{name}"

    def link(self, name, compiler, tree, library, *more):
        run(compiler, *WARNINGS, f"-I{tree.root}/tt_metal/api", f"-I{self.sources}",
            f"-I{self.prefix}/include", "-o", self.program(name), f"{HERE}/driver.cpp", *more,
            f"{library}/libtt_metal.so", f"-L{self.prefix}/lib", "-lttmem", "-pthread",
            f"-Wl,-rpath,{library}:{self.prefix}/lib")

    def make_changed(self):
        """As somebody would: with the script that is installed."""
        tree, build = self.changed, f"{self.changed.dir}/build"
        run(f"{self.sources}/integrate", tree.root)
        said = run("cmake", "-S", tree.root, "-B", build, env={"CXX": "g++"})
        assert f"ttmem: {self.prefix}/lib/libttmem.so\n" in said, said
        run("cmake", "--build", build)
        self.link("hooks", "g++", tree, f"{build}/lib")
        self.link("both", "g++", tree, f"{build}/lib", "-DWITH_PROCESSOR", *self.processor())

    def processor(self):
        return [f"{self.sources}/{name}" for name in PROCESSOR]

    def make_plain(self, name, compiler, *flags):
        tree, library = self.plain, f"{self.plain.dir}/{name}-lib"
        os.mkdir(library)
        run(compiler, *WARNINGS, *flags, "-fPIC", "-fvisibility=hidden", "-shared", "-o",
            f"{library}/libtt_metal.so", f"-I{tree.root}/tt_metal/api", f"-I{tree.root}/tt_metal",
            *(f"{tree.root}/tt_metal/{source}" for source in (
                "graph/graph_tracking.cpp", "impl/buffers/buffer.cpp", "impl/device/device.cpp")))
        self.link(name, compiler, tree, library, "-DWITH_PROCESSOR", *flags, *self.processor())


only = []


def made():
    """Compiles at the first call."""
    if not only:
        missing = [tool for tool in ("cmake", "g++", "clang++") if not shutil.which(tool)]
        assert not missing, f"needed: {missing}"
        only.append(Builds())
        atexit.register(only[0].close)
        only[0].make()
    return only[0]
