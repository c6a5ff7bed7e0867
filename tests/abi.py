#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when something that the last release has promised to programs is gone or has changed.

usage: python3 tests/abi.py BUILD_DIR [--release | --self-test]      from the project's root

docs/abi/VERSION lists it for each release: what libttmem.so exports and under which version, the
declarations, structs, enums and constants of ttmem.h, and the same of the ledger. That of the last
release is compared with what is there now. More may be there, with these rules:

  - a symbol that is new is in a version node that is new; every symbol that client/ttmem.map lists
    is exported, and no other;
  - a struct grows only at its end, and only if it has a field `size`, 32 bits, that says how long
    it is;
  - what is new in a ledger is where a field `reserved` was, and LEDGER_MINOR has gone up.

--release writes the list of the release that VERSION names. It is not changed after that.
"""
import os
import re
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True

from layout import CLIENT, INTERNAL, ToolError, compile_layout, compiler, run  # noqa: E402

LISTS = "docs/abi"
HEADERS = ("ttmem.h", "ledger.h")
MAY_GROW = ("ttmem.h constant TTMEM_KINDS", "ledger.h constant LEDGER_MINOR")
RESERVED = re.compile(r" field \w+\.reserved\d*$")


# --- what there is ------------------------------------------------------------------------------
# All of it as {what: how it is}, each pair a line of the list.

def interface(directory, library):
    """And what is wrong with it by itself."""
    found, faults = symbols(directory, library)
    for header in HEADERS:
        layout = compile_layout(directory, header, pointers=header == "ttmem.h")
        faults += layout.faults
        found.update((f"{header} {key}", value) for key, value in lines_of(layout).items())
    found.update((f"ttmem.h declaration {name}", text)
                 for name, text in declarations(directory).items())
    return found, faults


def lines_of(layout):
    lines = {f"constant {name}": str(value) for name, value in layout.constants.items()}
    for name, (size, values) in layout.enums.items():
        lines[f"enum {name}"] = f"{size} bytes"
        lines.update((f"constant {key}", str(value)) for key, value in values.items())
    for name, (size, fields) in layout.structs.items():
        lines[f"struct {name}"] = f"{size} bytes"
        for field, (offset, kind, width) in fields.items():
            lines[f"field {name}.{field}"] = f"at {offset}, {kind}, {width} bytes"
    return lines


def symbols(directory, library):
    """A symbol of data has a size that programs have copied."""
    found, faults = {}, []
    for line in run("readelf", "--wide", "--dyn-syms", library).splitlines():
        words = line.split()
        if len(words) < 8 or not words[0].rstrip(":").isdigit() or words[6] in ("UND", "ABS"):
            continue
        size, kind, (name, _, node) = words[2], words[3].lower(), words[7].partition("@")
        if not node:
            faults.append(f"symbol {name} is exported in no version node")
        node = node.lstrip("@") or "unversioned"
        found[f"symbol {name} {node}"] = kind if kind == "func" else f"{kind} {size}"
    listed = {f"symbol {name} {node}" for node, names in nodes(directory).items()
              for name in names}
    faults += [f"{one} is listed in ttmem.map and not exported" for one in listed - found.keys()]
    faults += [f"{one} is exported and not listed in ttmem.map" for one in found.keys() - listed]
    soname = re.search(r"\(SONAME\).*\[(.+)\]", run("readelf", "--wide", "-d", library))
    found["soname"] = soname[1] if soname else "none"
    return found, faults


def nodes(directory):
    """Of the map: {node: names}."""
    with open(os.path.join(directory, "ttmem.map"), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    found = {}
    for node, body in re.findall(r"(TTMEM_[\w.]+)\s*\{(.*?)\}", text, re.S):
        exported = re.search(r"global:(.*?)(?:local:|$)", body, re.S)
        found[node] = re.findall(r"[\w*]+", exported[1]) if exported else []
    return found


def declarations(directory):
    """Functions, data, typedefs and macros with arguments: {name: as it is declared}."""
    header = os.path.join(directory, "ttmem.h")
    text = run(*compiler(directory), "-E", "-P", header)
    inner = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"  # parentheses in three levels
    text = re.sub(rf"__attribute__\s*\({inner}\)", "", text)
    text, bodies = re.subn(r"\{[^{}]*\}", ";", text)
    while bodies:
        text, bodies = re.subn(r"\{[^{}]*\}", ";", text)
    if "{" in text or "}" in text:
        raise ValueError(f"{header}: braces that do not match, after its bodies were taken out")
    found = {}
    for part in text.split(";"):
        part = re.sub(r"\b(extern|static|inline)\b", "", part)
        part = re.sub(r"\s+", " ", part).strip()
        name = re.match(r"typedef .*?(\w+)$|(?:[\w ]|\* ?)+?(\w+)\s*\(.*\)$|\w+ (\w+)$", part)
        name = name and (name[1] or name[2] or name[3])
        if name and name.startswith("ttmem_") and not re.match(r"(enum|struct) \w+$", part):
            found[name] = f"{part};"
    macros = run(*compiler(directory), "-E", "-dM", header)
    for name, arguments in re.findall(r"^#define (TTMEM_\w+)\((.*?)\)", macros, re.M):
        if name not in INTERNAL and not name.startswith("TTMEM__"):
            found[name] = f"macro ({arguments})"
    return found


# --- the comparison -----------------------------------------------------------------------------

def compare(old, new, directory):
    """A line for each promise that is broken."""
    broken = []
    for what in sorted(old):
        if RESERVED.search(what) and what.startswith("ledger.h"):
            continue
        if what not in new:
            broken.append(f"{what}: gone; it was: {old[what]}")
        elif old[what] != new[what] and not may_change(what, old, new, directory):
            broken.append(f"{what}: {new[what]}; it was: {old[what]}")
    return broken + compare_news(old, new)


def may_change(what, old, new, directory):
    if what in MAY_GROW or is_growing_struct(what, old):
        return int(new[what].split()[0]) > int(old[what].split()[0])
    # The names of parameters may change; the compiler says whether the types have.
    if " declaration " in what and not what.split()[-1].startswith("TTMEM_"):
        return is_same_declaration(old[what], directory)
    return False


def is_growing_struct(what, old):
    """One whose field `size`, of 32 bits, says how much of it the other side has."""
    size = old.get(what.replace(" struct ", " field ") + ".size", "")
    return " struct " in what and size.endswith("u32, 4 bytes")


def is_same_declaration(text, directory):
    with tempfile.TemporaryDirectory() as scratch:
        source = os.path.join(scratch, "again.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(f'#include "ttmem.h"\n{text}\n')
        try:
            run(*compiler(directory), "-fsyntax-only", source)
        except ToolError:
            return False
    return True


def compare_news(old, new):
    broken = []
    released = {what.split()[2] for what in old if what.startswith("symbol ")}
    minor = "ledger.h constant LEDGER_MINOR"
    for what in sorted(new.keys() - old.keys()):
        if what.startswith("symbol ") and what.split()[2] in released:
            broken.append(f"{what}: new, in a node that has been released")
        if what.startswith("ledger.h ") and int(new[minor]) <= int(old[minor]):
            broken.append(f"{what}: new, and LEDGER_MINOR has not gone up")
    return broken


# --- the lists ----------------------------------------------------------------------------------

def version_key(version):
    return [int(number) for number in version.split(".")]


def releases():
    names = [name for name in os.listdir(LISTS) if re.fullmatch(r"\d+\.\d+\.\d+", name)]
    return sorted(names, key=version_key)


def read_list(version):
    with open(os.path.join(LISTS, version), encoding="utf-8") as file:
        pairs = (line.rstrip("\n").split(": ", 1) for line in file if not line.startswith("#"))
        return dict(pairs)


def write_list(version, found):
    with open(os.path.join(LISTS, version), "x", encoding="utf-8") as file:
        file.write(f"# What ttmem {version} promises to programs, by tests/abi.py --release.\n")
        file.writelines(f"{what}: {how}\n" for what, how in sorted(found.items()))


def check(directory, library):
    found, faults = interface(directory, library)
    known = releases()
    return found, faults + (compare(read_list(known[-1]), found, directory) if known else [])


def release(found):
    with open("VERSION", encoding="utf-8") as file:
        version = file.read().strip()
    known = releases()
    if known and version_key(version) <= version_key(known[-1]):
        return [f"{known[-1]} has been released already: VERSION says {version}"]
    write_list(version, found)
    print(f"{LISTS}/{version}: {len(found)} lines")
    return []


# --- does it find what it is for? ---------------------------------------------------------------

# What is done to the sources (file, old, new), and what must be said of it; None: nothing. A number
# in place of a text is a LEDGER_MINOR, counted from the last release's.
FUNCTION = "TTMEM_API int ttmem_start(void);"
ONE_RESERVED = ("ledger.h", "uint64_t reserved5[2];", "uint64_t more;\n\tuint64_t reserved5[1];")
HELLO = "uint32_t flags;\n\tuint32_t reserved;"
MINOR = r"(?<=define LEDGER_MINOR )\d+"
NODE = "local:\n\t*;\n};"
NEW_NODE = f"{NODE}\nTTMEM_9.9 {{\nglobal:\n"
VERSION = "\tttmem_version;\n"
DAMAGES = [
    ("a function that is gone", [("ttmem.h", FUNCTION, "")],
     "ttmem.h declaration ttmem_start: gone"),
    ("a result of another type", [("ttmem.h", FUNCTION, FUNCTION.replace("int", "long"))],
     "ttmem.h declaration ttmem_start: long"),
    ("one parameter more", [("ttmem.h", "enum ttmem_kind kind, uint64_t address,",
                             "enum ttmem_kind kind, uint32_t where, uint64_t address,")],
     "ttmem.h declaration ttmem_alloc: void"),
    ("data of another type", [("ttmem.h", "int ttmem__gate;", "long ttmem__gate;")],
     "ttmem.h declaration ttmem__gate: long"),
    ("a parameter of another name", [("ttmem.h", "struct ttmem_errors *errors)",
                                      "struct ttmem_errors *all)")], None),
    ("a new function, typedef and macro", [
        ("ttmem.h", FUNCTION, FUNCTION + "\ntypedef uint64_t ttmem_number;\n#define TTMEM_TWICE(x) "
         "(2 * (x))\nTTMEM_API int ttmem_more(ttmem_number number);")], None),
    ("a kind of another number", [("ttmem.h", "TTMEM_CB = 5,\n\tTTMEM_KERNEL = 6",
                                   "TTMEM_CB = 6,\n\tTTMEM_KERNEL = 5")],
     "ttmem.h constant TTMEM_CB: 6; it was: 5"),
    ("a kind more", [("ttmem.h", "TTMEM_KINDS = 7", "TTMEM_MORE = 7,\n\tTTMEM_KINDS = 8")], None),
    ("another limit", [("ttmem.h", "TTMEM_TAG_MAX     47", "TTMEM_TAG_MAX     31")],
     "ttmem.h constant TTMEM_TAG_MAX: 31"),
    ("an enum of another size", [("ttmem.h", "TTMEM_KINDS = 7\n};",
                                  "TTMEM_KINDS = 7\n} __attribute__((packed));")],
     "ttmem.h enum ttmem_kind: 1 bytes"),
    ("a struct that grows and has a size", [("ttmem.h", "const char *board;",
                                             "const char *board;\n\tuint64_t more;")], None),
    ("a field in the middle of it", [("ttmem.h", "const char *board;",
                                      "uint64_t more;\n\tconst char *board;")],
     "ttmem.h field ttmem_device.board: at 56"),
    ("a struct that shrinks", [("ttmem.h", "const char *board;", "")],
     "ttmem.h struct ttmem_device: 48 bytes"),
    ("a struct that grows and has none", [("ttmem.h", "uint64_t failures; ",
                                           "uint64_t failures;\n\tuint64_t more; ")],
     "ttmem.h struct ttmem_totals: 56 bytes"),
    ("a field of another type", [("ttmem.h", "uint64_t unknown_frees;", "int64_t unknown_frees;")],
     "ttmem.h field ttmem_errors.unknown_frees: at 0, i64"),
    ("a field of the ledger that has moved", [
        ("ledger.h", "uint32_t armed;\n\tuint32_t reserved2[15];",
         "uint32_t reserved2[15];\n\tuint32_t armed;")],
     "ledger.h field ledger_header.armed: at 252"),
    ("another major of the ledger", [("ledger.h", "LEDGER_MAJOR 1", "LEDGER_MAJOR 2")],
     "ledger.h constant LEDGER_MAJOR: 2"),
    ("a record of another size", [("ledger.h", "uint64_t earlier; ", "uint64_t earlier[2];")],
     "ledger.h struct ledger_record: 72 bytes"),
    ("a field of the ledger without a minor", [ONE_RESERVED, ("ledger.h", MINOR, 0)],
     "ledger.h field ledger_header.more: new, and LEDGER_MINOR has not gone up"),
    ("the same with one", [ONE_RESERVED, ("ledger.h", MINOR, 1)], None),
    ("a hello that grows", [("ledger.h", HELLO, HELLO + "\n\tuint64_t more;"),
                            ("ledger.h", MINOR, 1)], None),
    ("a symbol that is gone", [("ttmem.map", VERSION, "")],
     "symbol ttmem_version TTMEM_0.1: gone"),
    ("a symbol in another node", [("ttmem.map", VERSION, ""),
                                  ("ttmem.map", NODE, NEW_NODE + VERSION + "};")],
     "symbol ttmem_version TTMEM_0.1: gone"),
    ("a new symbol in an old node", [("ttmem.map", VERSION, VERSION + "\tttmem_more;\n")],
     "symbol ttmem_more TTMEM_0.1: new, in a node that has been released"),
    ("a new symbol in a new node", [("ttmem.map", NODE, NEW_NODE + "\tttmem_more;\n};")], None),
    ("a symbol in no node", [("ttmem.map", None, "")],
     "symbol ttmem_more is exported in no version node"),
    ("a symbol that is listed and hidden", [("ttmem.map", VERSION, VERSION + "\tttmem_hidden;\n")],
     "symbol ttmem_hidden TTMEM_0.1 is listed in ttmem.map and not exported"),
]
MORE = """__attribute__((visibility("default"))) int ttmem_more(void);
int ttmem_more(void) { return 0; }
__attribute__((visibility("hidden"))) int ttmem_hidden(void);
int ttmem_hidden(void) { return 0; }
"""


def link(directory, archive, library):
    """The library as the changed map has it, with a function that is only there for this."""
    source = os.path.join(directory, "more.c")
    with open(source, "w", encoding="utf-8") as file:
        file.write(MORE)
    with open(os.path.join(directory, "ttmem.map"), encoding="utf-8") as file:
        script = ["-Wl,--version-script=" + file.name] if file.read() else []
    run(*compiler(directory), "-shared", "-fPIC", "-Wl,-soname,libttmem.so.0", *script, "-o",
        library, source, "-Wl,--whole-archive", archive, "-Wl,--no-whole-archive", "-pthread")


def damage(text, old, new):
    if old is None:
        return new
    if isinstance(new, int):
        released = read_list(releases()[-1])["ledger.h constant LEDGER_MINOR"]
        return re.sub(old, str(int(released) + new), text)
    if old not in text:
        raise ToolError(f"'{old.strip()}' is not there")
    return text.replace(old, new, 1)


def damaged(changes, archive):
    """What is said of the sources with these changes. Their own asserts are to say nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = os.path.join(scratch, CLIENT)
        library = os.path.join(scratch, "libttmem.so")
        shutil.copytree(CLIENT, directory)
        for name in (*HEADERS, "ttmem.map"):
            path = os.path.join(directory, name)
            with open(path, encoding="utf-8") as file:
                text = re.sub(r"static_assert\(.*?\);", "", file.read(), flags=re.S)
            for _, old, new in (change for change in changes if change[0] == name):
                text = damage(text, old, new)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        link(directory, archive, library)
        return check(directory, library)[1]


def self_test(archive):
    failed = []
    for name, changes, expected in DAMAGES:
        try:
            said = damaged(changes, archive)
        except ToolError as error:
            failed.append(f"self-test: {name}: {error}")
            continue
        if expected is None and said:
            failed.append(f"self-test: {name} is allowed; got {said}")
        if expected and not any(expected in line for line in said):
            failed.append(f"self-test: {name} was not found; got {said}")
    if not failed:
        print(f"self-test: {len(DAMAGES)} changes, each found or allowed as it should be")
    return failed


def main():
    build, *mode = sys.argv[1:] or [None]
    if not build or mode not in ([], ["--release"], ["--self-test"]):
        print("usage: python3 tests/abi.py BUILD_DIR [--release | --self-test]", file=sys.stderr)
        return 1
    try:
        if mode == ["--self-test"]:
            lines = self_test(os.path.join(build, "libttmem.a"))
        else:
            found, lines = check(CLIENT, os.path.join(build, "libttmem.so"))
            if mode and not lines:
                lines = release(found)
    except (ToolError, OSError) as error:
        lines = [str(error)]
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
