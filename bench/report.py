# SPDX-License-Identifier: Apache-2.0
"""The rows as a table for people and as JSON for machines."""

import dataclasses
import json
import os
import platform
import time

HEADINGS = ("what", "value", "rounds from - to", "baseline", "ratio", "target", "verdict")


def number(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def ratio_text(ratio):
    if ratio is None:
        return ""
    if ratio < 0.1:
        return f"1/{1 / ratio:,.0f}"
    return number(ratio)


def baseline_text(row):
    if row.baseline is None:
        return ""
    return f"{number(row.baseline)} {row.baseline_what}"


def cells(row):
    return (f"  {row.what}", f"{number(row.value)} {row.unit}",
            f"{number(row.lowest)} - {number(row.highest)}", baseline_text(row),
            ratio_text(row.ratio), row.target, row.verdict)


def aligned(lines):
    """Words to the left, figures (all columns but the first, the baseline and the verdict) to
    the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    left = (0, 3, 6)
    for line in lines:
        yield "  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(line, widths))).rstrip()


def table(rows):
    """Under a heading for each part."""
    lines = list(aligned([HEADINGS] + [cells(row) for row in rows]))
    text = [lines[0]]
    part = None
    for row, line in zip(rows, lines[1:]):
        if row.part != part:
            part = row.part
            text += ["", part]
        text.append(line)
    return "\n".join(text)


def processor():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine():
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def print_text(rows, problems, host, rounds):
    print(f"{host['cpus']} CPUs ({host['processor']}), Linux {host['kernel']}, "
          f"load {host['load']:.2f} at the start; medians of {rounds} rounds\n")
    if rows:
        print(table(rows))
    if problems:
        print()
    for name, (kind, text) in sorted(problems.items()):
        print(f"{kind}: {name}: {text}")


def write_json(path, rows, problems, host, rounds):
    document = {
        "schema": 1,
        "machine": host,
        "rounds": len(rounds),
        "rows": [dataclasses.asdict(row) for row in rows],
        "problems": [{"name": name, "kind": kind, "text": text}
                     for name, (kind, text) in problems.items()],
        "samples": rounds,
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
