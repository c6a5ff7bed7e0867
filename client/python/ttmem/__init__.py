# SPDX-License-Identifier: Apache-2.0
"""Publishes how much Tenstorrent device memory this process holds, through libttmem.

An allocator says what it does, and `ttmemd` (or report(), without any daemon) shows it::

    import ttmem

    ttmem.start()                                   # or run the program with TTMEM=1
    with ttmem.tag("kv_cache"):
        ttmem.alloc(0, ttmem.Kind.DRAM, 0x1000, 1 << 20)
    ttmem.report()
    ttmem.free(0, ttmem.Kind.DRAM, 0x1000)

Switching on: by start(), or by the environment with TTMEM=1, TTMEM_REPORT or
TT_ALLOC_TRACKING_ENABLED=1; ttmem.h and ttmem(3) have the other variables. While tracking is off,
a call is the test of one word, and nothing raises an exception for it: sums are zero, lists are
empty.

Threads: all of it may be called from any thread. Each has a stack of tags of its own.

fork: the child starts with nothing and makes its own ledger at its first call, if tracking was on.
A process that multiprocessing spawns is a new program: only the environment can switch it on.

Units: bytes. A device is a number from 0 to 63, an address any number of 64 bits that names the
buffer among the live ones of its device and kind. A tag is cut after 47 bytes of UTF-8.
"""
from ._calls import (alloc, alloc_failed, declare_device, enabled, errors, free, report, start,
                     tags, totals, version)
from ._owners import Buffer, alloc_handle, free_handle, tag, tag_pop, tag_push
from ._types import ALL_DEVICES, Errors, Kind, TagTotals, Totals

__all__ = ["ALL_DEVICES", "Buffer", "Errors", "Kind", "TagTotals", "Totals", "alloc",
           "alloc_failed", "alloc_handle", "declare_device", "enabled", "errors", "free",
           "free_handle", "report", "start", "tag", "tag_pop", "tag_push", "tags", "totals",
           "version"]
