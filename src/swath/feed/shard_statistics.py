"""Statistics per band over all valid pixels of shards, in one streaming pass, in physical units."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.contract import InputContract, Kind, Normalisation
from swath.errors import InputError
from swath.feed.pixel_size import to_gsd
from swath.feed.shards import Shards
from swath.files import atomic

STATISTICS_FILE = "statistics.json"


@dataclass
class Moments:
    """Of numbers that come in pieces; merged as Chan, Golub and LeVeque do (1979), which loses no digits."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, x: npt.NDArray[np.float64]) -> None:
        """More numbers."""
        if not x.size:
            return
        mean = float(x.mean())
        squares = float(np.square(x - mean).sum())
        total = self.count + x.size
        step = mean - self.mean
        self.squares += squares + step * step * self.count * x.size / total
        self.mean += step * x.size / total
        self.count = total
        self.minimum = min(self.minimum, float(x.min()))
        self.maximum = max(self.maximum, float(x.max()))

    @property
    def std(self) -> float:
        """Of the whole, not of a sample."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan


def measure(
    sets: Sequence[tuple[Shards, npt.NDArray[np.int64]]],
    gsd: float = 0.0,
    only: Callable[[Shards], str] | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """cube -> band -> unit, count, mean, std, minimum and maximum of its valid pixels.

    Args:
        sets: shards, and the numbers of the records to look at.
        gsd: pixel size to bring records to before they are looked at, m; 0: their own.
        only: names the one cube of a set to look at; those of all sets are one then, under the first set's name. None:
            all cubes, each by itself.
        progress: called with what is done, how much of it, and of how much.

    Raises:
        InputError: a band is stored in several units, or no whole factor leads to `gsd`.
    """
    found: dict[str, dict[str, Moments]] = {}
    units: dict[tuple[str, str], str] = {}
    records = [(shards, int(index)) for shards, chosen in sets for index in chosen]
    first = only(sets[0][0]) if only is not None and sets else ""
    for number, (shards, index) in enumerate(records):
        progress("statistics", number, len(records))
        for name, spec in shards.groups[shards.group_of(index)].cubes.items():
            if only is not None and name != only(shards):
                continue
            counted = first or name
            of_cube = found.setdefault(counted, {})
            if not int(shards.columns[f"{name}.valid"][index]):
                continue
            # Its own statistics are not asked for, and would be measured again at another pixel size.
            cube = to_gsd(replace(shards.cube(index, name), statistics=None), gsd)
            for t, row in enumerate(cube.encodings):
                for c, (band, encoding) in enumerate(zip(spec.bands, row, strict=True)):
                    unit = units.setdefault((counted, band.name), encoding.unit)
                    if unit != encoding.unit:
                        raise InputError(
                            f"band {band.name} is in {unit} and in {encoding.unit}",
                            where=cube.source,
                            mend="pack what is in one unit",
                        )
                    x = cube.pixels[t, c][cube.valid[t, c]].astype(np.float64)
                    of_cube.setdefault(band.name, Moments()).add(x * encoding.scale + encoding.offset)
    progress("statistics", len(records), len(records))
    return {
        name: {
            band: {
                "unit": units[name, band],
                "count": m.count,
                "mean": m.mean,
                "std": m.std,
                "minimum": m.minimum,
                "maximum": m.maximum,
            }
            for band, m in bands.items()
        }
        for name, bands in found.items()
    }


def write_statistics(
    shards: Shards,
    folder: Path | str,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Path:
    """Measures all records and writes `statistics.json` beside them."""
    path = Path(folder) / STATISTICS_FILE
    found = measure([(shards, shards.select())], progress=progress)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({"format_version": 1, "cubes": found}, indent=1) + "\n", "utf-8")
    return path


def fixed_normalisation(
    contract: InputContract, statistics: Mapping[str, Mapping[str, Any]], kind: Kind, where: str
) -> Normalisation:
    """The contract's fixed normalisation out of one cube's statistics.

    Args:
        contract: says which bands, and in which scale and offset of their unit.
        statistics: band -> as `measure` gives it.
        kind: "standard", "minmax", or "identity", which needs none.
        where: for messages.

    Raises:
        InputError: a required band has no statistics, one value throughout, or another unit.
    """
    if kind == "identity":
        return Normalisation()
    centre, spread = [], []
    want = contract.encoding
    for spec in contract.bands:
        s = statistics.get(spec.band.name)
        if s is None and not spec.required:
            centre.append(0.0)
            spread.append(1.0)
            continue
        if s is None or not s["maximum"] > s["minimum"]:
            what = "no valid pixel" if s is None else f"one value, {s['minimum']:g}, in all pixels"
            raise InputError(
                f"band {spec.band.name} has {what}, so there is nothing to normalise by",
                where=where,
                mend="leave the band out",
            )
        if s["unit"] != want.unit:
            raise InputError(f"band {spec.band.name} is in {s['unit']}, not {want.unit}", where=where)
        ends = sorted((float(s[key]) - want.offset) / want.scale for key in ("minimum", "maximum"))
        if kind == "standard":
            centre.append((float(s["mean"]) - want.offset) / want.scale)
            spread.append(float(s["std"]) / abs(want.scale))
        else:
            centre.append(ends[0])
            spread.append(ends[1] - ends[0])
    return Normalisation(kind, "fixed", tuple(centre), tuple(spread), contract.normalisation.eps)
