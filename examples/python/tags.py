#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory by what it is for: a model's layers, and a cache that grows and goes.

    python3 tags.py
"""
import itertools

import ttmem
from ttmem import Kind

addresses = itertools.count(0x1000, 0x10000)


def tensor(size: int) -> ttmem.Buffer:
    """Stands for a tensor: its report goes when it goes."""
    return ttmem.Buffer(0, Kind.DRAM, next(addresses), size)


@ttmem.tag("weights")
def load(layers: int) -> "list[ttmem.Buffer]":
    return [tensor(64 << 20) for _ in range(layers)]


def show(when: str) -> None:
    print(f"{when}: {ttmem.totals(0, Kind.DRAM).live_bytes >> 20} MiB")
    for row in ttmem.tags():
        print(f"    {row.tag:<10} {row.live_bytes >> 20:4} MiB in {row.live_buffers}")


def main() -> None:
    ttmem.start()
    ttmem.declare_device(0, board="n300", dram_total=12 << 30)
    model = load(8)
    with ttmem.tag("kv_cache"):
        cache = [tensor(16 << 20) for _ in range(4)]
    show("loaded")
    ttmem.alloc_failed(0, Kind.DRAM, 16 << 30, largest_free=11 << 30)
    del cache
    show("cache gone")
    for buffer in model:
        buffer.close()
    sums = ttmem.totals(0, Kind.DRAM)
    print(f"peak {sums.peak_bytes >> 20} MiB, {sums.failures} failed, now {sums.live_bytes}")


if __name__ == "__main__":
    main()
