"""Memory for batches that is used again.

A fresh array of 100 MB is zeroed page by page when it is first written to, which takes as long as filling it. So
arrays come from a ring and go back to it by themselves, when nobody holds a tensor on them any more.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

_SMALL = 1 << 20
"""Arrays below this many bytes are not worth keeping."""


class Buffers:
    """Arrays that are used again.

    Args:
        pinned: in page-locked memory, for copies to a GPU that do not wait; torch keeps that itself, and knows
            when such a copy has ended.
        keep: how many idle arrays of one size to keep at most.
    """

    def __init__(self, *, pinned: bool = False, keep: int = 8) -> None:
        self.pinned, self.keep = pinned, keep
        self._idle: dict[int, list[npt.NDArray[np.uint8]]] = {}
        # The garbage collector may run `_give_back` anywhere, in `array` too.
        self._lock = threading.RLock()

    def array(self, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array with whatever in it; its memory is free again when it and all tensors on it are gone."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if self.pinned and size:
            return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy().view(kind).reshape(shape)
        if size < _SMALL:
            return np.empty(shape, kind)
        with self._lock:
            idle = self._idle.get(size)
            memory = idle.pop() if idle else None
        if memory is None:
            memory = np.empty(size, np.uint8)
        # Not a view by numpy: those refer to the owner of the memory, so that nobody would know when this one ends.
        lent = np.frombuffer(memory.data, np.uint8)
        weakref.finalize(lent, self._give_back, memory).atexit = False
        return lent.view(kind).reshape(shape)

    def _give_back(self, memory: npt.NDArray[np.uint8]) -> None:
        with self._lock:
            idle = self._idle.setdefault(memory.nbytes, [])
            if len(idle) < self.keep:
                idle.append(memory)
