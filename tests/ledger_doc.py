#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when docs/ledger.md and the layout that the compiler makes of client/ledger.h differ.

usage: python3 tests/ledger_doc.py [--self-test]      from the project's root

The document is the ABI for whoever writes a reader or a client in another language, so its tables
are compared with the debug information, in both directions:

  ### struct NAME, SIZE bytes       the rows below it are fields:  | offset | type | field | ...
  | value | NAME | ...              a constant or an enumerator: NAME in capitals

Needs a compiler ($CC, or gcc) and pahole. Prints a line for each difference and then exits with 1.
"""
import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True

from layout import CLIENT, Layout, ToolError, compile_layout  # noqa: E402

DOC = "docs/ledger.md"
HEADER = "ledger.h"

WIDTHS = {"char": 1, "u8": 1, "u16": 2, "u32": 4, "u64": 8, "i64": 8}
HEADING = re.compile(r"### struct (\w+), (\d+) bytes$")
NUMBER = re.compile(r"(0x[0-9a-f]+|\d+)$")
CONSTANT = re.compile(r"(LEDGER|HELLO|TTMEM)_[A-Z0-9_]+$")


def real_layout():
    """With the kinds, which are declared for callers."""
    layout = compile_layout(CLIENT, HEADER)
    _, kinds = compile_layout(CLIENT, "ttmem.h", pointers=True).enums["ttmem_kind"]
    del kinds["TTMEM_KINDS"]
    layout.constants.update(kinds)
    return layout


# --- what the document says ---------------------------------------------------------------------

def parse_document(text):
    layout = Layout()
    fields = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            heading = HEADING.match(line)
            fields = None
            if heading:
                fields = {}
                if heading[1] in layout.structs:
                    layout.faults.append(f"line {number}: struct {heading[1]} again")
                layout.structs[heading[1]] = (int(heading[2]), fields)
            elif line.startswith("### struct"):
                layout.faults.append(f"line {number}: not '### struct NAME, SIZE bytes': {line}")
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            parse_row(layout, fields, cells, number)
    return layout


def parse_row(layout, fields, cells, number):
    if len(cells) > 1 and CONSTANT.match(cells[1]):
        value = int(cells[0], 0) if NUMBER.match(cells[0]) else cells[0]
        if cells[1] in layout.constants:
            layout.faults.append(f"line {number}: {cells[1]} again")
        layout.constants[cells[1]] = value
        return
    if fields is None or cells[0] == "offset" or set(cells[0]) <= set("-:"):
        return
    if len(cells) < 3 or not NUMBER.match(cells[0]):
        layout.faults.append(f"line {number}: not | offset | type | field |: {' | '.join(cells)}")
        return
    offset, kind, label = int(cells[0], 0), cells[1], cells[2]
    if label in fields:
        layout.faults.append(f"line {number}: {label} again")
    fields[label] = (offset, kind, None)


def width_of(kind, structs):
    """The bytes of a type as the document writes it, or None if there is no such type."""
    base, *dimensions = re.split(r"[\[\]]+", kind.rstrip("]"))
    width = WIDTHS.get(base) or structs.get(base, (None,))[0]
    for dimension in dimensions:
        width = width * int(dimension) if width and dimension.isdigit() else None
    return width


# --- the comparison -----------------------------------------------------------------------------

def compare(real, said):
    """A line for each difference."""
    differences = list(real.faults) + list(said.faults)
    differences += compare_names("struct", real.structs, said.structs)
    differences += compare_names("constant", real.constants, said.constants)
    for name in sorted(real.structs.keys() & said.structs.keys()):
        (real_size, real_fields), (said_size, said_fields) = real.structs[name], said.structs[name]
        if real_size != said_size:
            differences.append(f"{name}: {real_size} bytes, documented as {said_size}")
        differences += compare_names(f"{name}: field", real_fields, said_fields)
        for field in real_fields.keys() & said_fields.keys():
            offset, kind, width = real_fields[field]
            said_offset, said_kind, _ = said_fields[field]
            if offset != said_offset:
                differences.append(f"{name}.{field}: offset {offset:#x}, "
                                   f"documented as {said_offset:#x}")
            if kind != said_kind:
                differences.append(f"{name}.{field}: type {kind}, documented as {said_kind}")
            if width != width_of(said_kind, said.structs):
                differences.append(f"{name}.{field}: {width} bytes, "
                                   f"documented as {width_of(said_kind, said.structs)}")
    for name in sorted(real.constants.keys() & said.constants.keys()):
        if real.constants[name] != said.constants[name]:
            differences.append(f"{name} is {show(real.constants[name])}, "
                               f"documented as {show(said.constants[name])}")
    return differences


def compare_names(what, real, said):
    return ([f"{what} {name} is not documented" for name in sorted(real.keys() - said.keys())] +
            [f"{what} {name} does not exist" for name in sorted(said.keys() - real.keys())])


def show(value):
    return hex(value) if isinstance(value, int) else value


# --- does it find what it is for? ---------------------------------------------------------------

def self_test(real, text):
    """Damages the document, and then a header, in every way that counts."""
    row = "| 0x0c0 | u32 | armed |"
    heading = "### struct ledger_tag, 64 bytes"
    record = re.search(r"^\|[^|]*\| LEDGER_OFFSET_RECORDS \|.*\n", text, re.M)[0]
    line = re.search("^" + re.escape(row) + ".*\n", text, re.M)[0]
    damages = [
        ("a wrong offset", row, row.replace("0x0c0", "0x0c4"), "armed: offset 0xc0"),
        ("a wrong width", row, row.replace("u32", "u64"), "armed: 4 bytes, documented as 8"),
        ("a wrong sign", "| u64 | peak_bytes |", "| i64 | peak_bytes |", "type u64"),
        ("a wrong dimension", "| u64[64] | shard_devices |", "| u64[65] | shard_devices |",
         "shard_devices: 512 bytes, documented as 520"),
        ("a row that is missing", line, "", "field armed is not documented"),
        ("a row too many", line, line + "| 0x0c4 | u32 | disarmed | |\n",
         "field disarmed does not exist"),
        ("a row twice", line, line + line, "armed again"),
        ("a row of nonsense", line, line + "| here | u32 | disarmed | |\n", "not | offset |"),
        ("a wrong size", heading, "### struct ledger_tag, 65 bytes", "64 bytes, documented as 65"),
        ("a struct that is missing", heading, "### The tag", "struct ledger_tag is not documented"),
        ("a struct too many", heading, "### struct ledger_word, 4 bytes\n" + heading,
         "struct ledger_word does not exist"),
        ("a wrong region", record, re.sub("0x[0-9a-f]+", "0x290000", record, count=1),
         "LEDGER_OFFSET_RECORDS is 0x280000"),
        ("a region that is missing", record, "",
         "constant LEDGER_OFFSET_RECORDS is not documented"),
        ("a region too many", record, record + "| 0x300000 | LEDGER_OFFSET_MORE | |\n",
         "constant LEDGER_OFFSET_MORE does not exist"),
        ("a wrong kind", "| 5 | TTMEM_CB |", "| 6 | TTMEM_CB |", "TTMEM_CB is 0x5"),
    ]
    failed = [f"self-test: the document itself: {d}" for d in compare(real, parse_document(text))]
    for name, old, new, expected in damages:
        if text.count(old) != 1:
            failed.append(f"self-test: {name}: '{old.strip()}' is not there once")
            continue
        found = compare(real, parse_document(text.replace(old, new)))
        if not any(expected in difference for difference in found):
            failed.append(f"self-test: {name} was not found; got {found}")

    headers = [
        ("a hole", "uint8_t a;\n\tuint32_t b;", "hole or padding"),
        ("padding at the end", "uint32_t a;\n\tuint8_t b;", "hole or padding"),
        ("a bit field", "uint32_t a : 3;\n\tuint32_t b : 29;", "neither integer"),
        ("a pointer", "void *a;", "neither integer"),
    ]
    for name, body, expected in headers:
        with tempfile.TemporaryDirectory() as scratch:
            with open(os.path.join(scratch, HEADER), "w", encoding="utf-8") as file:
                file.write(f"#include <stdint.h>\nstruct bad {{\n\t{body}\n}};\n")
            faults = compile_layout(scratch, HEADER).faults
        if not any(expected in fault for fault in faults):
            failed.append(f"self-test: {name} was not found; got {faults}")
    if not failed:
        print(f"self-test: {len(damages) + len(headers)} damages, all found")
    return failed


def main():
    if sys.argv[1:] not in ([], ["--self-test"]):
        print("usage: python3 tests/ledger_doc.py [--self-test]", file=sys.stderr)
        return 1
    try:
        with open(DOC, encoding="utf-8") as file:
            text = file.read()
        real = real_layout()
        lines = self_test(real, text) if sys.argv[1:] else compare(real, parse_document(text))
    except (ToolError, OSError) as error:
        lines = [str(error)]
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
