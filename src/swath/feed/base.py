"""What every feed offers, and how cubes become batches.

A feed numbers the samples of an endless run: sample n is a pure function of (seed, n). Training at step s
with B samples per step takes numbers s·B … s·B + B - 1, so where a run was stopped, how a step is divided
into accumulated batches, and which rank takes which part change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from swath.bands import Band
from swath.contract import InputContract
from swath.cube import Array, BoolArray, Cube, CubeBatch, date_features
from swath.errors import InputError
from swath.feed.config import IGNORE


@runtime_checkable
class Feed(Protocol):
    """An endless, numbered stream of training samples."""

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples number first … first + count - 1; the same arguments give the same batch."""
        ...


class RecordSource(Protocol):
    """What feeds cut windows from: cubes in memory (`Records`), or packed ones (`swath.feed.shard_records`).

    Attributes:
        dates: of a batch.
        kept: whether the records lie in memory; those that do not are looked at again rather than remembered.
    """

    dates: int
    kept: bool

    def __len__(self) -> int: ...

    def frame(self, i: int) -> tuple[int, int, int]:
        """Dates, height and width of a record."""
        ...

    def name(self, i: int) -> str:
        """Of a record, for ids and messages."""
        ...

    def valid(self, i: int) -> BoolArray:
        """Where a record is valid, [T,C,H,W]."""
        ...

    def known(self, i: int) -> object:
        """What `swath.feed.contents` keeps of a record beside its name."""
        ...

    def batch(
        self,
        index: Sequence[int],
        rows: Sequence[int],
        cols: Sequence[int],
        size: tuple[int, int],
        ids: tuple[str, ...],
        target: npt.NDArray[np.generic] | None,
        dates: Sequence[Sequence[int]] | None = None,
    ) -> CubeBatch:
        """Windows of `size` at (rows, cols) of the records `index`; pixels beyond an edge are invalid.

        `dates` names each sample's dates, as many as `self.dates`; None: all.
        """
        ...


class Records:
    """Cubes that a contract converted, of equal T and C, with what normalises them.

    Args:
        cubes: as `contract.convert` returned them.
        contract: gives the affine normalisation.
        dates: of a batch, chosen sample by sample from cubes of that many dates or more; None: all.
    """

    kept = True

    def __init__(self, cubes: Sequence[Cube], contract: InputContract, dates: int | None = None) -> None:
        if not cubes:
            raise InputError("no cubes to feed", mend="give at least one")
        self.cubes = tuple(cubes)
        self.bands: tuple[Band, ...] = tuple(s.band for s in contract.bands)
        t, c = cubes[0].shape[:2]
        self.dates = t if dates is None else dates
        for cube in cubes:
            if dates is not None and cube.shape[0] < dates:
                raise too_few_dates(cube.shape[0], dates, cube.source)
            if cube.shape[1] != c or (dates is None and cube.shape[0] != t):
                raise InputError(
                    f"has {cube.shape[0]} dates and {cube.shape[1]} bands, the first cube {t} and {c}",
                    where=cube.source,
                    mend="feed series of one length, or set data.dates to draw so many of each",
                )
            if cube.bands != self.bands:
                raise InputError(
                    "its bands are not the contract's",
                    where=cube.source,
                    mend="pass it through contract.convert",
                )
        affine = [contract.affine(cube) for cube in cubes]
        self.gain = np.stack([a[0] for a in affine]).astype(np.float32)
        self.bias = np.stack([a[1] for a in affine]).astype(np.float32)
        self.days = [date_features(cube.dates) for cube in cubes]

    def __len__(self) -> int:
        return len(self.cubes)

    def frame(self, i: int) -> tuple[int, int, int]:
        """Dates, height and width of a cube."""
        t, _, height, width = self.cubes[i].shape
        return t, height, width

    def name(self, i: int) -> str:
        """Its source."""
        return self.cubes[i].source

    def valid(self, i: int) -> BoolArray:
        """[T,C,H,W]."""
        return self.cubes[i].valid

    def known(self, i: int) -> object:
        """Its size, dates, and how many of its pixels are valid."""
        cube = self.cubes[i]
        return cube.shape, tuple(map(str, cube.dates)), int(np.count_nonzero(cube.valid))

    def batch(
        self,
        index: Sequence[int],
        rows: Sequence[int],
        cols: Sequence[int],
        size: tuple[int, int],
        ids: tuple[str, ...],
        target: npt.NDArray[np.generic] | None,
        dates: Sequence[Sequence[int]] | None = None,
    ) -> CubeBatch:
        """As `RecordSource.batch` says."""
        pixels = np.zeros((len(index), self.dates, len(self.bands), *size), np.float32)
        valid: BoolArray = np.zeros(pixels.shape, np.bool_)
        # One copy per sample: the rows of a window are contiguous, so this runs at the speed of memory;
        # fancy indexing over all samples at once does not beat it.
        for b, (i, row, col) in enumerate(zip(index, rows, cols, strict=True)):
            cube = self.cubes[i]
            if dates is None:
                cut_window(cube.pixels, row, col, pixels[b])
                cut_window(cube.valid, row, col, valid[b])
            else:
                for place, t in enumerate(dates[b]):
                    cut_window(cube.pixels[t], row, col, pixels[b, place])
                    cut_window(cube.valid[t], row, col, valid[b, place])
        chosen = np.asarray(index)
        days = [self.days[i] if dates is None else self.days[i][list(dates[b])] for b, i in enumerate(index)]
        return CubeBatch(
            pixels=torch.from_numpy(pixels),
            valid=torch.from_numpy(valid),
            bands=self.bands,
            days=torch.from_numpy(np.stack(days)),
            gain=torch.from_numpy(self.gain[chosen]),
            bias=torch.from_numpy(self.bias[chosen]),
            ids=ids,
            target=None if target is None else torch.from_numpy(target),
        )


def too_few_dates(has: int, wanted: int, where: str) -> InputError:
    """The error of a series that is shorter than a sample."""
    return InputError(
        f"has {has} dates, and {wanted} are asked for",
        where=where,
        mend="ask for fewer dates, or give longer series",
    )


def cut_window(source: Array | BoolArray, row: int, col: int, out: npt.NDArray[np.generic]) -> None:
    """Copies what lies inside `source` [...,H,W] of a window into `out` [...,h,w]; leaves the rest."""
    (height, width), (h, w) = source.shape[-2:], out.shape[-2:]
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + h, height), min(col + w, width)
    if top < bottom and left < right:
        out[..., top - row : bottom - row, left - col : right - col] = source[..., top:bottom, left:right]


def unknown_target(like: npt.NDArray[np.generic], shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """Unknown classes (IGNORE, int64) or unknown numbers (NaN, float32), whichever `like` holds."""
    if like.dtype.kind == "f":
        return np.full(shape, np.nan, np.float32)
    return np.full(shape, IGNORE, np.int64)


def window_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """(H, W) from one number or two."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"a window of {height}x{width} pixels is empty", mend="give a size of at least 1")
    return height, width


def check_raster(
    name: str,
    raster: npt.NDArray[np.generic] | None,
    records: RecordSource,
    i: int,
    *,
    dated: bool = False,
) -> None:
    """Raises InputError if a raster beside a record is not [H,W] of it, or [T,H,W] where that may be (`dated`)."""
    dates, height, width = records.frame(i)
    if raster is None or raster.shape == (height, width):
        return
    if not dated or raster.shape != (dates, height, width):
        of_dates = f"{dates}x" if dated and raster.ndim == 3 else ""
        raise InputError(
            f"{name} are {'x'.join(map(str, raster.shape))}, the pixels {of_dates}{height}x{width}",
            where=records.name(i),
            mend=f"read the {name} on the grid of the pixels",
        )


__all__ = [
    "IGNORE",
    "Feed",
    "RecordSource",
    "Records",
    "check_raster",
    "cut_window",
    "too_few_dates",
    "unknown_target",
    "window_size",
]
