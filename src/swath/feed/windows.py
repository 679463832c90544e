"""Windows at random positions of scenes, and crops of records, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from swath.contract import InputContract
from swath.cube import BoolArray, Cube, CubeBatch
from swath.errors import InputError
from swath.feed.base import (
    IGNORE,
    Records,
    RecordSource,
    check_raster,
    cut_window,
    unknown_target,
    window_size,
)
from swath.feed.contents import Contents, known_labels
from swath.feed.dates import draw_dates, good_dates, valid_counts
from swath.rng import derive, numpy_generator

Labels = npt.NDArray[np.number[Any]]
R = TypeVar("R", bound=npt.NDArray[np.generic])
_Starts = npt.NDArray[np.integer] | range
# Where windows of packed records may begin takes at most this much memory.
_BITS = 256 * 2**20


def window_sums(values: npt.NDArray[np.generic], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The sum over every window that lies inside: [H,W] -> [H-h+1, W-w+1], by an integral image."""
    h, w = size
    integral = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    integral[1:, 1:] = np.cumsum(np.cumsum(values, 0, dtype=np.float64), 1)
    return integral[h:, w:] - integral[:-h, w:] - integral[h:, :-w] + integral[:-h, :-w]


def known(labels: npt.NDArray[np.generic]) -> BoolArray:
    """Where there is a label: no class is IGNORE, no number NaN."""
    found: BoolArray = np.isfinite(labels) if labels.dtype.kind == "f" else labels != IGNORE
    return found


class WindowFeed:
    """Windows drawn evenly from all positions that are allowed.

    Sample n is a pure function of (seed, n): see `swath.feed.base`. With `dates` it takes that many dates,
    drawn anew for each sample, in time order: evenly among those whose share of valid pixels in the window,
    over its bands, is at least `min_valid`. Windows that have fewer such dates are not drawn.

    Args:
        cubes: scenes as `contract.convert` returned them, of equal C and (without `dates`) T, any H and W
            not below the window; or a `RecordSource` that was made for as many `dates`, without labels.
        contract: gives the normalisation of cubes.
        size: (h, w) of a window, or one number for both.
        seed: of all draws.
        labels: per cube, int [H,W] with IGNORE (-1) where unknown, or real numbers with NaN; or None. Or, for all
            cubes alike, those of each date [T,H,W], of which a sample has the dates that it takes.
        allowed: per cube, bool [H,W] or None; a window lies wholly inside.
        min_valid: least share of valid pixels in a window, over its dates and bands; with `dates`, in each
            date that is taken.
        need_label: draw only windows with at least one labelled pixel; of labels of each date, on one of the dates that
            are taken.
        dates: how many dates a sample takes of its series; None: all.

    Attributes:
        undrawn: how many cubes have no window that is allowed, and are never drawn.

    Raises:
        InputError: something does not fit, or no window is left.
    """

    def __init__(
        self,
        cubes: Sequence[Cube] | RecordSource,
        contract: InputContract,
        size: int | tuple[int, int],
        *,
        seed: int = 0,
        labels: Sequence[Labels | None] | None = None,
        allowed: Sequence[BoolArray | None] | None = None,
        min_valid: float = 0.0,
        need_label: bool = False,
        dates: int | None = None,
    ) -> None:
        if dates is not None and dates < 1:
            raise InputError(f"{dates} dates are asked for", mend="ask for 1 or more")
        self.records = _records(cubes, contract, dates)
        self.dates = dates
        self.min_valid = min_valid
        self.size = window_size(size)
        self.seed = seed
        self.labels = _per_cube("labels", labels, self.records, dated=True)
        if len({x.ndim for x in self.labels if x is not None}) > 1:
            raise InputError("some labels are of each date, others of all", mend="give labels of one kind")
        self._areas = _per_cube("allowed areas", allowed, self.records)
        self._need_label = need_label
        if need_label and all(x is None for x in self.labels):
            raise InputError("windows must hold a label, but there are no labels", mend="give labels")
        self._kept: list[_Starts | bytes | None] = []
        counts, room = [], _BITS
        for i in range(len(self.records)):
            starts = self._legal_starts(i)
            counts.append(len(starts))
            kept: _Starts | bytes | None = starts
            # A range takes no memory. Others of records that are not in memory are kept as bits while there is room,
            # and beyond it found again.
            if not self.records.kept and not isinstance(starts, range):
                bits = _bits(starts)
                kept = bits if len(bits) <= room else None
                room -= 0 if kept is None else len(bits)
            self._kept.append(kept)
        self.undrawn = counts.count(0)
        self._ends = np.cumsum(counts)
        if self._ends[-1] == 0:
            raise InputError(
                f"no window of {self.size[0]}x{self.size[1]} pixels fits the allowed area, its valid pixels "
                "and its labels" + ("" if dates is None else f", on {dates} dates"),
                where=self.records.name(0),
                mend="take a smaller window, a larger area or a lower share of valid pixels"
                + ("" if dates is None else ", or fewer dates"),
            )

    def __len__(self) -> int:
        """How many positions there are."""
        return int(self._ends[-1])

    def contents(self) -> tuple[Contents, ...]:
        """See `swath.feed.contents`; a record is known by its windows too."""
        counts = np.diff(self._ends, prepend=0).tolist()
        return (
            Contents.of(
                (self.records.name(i), (self.records.known(i), counts[i], known_labels(self.labels[i])))
                for i in range(len(self.records))
            ),
        )

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples number first … first + count - 1. Target [B,h,w] (or [B,T,h,w]) int64 or float32, if there are
        labels.
        """
        index, rows, cols = [], [], []
        chosen: list[list[int]] = []
        for n in range(first, first + count):
            position = int(numpy_generator(self.seed, "window", n).integers(len(self)))
            i = int(np.searchsorted(self._ends, position, side="right"))
            start = int(self._starts(i)[position - (int(self._ends[i - 1]) if i else 0)])
            # Starts are numbered over the corners of windows that lie inside.
            row, col = divmod(start, self.records.frame(i)[2] - self.size[1] + 1)
            index.append(i)
            rows.append(row)
            cols.append(col)
            if self.dates is not None:
                chosen.append(self._draw_dates(n, i, row, col, self.dates))
        ids = tuple(f"{self.records.name(i)}@{r},{c}" for i, r, c in zip(index, rows, cols, strict=True))
        if chosen:
            ids = tuple(f"{name}@{','.join(map(str, d))}" for name, d in zip(ids, chosen, strict=True))
        target = None
        like = next((x for x in self.labels if x is not None), None)
        if like is not None:
            axes = () if like.ndim == 2 else (self.records.dates,)
            target = unknown_target(like, (count, *axes, *self.size))
            for b, (i, row, col) in enumerate(zip(index, rows, cols, strict=True)):
                label = self.labels[i]
                if label is not None:
                    taken = label[chosen[b]] if chosen and label.ndim == 3 else label
                    cut_window(taken, row, col, target[b])
        return self.records.batch(index, rows, cols, self.size, ids, target, chosen or None)

    def _draw_dates(self, n: int, i: int, row: int, col: int, count: int) -> list[int]:
        valid = self.records.valid(i)[:, :, row : row + self.size[0], col : col + self.size[1]]
        good = good_dates(valid_counts(valid), valid[0].size, self.min_valid)
        label = self.labels[i]
        wanted = None
        if self._need_label and label is not None and label.ndim == 3:
            window = label[:, row : row + self.size[0], col : col + self.size[1]]
            wanted = good & np.any(known(window), axis=(1, 2))
        return draw_dates(numpy_generator(self.seed, "dates", n), good, count, wanted)

    def _starts(self, i: int) -> _Starts:
        kept = self._kept[i]
        if kept is None:
            return self._legal_starts(i)
        if isinstance(kept, bytes):
            return np.flatnonzero(np.unpackbits(np.frombuffer(kept, np.uint8)))
        return kept

    def _legal_starts(self, i: int) -> _Starts:
        """Where windows of a record may begin, in the order of rows and columns; a range: anywhere."""
        label, area, min_valid = self.labels[i], self._areas[i], self.min_valid
        _, height, width = self.records.frame(i)
        h, w = self.size
        if height < h or width < w:
            return range(0)
        rows, cols = height - h + 1, width - w + 1
        legal = np.ones((rows, cols), np.bool_)
        if area is not None:
            # Sums of booleans are exact in float64.
            legal &= window_sums(area, self.size) == h * w
        dated = label is not None and label.ndim == 3 and self.dates is not None
        if self.dates is not None and (min_valid > 0 or (dated and self._need_label)):
            # Date by date: the sums of a long series at once would not fit memory where the series does.
            enough, labelled = np.zeros((rows, cols), np.int32), np.zeros((rows, cols), np.bool_)
            for t, valid in enumerate(self.records.valid(i)):
                counts = window_sums(valid.sum(0), self.size)
                good = good_dates(counts, valid.shape[0] * h * w, min_valid)
                enough += good
                if dated and label is not None and self._need_label:
                    labelled |= good & (window_sums(known(label[t]), self.size) > 0)
            legal &= enough >= self.dates
            if dated and self._need_label:
                legal &= labelled
        elif min_valid > 0:
            share = self.records.valid(i).mean((0, 1), dtype=np.float64)
            # A rounding error of the sums must not refuse windows that are valid throughout.
            legal &= window_sums(share, self.size) >= min_valid * h * w - 1e-6
        if self._need_label and not dated:
            there = None if label is None else np.any(known(label).reshape(-1, height, width), axis=0)
            legal &= np.zeros_like(legal) if there is None else window_sums(np.asarray(there), self.size) > 0
        if legal.all():
            return range(rows * cols)
        # 4 bytes per position while they suffice: a Sentinel-2 tile has 120 million.
        kind = np.int32 if rows * cols < 2**31 else np.int64
        return np.flatnonzero(legal).astype(kind)


class RecordFeed:
    """Small records of fixed places (such as BigEarthNet patches), each once per epoch in a shuffled order.

    Args:
        cubes: as `contract.convert` returned them, of equal T and C; or a `RecordSource`, without targets.
        contract: gives the normalisation of cubes.
        size: random crop (h, w) or one number; None: whole records, which must then be of one size.
        seed: of all draws.
        targets: per cube: a number, a vector [K], or [H,W] of classes with IGNORE (-1) or of real numbers with NaN
            where unknown, of each date [T,H,W], or [K,H,W] of K quantities; all alike; or None.
        pad: fill records below the size up with invalid pixels and unknown targets, at their lower and right edge.

    Sample n is a pure function of (seed, n): epoch n // len(cubes) has its own order.
    """

    def __init__(
        self,
        cubes: Sequence[Cube] | RecordSource,
        contract: InputContract,
        size: int | tuple[int, int] | None = None,
        *,
        seed: int = 0,
        targets: Sequence[npt.ArrayLike] | None = None,
        pad: bool = False,
    ) -> None:
        self.records = _records(cubes, contract, None)
        self.seed = seed
        self.size = self.records.frame(0)[1:] if size is None else window_size(size)
        for i in range(len(self.records)):
            h, w = self.records.frame(i)[1:]
            small = not pad and (h < self.size[0] or w < self.size[1])
            if small or (size is None and (h, w) != self.size):
                raise InputError(
                    f"is {h}x{w} pixels, not {self.size[0]}x{self.size[1]}",
                    where=self.records.name(i),
                    mend="give a crop size that fits every record",
                )
        self.targets = None if targets is None else [np.asarray(t) for t in targets]
        if self.targets is not None:
            if len(self.targets) != len(self.records):
                raise InputError(f"{len(self.targets)} targets are given for {len(self.records)} records")
            self._check_targets(self.targets)
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.records)

    def contents(self) -> tuple[Contents, ...]:
        """See `swath.feed.contents`."""
        targets = self.targets
        return (
            Contents.of(
                (
                    self.records.name(i),
                    (self.records.known(i), known_labels(None if targets is None else targets[i])),
                )
                for i in range(len(self))
            ),
        )

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples number first … first + count - 1. Target [B], [B,K] or [B,…,h,w], if given."""
        index, rows, cols = [], [], []
        for n in range(first, first + count):
            i = self._record(n)
            h, w = self.records.frame(i)[1:]
            draw = numpy_generator(self.seed, "crop", n)
            index.append(i)
            rows.append(int(draw.integers(max(h - self.size[0], 0) + 1)))
            cols.append(int(draw.integers(max(w - self.size[1], 0) + 1)))
        ids = tuple(self.records.name(i) for i in index)
        return self.records.batch(index, rows, cols, self.size, ids, self._target(index, rows, cols))

    def _check_targets(self, targets: Sequence[npt.NDArray[np.generic]]) -> None:
        """All must be of one form, and rasters of their records' size."""
        first = targets[0]
        for i, target in enumerate(targets):
            if target.ndim != first.ndim or (first.ndim >= 2 and target.shape[:-2] != first.shape[:-2]):
                raise InputError(
                    f"its target is {list(target.shape)}, that of {self.records.name(0)} {list(first.shape)}",
                    where=self.records.name(i),
                    mend="give targets of one form",
                )
            if first.ndim >= 2:
                check_raster("labels", target[(0,) * (target.ndim - 2)], self.records, i)

    def _record(self, n: int) -> int:
        epoch, place = divmod(n, len(self))
        cached, order = self._order
        if cached != epoch:
            order = np.random.default_rng(derive(self.seed, "order", epoch)).permutation(len(self))
            # One tuple, assigned at once: the prefetch thread and the main one never see half of it.
            self._order = (epoch, order)
        return int(order[place])

    def _target(self, index: list[int], rows: list[int], cols: list[int]) -> npt.NDArray[np.generic] | None:
        if self.targets is None:
            return None
        if self.targets[0].ndim >= 2:
            axes = self.targets[0].shape[:-2]
            target = unknown_target(self.targets[0], (len(index), *axes, *self.size))
            for b, (i, row, col) in enumerate(zip(index, rows, cols, strict=True)):
                cut_window(self.targets[i], row, col, target[b])
            return target
        stacked = np.stack([self.targets[i] for i in index])
        return stacked.astype(np.int64 if stacked.dtype.kind in "iub" else np.float32)


def _bits(starts: npt.NDArray[np.integer]) -> bytes:
    flags = np.zeros(int(starts[-1]) + 1 if len(starts) else 0, np.bool_)
    flags[starts] = True
    return np.packbits(flags).tobytes()


def _records(
    cubes: Sequence[Cube] | RecordSource, contract: InputContract, dates: int | None
) -> RecordSource:
    return Records(cubes, contract, dates) if isinstance(cubes, Sequence) else cubes


def _per_cube(
    name: str, given: Sequence[R | None] | None, records: RecordSource, *, dated: bool = False
) -> list[R | None]:
    if given is None:
        return [None] * len(records)
    if len(given) != len(records):
        raise InputError(f"{len(given)} {name} are given for {len(records)} cubes", mend="give one per cube")
    for i, raster in enumerate(given):
        check_raster(name, raster, records, i, dated=dated)
    return list(given)
