"""What a model eats, exactly: bands, unit, size, dates, normalisation. Convert exactly or refuse (design §3).

A contract is saved inside the weights. A cube that does not fit is converted where the conversion is exact
(another order of bands, another scale and offset of the same unit, a missing optional band marked invalid)
and refused otherwise, with an error that names the file, the band and the mend. Nothing is guessed from
magnitudes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from swath.bands import Band, sensor
from swath.cube import BandStatistics, BoolArray, Cube, Encoding
from swath.errors import ContractError, SwathError
from swath.words import counted

FORMAT_VERSION = 1
# Grids whose sampling differs by less than this are the same to a model (28.5 m Landsat and 30 m Landsat).
GSD_TOLERANCE = 0.10
Kind = Literal["identity", "standard", "minmax"]
Scope = Literal["fixed", "scene", "record"]
KINDS: tuple[Kind, ...] = ("identity", "standard", "minmax")
SCOPES: tuple[Scope, ...] = ("fixed", "scene", "record")


@dataclass(frozen=True)
class BandSpec:
    """One band of a contract. Optional bands are only for models trained with band dropout."""

    band: Band
    required: bool = True


@dataclass(frozen=True)
class Normalisation:
    """How physical values become what the network eats.

    Attributes:
        kind: "identity"; "standard" (x - mean) / std; "minmax" (x - min) / (max - min + eps).
        scope: whose statistics: "fixed" (`centre` and `spread` below), of the whole "scene", or of each
            "record". Never of a window: that would make seams.
        centre, spread: per band, in the contract's unit; only for scope "fixed".
        eps: added to the spread (spec SpectralGPT §2 uses 1e-10).
    """

    kind: Kind = "identity"
    scope: Scope = "fixed"
    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    eps: float = 1e-10

    def __post_init__(self) -> None:
        for name, value, known in (("kind", self.kind, KINDS), ("scope", self.scope, SCOPES)):
            if value not in known:
                raise ContractError(
                    f"unknown {name} of normalisation '{value}'",
                    where="contract",
                    mend=f"use {', '.join(known)}",
                )
        numbers = (*self.centre, *self.spread, self.eps)
        if not all(math.isfinite(v) for v in numbers) or self.eps < 0 or any(v <= 0 for v in self.spread):
            raise ContractError(
                "normalisation holds a centre or spread that is not finite, or a spread or eps below 0",
                where="contract",
                mend="compute the statistics again over valid pixels; leave out bands that are constant",
            )

    @property
    def measured(self) -> bool:
        """Whether it takes statistics of the pixels themselves."""
        return self.kind != "identity" and self.scope != "fixed"

    def affine(
        self, bands: int, statistics: BandStatistics | None, where: str = "cube"
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Gain and bias per band: what the network eats is `pixels * gain + bias`.

        Bands without one valid pixel get gain 0: all their pixels are invalid anyway. So do bands of one
        single value: (x - centre) is 0 all over, but a gain of 1 / eps would turn rounding into noise.
        """
        if self.kind == "identity":
            return np.ones(bands), np.zeros(bands)
        if self.scope == "fixed":
            centre, spread = np.asarray(self.centre, float), np.asarray(self.spread, float)
        elif statistics is None:
            raise ContractError(
                f"the model normalises by {self.scope}, but the pixels carry no {self.scope} statistics",
                where=where,
                mend="read them through swath.data, or compute them with Cube.with_statistics()",
            )
        elif self.kind == "standard":
            centre, spread = np.asarray(statistics.mean), np.asarray(statistics.std)
        else:
            centre = np.asarray(statistics.minimum)
            spread = np.asarray(statistics.maximum) - centre
        if len(centre) != bands or len(spread) != bands:
            raise ContractError(
                f"normalisation holds {len(centre)} bands, the pixels {bands}",
                where=where,
                mend="convert the pixels with the same contract first",
            )
        return gain_and_bias(centre, spread, self.eps)


def gain_and_bias(
    centre: npt.NDArray[np.float64], spread: npt.NDArray[np.float64], eps: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Such that `x * gain + bias` is `(x - centre) / (spread + eps)`; of any shape; 0 where there is no spread."""
    known = np.isfinite(centre) & np.isfinite(spread) & (spread > 0)
    gain = np.where(known, 1.0 / (np.where(known, spread, 1.0) + eps), 0.0)
    return gain, -np.where(known, centre, 0.0) * gain


@dataclass(frozen=True, eq=False)
class Conversion:
    """How stored pixels become a contract's numbers: `stored[t, index[c]] * scale[t, c] + offset[t, c]`, in float64.

    Attributes:
        index: where each of the contract's bands lies in the cube; None: it is missing.
        scale, offset: [T,C].
    """

    index: tuple[int | None, ...]
    scale: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]


@dataclass(frozen=True)
class InputContract:
    """What a model eats.

    Attributes:
        bands: in the order of the channel axis.
        encoding: the unit, scale and offset of the numbers before normalisation, and the processing level
            ("L1C", "L2A", …; None: any).
        normalisation: what is done to them.
        gsd: m per pixel of the training data; None: any.
        size: (H, W) of the training windows, the size scenes are run at; None: any.
        exact_size: refuse cubes of another size (a model that takes any size does not need it).
        min_dates, max_dates: how many dates; max_dates None: any number.
    """

    bands: tuple[BandSpec, ...]
    encoding: Encoding
    normalisation: Normalisation = Normalisation()
    gsd: float | None = None
    size: tuple[int, int] | None = None
    exact_size: bool = False
    min_dates: int = 1
    max_dates: int | None = None

    def __post_init__(self) -> None:
        if not self.bands:
            raise ContractError("a contract needs at least one band", where="contract", mend="name its bands")
        names = [(s.band.sensor, s.band.name) for s in self.bands]
        twice = sorted({f"{n} of {s}" for s, n in names if names.count((s, n)) > 1})
        if twice:
            raise ContractError(
                f"band {', '.join(twice)} is named twice", where="contract", mend="name each band once"
            )
        if self.normalisation.kind != "identity" and self.normalisation.scope == "fixed":
            lengths = {len(self.normalisation.centre), len(self.normalisation.spread)}
            if lengths != {len(self.bands)}:
                raise ContractError(
                    f"fixed normalisation has {sorted(lengths)} values for {len(self.bands)} bands",
                    where="contract",
                    mend="give one centre and one spread per band",
                )

    @property
    def wavelengths(self) -> tuple[float, ...]:
        """Centre wavelengths, nm, in channel order."""
        return tuple(s.band.center_nm for s in self.bands)

    def convert(self, cube: Cube) -> Cube:
        """The cube as the model eats it before normalisation: bands in order, float32 in `encoding`, checked.

        Raises:
            ContractError: naming the cube's source, what does not fit, and the mend.
        """
        how = self.conversion(cube)
        t, _, h, w = cube.shape
        index = how.index
        pixels = np.zeros((t, len(index), h, w), np.float32)
        valid: BoolArray = np.zeros(pixels.shape, np.bool_)
        for c, i in enumerate(index):
            if i is None:
                continue  # an optional band that is missing stays invalid
            for date in range(t):
                stored = cube.pixels[date, i].astype(np.float64)
                # Invalid pixels may hold anything, NaN included: they leave as 0 and stay invalid.
                good = cube.valid[date, i]
                pixels[date, c] = np.where(good, stored * how.scale[date, c] + how.offset[date, c], 0.0)
                valid[date, c] = good
        row = (self.encoding,) * len(index)
        return replace(
            cube,
            pixels=pixels,
            valid=valid,
            bands=tuple(s.band for s in self.bands),
            encodings=(row,) * t,
            statistics=self._statistics(cube, how),
        )

    def conversion(self, cube: Cube) -> Conversion:
        """How cubes with this one's bands, encodings, dates, pixel size and frame become what the model eats.

        Raises:
            ContractError: as `convert` does.
        """
        self._check_frame(cube)
        index = self._band_index(cube)
        shape = (cube.shape[0], len(index))
        scale, offset = np.ones(shape), np.zeros(shape)
        for c, i in enumerate(index):
            for date in range(shape[0]):
                if i is not None:
                    pair = self._conversion(cube.encodings[date][i], cube, self.bands[c].band)
                    scale[date, c], offset[date, c] = pair
        return Conversion(tuple(index), scale, offset)

    def affine(self, cube: Cube) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Gain and bias [C] for a cube that `convert` returned."""
        return self.normalisation.affine(len(self.bands), cube.statistics, cube.source)

    def _check_frame(self, cube: Cube) -> None:
        t, _, h, w = cube.shape
        if t < self.min_dates or (self.max_dates is not None and t > self.max_dates):
            most = "more" if self.max_dates is None else str(self.max_dates)
            wanted = str(self.min_dates) if most == str(self.min_dates) else f"{self.min_dates} to {most}"
            raise ContractError(
                f"has {counted(t, 'date')}, the model eats {wanted}",
                where=cube.source,
                mend="choose dates to fit",
            )
        if self.exact_size and self.size is not None and (h, w) != self.size:
            raise ContractError(
                f"is {h}x{w} pixels, the model eats {self.size[0]}x{self.size[1]}",
                where=cube.source,
                mend="cut windows of that size, or pad with invalid pixels",
            )
        if (
            self.gsd is not None
            and cube.gsd is not None
            and not math.isclose(cube.gsd, self.gsd, rel_tol=GSD_TOLERANCE)
        ):
            raise ContractError(
                f"has {cube.gsd:g} m pixels, the model eats {self.gsd:g} m",
                where=cube.source,
                mend=f"resample it to {self.gsd:g} m",
            )

    def _band_index(self, cube: Cube) -> list[int | None]:
        """Where each band of the contract lies in the cube; by sensor and name, never by position."""
        place = {(b.sensor, b.name): i for i, b in enumerate(cube.bands)}
        index: list[int | None] = []
        for spec in self.bands:
            found = place.get((spec.band.sensor, spec.band.name))
            if found is None and spec.required:
                has = ", ".join(b.name for b in cube.bands)
                sensors = sorted({b.sensor for b in cube.bands})
                other = "" if spec.band.sensor in sensors else f" of {spec.band.sensor}"
                raise ContractError(
                    f"band {spec.band.name}{other} is missing (it has {has} of {', '.join(sensors)})",
                    where=cube.source,
                    mend=f"add the band, or use weights that do not need {spec.band.name}",
                )
            index.append(found)
        if all(i is None for i in index):
            wanted = ", ".join(s.band.name for s in self.bands)
            raise ContractError(
                f"none of the model's bands is there ({wanted} of {self.bands[0].band.sensor})",
                where=cube.source,
                mend="use imagery of that sensor, or other weights",
            )
        return index

    def _conversion(self, have: Encoding, cube: Cube, band: Band) -> tuple[float, float]:
        """Scale and offset from the cube's stored numbers to the contract's."""
        want = self.encoding
        if have.unit != want.unit:
            raise ContractError(
                f"band {band.name} is in {have.unit}, the model eats {want.unit}",
                where=cube.source,
                mend=(
                    "state the file's unit, scale and offset"
                    if have.unit == "dn"
                    else f"use a product in {want.unit}, or weights trained on {have.unit}"
                ),
            )
        if want.level is not None and have.level != want.level:
            said = "says no processing level" if have.level is None else f"is {have.level}"
            raise ContractError(
                f"band {band.name} {said}, the model eats {want.level}",
                where=cube.source,
                mend=f"use the {want.level} product, or state the level if it is one",
            )
        if (have.scale, have.offset) == (want.scale, want.offset):
            return 1.0, 0.0  # exactly the identity, with no rounding by the division below
        return have.scale / want.scale, (have.offset - want.offset) / want.scale

    def _statistics(self, cube: Cube, how: Conversion) -> BandStatistics | None:
        """The record's statistics in the contract's numbers and order."""
        if cube.statistics is None or self.normalisation.scope == "fixed":
            return None
        scale, offset = self.one_scale(how, cube.source)
        rows: list[tuple[float, float, float, float, int]] = []
        for c, i in enumerate(how.index):
            if i is None:
                rows.append((math.nan, math.nan, math.nan, math.nan, 0))
                continue
            a, b, s = float(scale[c]), float(offset[c]), cube.statistics
            ends = sorted((s.minimum[i] * a + b, s.maximum[i] * a + b))
            rows.append((ends[0], ends[1], s.mean[i] * a + b, s.std[i] * abs(a), s.count[i]))
        lo, hi, mean, std, count = zip(*rows, strict=True)
        return BandStatistics(lo, hi, mean, std, count)

    def one_scale(
        self, how: Conversion, where: str
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Scale and offset [C] of all dates, as statistics over a series need them.

        Raises:
            ContractError: a band changes them within the series.
        """
        for c, i in enumerate(how.index):
            if i is not None and len(set(zip(how.scale[:, c], how.offset[:, c], strict=True))) > 1:
                raise ContractError(
                    f"band {self.bands[c].band.name} changes its scale or offset within the series, so "
                    "statistics over its stored numbers mean nothing",
                    where=where,
                    mend="convert the series to one scale first, then compute statistics",
                )
        return how.scale[0], how.offset[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; bands by sensor and name, with the wavelength for readers without swath."""
        data = asdict(self)
        data["format_version"] = FORMAT_VERSION
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "contract") -> InputContract:
        """The contract back from JSON. Raises ContractError naming what is unreadable."""
        if not isinstance(data, Mapping):
            raise ContractError("is not a contract", where=where, mend="use the file that swath wrote")
        fields = dict(data)
        version = fields.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ContractError(
                f"contract format {version} is unknown (this swath reads {FORMAT_VERSION})",
                where=where,
                mend="use a swath of the version that wrote it",
            )
        try:
            bands = tuple(BandSpec(Band(**b["band"]), bool(b["required"])) for b in fields.pop("bands"))
            norm: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in fields.pop("normalisation").items()
            }
            size = fields.pop("size")
            return cls(
                bands=bands,
                encoding=Encoding(**fields.pop("encoding")),
                normalisation=Normalisation(**norm),
                size=None if size is None else (int(size[0]), int(size[1])),
                **fields,
            )
        except SwathError as err:
            raise ContractError(f"unreadable contract ({err.what})", where=where, mend=err.mend) from err
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as err:
            raise ContractError(
                f"unreadable contract ({type(err).__name__}: {err})",
                where=where,
                mend="use the file that swath wrote",
            ) from err


def contract_for(
    sensor_name: str,
    names: tuple[str, ...],
    encoding: Encoding,
    normalisation: Normalisation = Normalisation(),
    *,
    optional: tuple[str, ...] = (),
    gsd: float | None = None,
    size: tuple[int, int] | None = None,
    min_dates: int = 1,
    max_dates: int | None = None,
) -> InputContract:
    """A contract for bands of one sensor by name; `optional` names those that may be missing."""
    s = sensor(sensor_name)
    chosen, spare = s.select(names), s.select(optional)
    strangers = [b.name for b in spare if b not in chosen]
    if strangers:
        raise ContractError(
            f"optional band {', '.join(strangers)} is not among the bands",
            where="contract",
            mend="name it among the bands too",
        )
    bands = tuple(BandSpec(b, b not in spare) for b in chosen)
    return InputContract(
        bands, encoding, normalisation, gsd=gsd, size=size, min_dates=min_dates, max_dates=max_dates
    )
