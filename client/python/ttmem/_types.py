# SPDX-License-Identifier: Apache-2.0
"""What is given to the library and read back from it."""
import ctypes
import enum
from typing import NamedTuple

ALL_DEVICES = 0xFFFFFFFF
TAG_BYTES = 48


class Kind(enum.IntEnum):
    """What a buffer is allocated from."""

    DRAM = 0
    L1 = 1
    SYSTEM = 2
    L1_SMALL = 3
    TRACE = 4
    CB = 5
    KERNEL = 6


class Totals(NamedTuple):
    """The process's own sums for one kind on one device, or on all."""

    live_bytes: int
    live_buffers: int
    peak_bytes: int
    allocated_bytes: int
    allocated_buffers: int
    failures: int


class Errors(NamedTuple):
    """How many calls could not be recorded as asked. None of them changed a sum."""

    unknown_frees: int
    size_mismatches: int
    bad_arguments: int
    reentered: int
    untracked: int


class TagTotals(NamedTuple):
    """What is live of one tag, device and kind. The tag is "" for buffers that have none."""

    tag: str
    device: int
    kind: Kind
    live_bytes: int
    live_buffers: int


class CTotals(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in Totals._fields]


class CErrors(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in Errors._fields]


class CTagTotals(ctypes.Structure):
    _fields_ = [("tag", ctypes.c_char * TAG_BYTES), ("device", ctypes.c_uint32),
                ("kind", ctypes.c_uint32), ("live_bytes", ctypes.c_uint64),
                ("live_buffers", ctypes.c_uint64)]


class CDevice(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("is_remote", ctypes.c_uint32),
                ("asic_id", ctypes.c_uint64), ("dram_total", ctypes.c_uint64),
                ("l1_total", ctypes.c_uint64), ("pci", ctypes.c_char_p),
                ("arch", ctypes.c_char_p), ("board", ctypes.c_char_p)]
