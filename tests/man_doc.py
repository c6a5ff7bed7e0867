#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when the manual pages in docs/man and client/ttmem.h differ.

usage: tests/installed.sh BUILD_DIR python3 tests/man_doc.py [--self-test]

 - Each public function and macro with arguments is named by a page, and found by its own name where
   pages are installed. Each other name, and each field, is mentioned on the page that shows it.
 - What a page's SYNOPSIS declares is what the header declares, by its text and by the compiler.
 - Each code in EXAMPLES is a program that compiles, runs and returns 0.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

HEADER = "client/ttmem.h"
PAGES = "docs/man/ttmem*.3"
PRIVATE = re.compile(r"ttmem__|TTMEM__|TTMEM_(API|UNLIKELY|H)$")
CC = [os.environ.get("CC", "cc"), "-std=gnu11", "-Wall", "-Wextra", "-Werror"]


def load(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def normal(text):
    """C with single spaces, none of them beside a parenthesis or a star's name."""
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?<=[(*]) | (?=[),;])", "", text)


class Header:
    """functions: name -> prototype; macros with arguments, other names, structs: name -> text."""

    def __init__(self, text):
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        self.functions, self.macros, self.names = {}, set(), set()
        for kind, name, arguments in re.findall(
                r"^(?:TTMEM_API|static inline) ([\w *]*?\*?)\b(ttmem_\w+)(\([^)]*\))", text, re.M):
            if not PRIVATE.match(name):
                self.functions[name] = normal(f"{kind.strip()} {name}{arguments}")
        for name, arguments in re.findall(r"^#define (TTMEM_\w+)(\(\w+\))?", text, re.M):
            if not PRIVATE.match(name):
                (self.macros if arguments else self.names).add(name)
        self.structs = {name: normal(body) for name, body in
                        re.findall(r"^struct (ttmem_\w+) (\{.*?^\});", text, re.M | re.S)}
        self.names |= set(re.findall(r"^\t(TTMEM_\w+) = ", text, re.M))
        self.names |= set(re.findall(r"^typedef .*\b(\w+);", text, re.M))


class Page:
    def __init__(self, path, text):
        self.path, self.text = path, text
        self.sections = dict(re.findall(r"^\.Sh (.*?)\n(.*?)(?=^\.Sh |\Z)", text, re.M | re.S))
        self.names = re.findall(r"^\.Nm (\w+)", self.sections.get("NAME", ""), re.M)
        synopsis = self.sections.get("SYNOPSIS", "")
        self.declared, kind = {}, ""
        calls = re.sub(r"^\.Fo (\w+)\n(.*?)^\.Fc$", self.on_one_line, synopsis, flags=re.M | re.S)
        for line in calls.splitlines():
            if line.startswith(".Ft "):
                kind = line[4:]
            elif line.startswith(".Fn "):
                words = re.findall(r'"[^"]*"|\S+', line[4:])
                arguments = ", ".join(word.strip('"') for word in words[1:])
                self.declared[words[0]] = normal(f"{kind} {words[0]}({arguments})")
                kind = ""
        self.shown = "\n".join(re.findall(r"^\.Bd -literal\n(.*?)^\.Ed", synopsis, re.M | re.S))
        self.structs = {name: normal(body) for name, body in
                        re.findall(r"^struct (\w+) (\{.*?^\});", self.shown, re.M | re.S)}
        self.examples = [plain(code) for code in re.findall(
            r"^\.Bd -literal.*?\n(.*?)^\.Ed", self.sections.get("EXAMPLES", ""), re.M | re.S)]

    @staticmethod
    def on_one_line(match):
        arguments = re.findall(r'^\.Fa ("[^"]*"|\S+)$', match[2], re.M)
        return f".Fn {match[1]} {' '.join(arguments)}"


def plain(text):
    return text.replace(r"\e", "\\").replace(r"\-", "-").replace(r"\&", "")


def compare(header, pages):
    """What differs by its text."""
    faults = []
    named = {name: page for page in pages for name in page.names}
    text = "".join(page.text for page in pages)
    for name in sorted(set(header.functions) | header.macros):
        page = named.get(name)
        if not page:
            faults.append(f"{name}: no page has it")
        elif page.declared.get(name) is None:
            faults.append(f"{page.path}: {name} is not in the SYNOPSIS")
        elif name in header.functions and page.declared[name] != header.functions[name]:
            faults.append(f"{page.path}: it says\n  {page.declared[name]}\nand the header\n"
                          f"  {header.functions[name]}")
    known = set(header.functions) | header.macros | {"ttmem"}
    faults += [f"{page.path}: {name} is not in the header" for page in pages
               for name in [*page.names, *page.declared] if name not in known]
    shown = {name: (page, body) for page in pages for name, body in page.structs.items()}
    for name, body in header.structs.items():
        page, says = shown.get(name, (None, None))
        if says != body:
            faults.append(f"struct {name}: a page says {says}, and the header {body}")
        for field in re.findall(r"(\w+)(?:\[.*?\])?;", body) if page else ():
            if not re.search(r"^\.(It )?Va .*\b%s\b" % field, page.text, re.M):
                faults.append(f"{page.path}: it does not say what {name}.{field} is")
    faults += [f"{name}: no page mentions it" for name in sorted(header.names)
               if not re.search(rf"\b{name}\b", text)]
    for page in pages:
        faults += [f"{page.path}: it has no {section}" for section in
                   ("NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO")
                   if section not in page.sections]
        if page.names != ["ttmem"]:
            faults += [f"{page.path}: no example calls {name}" for name in page.names
                       if not any(name + "(" in code for code in page.examples)]
    return faults


def compiles(code, *options):
    """Returns what the compiler says."""
    done = subprocess.run([*CC, "-x", "c", "-", "-x", "none", *options], input=code,
                          capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def check_synopsis(page):
    """Declares everything again: another type would be an error."""
    code = "#include <ttmem.h>\n" + re.sub(r"^struct .*?^\};", "", page.shown, flags=re.M | re.S)
    code += "".join(f"{text};\n" for name, text in page.declared.items() if name.islower())
    said = compiles(code, "-Wno-unused-function", "-Iclient", "-fsyntax-only")
    return [f"{page.path}: SYNOPSIS: {said}"] if said else []


def check_examples(page, flags):
    with tempfile.TemporaryDirectory() as directory:
        program = os.path.join(directory, "example")
        for code in page.examples:
            said = compiles(code, "-o", program, *flags)
            if said:
                return [f"{page.path}: EXAMPLES: {said}"]
            done = subprocess.run([program], capture_output=True, text=True, check=False,
                                  timeout=60)
            if done.returncode:
                return [f"{page.path}: an example ends with {done.returncode}: {done.stderr}"]
    return []


def check_installed(names):
    """By its own name each page is found."""
    faults = []
    for name in names:
        done = subprocess.run(["man", "-M", f"{os.environ['TTMEM_ROOT']}/share/man", "3", name],
                              capture_output=True, text=True, check=False)
        if done.returncode or name not in done.stdout:
            faults.append(f"man 3 {name}: {done.stderr.strip()}")
    return faults


def self_test():
    header, texts = load(HEADER), {path: load(path) for path in glob.glob(PAGES)}

    def faults(new_header=header, path="docs/man/ttmem_get_tags.3", old="", new=""):
        changed = {**texts, path: texts[path].replace(old, new) if old else texts[path]}
        pages = [Page(name, text) for name, text in changed.items()]
        found = compare(Header(new_header), pages)
        for page in pages:
            found += check_synopsis(page) if page.path == path else []
        return found

    failed = [f"self-test: {fault}" for fault in faults()]
    for what, old, new in (
            ("a new function", "TTMEM_API int ttmem_start(void);",
             "TTMEM_API int ttmem_start(void); \nTTMEM_API int ttmem_more(int x);"),
            ("a new argument", "ttmem_report(int fd)", "ttmem_report(int fd, int more)"),
            ("a new inline function", "static inline void ttmem_tag_pop(void)",
             "static inline int ttmem_more(int a)\n{\n}\n\nstatic inline void ttmem_tag_pop(void)"),
            ("a new macro", "#define TTMEM_ALL", "#define TTMEM_MORE 1\n#define TTMEM_ALL"),
            ("a new kind", "TTMEM_KERNEL = 6,", "TTMEM_KERNEL = 6,\n\tTTMEM_MORE = 7,"),
            ("a new field", "uint64_t peak_bytes;", "uint64_t peak_bytes;\n\tuint64_t more;")):
        if old not in header or not faults(header.replace(old, new)):
            failed.append(f"self-test: {what} was not found")
    for what, old, new in (("another type", "size_t *count", "int *count"),
                           ("a field less", "	uint64_t live_buffers;\n", ""),
                           ("a field without words", ".Va kind", ".Va sort"),
                           ("no examples", ".Sh EXAMPLES", ".Sh NOTES")):
        if not faults(old=old, new=new):
            failed.append(f"self-test: {what} was not found")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "ttmem"], check=True,
                           capture_output=True, text=True).stdout.split()
    text = texts["docs/man/ttmem_get_tags.3"]
    for old, new in (("size_t count", "int coun"), ("!= 2;", "!= 3;")):
        if not check_examples(Page("wrong.3", text.replace(old, new)), flags):
            failed.append(f"self-test: an example with {new} was not found")
    return failed


def main():
    if sys.argv[1:] == ["--self-test"]:
        faults = self_test()
    else:
        header, pages = Header(load(HEADER)), [Page(p, load(p)) for p in sorted(glob.glob(PAGES))]
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "ttmem"], check=True,
                               capture_output=True, text=True).stdout.split()
        faults = compare(header, pages)
        for page in pages:
            faults += check_synopsis(page) + check_examples(page, flags)
        faults += check_installed(sorted(set(header.functions) | header.macros | {"ttmem"}))
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
