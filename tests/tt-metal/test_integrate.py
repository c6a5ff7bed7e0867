# SPDX-License-Identifier: Apache-2.0
"""The script that puts six lines into a checkout. Nothing is compiled here."""
import os
import re
import shutil
import subprocess
import sys
import unittest

from checkouts import BUFFER, BUILD, ROOT, SCRIPT, SOURCES, Tree

ALLOCATE = "\t\taddress_ = allocator_->allocate_buffer(this); /* what comes back"
FREE = "\t\t\tallocator_->deallocate_buffer(this);\n"
OPENING = "void Buffer::allocate_impl() {\n"


def crlf(content):
    return content.replace(b"\n", b"\r\n")


class OnATree(unittest.TestCase):
    def setUp(self):
        self.tree = Tree()
        self.addCleanup(self.tree.close)

    def succeeds(self, *options, **more):
        done = self.tree.integrate(*options, **more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode() + done.stderr.decode()

    def refuses(self, *words, options=(), **more):
        """It says why, with all these words in one line, and changes nothing."""
        before = self.tree.state()
        done = self.tree.integrate(*options, **more)
        self.assertEqual(done.returncode, 1, done)
        reason, end = done.stderr.decode().splitlines()
        for word in words:
            self.assertIn(word, reason)
        self.assertEqual(end, "Nothing was changed.")
        self.assertEqual(self.tree.state(), before)

    def comes_and_goes(self):
        """Applied, applied again, and removed. Returns what was there in between."""
        before = self.tree.state()
        self.succeeds()
        between = self.tree.state()
        self.assertIn("Nothing to do", self.succeeds())
        self.assertEqual(self.tree.state(), between)
        self.assertEqual(sorted(path for path in between if between[path] != before[path]),
                         sorted(map(self.tree.path, (BUFFER, BUILD))))
        self.succeeds("--remove")
        self.assertEqual(self.tree.state(), before)
        return between


class Integration(OnATree):
    def test_six_lines_come_and_go(self):
        before = self.tree.state()
        between = self.comes_and_goes()
        added = 0
        for path, (content, *_) in between.items():
            lines, old = content.split(b"\n"), before[path][0].split(b"\n")
            ours = [line for line in lines if re.search(rb"(//|#) ttmem$", line)]
            self.assertEqual([line for line in lines if line not in ours], old)
            added += len(ours)
        self.assertEqual(added, 6)

    def test_the_lines_stand_around_the_calls(self):
        self.succeeds()
        text = self.tree.read(BUFFER).decode()
        self.assertRegex(text, r'context\.hpp"\n#include "ttmem_tt_metal\.hpp"  // ttmem\n')
        self.assertRegex(text, r"\n\t\tttmem::metal::Allocation ttmem_allocation\(\*this\);  "
                               r"// ttmem\n\t\taddress_ = .*\n.*\*/\n"
                               r"\t\tttmem_allocation\.succeeded\(address_\);  // ttmem\n")
        self.assertRegex(text, r"\n\t\t\tttmem::metal::buffer_freed\(\*this\);  // ttmem\n" +
                         re.escape(FREE))
        self.assertRegex(self.tree.read(BUILD).decode(),
                         r'\n\)\ninclude\("/.*/ttmem\.cmake"\)  # ttmem\n'
                         r"ttmem_add_to\(impl\)  # ttmem\nadd_library\(Metalium")

    def test_an_include_of_some_builds_is_not_the_last(self):
        for some in ("#if defined(X)\n#include <x.hpp>\n#else\n# include <y.hpp>\n#endif\n",
                     "#ifdef X\n#ifndef Y\n#endif\n#include <x.hpp>\n#endif\n"):
            self.tree.edit(BUFFER, 'context.hpp"\n', 'context.hpp"\n' + some)
            self.succeeds()
            self.assertRegex(self.tree.read(BUFFER).decode(), r'context\.hpp"\n#include "ttmem')
            self.succeeds("--remove")

    def test_a_dry_run_shows_a_patch_and_changes_nothing(self):
        self.tree.write(BUILD, self.tree.read(BUILD).partition(b"\nadd_library(Metalium")[0])
        before = self.tree.state()
        patch = self.tree.integrate("--dry-run")
        self.assertEqual(patch.returncode, 0)
        self.assertEqual(self.tree.state(), before)
        subprocess.run(["patch", "-s", "-p1", "-d", self.tree.root], input=patch.stdout, check=True,
                       timeout=20)
        patched = self.tree.state()
        self.assertNotEqual(patched, before)
        self.assertIn("Nothing to do", self.succeeds())
        self.assertEqual(self.tree.state(), patched)
        back = self.tree.integrate("--dry-run", "--remove")
        self.assertEqual(self.tree.state(), patched)
        subprocess.run(["patch", "-s", "-p1", "-d", self.tree.root], input=back.stdout, check=True,
                       timeout=20)
        self.assertEqual(self.tree.state(), before)

    def test_a_dry_run_that_nobody_reads_ends_quietly(self):
        done = subprocess.run(f"'{SCRIPT}' --dry-run '{self.tree.root}' | true", shell=True,
                              capture_output=True, check=True, timeout=20)
        self.assertEqual(done.stderr, b"")

    def test_removing_what_is_not_there_does_nothing(self):
        before = self.tree.state()
        self.assertIn("Nothing to do", self.succeeds("--remove"))
        self.assertEqual(self.tree.state(), before)

    def test_what_is_half_there_is_completed(self):
        before = self.tree.state()
        self.succeeds()
        whole = self.tree.state()
        for name in (BUFFER, BUILD):
            self.tree.write(name, before[self.tree.path(name)][0])
            self.succeeds()
            self.assertEqual(self.tree.state(), whole)
        self.tree.edit(BUFFER, "\t\t\tttmem::metal::buffer_freed(*this);  // ttmem\n", "")
        self.succeeds()
        self.assertEqual(self.tree.state(), whole)

    def test_lines_that_moved_with_the_code_are_put_right(self):
        self.succeeds()
        self.tree.edit(BUFFER, "\t\tttmem_allocation.succeeded(address_);  // ttmem\n", "")
        self.tree.edit(BUFFER, OPENING, OPENING + "  ttmem_allocation.succeeded(x);  // ttmem\n")
        self.succeeds()
        self.assertNotIn(b"succeeded(x)", self.tree.read(BUFFER))
        self.assertIn(b"succeeded(address_)", self.tree.read(BUFFER))

    def test_other_changes_stay(self):
        self.tree.edit(BUFFER, OPENING, "/* mine */\n" + OPENING)
        self.succeeds()
        self.tree.edit(BUFFER, "// The allocator throws", "// Mine, later. The allocator throws")
        mine = self.tree.read(BUFFER)
        self.succeeds("--remove")
        self.assertEqual(self.tree.read(BUFFER), re.sub(rb".*// ttmem\n", b"", mine))

    def test_ends_of_lines_stay_as_they_are(self):
        for name in (BUFFER, BUILD):
            self.tree.write(name, crlf(self.tree.read(name)))
        between = self.comes_and_goes()
        for name in (BUFFER, BUILD):
            content = between[self.tree.path(name)][0]
            self.assertEqual(crlf(content.replace(b"\r\n", b"\n")), content)

    def test_bytes_that_are_no_text_stay_as_they_are(self):
        self.tree.edit(BUFFER, OPENING, "// \x0b\x0c\x85\u2028\n" + OPENING)
        self.tree.write(BUFFER, b"\xef\xbb\xbf// \xff\xfe\x00\n" + self.tree.read(BUFFER))
        self.comes_and_goes()

    def test_a_last_line_without_an_end_keeps_it_so(self):
        head = self.tree.read(BUILD).partition(b"add_library(Metalium")[0]
        for ending in (b"", b"  ", b" # the end"):
            for content in (head.rstrip() + ending, crlf(head).rstrip() + ending):
                with self.subTest(content[-10:]):
                    self.tree.write(BUILD, content)
                    between = self.comes_and_goes()[self.tree.path(BUILD)][0]
                    self.assertEqual(between[-7:], b"# ttmem")
                    self.assertIn(between, (between.replace(b"\r", b""),
                                            crlf(between.replace(b"\r", b""))))

    def test_mode_and_owner_stay(self):
        os.chmod(self.tree.path(BUFFER), 0o640)
        os.chmod(self.tree.path(BUILD), 0o755)
        if os.geteuid() == 0:
            os.chown(self.tree.path(BUFFER), 1234, 2345)
        self.comes_and_goes()

    def test_links_stay_links(self):
        kept = self.tree.path("kept.cpp")
        os.rename(self.tree.path(BUFFER), kept)
        os.symlink(kept, self.tree.path(BUFFER))
        self.succeeds()
        self.assertTrue(os.path.islink(self.tree.path(BUFFER)))
        with open(kept, encoding="utf-8") as file:
            self.assertIn("// ttmem\n", file.read())

    def test_paths_with_blanks_and_dollars_work(self):
        sources = self.tree.path("a dir with $dollar;")
        shutil.copytree(os.path.dirname(SCRIPT), sources)
        before = self.tree.state()
        self.succeeds(script=os.path.join(sources, "integrate"))
        self.assertIn(rb"a dir with \$dollar\;/ttmem.cmake", self.tree.read(BUILD))
        self.succeeds("--remove")
        self.assertEqual(self.tree.state(), before)

    def test_help_says_what_it_does(self):
        text = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, check=True,
                              timeout=20).stdout.decode()
        for word in ("--dry-run", "--remove", BUFFER, BUILD, "exit status"):
            self.assertIn(word, text)


class OtherReleases(OnATree):
    """Code that has moved, or says the same in other words."""

    def test_free_in_deallocate_itself(self):
        self.tree.edit(BUFFER, "\tthis->deallocate_impl();\n}\n\nvoid Buffer::deallocate_impl()\n{\n",
                       "")
        self.comes_and_goes()

    def test_other_signs_of_the_same(self):
        self.tree.edit(BUFFER, OPENING, "auto\ntt::tt_metal::Buffer ::\n  allocate_impl (\n)"
                                        " /* { */ noexcept\n\n{ // {\n")
        self.tree.edit(BUFFER, ALLOCATE, "\t\tconst auto there =\n\t\t\tdetail::AllocateBuffer(\n"
                                         "\t\t\tthis, [] { return ';'; }()); /* what")
        between = self.comes_and_goes()[self.tree.path(BUFFER)][0].decode()
        self.assertRegex(between, r"\t\tttmem::metal::Allocation.*\n\t\tconst auto there =\n(.*\n)+?"
                                  r"\t\tttmem_allocation\.succeeded\(there\);  // ttmem\n")

    def test_the_same_name_elsewhere_is_no_matter(self):
        self.tree.edit(BUFFER, OPENING,
                       "void MeshBuffer::allocate_impl() { allocate_buffer(this); }\n"
                       "void other::Buffer::allocate_impl() { allocate_buffer(this); }\n"
                       "void Buffer::allocate_impl(int);\n"
                       "#define CALL Buffer::allocate_impl() { \\\n allocate_buffer(this); }\n" + OPENING)
        self.comes_and_goes()

    def test_sources_in_the_list_itself(self):
        self.tree.edit(BUILD, "include(sources.cmake)\n", "")
        self.tree.edit(BUILD, '${IMPL_SRC} # all of "it" (see sources.cmake)',
                       "[==[a)]==] buffers/buffer.cpp device/device.cpp")
        os.unlink(self.tree.path(SOURCES))
        self.assertIn(b"ttmem_add_to(impl)", self.comes_and_goes()[self.tree.path(BUILD)][0])

    def test_a_target_by_another_name(self):
        self.tree.edit(BUILD, "    impl\n    OBJECT\n    ${IMPL_SRC}",
                       "    metal_impl\n    STATIC\n    EXCLUDE_FROM_ALL\n    ${IMPL_SRC}")
        self.assertIn(b"ttmem_add_to(metal_impl)", self.comes_and_goes()[self.tree.path(BUILD)][0])


class Refusals(OnATree):
    def test_missing_files(self):
        for name, word in ((BUFFER, BUFFER), (BUILD, BUILD),
                           ("tt_metal/api/tt-metalium/mesh_device.hpp", "mesh_device.hpp")):
            with self.subTest(name):
                kept = self.tree.read(name)
                os.unlink(self.tree.path(name))
                self.refuses(word)
                self.tree.write(name, kept)
        self.succeeds()

    def test_what_is_no_checkout(self):
        self.tree.root += "/tt_metal/api"
        self.refuses(BUFFER, "is", "a TT-Metal checkout?")
        self.refuses(BUFFER, options=["--remove"])

    def unfit(self, name, old, new, *words):
        with self.subTest(new):
            kept = self.tree.read(name)
            self.tree.edit(name, old, new)
            self.refuses(name, *words)
            self.tree.write(name, kept)

    def test_a_file_without_includes_for_all(self):
        text = self.tree.read(BUFFER).decode()
        self.tree.write(BUFFER, re.sub('#include ["<](tt-|impl).*', "", text).encode())
        self.refuses(BUFFER, "no #include outside of #if")

    def test_functions_that_are_missing_or_twice(self):
        self.unfit(BUFFER, OPENING, "void Buffer::allocate() {\n", "allocate_impl", "found 0")
        self.unfit(BUFFER, OPENING, "void Buffer::allocate_impl() {}\n" + OPENING,
                   "allocate_impl", "found 2")
        self.unfit(BUFFER, OPENING, "#if 1\n" + OPENING + "}\n#endif\n" + OPENING, "found 2")
        self.unfit(BUFFER, "void Buffer::deallocate() {", "void Buffer::release() {",
                   "deallocate", "found 0")
        self.unfit(BUFFER, "void Buffer::deallocate_impl()\n",
                   "void Buffer::deallocate_impl(int) {}\nvoid Buffer::deallocate_impl()\n",
                   "deallocate_impl", "found 2")

    def test_calls_that_are_missing_or_twice(self):
        call = "the call of allocate_buffer() in Buffer::allocate_impl()"
        self.unfit(BUFFER, ALLOCATE, ALLOCATE.replace("allocate_buffer", "get"), call, "found 0")
        self.unfit(BUFFER, ALLOCATE, ALLOCATE.replace(" /*", "\n" + ALLOCATE), call, "found 2")
        call = "the call of deallocate_buffer() in Buffer::deallocate() or deallocate_impl()"
        self.unfit(BUFFER, FREE, FREE.replace("deallocate_buffer", "put"), call, "found 0")
        self.unfit(BUFFER, FREE, FREE + FREE, call, "found 2")

    def test_calls_that_are_no_statements(self):
        self.unfit(BUFFER, ALLOCATE, "\t\tif (size_)\n" + ALLOCATE, "starts with 'if'")
        self.unfit(BUFFER, ALLOCATE, "\t\treturn allocator_->allocate_buffer(this); /*",
                   "starts with 'return'")
        self.unfit(BUFFER, ALLOCATE, ALLOCATE.replace("address_ =", "(void)"), "not assigned")
        self.unfit(BUFFER, ALLOCATE, ALLOCATE.replace("address_", "tracked(); address_"),
                   "shares its line")
        self.unfit(BUFFER, ALLOCATE, ALLOCATE.replace(" /*", " tracked(); /*"), "shares its line")
        self.unfit(BUFFER, "if (!hooked_allocation_) {\n" + FREE + "\t\t}",
                   "if (!hooked_allocation_)\n" + FREE, "starts with 'if'")
        self.unfit(BUFFER, FREE, "\t\t\tfree(allocator_->deallocate_buffer(this);\n", "brackets")

    def test_brackets_that_do_not_match(self):
        self.unfit(BUFFER, "\tis_allocated_ = true;\n\tGraph", "\t{\n\tGraph", "brackets")
        self.unfit(BUILD, "    ${IMPL_SRC} # all of \"it\" (see sources.cmake)\n)", "    ${IMPL_SRC}",
                   "brackets")

    def test_builds_that_are_not_understood(self):
        self.unfit(BUILD, "    ${IMPL_SRC} #", "    ${OTHER_SRC} #", "expected one target")
        self.unfit(BUILD, "add_library(Metalium::Metal::Impl ALIAS impl)",
                   "add_library(twice OBJECT ${IMPL_SRC})", "expected one target", "found 2")
        self.unfit(BUILD, "sources.cmake)\n)", "sources.cmake)\n) message(more)", "more on the line")
        self.tree.edit(SOURCES, "/buffers/buffer.cpp #", "/buffers/buffers.cpp #")
        self.refuses(BUILD, "expected one target", "found 0")

    def test_lines_of_somebody_elses(self):
        self.unfit(BUFFER, OPENING, "#include <ttmem.h>\n" + OPENING, ":54: ttmem is here")
        self.succeeds()
        self.unfit(BUFFER, "succeeded(address_);  // ttmem", "succeeded(address_); // ttmem",
                   "not one of ours")
        self.tree.edit(BUILD, "ttmem_add_to(impl)  # ttmem", "ttmem_add_to(impl)  # my ttmem")
        self.refuses(BUILD, "not one of ours", options=["--remove"])

    def test_files_that_may_not_be_written(self):
        os.chmod(self.tree.path(BUILD), 0o444)
        self.refuses(BUILD, "read-only")
        self.assertEqual(self.tree.integrate("--dry-run").returncode, 1)
        os.chmod(self.tree.path(BUILD), 0o644)
        self.succeeds()
        os.chmod(self.tree.path(BUFFER), 0o444)
        self.refuses(BUFFER, "read-only", options=["--remove"])

    @unittest.skipUnless(os.geteuid() == 0, "to become somebody else one must be root")
    def test_directories_that_may_not_be_written(self):
        os.chmod(self.tree.dir, 0o755)
        for folder, _, names in os.walk(self.tree.root):
            os.chown(folder, 65534, 65534)
            for name in names:
                os.chown(os.path.join(folder, name), 65534, 65534)
        shutil.copytree(os.path.dirname(SCRIPT), self.tree.path("ttmem"))
        script = self.tree.path("ttmem/integrate")
        os.chmod(os.path.dirname(self.tree.path(BUFFER)), 0o555)
        self.refuses(BUFFER, "its directory is read-only", script=script, user=65534)
        os.chmod(os.path.dirname(self.tree.path(BUFFER)), 0o755)
        self.succeeds(script=script, user=65534)

    def test_a_write_that_fails_takes_the_others_back(self):
        # The second file does not get its name.
        code = (f"import sys; sys.argv = ['integrate', {self.tree.root!r}]\n"
                "import importlib.machinery, importlib.util, os\n"
                f"loader = importlib.machinery.SourceFileLoader('integrate', {SCRIPT!r})\n"
                "spec = importlib.util.spec_from_loader('integrate', loader)\n"
                "module = importlib.util.module_from_spec(spec)\n"
                "loader.exec_module(module)\n"
                "whole, calls = os.replace, []\n"
                "def replace(*names):\n"
                "    calls.append(names)\n"
                "    if len(calls) == 2: raise OSError(28, 'No space left on device')\n"
                "    whole(*names)\n"
                "os.replace = replace\n"
                "code = module.main()\n"
                "assert len(calls) == 3, calls\n"
                "sys.exit(code)\n")
        before = self.tree.state()
        done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, check=False,
                              timeout=20)
        self.assertEqual(done.returncode, 1, done.stderr.decode())
        self.assertIn(b"No space left on device", done.stderr)
        self.assertEqual(self.tree.state(), before)


class TheScriptItself(unittest.TestCase):
    def test_leaves_nothing_beside_it(self):
        self.assertFalse(os.path.exists(os.path.join(ROOT, "client/tt-metal/__pycache__")))
