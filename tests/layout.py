# SPDX-License-Identifier: Apache-2.0
"""What the compiler makes of a header in client/: ledger_doc.py and abi.py compare it with what was
promised. Needs a compiler ($CC, or gcc) and pahole."""
import os
import re
import shlex
import subprocess
import tempfile

CLIENT = "client"
INTERNAL = ("TTMEM_API", "TTMEM_UNLIKELY", "TTMEM__ON")  # macros that no caller is to use


class ToolError(Exception):
    """A compiler or pahole that is missing or refuses."""


class Layout:
    """structs: name -> (size, {field: (offset, type, bytes)}); enums: name -> (size, {enumerator:
    value}); constants: name -> int or str."""

    def __init__(self):
        self.structs = {}
        self.enums = {}
        self.constants = {}
        self.faults = []


def run(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)
    except OSError as error:
        raise ToolError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        first = "\n".join(done.stderr.strip().splitlines()[:5])
        raise ToolError(f"{' '.join(command)}: exit {done.returncode}\n{first}")
    return done.stdout


def compiler(directory):
    return [*shlex.split(os.environ.get("CC", "gcc")), "-std=gnu11", "-I", directory]


def compile_layout(directory, header, pointers=False):
    """The layout of `header` in `directory`. Pointers in a struct are a fault, or as asked."""
    with open(os.path.join(directory, header), encoding="utf-8") as file:
        text = file.read()
    names = {what: re.findall(rf"^{what} (\w+) \{{", text, re.M) for what in ("struct", "enum")}
    layout = Layout()
    with tempfile.TemporaryDirectory() as scratch:
        source = os.path.join(scratch, "layout.c")
        binary = os.path.join(scratch, "layout.o")
        with open(source, "w", encoding="utf-8") as file:
            file.write(f'#include "{header}"\n')
            # A type is in the debug information only if something has it.
            for what in names:
                file.writelines(f"{what} {name} a_{name};\n" for name in names[what])
        run(*compiler(directory), "-g", "-c", "-o", binary, source)
        for name in names["struct"]:
            layout.structs[name] = parse_pahole(name, run("pahole", "-C", name, binary),
                                                layout.faults, pointers)
        macros = run(*compiler(directory), "-E", "-dM", source)
        layout.constants = evaluate(directory, header, macros, names["enum"], scratch)
        for name in names["enum"]:
            values = re.findall(r"(\w+) += (-?\d+)", run("pahole", "-C", name, binary))
            layout.enums[name] = (layout.constants.pop(f"enum {name}"),
                                  {key: int(value) for key, value in values})
    return layout


def parse_pahole(name, text, faults, pointers):
    """The size and the fields from pahole's text of one struct."""
    pointer = r"(?:const )?(?:char|void) \*|" if pointers else ""
    field = re.compile(rf"\s((?:{pointer}(?:struct )?\w+))\s+(\w+)((?:\[\d+\])*);"
                       r"\s+/\*\s+(\d+)\s+(\d+) \*/$")
    size = re.search(r"/\* size: (\d+),", text)
    if not size:
        faults.append(f"{name}: pahole shows no such struct")
        return 0, {}
    fields = {}
    for line in text.splitlines():
        line = re.sub(r" +\*", " *", line)
        if re.search(r"XXX|hole|padding|BRAIN FART", line):
            faults.append(f"{name}: hole or padding: {line.strip()}")
        elif ";" in line and not line.startswith("}"):
            match = field.match(line)
            if not match:
                faults.append(f"{name}: neither integer, array nor struct: {line.strip()}")
                continue
            kind, label, dimensions, offset, width = match.groups()
            kind = re.sub(r"^(u?i)nt(\d+)_t$", lambda m: m[1][0] + m[2], kind)
            kind = kind.removeprefix("struct ")
            fields[label] = (int(offset), kind + dimensions, int(width))
    return int(size[1]), fields


def evaluate(directory, header, macros, enums, scratch):
    """The values of the header's macros that have one, and the sizes of its enums."""
    found = [(name, body) for name, body in
             re.findall(r"^#define ((?:LEDGER|HELLO|TTMEM)_\w+) (.+)$", macros, re.M)
             if name not in INTERNAL]
    source = os.path.join(scratch, "values.c")
    binary = os.path.join(scratch, "values")
    with open(source, "w", encoding="utf-8") as file:
        file.write(f'#include "{header}"\n#include <stdio.h>\n')
        file.write("int main(void)\n{\n")
        for name, body in found:
            if body.startswith('"'):
                file.write(f'\tprintf("{name}=\\"%s\\"\\n", {name});\n')
            else:
                file.write(f'\tprintf("{name}=%llu\\n", (unsigned long long)({name}));\n')
        for name in enums:
            file.write(f'\tprintf("enum {name}=%zu\\n", sizeof(enum {name}));\n')
        file.write("\treturn 0;\n}\n")
    run(*compiler(directory), "-O1", "-o", binary, source)
    values = (line.split("=", 1) for line in run(binary).splitlines())
    return {name: v.strip('"') if v.startswith('"') else int(v) for name, v in values}
