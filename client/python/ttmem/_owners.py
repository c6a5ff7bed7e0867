# SPDX-License-Identifier: Apache-2.0
"""Tags and handles, and objects that undo them."""
import functools
import inspect
import os
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar, cast

from ._calls import to_bytes
from ._library import gate, quick

_push, _pop = quick.ttmem__tag_push, quick.ttmem__tag_pop
_alloc_handle, _free_handle = quick.ttmem__alloc_handle, quick.ttmem__free_handle
_Function = TypeVar("_Function", bound=Callable[..., Any])
_generation = 0


def _after_fork() -> None:
    global _generation
    _generation += 1


os.register_at_fork(after_in_child=_after_fork)


def tag_push(name: Optional[str]) -> None:
    """Puts a tag on the calling thread's stack: buffers that it allocates without one get it. None
    or "" stands for no tag. tag() is the safer way."""
    if gate.value:
        _push(to_bytes(name))


def tag_pop() -> None:
    """Takes back the thread's last tag_push(). Without one it does nothing."""
    if gate.value:
        _pop()


class tag:
    """The tag of what is allocated in a block, or in a function, without a tag of its own::

        with ttmem.tag("kv_cache"):
            ...

        @ttmem.tag("weights")
        def load(): ...

    It is the thread's: code that other tasks run in the middle of a block, as `await` and `yield`
    let them, gets the tag too. So a coroutine function or a generator function is not decorated
    but refused with TypeError. One object can be used any number of times, by all threads.
    """

    __slots__ = ("_name",)

    def __init__(self, name: Optional[str]) -> None:
        self._name = to_bytes(name)

    def __enter__(self) -> "tag":
        if gate.value:
            _push(self._name)
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        if gate.value:
            _pop()

    def __call__(self, function: _Function) -> _Function:
        if (inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
                or inspect.isasyncgenfunction(function)):
            raise TypeError(f"{function.__qualname__}() gives way to other code while it runs, "
                            "which would get its tag: use `with ttmem.tag(...)` inside it")

        @functools.wraps(function)
        def tagged(*args: Any, **named: Any) -> Any:
            with self:
                return function(*args, **named)
        return cast(_Function, tagged)

    def __repr__(self) -> str:
        return f"ttmem.tag({(self._name or b'').decode('utf-8')!r})"


def alloc_handle(device: int, kind: int, address: int, size: int,
                 tag: Optional[str] = None) -> int:
    """The same as alloc(), for an allocator that can keep a number beside each buffer: it is freed
    by free_handle() and not by its address, which need not be unique. 0: not tracked."""
    if gate.value:
        return int(_alloc_handle(device, kind, address, size, to_bytes(tag)))
    return 0


def free_handle(handle: int) -> None:
    """Reports that a buffer is freed, from whatever thread. 0 does nothing. One that is not live
    is counted in errors().unknown_frees."""
    if handle and gate.value:
        _free_handle(handle)


class Buffer:
    """The report of one live buffer, which ends by close(), at the end of a `with` block, or with
    the object. It owns the report and not the memory. In a forked child, where the parent's
    buffers are not known, its end does nothing."""

    __slots__ = ("_handle", "_made_in", "__weakref__")

    def __init__(self, device: int, kind: int, address: int, size: int,
                 tag: Optional[str] = None) -> None:
        self._handle = 0
        self._made_in = _generation
        self._handle = alloc_handle(device, kind, address, size, tag)

    def close(self) -> None:
        """Reports the buffer as freed. Again it does nothing."""
        handle, self._handle = self._handle, 0
        if self._made_in == _generation:
            free_handle(handle)

    @property
    def handle(self) -> int:
        """What free_handle() would take. 0: closed, or not tracked."""
        return self._handle

    def __enter__(self) -> "Buffer":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()

    def __del__(self) -> None:
        # When __init__ was not given what it takes there is no handle.
        if getattr(self, "_handle", 0):
            self.close()
