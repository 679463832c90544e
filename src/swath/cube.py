"""What flows through swath: a Cube of pixels with its validity, bands, dates and place (design §3).

Shapes: T dates, C bands, H rows, W columns, B batch.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from swath.bands import Band
from swath.errors import InputError
from swath.words import counted

Unit = Literal["dn", "reflectance", "decibel", "kelvin"]
UNITS: tuple[Unit, ...] = ("dn", "reflectance", "decibel", "kelvin")
Array = npt.NDArray[np.generic]
BoolArray = npt.NDArray[np.bool_]
Row = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Encoding:
    """How stored numbers become physical ones: `physical = stored * scale + offset`, in `unit`.

    "dn" is an uncalibrated digital number: nothing but the same digital number can be made of it.
    """

    unit: Unit
    scale: float = 1.0
    offset: float = 0.0
    level: str | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise InputError(f"unknown unit '{self.unit}'", mend=f"use one of {', '.join(UNITS)}")
        if not (np.isfinite(self.scale) and np.isfinite(self.offset)) or self.scale == 0:
            raise InputError(
                f"scale {self.scale} and offset {self.offset} must be finite and the scale not 0",
                mend="correct the file's scale/offset tags or state them",
            )


@dataclass(frozen=True)
class Place:
    """Where: longitude and latitude in degrees (WGS 84), altitude in m or unknown."""

    lon: float
    lat: float
    altitude: float | None = None


@dataclass(frozen=True)
class Grid:
    """A georeferenced pixel grid with plain values, so that nothing above needs a geospatial library.

    Attributes:
        crs: the coordinate reference system as "EPSG:32119" or WKT; empty when unknown.
        transform: (a, b, c, d, e, f): x = a*col + b*row + c, y = d*col + e*row + f, of pixel corners.
        height, width: pixels.
    """

    crs: str
    transform: Row
    height: int
    width: int

    def xy(self, row: float, col: float) -> tuple[float, float]:
        """Map coordinates of a pixel corner (add 0.5 for centres)."""
        a, b, c, d, e, f = self.transform
        return a * col + b * row + c, d * col + e * row + f

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """The grid of a window, which may reach beyond this one's edges."""
        a, b, _, d, e, _ = self.transform
        x, y = self.xy(row, col)
        return Grid(self.crs, (a, b, x, d, e, y), height, width)


@dataclass(frozen=True)
class BandStatistics:
    """Per band, over valid pixels of a whole record or scene, before any crop; an empty band has count 0."""

    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    count: tuple[int, ...]

    def take(self, index: Sequence[int]) -> BandStatistics:
        """The statistics of some bands, in that order."""
        return BandStatistics(
            tuple(self.minimum[i] for i in index),
            tuple(self.maximum[i] for i in index),
            tuple(self.mean[i] for i in index),
            tuple(self.std[i] for i in index),
            tuple(self.count[i] for i in index),
        )


def band_statistics(pixels: Array, valid: BoolArray) -> BandStatistics:
    """Per band of pixels [T,C,H,W], over valid ones, in float64; a band with none has NaN and count 0."""
    rows: list[tuple[float, float, float, float, int]] = []
    for c in range(pixels.shape[1]):
        x = pixels[:, c][valid[:, c]].astype(np.float64)
        if x.size:
            rows.append((float(x.min()), float(x.max()), float(x.mean()), float(x.std()), int(x.size)))
        else:
            rows.append((float("nan"), float("nan"), float("nan"), float("nan"), 0))
    lo, hi, mean, std, count = zip(*rows, strict=True)
    return BandStatistics(lo, hi, mean, std, count)


def _frozen(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Cube:
    """Pixels with everything needed to read them right. Frozen; arrays are read-only views.

    Attributes:
        pixels: [T,C,H,W], any real dtype, in the stored numbers of `encodings`.
        valid: [T,C,H,W] bool. No-data, clouds when asked, missing bands and dates are False; the pixel
            values there mean nothing (they may be NaN).
        bands: C bands in the order of the axis.
        dates: T acquisition dates, None where unknown.
        encodings: per (date, band), how stored numbers become physical ones.
        gsd: ground sampling distance of the grid, m; None when unknown.
        place: of the centre, or None.
        grid: georeference, or None.
        statistics: of the record or scene this cube was cut from (normalisation scope), or None.
        source: where the pixels come from, for messages.
    """

    pixels: Array
    valid: BoolArray
    bands: tuple[Band, ...]
    dates: tuple[dt.date | None, ...]
    encodings: tuple[tuple[Encoding, ...], ...]
    gsd: float | None = None
    place: Place | None = None
    grid: Grid | None = None
    statistics: BandStatistics | None = None
    source: str = "cube"

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4:
            raise InputError(f"pixels have {self.pixels.ndim} axes, not T,C,H,W", where=self.source)
        t, c, h, w = self.pixels.shape
        if min(t, c, h, w) == 0:
            raise InputError(f"pixels are empty: T,C,H,W = {t},{c},{h},{w}", where=self.source)
        if self.valid.shape != self.pixels.shape or self.valid.dtype != np.bool_:
            raise InputError(
                f"validity is {self.valid.dtype} {self.valid.shape}, pixels {self.pixels.shape}",
                where=self.source,
                mend="give a bool array of the same shape",
            )
        if len(self.bands) != c:
            raise InputError(
                f"{counted(len(self.bands), 'band')} named for {c} in the pixels", where=self.source
            )
        if len(set(self.bands)) != c:
            raise InputError("a band is named twice", where=self.source, mend="name each band once")
        if len(self.dates) != t:
            raise InputError(
                f"{counted(len(self.dates), 'date')} given for {t} in the pixels", where=self.source
            )
        known = [d for d in self.dates if d is not None]
        if known != sorted(known):
            raise InputError("dates are not in order", where=self.source, mend="sort the series by date")
        if len(self.encodings) != t or any(len(row) != c for row in self.encodings):
            raise InputError(f"encodings must be {t} dates x {c} bands", where=self.source)
        if self.pixels.dtype.kind not in "fiu":
            raise InputError(f"pixels of type {self.pixels.dtype} are not real numbers", where=self.source)
        if self.pixels.dtype.kind == "f" and not np.isfinite(self.pixels[self.valid]).all():
            raise InputError("valid pixels hold NaN or infinity", where=self.source, mend="mark them invalid")
        if self.statistics is not None and len(self.statistics.count) != c:
            held = len(self.statistics.count)
            raise InputError(f"statistics hold {held} bands, not {c}", where=self.source)
        object.__setattr__(self, "pixels", _frozen(self.pixels))
        object.__setattr__(self, "valid", _frozen(self.valid))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W)."""
        t, c, h, w = self.pixels.shape
        return t, c, h, w

    def window(self, row: int, col: int, height: int, width: int) -> Cube:
        """A window inside the cube; statistics stay those of the whole record."""
        _, _, h, w = self.shape
        if row < 0 or col < 0 or height <= 0 or width <= 0 or row + height > h or col + width > w:
            cut_name = f"window {height}x{width} at ({row}, {col})"
            raise InputError(f"{cut_name} is outside {h}x{w}", where=self.source)
        cut = np.s_[:, :, row : row + height, col : col + width]
        grid = None if self.grid is None else self.grid.window(row, col, height, width)
        return replace(self, pixels=self.pixels[cut], valid=self.valid[cut], grid=grid)

    def at_dates(self, index: Sequence[int]) -> Cube:
        """Some of its dates, in their order in time; statistics stay those of the whole record."""
        chosen = sorted(index)
        return replace(
            self,
            pixels=self.pixels[chosen],
            valid=self.valid[chosen],
            dates=tuple(self.dates[i] for i in chosen),
            encodings=tuple(self.encodings[i] for i in chosen),
        )

    def at_bands(self, index: Sequence[int]) -> Cube:
        """Some of its bands, in that order, with their statistics."""
        chosen = list(index)
        return replace(
            self,
            pixels=self.pixels[:, chosen],
            valid=self.valid[:, chosen],
            bands=tuple(self.bands[i] for i in chosen),
            encodings=tuple(tuple(row[i] for i in chosen) for row in self.encodings),
            statistics=None if self.statistics is None else self.statistics.take(chosen),
        )

    def with_statistics(self) -> Cube:
        """The same cube carrying its own statistics (it is then a record)."""
        return replace(self, statistics=band_statistics(self.pixels, self.valid))


@dataclass(frozen=True, eq=False)
class Sample:
    """A record: named cubes (one per sensor), a target, an id, and the split group it must not leave.

    Attributes:
        cubes: by name, each with its own dates and grid.
        id: unique within its data set.
        target: a class number (0-d), zeros and ones [K], classes [H,W] with -1 unlabelled, or real numbers
            (0-d, [H,W], or [K,H,W] of several quantities) with NaN where unknown; maps of each date have T in front;
            None without labels.
        group: records of one group are neighbours: no split may divide them.
        weight: 0 for a stand-in of a record that could not be read: its pixels are invalid and its target unknown,
            so it counts in no loss and no score, and only keeps order and ranks in step.
    """

    cubes: Mapping[str, Cube]
    id: str
    target: Array | None = None
    group: str | None = None
    weight: float = 1.0

    @property
    def cube(self) -> Cube:
        """The only cube of a single-sensor sample."""
        if len(self.cubes) != 1:
            raise InputError(f"sample {self.id} holds {len(self.cubes)} cubes", mend="name the sensor")
        return next(iter(self.cubes.values()))


def date_features(dates: Sequence[dt.date | None]) -> npt.NDArray[np.float32]:
    """[T,2]: day of year (1..366) and year; NaN where the date is unknown."""
    rows = [(float("nan"),) * 2 if d is None else (d.timetuple().tm_yday, d.year) for d in dates]
    return np.asarray(rows, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class CubeBatch:
    """Cubes of one shape as tensors.

    Attributes:
        pixels: [B,T,C,H,W] float32 in the contract's unit, not yet normalised.
        valid: [B,T,C,H,W] bool.
        bands: C bands, the same for all.
        days: [B,T,2] day of year and year, NaN where unknown.
        gain, bias: [B,C]; `pixels * gain + bias` is what the network eats.
        ids: B sample ids.
        target: [B,…] or None.
    """

    pixels: Tensor
    valid: Tensor
    bands: tuple[Band, ...]
    days: Tensor
    gain: Tensor
    bias: Tensor
    ids: tuple[str, ...]
    target: Tensor | None = None

    @property
    def wavelengths(self) -> tuple[float, ...]:
        """Centre wavelengths in nm, one per band."""
        return tuple(b.center_nm for b in self.bands)

    def some(self, which: slice | list[int]) -> CubeBatch:
        """A batch of some of the samples."""
        return replace(
            self,
            pixels=self.pixels[which],
            valid=self.valid[which],
            days=self.days[which],
            gain=self.gain[which],
            bias=self.bias[which],
            ids=self.ids[which] if isinstance(which, slice) else tuple(self.ids[i] for i in which),
            target=None if self.target is None else self.target[which],
        )

    def parts(self, most: int) -> Iterator[CubeBatch]:
        """The batch in as few parts of at most `most` samples as there can be, of nearly equal size."""
        count = len(self.ids)
        pieces = -(-count // most)
        for k in range(pieces):
            yield self.some(slice(k * count // pieces, (k + 1) * count // pieces))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CubeBatch:
        """The same batch on a device."""

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=non_blocking)

        return replace(
            self,
            pixels=move(self.pixels),
            valid=move(self.valid),
            days=move(self.days),
            gain=move(self.gain),
            bias=move(self.bias),
            target=None if self.target is None else move(self.target),
        )
