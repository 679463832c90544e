"""Where a scene is cut: windows for the model, blocks for memory. A plan is a value; making one reads
nothing.

Windows lie on one grid over the whole scene, whatever the blocks are. A block is a piece of the output that
is computed on its own: it runs every window whose support reaches into it, so windows at its border run once
for each block they touch (the halo's extra computing, which the plan states). Blocks therefore depend on
nothing but the scene and the plan: not on their order, nor on who computes them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from swath.errors import ConfigError
from swath.scenes.blend import profile
from swath.scenes.box import Box
from swath.words import counted

# Output blocks are multiples of this, so that the file's tiles are each written once.
TILE = 256
# The default block is the smallest multiple of 512 with at most this share of extra computing…
HALO_SHARE = 0.10
# …and never more than this, which bounds memory whatever the window.
LARGEST_BLOCK = 4096


@dataclass(frozen=True)
class Block:
    """An independent piece of work.

    Attributes:
        box: the output pixels it makes, inside the scene.
        read: the input it needs: the box and its halo, which may reach beyond the scene's edges.
        windows: the windows it runs, row by row; all lie in `read`.
    """

    box: Box
    read: Box
    windows: tuple[Box, ...]

    @property
    def halo(self) -> int:
        """The widest reach of `read` beyond the box, pixels."""
        box, read = self.box, self.read
        below = read.row + read.height - box.row - box.height
        right = read.col + read.width - box.col - box.width
        return max(box.row - read.row, box.col - read.col, below, right)


@dataclass(frozen=True)
class Axis:
    """The windows along one axis: `starts` ascending, each `window` long, over `length` pixels.

    Windows stay inside the scene: the last one is moved back to end at the edge, so that no window sees
    padding where there are pixels. Only a scene shorter than the window is padded, after its end.
    """

    length: int
    window: int
    overlap: int
    trim: int

    @cached_property
    def starts(self) -> tuple[int, ...]:
        last = max(0, self.length - self.window)
        stride = self.window - self.overlap
        return (*range(0, last, stride), last)

    def ends(self, index: int) -> tuple[bool, bool]:
        """Whether a window touches the scene's start, and its end: there it is neither trimmed nor faded."""
        start = self.starts[index]
        return start == 0, start + self.window >= self.length

    def support(self, index: int) -> tuple[int, int]:
        """First and one past the last pixel to which a window contributes."""
        start = self.starts[index]
        first, last = self.ends(index)
        low = start if first else start + self.trim
        high = self.length if last else start + self.window - self.trim
        return low, high

    def touching(self, low: int, high: int) -> range:
        """Indices of the windows whose support reaches into [low, high)."""
        stride = self.window - self.overlap
        # A window that starts a window's length before `low` cannot reach it; the moved last one is looked at
        # too.
        first = max(0, (low - self.window) // stride)
        last = min(len(self.starts) - 1, high // stride + 1)
        found = [
            i
            for i in (*range(first, last), len(self.starts) - 1)
            if self.support(i)[0] < high and self.support(i)[1] > low
        ]
        # Starts ascend and all windows are equally long, so those found are consecutive.
        return range(found[0], found[-1] + 1)

    def kind(self, index: int) -> int:
        """A window whose weights are those of `index`: most windows of a scene are alike.

        Weights depend on the neighbours' distances and on the scene's ends, and so differ only within a
        window's length of the ends.
        """
        reach = math.ceil(self.window / (self.window - self.overlap)) + 1
        last = len(self.starts) - 1
        inner = reach < index < last - reach
        return reach + 1 if inner else index

    def weights(self, index: int) -> npt.NDArray[np.float64]:
        """[window]: the share of one window in every pixel it covers; the shares of all windows sum to
        one.
        """
        start = self.starts[index]
        mine = self._profile(index)
        total = mine.copy()
        # Neighbours that overlap: with an overlap above one half there are several on either side.
        for step in (-1, 1):
            other = index + step
            while 0 <= other < len(self.starts) and abs(self.starts[other] - start) < self.window:
                shift = self.starts[other] - start
                theirs = self._profile(other)
                if shift >= 0:
                    total[shift:] += theirs[: self.window - shift]
                else:
                    total[:shift] += theirs[-shift:]
                other += step
        # Where this window gives nothing (its trimmed margin), another does or there is no scene.
        return np.divide(mine, total, out=np.zeros_like(mine), where=mine > 0)

    def _profile(self, index: int) -> npt.NDArray[np.float64]:
        first, last = self.ends(index)
        return profile(self.window, self.overlap, self.trim, first, last)


@dataclass(frozen=True)
class Plan:
    """How a scene is cut. Printable, and a pure function of its numbers.

    Attributes:
        height, width: of the scene, pixels.
        window: (H, W) the model runs at.
        overlap: of neighbouring windows, pixels.
        trim: margin of every window that is thrown away (not at the scene's edges), pixels; at most half the
            overlap. A model whose receptive field reaches no further gives the same map as one pass.
        side: of the output blocks, a multiple of 256.
    """

    height: int
    width: int
    window: tuple[int, int]
    overlap: int
    trim: int
    side: int

    LEAST: ClassVar[int] = TILE
    # What is counted, in words.
    UNIT: ClassVar[str] = "pixels"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ConfigError(f"a scene of {self.height}x{self.width} pixels cannot be cut")
        if min(self.window) < 1:
            raise ConfigError(f"window {self.window[0]}x{self.window[1]} is empty", where="window")
        if not 0 <= self.overlap < min(self.window):
            raise ConfigError(
                f"{self.overlap} pixels do not fit a window of {self.window[0]}x{self.window[1]}",
                where="overlap",
                mend=f"choose 0 to {min(self.window) - 1}",
            )
        if not 0 <= 2 * self.trim <= self.overlap:
            raise ConfigError(
                f"{self.trim} pixels on either side leave gaps when windows overlap by {self.overlap}",
                where="trim",
                mend=f"choose 0 to {self.overlap // 2}, or a larger overlap",
            )
        if self.side < self.LEAST or self.side % self.LEAST:
            raise ConfigError(
                f"{self.side} is not a multiple of {self.LEAST}",
                where="block",
                mend=f"choose {2 * self.LEAST}, for example",
            )

    @cached_property
    def rows(self) -> Axis:
        """The windows along the rows."""
        return Axis(self.height, self.window[0], self.overlap, self.trim)

    @cached_property
    def cols(self) -> Axis:
        """The windows along the columns."""
        return Axis(self.width, self.window[1], self.overlap, self.trim)

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        return math.ceil(self.height / self.side) * math.ceil(self.width / self.side)

    @property
    def window_count(self) -> int:
        """How many different windows there are."""
        return len(self.rows.starts) * len(self.cols.starts)

    @cached_property
    def run_count(self) -> int:
        """How many windows are run, those at the borders of blocks more than once."""
        return _runs(self.rows, self.side) * _runs(self.cols, self.side)

    @property
    def extra(self) -> float:
        """Share of windows computed again because of the halo."""
        return self.run_count / self.window_count - 1.0

    def blocks(self) -> Iterator[Block]:
        """All blocks, row by row."""
        for row in range(0, self.height, self.side):
            for col in range(0, self.width, self.side):
                yield self.block_at(row, col)

    def block_at(self, row: int, col: int) -> Block:
        """The block whose first pixel is there."""
        box = Box(row, col, min(self.side, self.height - row), min(self.side, self.width - col))
        ys = [self.rows.starts[i] for i in self.rows.touching(row, row + box.height)]
        xs = [self.cols.starts[i] for i in self.cols.touching(col, col + box.width)]
        h, w = self.window
        read = Box(ys[0], xs[0], ys[-1] + h - ys[0], xs[-1] + w - xs[0])
        return Block(box, read, tuple(Box(y, x, h, w) for y in ys for x in xs))

    def weights(self, window: Box) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """[H] and [W] of one window: their outer product is its share in every pixel."""
        y, x = self.place(window)
        return self.rows.weights(y), self.cols.weights(x)

    def place(self, window: Box) -> tuple[int, int]:
        """Which window it is along the rows, and along the columns."""
        return bisect_left(self.rows.starts, window.row), bisect_left(self.cols.starts, window.col)

    def block(self, index: int) -> Block:
        """The block of that number, counted row by row."""
        per_row = math.ceil(self.width / self.side)
        return self.block_at(index // per_row * self.side, index % per_row * self.side)

    @property
    def read_pixels(self) -> int:
        """The most pixels that a block reads, its halo included."""
        h, w = self.window
        side_y, side_x = min(self.side, self.height), min(self.side, self.width)
        return (side_y + 2 * h) * (side_x + 2 * w)

    def __str__(self) -> str:
        halo = max(b.halo for b in self._sample())
        h, w = self.window
        return (
            f"{self.height}x{self.width} {self.UNIT}: {counted(self.window_count, f'window of {h}x{w}')} overlapping by "
            f"{self.overlap} (trimmed by {self.trim}), in {counted(self.block_count, f'block of {self.side}')} with a "
            f"halo of up to {halo}: {counted(self.run_count, 'window')} run, {self.extra:.1%} more than there are"
        )

    def _sample(self) -> Iterator[Block]:
        """Blocks whose halo stands for all: the first two of either axis, and the last."""
        rows = range(0, self.height, self.side)
        cols = range(0, self.width, self.side)
        for row in {*rows[:2], rows[-1]}:
            for col in {*cols[:2], cols[-1]}:
                yield self.block_at(row, col)


def _runs(axis: Axis, block: int) -> int:
    return sum(len(axis.touching(low, min(low + block, axis.length))) for low in range(0, axis.length, block))


def make_plan(
    height: int,
    width: int,
    window: tuple[int, int],
    *,
    overlap: int | None = None,
    trim: int = 0,
    block: int | None = None,
) -> Plan:
    """A plan with defaults for what is not stated.

    The default stride is the largest power of two up to three quarters of the window: neighbouring windows
    then overlap by a quarter to a bit over a half, and strides divide blocks, so that block borders cost one
    more window and no fraction. The default block is the smallest multiple of 512 (4096 at most) with 10 % of
    extra windows or fewer in a large scene.

    Raises:
        ConfigError: a number that does not fit the others.
    """
    if overlap is None:
        # Never so far apart that trimming would leave gaps.
        side = max(1, min(min(window) * 3 // 4, min(window) - 2 * trim))
        overlap = min(window) - (1 << (side.bit_length() - 1))
    return Plan(
        height, width, window, overlap, trim, _block_for(window, overlap, trim) if block is None else block
    )


def _block_for(window: tuple[int, int], overlap: int, trim: int) -> int:
    """The default block. It does not depend on the scene, and so neither does the memory a scene takes."""
    for block in range(2 * TILE, LARGEST_BLOCK + 1, 2 * TILE):
        # Eight by eight blocks stand for any large scene.
        if Plan(8 * block, 8 * block, window, overlap, trim, block).extra <= HALO_SHARE:
            break
    return block
