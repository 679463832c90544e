"""Packed records one by one: a few dates of long series, at another pixel size. Nothing but the index is in memory.

`ShardFeed` is the faster way where records are taken as they are packed. `WindowFeed` and `RecordFeed` of these
records give the samples that they give of the same cubes in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from swath.contract import InputContract
from swath.cube import BandStatistics, BoolArray, Cube, CubeBatch, date_features
from swath.errors import InputError
from swath.feed.base import cut_window, too_few_dates
from swath.feed.pixel_size import Step, known_after, step_to, stepped
from swath.feed.shard_feed import kinds_of, known_of
from swath.feed.shard_format import unpack_valid
from swath.feed.shards import Shards

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Kind:
    """What records of one shape, encoding and pixel size have in common."""

    dates: int
    height: int  # after the step, as is the width
    width: int
    bands: tuple[int, ...]  # places of the contract's in the record, those that are there
    index: tuple[int | None, ...]  # per band of the contract
    step: Step
    size: int  # of the packed array


class ShardRecords:
    """Records of sets of shards, one after another, read when they are asked for.

    Args:
        sets: shards, and the numbers of the records to take.
        contract: what they are converted to.
        cube: which one of a record; may be left out if there is only one.
        gsd: pixel size to bring them to, m; 0: their own.
        dates: of a batch, chosen sample by sample of records of that many dates or more; None: all.

    Raises:
        InputError, ContractError: the records do not fit the contract, the pixel size or each other.
    """

    kept = False

    def __init__(
        self,
        sets: Sequence[tuple[Shards, IntArray]],
        contract: InputContract,
        *,
        cube: str = "",
        gsd: float = 0.0,
        dates: int | None = None,
    ) -> None:
        self.sets = tuple(shards for shards, _ in sets)
        self.contract, self.gsd = contract, gsd
        self.names = tuple(shards.only_cube(cube) for shards in self.sets)
        self.bands = tuple(spec.band for spec in contract.bands)
        self._own = contract.normalisation.measured
        self._set = np.concatenate([np.full(len(index), k, np.int32) for k, (_, index) in enumerate(sets)])
        self._record = np.concatenate([index for _, index in sets]).astype(np.int64)
        if not len(self._record):
            raise InputError("no records to feed", mend="choose another split or cube")
        self._kinds: list[_Kind] = []
        kinds = []
        for k, (shards, index) in enumerate(sets):
            first, which = kinds_of(shards, index, self.names[k])
            kinds.append(which.astype(np.int32) + len(self._kinds))
            self._kinds += [self._kind(k, int(index[place])) for place in first.tolist()]
        self._kind_of = np.concatenate(kinds)
        self.dates = self._kinds[int(self._kind_of[0])].dates if dates is None else dates
        for number, kind in enumerate(self._kinds):
            if dates is not None and kind.dates < dates:
                raise too_few_dates(kind.dates, dates, self._first_name(number))
            if dates is None and kind.dates != self.dates:
                raise InputError(
                    f"has {kind.dates} dates, the first record {self.dates}",
                    where=self._first_name(number),
                    mend="feed series of one length, or set data.dates to draw so many of each",
                )
        # Of pixels of another size, found when a record is first asked for: minimum, maximum, mean, std, count.
        other = self._own and any(not kind.step.still for kind in self._kinds)
        self._statistics = np.full((5, len(self._record), len(self.bands)), np.nan) if other else None
        self._measured = np.zeros(len(self._record), np.bool_)
        self._latest: tuple[int, BoolArray] | None = None

    def __len__(self) -> int:
        return len(self._record)

    def frame(self, i: int) -> tuple[int, int, int]:
        """Dates, height and width of a record, at the pixel size asked for."""
        kind = self._kinds[int(self._kind_of[i])]
        return kind.dates, kind.height, kind.width

    def name(self, i: int) -> str:
        """Its id."""
        return self.sets[int(self._set[i])].id(int(self._record[i]))

    def known(self, i: int) -> object:
        """What the index says of it."""
        shards, record, name, _ = self._place(i)
        return known_of(shards, name, record)

    def valid(self, i: int) -> BoolArray:
        """[T,C,H,W] in the contract's bands, at the pixel size asked for."""
        latest = self._latest
        if latest is not None and latest[0] == i:
            return latest[1]
        shards, record, name, kind = self._place(i)
        shape = shards.groups[shards.group_of(record)].cubes[name].pixels.shape
        found: BoolArray
        if int(shards.columns[f"{name}.valid"][record]) == kind.size and kind.step.still:
            whole = np.ones((1, 1, 1, 1), np.bool_)
            found = np.broadcast_to(whole, (shape[0], len(kind.bands), *shape[2:]))
        else:
            bits = shards.array(record, f"{name}.valid").view(np.uint8)
            found = known_after(unpack_valid(bits, shape)[:, list(kind.bands)], kind.step)
        if len(kind.bands) < len(self.bands):
            there = [c for c, j in enumerate(kind.index) if j is not None]
            every = np.zeros((shape[0], len(self.bands), *found.shape[2:]), np.bool_)
            every[:, there] = found
            found = every
        # One tuple, assigned at once: the prefetch thread and the main one never see half of it.
        self._latest = (i, found)
        return found

    def read(self, i: int, window: tuple[int, int, int, int], dates: Sequence[int] | None = None) -> Cube:
        """A window (row, col, height, width) inside a record, of some of its dates (None: all), converted.

        Its statistics are those of the whole record.
        """
        shards, record, name, kind = self._place(i)
        row, col, height, width = window
        cube = shards.cube(record, name)
        top, h = kind.step.source(row, height, cube.shape[2])
        left, w = kind.step.source(col, width, cube.shape[3])
        part = cube.window(top, left, h, w)
        if dates is not None:
            part = part.at_dates(dates)
        part = part.at_bands(kind.bands)
        own = None
        if self._own:
            own = part.statistics if kind.step.still else self._statistics_of(i, cube, kind)
        part = stepped(replace(part, statistics=None), kind.step, self.gsd)
        if kind.step.finer > 1:
            # Whole source pixels were repeated; the window may begin and end within one.
            row, col = row - top * kind.step.finer, col - left * kind.step.finer
            part = part.window(row, col, height, width)
        return self.contract.convert(replace(part, statistics=own))

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
        self._fetch(index)
        pixels = np.zeros((len(index), self.dates, len(self.bands), *size), np.float32)
        valid: BoolArray = np.zeros(pixels.shape, np.bool_)
        days, affine = [], []
        for b, (i, row, col) in enumerate(zip(index, rows, cols, strict=True)):
            _, height, width = self.frame(i)
            inside = (row, col, min(size[0], height - row), min(size[1], width - col))
            cube = self.read(i, inside, None if dates is None else dates[b])
            cut_window(cube.pixels, 0, 0, pixels[b])
            cut_window(cube.valid, 0, 0, valid[b])
            days.append(date_features(cube.dates))
            affine.append(self.contract.affine(cube))
        return CubeBatch(
            pixels=torch.from_numpy(pixels),
            valid=torch.from_numpy(valid),
            bands=self.bands,
            days=torch.from_numpy(np.stack(days)),
            gain=torch.from_numpy(np.stack([gain for gain, _ in affine]).astype(np.float32)),
            bias=torch.from_numpy(np.stack([bias for _, bias in affine]).astype(np.float32)),
            ids=ids,
            target=None if target is None else torch.from_numpy(target),
        )

    def _place(self, i: int) -> tuple[Shards, int, str, _Kind]:
        k = int(self._set[i])
        return self.sets[k], int(self._record[i]), self.names[k], self._kinds[int(self._kind_of[i])]

    def _first_name(self, kind: int) -> str:
        return self.name(int(np.flatnonzero(self._kind_of == kind)[0]))

    def _fetch(self, index: Sequence[int]) -> None:
        for k, shards in enumerate(self.sets):
            here = [int(self._record[i]) for i in index if self._set[i] == k]
            if here:
                shards.fetch(here, [f"{self.names[k]}.pixels", f"{self.names[k]}.valid"])

    def _kind(self, k: int, record: int) -> _Kind:
        """Of a record, whose fit to the contract is checked."""
        cube = self.sets[k].cube(record, self.names[k])
        t, _, height, width = cube.shape
        step = step_to(cube.gsd, self.gsd, cube.source)
        one = stepped(cube.window(0, 0, 1, 1), step, self.gsd)
        conversion = self.contract.conversion(one)
        if self._own:
            self.contract.one_scale(conversion, cube.source)
        bands = tuple(j for j in conversion.index if j is not None)
        return _Kind(t, step.size(height), step.size(width), bands, conversion.index, step, cube.pixels.size)

    def _statistics_of(self, i: int, cube: Cube, kind: _Kind) -> BandStatistics:
        """Of a whole record at the pixel size asked for, in its own numbers and the contract's bands that are there."""
        assert self._statistics is not None
        count = len(kind.bands)
        if not self._measured[i]:
            whole = stepped(cube.at_bands(kind.bands), kind.step, self.gsd).statistics
            assert whole is not None
            self._statistics[:, i, :count] = (
                whole.minimum, whole.maximum, whole.mean, whole.std, whole.count
            )  # fmt: skip
            self._measured[i] = True
        low, high, mean, std, number = (tuple(row[i, :count].tolist()) for row in self._statistics)
        return BandStatistics(low, high, mean, std, tuple(int(n) for n in number))
