"""Windows on a regular grid, so that every pixel of an area is scored exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from swath.contract import InputContract
from swath.cube import BoolArray, Cube, CubeBatch
from swath.errors import InputError
from swath.feed.base import IGNORE, Records, cut_window, window_size
from swath.feed.windows import Labels, _per_cube


def axis_windows(length: int, size: int, stride: int) -> list[tuple[int, int, int]]:
    """(start, first, last) along one axis: a window [start, start + size) answers for pixels [first, last).

    Neighbours meet in the middle of their overlap; the last window is shifted back to the edge. An axis
    shorter than the window has one window that reaches beyond it.
    """
    starts = [0] if length <= size else [*range(0, length - size, stride), length - size]
    meet = [(a + size + b) // 2 for a, b in pairwise(starts)]
    return list(zip(starts, [0, *meet], [*meet, length], strict=True))


class GridFeed:
    """Windows that cover scenes once, for evaluation: iterate it for batches.

    The target is IGNORE wherever a window does not answer for the pixel, the pixel is not in the scored area,
    or it has no label; windows without a pixel to score are left out.

    Args:
        cubes: as `contract.convert` returned them, of equal T and C.
        contract: gives the normalisation.
        size: (h, w) of a window, or one number.
        batch_size: windows per batch; the last may be smaller.
        stride: between windows; None: the size, so that they overlap only at the far edges.
        labels: per cube, int [H,W] with IGNORE (-1), or of each date [T,H,W], or None: then every window is given,
            with no target.
        scored: per cube, bool [H,W] of pixels to score, or None for all.
    """

    def __init__(
        self,
        cubes: Sequence[Cube],
        contract: InputContract,
        size: int | tuple[int, int],
        *,
        batch_size: int = 16,
        stride: int | None = None,
        labels: Sequence[Labels | None] | None = None,
        scored: Sequence[BoolArray | None] | None = None,
    ) -> None:
        self.records = Records(cubes, contract)
        self.size = window_size(size)
        self.batch_size = batch_size
        h, w = self.size
        if stride is not None and not 0 < stride <= min(h, w):
            raise InputError(
                f"a stride of {stride} leaves gaps between windows of {h}x{w}",
                mend="give 1 to the window's size",
            )
        given = _per_cube("labels", labels, self.records, dated=True)
        areas = _per_cube("scored areas", scored, self.records)
        self.labels: list[npt.NDArray[np.int64] | None] = []
        # (cube, row, col, and the rows and columns [top, bottom) x [left, right) it answers for)
        self.windows: list[tuple[int, int, int, int, int, int, int]] = []
        for i, (cube, label, area) in enumerate(zip(self.records.cubes, given, areas, strict=True)):
            wanted = area
            if label is not None:
                full = label.astype(np.int64)
                if area is not None:
                    full = np.where(area, full, IGNORE)
                wanted = (full != IGNORE).reshape(-1, *full.shape[-2:]).any(0)
                self.labels.append(full)
            else:
                self.labels.append(None)
            for row, top, bottom in axis_windows(cube.shape[2], h, stride or h):
                for col, left, right in axis_windows(cube.shape[3], w, stride or w):
                    if wanted is None or wanted[top:bottom, left:right].any():
                        self.windows.append((i, row, col, top, bottom, left, right))
        if not self.windows:
            raise InputError("no pixel is left to score", where=cubes[0].source, mend="check labels and area")

    def __len__(self) -> int:
        """How many batches there are."""
        return -(-len(self.windows) // self.batch_size)

    def __iter__(self) -> Iterator[CubeBatch]:
        for first in range(0, len(self.windows), self.batch_size):
            yield self._batch(self.windows[first : first + self.batch_size])

    def _batch(self, windows: Sequence[tuple[int, int, int, int, int, int, int]]) -> CubeBatch:
        target = None
        like = next((x for x in self.labels if x is not None), None)
        if like is not None:
            target = np.full((len(windows), *like.shape[:-2], *self.size), IGNORE, np.int64)
            for b, (i, row, col, top, bottom, left, right) in enumerate(windows):
                label = self.labels[i]
                if label is None:
                    continue
                part = target[b, ..., top - row : bottom - row, left - col : right - col]
                cut_window(label[..., top:bottom, left:right], 0, 0, part)
        index, rows, cols = ([w[k] for w in windows] for k in range(3))
        ids = tuple(f"{self.records.cubes[i].source}@{r},{c}" for i, r, c, *_ in windows)
        return self.records.batch(index, rows, cols, self.size, ids, target)
