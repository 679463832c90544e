"""A labelled set from its first record to its last, for scoring: every labelled pixel or record once, nothing drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from swath.contract import InputContract
from swath.cube import Array, Cube, CubeBatch
from swath.errors import InputError
from swath.feed.base import Records, cut_window, unknown_target, window_size
from swath.feed.grid import axis_windows
from swath.feed.windows import known

Read = Callable[[int], tuple[Cube, Array]]
"""Record number i: a cube as `contract.convert` returned it, and its target."""


@dataclass(frozen=True, eq=False)
class _Window:
    cube: Cube
    row: int
    col: int
    target: Array


class ScoreFeed:
    """Iterate it for batches; records are read one by one, and may differ in size and number of dates.

    With a target per pixel, windows on a grid cover each record; where they overlap, the nearer one answers. With one
    target per record, the record is seen through one window around its centre. What a record lacks of a window is
    invalid.

    Args:
        count: of records.
        read: one of them.
        contract: gives the normalisation.
        size: (h, w) of a window, or one number.
        batch_size: windows per batch; fewer at the end, and where the number of dates changes.
        stride: between windows of a grid; None: half a window.
        rank, world: this process takes every `world`-th record from number `rank` on. One that has none gives a batch
            without a known target, so that all of them take part.
    """

    def __init__(
        self,
        count: int,
        read: Read,
        contract: InputContract,
        size: int | tuple[int, int],
        *,
        batch_size: int = 16,
        stride: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if count < 1:
            raise InputError("no record is left to score", mend="check the part")
        self.count, self.read, self.contract = count, read, contract
        self.size = window_size(size)
        self.batch_size = batch_size
        self.stride = max(1, min(self.size) // 2) if stride is None else stride
        if not 0 < self.stride <= min(self.size):
            raise InputError(f"a stride of {self.stride} leaves gaps between windows", mend="give less")
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[CubeBatch]:
        waiting: list[_Window] = []
        for window in self._windows():
            if waiting and window.cube.shape[0] != waiting[0].cube.shape[0]:
                yield self._batch(waiting)
                waiting = []
            waiting.append(window)
            if len(waiting) == self.batch_size:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _windows(self) -> Iterator[_Window]:
        some = False
        for i in range(self.rank, self.count, self.world):
            for window in self._of(*self.read(i)):
                some = True
                yield window
        if not some:
            cube, target = self.read(0)
            shape = (*target.shape[:-2], *self.size) if _per_pixel(target, cube) else target.shape
            yield _Window(cube, 0, 0, unknown_target(target, shape))

    def _of(self, cube: Cube, target: Array) -> Iterator[_Window]:
        (height, width), (h, w) = cube.shape[2:], self.size
        if not _per_pixel(target, cube):
            row, col = max(height - h, 0) // 2, max(width - w, 0) // 2
            yield _Window(cube, row, col, target)
            return
        for row, top, bottom in axis_windows(height, h, self.stride):
            for col, left, right in axis_windows(width, w, self.stride):
                answered = target[..., top:bottom, left:right]
                if not known(answered).any():
                    continue
                part = unknown_target(target, (*target.shape[:-2], h, w))
                cut_window(answered, 0, 0, part[..., top - row : bottom - row, left - col : right - col])
                yield _Window(cube, row, col, part)

    def _batch(self, windows: list[_Window]) -> CubeBatch:
        records = Records([w.cube for w in windows], self.contract)
        rows, cols = [w.row for w in windows], [w.col for w in windows]
        target = np.stack([w.target for w in windows])
        target = target.astype(np.float32 if target.dtype.kind == "f" else np.int64)
        ids = tuple(w.cube.source for w in windows)
        return records.batch(range(len(windows)), rows, cols, self.size, ids, target)


def _per_pixel(target: Array, cube: Cube) -> bool:
    return target.ndim >= 2 and target.shape[-2:] == cube.shape[2:]
