"""Large arrays in pages of their own, which are used again where somebody keeps them.

What the C library hands out may lie in a heap, whose size depends on the order in which threads ask and free; and what
several threads hold at once is at its most only when they meet in an unlucky order, which a long stream sees and a
short one does not. A stream whose arrays come from memory that is kept holds as much after its second block as after
its last.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

# Arrays below this many bytes are left to the C library.
SMALL = 1 << 20
# Memory that is kept may be so many times as large as what is asked for: less than arrays differ by whose numbers are of
# two sizes, or who would get whose memory depends on who asks first.
_ROOMY = 1.4
_WHOLE = Fraction(1)


class Kept:
    """Memory that arrays come from, and go back to by themselves when nobody holds them any more.

    It grows to what is in use at once, and no further. Arrays of other sizes share it where they are alike.
    """

    def __init__(self) -> None:
        self._idle: list[mmap.mmap] = []
        self._closed = False
        # The garbage collector may run `_put` anywhere, in `_take` too.
        self._lock = threading.RLock()

    @property
    def idle_bytes(self) -> int:
        """Of memory that waits to be used again."""
        with self._lock:
            return sum(map(len, self._idle))

    @contextmanager
    def lending(self, share: Fraction = _WHOLE) -> Iterator[None]:
        """Arrays of `pages` come from here meanwhile, in this thread.

        Args:
            share: that arrays are of the largest of their kind. All memory is made for those: what is not written to
                is only an address.
        """
        before = getattr(_here, "lender", None)
        _here.lender = self, share
        try:
            yield
        finally:
            _here.lender = before

    def close(self) -> None:
        """Give back what is idle, and what is still in use when it is no longer."""
        with self._lock:
            self._closed = True
            self._idle.clear()

    def lend(self, size: int, room: int) -> tuple[npt.NDArray[np.uint8], bool]:
        """[size] bytes of as many as `room`, and whether they are all 0."""
        memory = self._take(room)
        fresh = memory is None
        if memory is None:
            memory = _memory(room)
        # Not a view of another array: views of this one must refer to it, so that its end is theirs.
        lent: npt.NDArray[np.uint8] = np.frombuffer(memory, np.uint8, size)
        weakref.finalize(lent, self._put, memory).atexit = False
        return lent, fresh

    def _take(self, size: int) -> mmap.mmap | None:
        with self._lock:
            fitting = [m for m in self._idle if size <= len(m) <= _ROOMY * size]
            if fitting:
                best = min(fitting, key=len)
                # By identity: two memories with equal bytes are equal.
                self._idle = [m for m in self._idle if m is not best]
                return best
            # What was of use for smaller blocks will not be again.
            self._idle = [m for m in self._idle if not size <= _ROOMY * len(m) < _ROOMY * size]
            return None

    def _put(self, memory: mmap.mmap) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(memory)


_here = threading.local()


def _memory(size: int) -> mmap.mmap:
    """Raises MemoryError, as numpy does."""
    try:
        if os.name == "nt":
            return mmap.mmap(-1, size)
        # Of this process alone: a child that is forked must not write into it.
        return mmap.mmap(-1, size, access=mmap.ACCESS_COPY)
    except (OSError, OverflowError) as err:
        raise MemoryError(f"{size:,} bytes cannot be had") from err


def pages(shape: Sequence[int], dtype: npt.DTypeLike, *, cleared: bool = True) -> npt.NDArray[Any]:
    """An array whose memory is free again as soon as nobody holds it.

    Args:
        shape: of the array.
        dtype: of plain numbers.
        cleared: all zeros; else whatever is in it.

    Raises:
        MemoryError: there is not so much.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < SMALL:
        return np.zeros(shape, kind)
    lender: tuple[Kept, Fraction] | None = getattr(_here, "lender", None)
    if lender is None:
        return np.frombuffer(_memory(size), kind).reshape(shape)
    kept, share = lender
    lent, fresh = kept.lend(size, math.ceil(size / share))
    if cleared and not fresh:
        lent.fill(0)
    return lent.view(kind).reshape(shape)
