"""Samples from shards, in the order and with the crops of `RecordFeed`, without having them in memory.

A sample is copied once, from the memory map to the batch, by one thread of the process (`StepLoader`, `read_ahead`);
numpy lets go of the interpreter lock while it copies. On a GPU `take_stored` leaves out the conversion, which is
then done there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from swath.contract import Conversion, InputContract, gain_and_bias
from swath.cube import Array, BoolArray, CubeBatch
from swath.errors import InputError
from swath.feed.base import window_size
from swath.feed.buffers import Buffers
from swath.feed.contents import Contents
from swath.feed.shard_format import ArraySpec, CubeSpec, unpack_valid
from swath.feed.shards import Shards
from swath.feed.stored import StoredBatch
from swath.rng import derive, numpy_generator

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Crop = tuple[int, int, int]
"""A record, and row and column of the crop in it."""


@runtime_checkable
class StoredFeed(Protocol):
    """A feed that can leave the conversion to the device."""

    def take_stored(self, first: int, count: int) -> StoredBatch:
        """What `take` gives, before its conversion."""
        ...


class Order:
    """`count` things, each once per epoch, in an order of the epoch's own; the same for all workers and ranks."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._now: tuple[int, IntArray] = (-1, np.zeros(0, np.int64))

    def place(self, number: int) -> int:
        """Which of them sample `number` of the run is."""
        epoch, place = divmod(number, self.count)
        known, order = self._now
        if known != epoch:
            order = np.random.default_rng(derive(self.seed, "order", epoch)).permutation(self.count)
            # One tuple, assigned at once: the prefetch thread and the main one never see half of it.
            self._now = (epoch, order)
        return int(order[place])


@dataclass(frozen=True, eq=False)
class _How:
    """How the records of one kind become the contract's."""

    conversion: Conversion
    bands: tuple[tuple[int, int], ...]  # (place in the contract, place in the record) of those that are there
    in_order: bool  # the record's bands are the contract's, all of them
    exact: bool  # and stored numbers are the contract's


class ShardFeed:
    """Records of shards, each once per epoch in a shuffled order, as a contract wants them.

    Sample n is a pure function of (seed, n): epoch n // len(feed) has its own order. Records of weight 0 are in
    the order too, wholly invalid.

    Args:
        shards: opened.
        contract: what the batches are converted to, exactly as `contract.convert` converts cubes.
        size: random crop (h, w) or one number; None: whole records, which must then be of one size.
        seed: of order and crops.
        cube: which one of a record; may be left out if there is only one.
        split: official part to take; None: all.
        index: numbers of the records to take, in place of a split.
        targets: give the records' targets with the batches.
        pinned: for copies to a GPU that do not wait.

    Raises:
        InputError, ContractError: the records do not fit the contract, the size or each other.
    """

    def __init__(
        self,
        shards: Shards,
        contract: InputContract,
        size: int | tuple[int, int] | None = None,
        *,
        seed: int = 0,
        cube: str = "",
        split: str | None = None,
        index: Sequence[int] | IntArray | None = None,
        targets: bool = True,
        pinned: bool = False,
    ) -> None:
        self.shards, self.contract, self.seed = shards, contract, seed
        self.cube = shards.only_cube(cube)
        chosen = shards.select(split=split, cube=self.cube) if index is None else np.asarray(index, np.int64)
        if not len(chosen):
            raise InputError("no records to feed", where=shards.where, mend="choose another split or cube")
        self.index = chosen
        self.bands = tuple(s.band for s in contract.bands)
        self.buffers = Buffers(pinned=pinned)
        groups: list[int] = np.unique(shards.columns["shape_group"][chosen]).tolist()
        self.dates, _, height, width = shards.groups[groups[0]].cubes[self.cube].pixels.shape
        self.size = (height, width) if size is None else window_size(size)
        self._has_targets = targets
        self._check_frames(groups, whole=size is None)
        self._valid_counts: list[int] = shards.columns[f"{self.cube}.valid"].tolist()
        self._conversions(chosen)
        self.order = Order(len(chosen), seed)

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.index)

    def contents(self) -> tuple[Contents, ...]:
        """See `swath.feed.contents`."""
        return (
            Contents.of(
                (self.shards.id(i), known_of(self.shards, self.cube, i)) for i in self.index.tolist()
            ),
        )

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples number first … first + count - 1, converted. Target [B], [B,K] or [B,h,w], if there are any."""
        return self.batch(self._places(first, count))

    def batch(self, places: Sequence[Crop]) -> CubeBatch:
        """Crops of records, converted."""
        self._fetch(places)
        shape = (len(places), self.dates, len(self.bands), *self.size)
        pixels = self.buffers.array(shape, np.float32)
        valid = self.buffers.array(shape, np.bool_)
        exact = np.empty(self.size, np.float64)
        for b, (i, row, col) in enumerate(places):
            how = self._how(i)
            self._copy_valid(valid[b], i, row, col)
            stored = self._stored(i, row, col)
            if how.exact and len(how.bands) == len(self.bands):
                _copy(pixels[b], stored, how)
                if stored.dtype.kind == "f":
                    pixels[b] += 0.0  # makes 0 of -0.0, as the contract's arithmetic does
            else:
                pixels[b] = 0
                for c, j in how.bands:
                    for t in range(self.dates):
                        np.multiply(stored[t, j], how.conversion.scale[t, c], out=exact, casting="unsafe")
                        exact += how.conversion.offset[t, c]
                        pixels[b, t, c] = exact
            if not self._wholly_valid(i, how):
                np.copyto(pixels[b], 0, where=~valid[b])
        return CubeBatch(torch.from_numpy(pixels), torch.from_numpy(valid), **self._beside(places))

    def take_stored(self, first: int, count: int) -> StoredBatch:
        """The same samples as they are stored: `.to(device)` makes of them what `take` gives."""
        places = self._places(first, count)
        self._fetch(places)
        hows = [self._how(i) for i, _, _ in places]
        kinds = {self._spec(i).pixels.dtype for i, _, _ in places}
        if len(kinds) > 1 or any(len(how.bands) < len(self.bands) for how in hows):
            # Bands are missing here and there, or dtypes differ: rare, and not worth another way.
            batch = self.batch(places)
            return StoredBatch(batch.pixels, batch.valid, None, None, **self._beside(places))
        shape = (count, self.dates, len(self.bands), *self.size)
        pixels = self.buffers.array(shape, kinds.pop())
        packed = all(
            how.in_order and self._spec(i).pixels.shape == shape[1:]
            for how, (i, _, _) in zip(hows, places, strict=True)
        )
        valid = (
            self.buffers.array((count, self._spec(places[0][0]).valid.shape[0]), np.uint8)
            if packed
            else self.buffers.array(shape, np.bool_)
        )
        for b, (i, row, col) in enumerate(places):
            _copy(pixels[b], self._stored(i, row, col), hows[b])
            if packed:
                valid[b] = self.shards.array(i, f"{self.cube}.valid")
            else:
                self._copy_valid(valid[b], i, row, col)
        exact = all(how.exact for how in hows)
        return StoredBatch(
            torch.from_numpy(pixels),
            torch.from_numpy(valid),
            None if exact else torch.from_numpy(np.stack([how.conversion.scale for how in hows])),
            None if exact else torch.from_numpy(np.stack([how.conversion.offset for how in hows])),
            **self._beside(places),
        )

    def crop(self, record: int, number: int) -> Crop:
        """What sample `number` of a run takes of a record."""
        height, width = self._spec(record).pixels.shape[2:]
        h, w = self.size
        if (height, width) == (h, w):
            return record, 0, 0
        draw = numpy_generator(self.seed, "crop", number)
        return record, int(draw.integers(height - h + 1)), int(draw.integers(width - w + 1))

    def _places(self, first: int, count: int) -> list[Crop]:
        numbers = range(first, first + count)
        return [self.crop(int(self.index[self.order.place(n)]), n) for n in numbers]

    def _fetch(self, places: Sequence[Crop]) -> None:
        wanted = [f"{self.cube}.pixels", f"{self.cube}.valid"] + ["target"] * self._has_targets
        self.shards.fetch([i for i, _, _ in places], wanted)

    def _spec(self, i: int) -> CubeSpec:
        return self.shards.groups[self.shards.group_of(i)].cubes[self.cube]

    def _how(self, i: int) -> _How:
        return self._hows[int(self._how_of[i])]

    def _stored(self, i: int, row: int, col: int) -> Array:
        stored = self.shards.array(i, f"{self.cube}.pixels")
        cut: Array = stored[..., row : row + self.size[0], col : col + self.size[1]]
        return cut

    def _wholly_valid(self, i: int, how: _How) -> bool:
        all_there = len(how.bands) == len(self.bands)
        return all_there and self._valid_counts[i] == math.prod(self._spec(i).pixels.shape)

    def _copy_valid(self, out: BoolArray, i: int, row: int, col: int) -> None:
        how = self._how(i)
        if self._wholly_valid(i, how):
            out[:] = True
            return
        packed = self.shards.array(i, f"{self.cube}.valid").view(np.uint8)
        whole = unpack_valid(packed, self._spec(i).pixels.shape)
        if len(how.bands) < len(self.bands):
            out[:] = False
        _copy(out, whole[..., row : row + self.size[0], col : col + self.size[1]], how)

    def _beside(self, places: Sequence[Crop]) -> dict[str, Any]:
        """Everything of a batch but its pixels."""
        records = [i for i, _, _ in places]
        gain, bias = self._affine(records)
        return {
            "bands": self.bands,
            "days": torch.from_numpy(self.shards.days(records, self.cube)),
            "gain": torch.from_numpy(gain.astype(np.float32)),
            "bias": torch.from_numpy(bias.astype(np.float32)),
            "ids": self.shards.ids(records),
            "target": self._targets(places),
        }

    def _affine(self, records: Sequence[int]) -> tuple[Floats, Floats]:
        """Gain and bias [B,C], as `contract.affine` gives them record by record."""
        norm, count = self.contract.normalisation, len(self.bands)
        if not norm.measured:
            gain, bias = norm.affine(count, None)
            return np.tile(gain, (len(records), 1)), np.tile(bias, (len(records), 1))
        low, high, mean, std = (np.full((len(records), count), np.nan) for _ in range(4))
        kinds = self._how_of[records]
        for kind in np.unique(kinds).tolist():
            here, how = np.flatnonzero(kinds == kind), self._hows[kind]
            places, stored = (list(x) for x in zip(*how.bands, strict=True))
            scale, offset = how.conversion.scale[0, places], how.conversion.offset[0, places]
            rows = np.asarray(records)[here]
            first, last, middle, spread = (
                self.shards.columns[f"{self.cube}.{key}"][np.ix_(rows, stored)].astype(np.float64)
                for key in ("minimum", "maximum", "mean", "std")
            )
            ends = first * scale + offset, last * scale + offset
            there = np.ix_(here, places)
            low[there], high[there] = np.minimum(*ends), np.maximum(*ends)
            mean[there], std[there] = middle * scale + offset, spread * np.abs(scale)
        if norm.kind == "standard":
            return gain_and_bias(mean, std, norm.eps)
        return gain_and_bias(low, high - low, norm.eps)

    def _targets(self, places: Sequence[Crop]) -> torch.Tensor | None:
        if not self._has_targets:
            return None
        found = []
        for i, row, col in places:
            target = self.shards.array(i, "target")
            if target.ndim >= 2 and target.shape[-2:] == self._spec(i).pixels.shape[2:]:
                target = target[..., row : row + self.size[0], col : col + self.size[1]]
            found.append(target)
        stacked = np.stack(found)
        return torch.from_numpy(stacked.astype(np.int64 if stacked.dtype.kind in "iub" else np.float32))

    def _check_frames(self, groups: Sequence[int], whole: bool) -> None:
        """All records must be cut to one size, with as many dates, and targets of one form."""
        for g in groups:
            t, _, height, width = self.shards.groups[g].cubes[self.cube].pixels.shape
            if t != self.dates:
                raise InputError(
                    f"holds records of {self.dates} and of {t} dates",
                    where=self.shards.where,
                    mend="feed those of one number of dates: choose by index",
                )
            h, w = self.size
            if height < h or width < w or (whole and (height, width) != (h, w)):
                raise InputError(
                    f"holds records of {height}x{width} pixels, not {h}x{w}",
                    where=self.shards.where,
                    mend="give a crop size that fits every record",
                )
        targets = {
            _form(self.shards.groups[g].target, self.shards.groups[g].cubes[self.cube]) for g in groups
        }
        if len(targets) > 1:
            raise InputError(
                "holds records with targets of several forms",
                where=self.shards.where,
                mend="feed those of one form: choose by index",
            )
        self._has_targets = self._has_targets and targets != {None}

    def _conversions(self, chosen: IntArray) -> None:
        """One conversion for all records of equal group, encodings and pixel size, from the first of them."""
        first, which = kinds_of(self.shards, chosen, self.cube)
        self._how_of = np.full(len(self.shards), -1, np.int32)
        self._how_of[chosen] = which
        self._hows: list[_How] = []
        for place in first.tolist():
            cube = self.shards.cube(int(chosen[place]), self.cube).window(0, 0, *self.size)
            conversion = self.contract.conversion(cube)
            norm = self.contract.normalisation
            if norm.measured:
                self.contract.one_scale(conversion, cube.source)
            bands = tuple((c, j) for c, j in enumerate(conversion.index) if j is not None)
            in_order = conversion.index == tuple(range(cube.shape[1]))
            # Whole numbers of 64 bits are rounded on their way through float64.
            exact = bool((conversion.scale == 1).all() and (conversion.offset == 0).all()) and not (
                cube.pixels.dtype.kind in "iu" and cube.pixels.dtype.itemsize == 8
            )
            self._hows.append(_How(conversion, bands, in_order, exact))


def known_of(shards: Shards, cube: str, record: int) -> object:
    """What the index says of a record's pixels: size, dates, valid ones, the least and largest of each band."""
    shape = shards.groups[shards.group_of(record)].cubes[cube].pixels.shape
    own = [shards.columns[f"{cube}.{name}"][record] for name in ("dates", "valid", "minimum", "maximum")]
    return shape, *(np.asarray(value).tobytes() for value in own)


def kinds_of(shards: Shards, chosen: IntArray, cube: str) -> tuple[IntArray, IntArray]:
    """Records of equal group, encodings and pixel size: where the first of each kind is, and the kind of each."""
    columns = shards.columns
    sizes = np.unique(columns[f"{cube}.gsd"][chosen], return_inverse=True)[1]
    kinds = np.stack(
        [columns["shape_group"][chosen], columns[f"{cube}.encoding"][chosen], sizes.reshape(-1)], 1
    )
    _, first, which = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def _copy(out: npt.NDArray[Any], stored: npt.NDArray[Any], how: _How) -> None:
    """Bands of [T,C,h,w] to where the contract has them, in one go if they are there already."""
    if how.in_order:
        np.copyto(out, stored, casting="unsafe")
        return
    for c, j in how.bands:
        np.copyto(out[:, c], stored[:, j], casting="unsafe")


def _form(target: ArraySpec | None, cube: CubeSpec) -> tuple[str, tuple[int, ...]] | None:
    """What targets must share to be stacked: a raster of the pixels' size is cut with them."""
    if target is None:
        return None
    raster = len(target.shape) >= 2 and target.shape[-2:] == cube.pixels.shape[2:]
    return np.dtype(target.dtype).kind, (*target.shape[:-2], -1, -1) if raster else target.shape
