# SPDX-License-Identifier: Apache-2.0
"""The calls of ttmem.h."""
import ctypes
import errno
import os
import sys
from typing import Any, List, Optional, Union

from ._library import gate, quick, slow
from ._types import (CDevice, CErrors, CTagTotals, CTotals, Errors, Kind, TagTotals, Totals)

_alloc, _free = quick.ttmem__alloc, quick.ttmem__free
_alloc_failed = quick.ttmem__alloc_failed


def to_bytes(tag: Optional[str]) -> Optional[bytes]:
    """A tag as the library takes it: an allocator must not fail by what it is called."""
    return None if tag is None else tag.encode("utf-8", "replace")


def _error(code: int) -> OSError:
    return OSError(-code, os.strerror(-code))


def start() -> None:
    """Switches tracking on, whatever the environment says. Again, or when it is on, it does
    nothing. Raises OSError when no ledger can be made: then the process is not tracked."""
    code = slow.ttmem_start()
    if code:
        raise _error(code)


def enabled() -> bool:
    """Whether this process is tracked. Starts tracking if the environment asks for it."""
    counts = CErrors()
    return bool(gate.value and quick.ttmem_get_errors(ctypes.addressof(counts)) == 0)


def version() -> str:
    """The release of the library that is loaded."""
    text: bytes = quick.ttmem_version()
    return text.decode("ascii")


def alloc(device: int, kind: int, address: int, size: int, tag: Optional[str] = None) -> None:
    """Reports that `size` bytes at `address` of a device are now allocated. Without a tag they get
    that of the innermost tag() of the thread; "" stands for none. An address that is live already
    gets another reference, and goes with its last free()."""
    if gate.value:
        _alloc(device, kind, address, size, to_bytes(tag))


def free(device: int, kind: int, address: int) -> None:
    """Reports that a buffer is freed, or one reference to it. Call it before the memory is given
    back: after that another thread may be given the address. An unknown one is counted in
    errors().unknown_frees."""
    if gate.value:
        _free(device, kind, address)


def alloc_failed(device: int, kind: int, size: int, largest_free: int = 0) -> None:
    """Reports an allocation that failed, and the largest block that was free then (0: not
    known)."""
    if gate.value:
        _alloc_failed(device, kind, size, largest_free)


def declare_device(index: int, *, asic_id: int = 0, dram_total: int = 0, l1_total: int = 0,
                   is_remote: bool = False, pci: Optional[str] = None, arch: Optional[str] = None,
                   board: Optional[str] = None) -> bool:
    """Says what is known of a device; what is not given keeps what an earlier call said. Returns
    whether it was recorded: False when tracking is off. Raises ValueError for an index that is not
    0 to 63, and OSError when there is no memory."""
    if not 0 <= index < 64:
        raise ValueError(f"a device's index is 0 to 63, not {index}")
    device = CDevice(ctypes.sizeof(CDevice), int(is_remote), asic_id, dram_total, l1_total,
                     to_bytes(pci), to_bytes(arch), to_bytes(board))
    code = quick.ttmem_declare_device(index, ctypes.addressof(device))
    if code not in (0, -errno.ENOTCONN):
        raise _error(code)
    return bool(code == 0)


def totals(device: int, kind: int) -> Totals:
    """What the process holds, and has held, of a kind on a device or on ALL_DEVICES. All zeros
    when tracking is off. Raises ValueError for a device or kind that there cannot be."""
    sums = CTotals()
    code = quick.ttmem_get_totals(device, kind, ctypes.addressof(sums))
    if code == -errno.EINVAL:
        raise ValueError(f"there is no device {device} or no kind {kind}")
    return Totals(*(getattr(sums, name) for name in Totals._fields))


def tags() -> List[TagTotals]:
    """What is live by tag, device and kind, the most bytes first. It looks at every live buffer:
    some 10 ms for a million. Empty when tracking is off."""
    code, room = -errno.ENOSPC, 64
    while code == -errno.ENOSPC:
        rows = (CTagTotals * room)()
        count = ctypes.c_size_t(room)
        code = slow.ttmem_get_tags(ctypes.addressof(rows), ctypes.addressof(count))
        # A few more than there were, because other threads go on allocating.
        room = count.value + count.value // 4 + 1
    if code not in (0, -errno.ENOTCONN):
        raise _error(code)
    return [TagTotals(row.tag.decode("utf-8", "replace"), row.device, Kind(row.kind),
                      row.live_bytes, row.live_buffers) for row in rows[:count.value]]


def errors() -> Errors:
    """What could not be recorded since the start. All zeros when tracking is off."""
    counts = CErrors()
    quick.ttmem_get_errors(ctypes.addressof(counts))
    return Errors(*(getattr(counts, name) for name in Errors._fields))


def report(file: Union[int, Any, None] = None) -> bool:
    """Writes a table for people to a file or descriptor, by default sys.stderr: for each device
    and kind the peak, what is live and how much was allocated; then what is live by tag. Returns
    whether it was written: False when tracking is off. Raises OSError when writing fails."""
    if file is None:
        file = sys.stderr
    if not isinstance(file, int):
        file.flush()
        file = file.fileno()
    code = slow.ttmem_report(file)
    if code not in (0, -errno.ENOTCONN):
        raise _error(code)
    return bool(code == 0)
