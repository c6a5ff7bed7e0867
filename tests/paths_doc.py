#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/paths.md: every path of the mount, and the tests that read it.

usage: python3 tests/paths_doc.py [--write | --self-test]      from the project's root

The paths are those of the tables in fs/entries.c and of the names in fs/list.c. Fails when the
document is out of date (--write makes it anew) or when no test on a mount reads a path.

A test reads a path if its body, or that of a helper in its file, gives the names to a call that
reads: self.daemon.value(device, "dram_used"), self.daemon.text("pids", peer.pid, "comm"). The last
name must be there as a string: alone, from a loop over literal ones, or with a {kind}. What is in
assertRaises() or exists() does not count. Where a name is made in another way, a comment says it:

    # covers: deviceN/dram_total pids/PID/stat

Needs a compiler ($CC, or gcc) as a preprocessor. Prints what is wrong and then exits with 1.
"""
import ast
import glob
import itertools
import os
import re
import shlex
import subprocess
import sys

DOC = "docs/paths.md"
KINDS = ("dram", "l1", "system", "l1_small", "trace", "cb", "kernel")
SHOWN = 3  # tests of a path that are named

# What each place of fs/tree.h is called, and whether names in it come and go with an event.
PLACES = {
    "PLACE_ROOT": ("", True), "PLACE_METRICS": ("metrics", False),
    "PLACE_BY_ASIC": ("by-asic", True), "PLACE_BY_PCI": ("by-pci", True),
    "PLACE_DEVICE": ("deviceN", False), "PLACE_DEVICE_PIDS": ("deviceN/pids", True),
    "PLACE_PIDS": ("pids", True), "PLACE_PROCESS": ("pids/PID", True),
    "PLACE_PROCESS_DEVICE": ("pids/PID/deviceN", False),
}
LINKS = {"by-asic/ASIC": "../deviceN", "by-pci/PCI": "../deviceN",
         "deviceN/pids/PID": "../../pids/PID", "pids/self": "the reader's own PID"}
HEAD = """# The paths of the mount

Made by `python3 tests/paths_doc.py --write`. N is the number of a device, PID a process as the
daemon's pid namespace has it. The modes are those without hidepid. What a path that tells does:

- **change**: inotify tells of each change (IN_MODIFY, also to those who watch its directory), and
  poll(2) wakes with POLLPRI and POLLERR, as on sysfs;
- **names**: names in it that come and go are told (IN_CREATE, IN_DELETE).

The tests are in tests/mount, by the names that `tests/mount/run.py` takes; of many, the first.

| path | mode | tells | read by |
|---|---|---|---|
"""


class ToolError(Exception):
    """A preprocessor that is missing or refuses, or a source that is not as it should be."""


def load(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


# --- what there is ------------------------------------------------------------------------------

def expand(source):
    """The source with its own macros expanded."""
    own = re.sub(r"^#include.*$", "", source, flags=re.M)
    command = shlex.split(os.environ.get("CC", "gcc")) + ["-E", "-P", "-x", "c", "-"]
    try:
        done = subprocess.run(command, input=own, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise ToolError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def groups(text):
    """What is in the outermost braces, one after the other."""
    depth = begin = 0
    for at, letter in enumerate(text):
        if letter == "{":
            depth += 1
            begin = at if depth == 1 else begin
        elif letter == "}":
            depth -= 1
            if not depth:
                yield text[begin:at + 1]


def find_paths(entries_source, list_source, tree_header):
    """{path: (mode, what it tells)}"""
    places = re.findall(r"PLACE_\w+", re.search(r"enum place \{(.*?)\}", tree_header, re.S)[1])
    if set(places) != set(PLACES):
        raise ToolError(f"fs/tree.h has other places: {set(places) ^ set(PLACES)}")
    paths = {f"{name}/": ("0555", "names" if tells else "") for name, tells in PLACES.values()}
    paths |= {name: (f"-> {target}", "") for name, target in LINKS.items()}
    expanded = expand(entries_source)
    tables = re.findall(r"case (PLACE_\w+):\s*return ENTRIES\((\w+)\)", entries_source)
    for place, table in tables:
        body = re.search(rf"struct entry {table}\[\] = \{{(.*?)\}};", expanded, re.S)[1]
        for group in groups(body):
            name = "".join(re.findall(r'"([^"]*)"', re.search(r"\.name = ([^,]+),", group)[1]))
            mode = re.search(r"\.mode = (0\d+)", group)
            path = f"{PLACES[place][0]}/{name}".lstrip("/")
            paths[path] = (mode[1] if mode else "0444",
                           "change" if re.search(r"\.tells = true", group) else "")
    if len(tables) != entries_source.count("static const struct entry "):
        raise ToolError("fs/entries.c: a table that is of no place")
    fixed = re.findall(r"const char \*const (\w+)\[\] = \{(.*?)NULL\}", list_source)
    folders = {"root": "", "device": "deviceN/", "pids": "pids/", "none": ""}
    for table, names in fixed:
        for name in re.findall(r'"([^"]+)"', names):
            path = folders[table] + name
            if path not in paths and path + "/" not in paths:
                raise ToolError(f"fs/list.c has a name that is not known here: {path}")
    return dict(sorted(paths.items()))


# --- what the tests read ------------------------------------------------------------------------

READS = {"text", "value", "flat", "table", "rows", "open", "path", "wait_text", "modified", "lines"}
LISTS = {"devices": "", "pids": "pids"}  # methods of a daemon that list a directory
NOT_READ = ("assertRaises", "exists", "lexists", "wait_gone")
KNOWN = {"device": "deviceN", "devices": "deviceN", "folder": "pids/PID", "pid": "PID"}
MANY = 2000  # more combinations of names than this are not followed


class Body(ast.NodeVisitor):
    """What a function reads, and which functions of its file it calls."""

    def __init__(self, function, names):
        self.names, self.reads, self.calls = dict(names), set(), set()
        for node in ast.walk(function):  # before what is in the loops
            if isinstance(node, (ast.For, ast.comprehension)):
                self.bind(node.target, node.iter)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                self.bind(node.targets[0], ast.List(elts=[node.value]))
        for node in function.body:
            self.visit(node)

    def bind(self, target, values):
        if isinstance(values, ast.Call) and getattr(values.func, "id", "") == "enumerate":
            if isinstance(target, ast.Tuple):
                self.bind(target.elts[1], values.args[0])
        elif isinstance(target, ast.Tuple) and isinstance(values, (ast.Tuple, ast.List)):
            for place, part in enumerate(target.elts):
                self.bind(part, ast.List(elts=[value.elts[place] for value in values.elts if
                                               isinstance(value, (ast.Tuple, ast.List)) and
                                               place < len(value.elts)]))
        elif isinstance(target, ast.Name) and target.id not in KNOWN:
            found = self.each(values)
            if any(strings != "*" for strings in found):
                self.names.setdefault(target.id, []).extend(found)

    def each(self, values):
        """What a loop over these has, one after the other."""
        if isinstance(values, (ast.Tuple, ast.List, ast.Set)):
            return [text for value in values.elts for text in
                    (self.each(value.value) if isinstance(value, ast.Starred)
                     else self.strings(value))]
        return self.strings(values) if isinstance(values, ast.Name) else ["*"]

    def strings(self, node):
        """All that an expression can be, as far as it is literal; "*" is anything."""
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, ast.Name):
            return [KNOWN[node.id]] if node.id in KNOWN else self.names.get(node.id, ["*"])
        if isinstance(node, ast.Attribute):
            return [KNOWN.get(node.attr, "*")]
        if isinstance(node, ast.Subscript):
            return self.strings(node.value) if isinstance(node.value, ast.Attribute) else ["*"]
        if isinstance(node, (ast.FormattedValue, ast.Starred)):
            return self.strings(node.value)
        if isinstance(node, ast.JoinedStr):
            return self.joined("", node.values)
        if isinstance(node, (ast.Tuple, ast.List)):
            return self.joined("/", node.elts)
        if isinstance(node, ast.IfExp):
            return self.strings(node.body) + self.strings(node.orelse)
        return ["*"]

    def joined(self, between, nodes):
        parts = [sorted(set(self.strings(node))) for node in nodes]
        count = 1
        for part in parts:
            count *= len(part)
        return [between.join(p) for p in itertools.product(*parts)] if count < MANY else ["*"]

    def visit_With(self, node):
        if not any(is_call(item.context_expr, NOT_READ) for item in node.items):
            self.generic_visit(node)

    def visit_Call(self, node):
        if is_call(node, NOT_READ):
            return
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in READS:
            self.reads.update(self.joined("/", node.args))
        elif name in LISTS and getattr(getattr(node.func, "value", None), "attr", "") == "daemon":
            self.reads.add(LISTS[name] + "/")
        self.calls.add(name)
        self.generic_visit(node)

    def visit_Attribute(self, node):
        self.calls.add(node.attr)  # a method that is handed to somebody
        self.generic_visit(node)


def is_call(node, names):
    return isinstance(node, ast.Call) and \
        getattr(node.func, "attr", getattr(node.func, "id", "")).startswith(names)


def constants(tree):
    """The literal tuples and strings of a module."""
    module = Body(ast.Module(body=[], type_ignores=[]), {"KINDS": list(KINDS), "kind": list(KINDS)})
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
            module.names.setdefault(name, module.each(value) if isinstance(value, ast.Tuple)
                                    else module.strings(value))
    return module.names


def tests_of(path, source):
    """{name of a test as run.py has it: what it reads}"""
    tree = ast.parse(source)
    names, lines = constants(tree), source.splitlines()
    bodies, tests = {}, {}
    for holder in [n for n in tree.body if isinstance(n, ast.ClassDef)] + [tree]:
        for function in holder.body:
            if not isinstance(function, ast.FunctionDef):
                continue
            body = Body(function, names)
            for line in lines[function.lineno - 1:function.end_lineno]:
                marker = re.search(r"# covers: (.*)", line)
                body.reads.update(marker[1].split() if marker else ())
            if holder is not tree and function.name.startswith("test_"):
                module = os.path.basename(path)[len("test_"):-len(".py")]
                for name in runs_as(holder, tree):
                    tests[f"{module}.{name}.{function.name[len('test_'):]}"] = body
            elif function.name != "setUp":
                bodies.setdefault(function.name, []).append(body)
    return {name: closure(body, bodies) for name, body in tests.items()}


def runs_as(holder, tree):
    """A class without a base is part of others."""
    others = [n.name for n in tree.body if isinstance(n, ast.ClassDef) and
              holder.name in [getattr(base, "id", "") for base in n.bases]]
    return [holder.name] if holder.bases else others


def closure(body, helpers):
    reads, known, left = set(body.reads), set(), set(body.calls)
    while left:
        name = left.pop()
        known.add(name)
        for helper in helpers.get(name, ()):
            reads |= helper.reads
            left |= helper.calls - known
    return reads


def is_path(read, path):
    """Whether the names that a test has used are these. A name that it has made stands for a
    number, never for a file's name."""
    parts = read.strip("/").split("/")
    wanted = path.strip("/").split("/")
    if len(parts) != len(wanted) or (set(parts) == {"*"} and path != "/"):
        return False
    forms = {"N": r"device(N|\*|\d+)|\*", "PID": r"PID|\*|\d+|self", "ASIC": r".+", "PCI": r".+"}
    return all(re.fullmatch(forms["N" if name == "deviceN" else name], part)
               if name in ("deviceN", "PID", "ASIC", "PCI") else part == name
               for part, name in zip(parts, wanted))


def readers(paths, tests):
    """{path: the tests that read it}"""
    return {path: sorted(name for name, reads in tests.items()
                         if any(is_path(read, path) for read in reads)) for path in paths}


# --- the document -------------------------------------------------------------------------------

def document(paths, found):
    rows = []
    for path, (mode, tells) in paths.items():
        names = ", ".join(found[path][:SHOWN]) + (", ..." if len(found[path]) > SHOWN else "")
        rows.append(f"| `{path}` | {mode} | {tells} | {names} |\n")
    return HEAD + "".join(rows)


def unread(found):
    return [f"no test reads {path}" for path, tests in found.items() if not tests]


def self_test(sources, tests):
    """Adds to the sources what must be found."""
    entries, names, header = sources
    paths, failed = find_paths(*sources), []
    good, count = document(paths, readers(paths, tests)), len(unread(readers(paths, tests)))
    entry = '{.name = "version", .render = render_version},'
    for what, old, new in (("a new file", entry, '{.name = "nowhere", .render = render_version},'),
                           ("a file made by a macro", 'USED("dram", TTMEM_DRAM),',
                            'USED("nothing", TTMEM_DRAM),')):
        paths = find_paths(entries.replace(old, old + new), names, header)
        if len(unread(readers(paths, tests))) != count + 1:
            failed.append(f"self-test: {what} without a test was not found")
    paths = find_paths(entries.replace(entry, entry.replace("}", ", .mode = 0400}")), names, header)
    if document(paths, readers(paths, tests)) == good:
        failed.append("self-test: a changed mode was not found")
    for what, broken in (("a new place", (entries, names, header.replace(
                             "PLACE_PIDS,", "PLACE_PIDS, PLACE_MORE,"))),
                         ("a new directory", (entries, names.replace(
                             '"metrics"', '"metrics", "more"'), header))):
        try:
            find_paths(*broken)
            failed.append(f"self-test: {what} was not found")
        except ToolError:
            pass
    source = ('class T:\n def test_a(self):\n  with self.assertRaises(OSError):\n'
              '   self.daemon.text("version")\n  self.daemon.exists("status")\n'
              '  self.daemon.value(device, f"{name}_used")\n  self.daemon.text(name)\n')
    found = readers(find_paths(*sources), tests_of("test_t.py", source))
    failed += [f"self-test: {path} is not read" for path, tests in found.items() if tests]
    return failed


def main():
    if sys.argv[1:] not in ([], ["--write"], ["--self-test"]):
        print("usage: python3 tests/paths_doc.py [--write | --self-test]", file=sys.stderr)
        return 1
    try:
        sources = [load(f"fs/{name}") for name in ("entries.c", "list.c", "tree.h")]
        tests = {}
        for path in sorted(glob.glob("tests/mount/test_*.py")):
            tests |= tests_of(path, load(path))
        paths = find_paths(*sources)
        found = readers(paths, tests)
        faults = self_test(sources, tests) if "--self-test" in sys.argv else unread(found)
        text = document(paths, found)
        if "--write" in sys.argv:
            with open(DOC, "w", encoding="utf-8") as file:
                file.write(text)
        elif "--self-test" not in sys.argv and (not os.path.exists(DOC) or load(DOC) != text):
            faults.append(f"{DOC} is out of date: python3 tests/paths_doc.py --write")
    except (ToolError, OSError) as error:
        faults = [str(error)]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
