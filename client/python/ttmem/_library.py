# SPDX-License-Identifier: Apache-2.0
"""Finds libttmem and says what its functions take.

Most calls take tens of nanoseconds and never wait, so they keep the interpreter's lock (PyDLL):
nobody could do anything in that time, and giving it up wakes a thread that waits for it, which may
then keep it for a whole switch interval. They cannot deadlock, because no lock of the library is
held by anybody who wants the interpreter's. The few that take long, or write to a file, give it up
(CDLL). What remains is what ctypes takes, about a microsecond a call.
"""
import ctypes
import os
from typing import Any, List, Tuple

SONAME = "libttmem.so.0"
U32, U64, INT, TEXT = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p
POINTER = ctypes.c_void_p

QUICK: List[Tuple[str, Any, List[Any]]] = [
    ("ttmem__alloc", None, [U32, U32, U64, U64, TEXT]),
    ("ttmem__free", None, [U32, U32, U64]),
    ("ttmem__alloc_failed", None, [U32, U32, U64, U64]),
    ("ttmem__alloc_handle", U64, [U32, U32, U64, U64, TEXT]),
    ("ttmem__free_handle", None, [U64]),
    ("ttmem__tag_push", None, [TEXT]),
    ("ttmem__tag_pop", None, []),
    ("ttmem_declare_device", INT, [U32, POINTER]),
    ("ttmem_get_totals", INT, [U32, INT, POINTER]),
    ("ttmem_get_errors", INT, [POINTER]),
    ("ttmem_version", TEXT, []),
]
SLOW: List[Tuple[str, Any, List[Any]]] = [
    ("ttmem_start", INT, []),
    ("ttmem_get_tags", INT, [POINTER, POINTER]),
    ("ttmem_report", INT, [INT]),
]


def _places() -> List[str]:
    """Where the library may be. The loader comes first: it knows one that is loaded already, by a
    program whose allocator is linked with it, and that one must be used. Then what was installed
    beside this package: .../lib/python3/dist-packages/ttmem."""
    named = os.environ.get("TTMEM_LIBRARY")
    if named:
        return [named]
    here = os.path.dirname(os.path.abspath(__file__))
    return [SONAME, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(here))), SONAME)]


def _find() -> str:
    """The name by which the loader finds the library."""
    faults = []
    for place in _places():
        try:
            ctypes.CDLL(place)
            return place
        except OSError as error:
            faults.append(str(error))
    raise ImportError(
        "ttmem needs the library libttmem (" + "; ".join(faults) + "). Install it from the ttmem "
        "source with `make install` (and then run ldconfig, as root), or set TTMEM_LIBRARY to the "
        "path of " + SONAME, name="ttmem", path=os.environ.get("TTMEM_LIBRARY"))


def _declare(library: ctypes.CDLL, functions: List[Tuple[str, Any, List[Any]]]) -> None:
    for name, result, arguments in functions:
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"ttmem needs libttmem 0.2 or later: {library._name} has no "
                              f"{name}", name="ttmem", path=library._name) from None
        function.restype, function.argtypes = result, arguments


_name = _find()
quick = ctypes.PyDLL(_name)
slow = ctypes.CDLL(_name)
_declare(quick, QUICK)
_declare(slow, SLOW)

# 0: tracking is off, and no call needs to be made. It is what ttmem.h's inline functions look at.
gate = ctypes.c_int.in_dll(quick, "ttmem__gate")
