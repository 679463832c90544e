"""A data set of small records for the tests of shards, in a module of its own so that other processes can import it."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from swath.bands import sensor
from swath.cube import Cube, Encoding, Grid, Place, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.errors import InputError

S2 = sensor("sentinel2").select(("B02", "B03", "B04", "B8A"))
S1 = sensor("sentinel1").select(("VV", "VH"))
INFO = LayoutInfo("toy", "Toy", ("segmentation",), {}, (), ("train", "test"), "", "", "", "", "", "", ())


@dataclass
class Toy:
    """Records drawn from their number: two sensors, holes, dates, units that change, some that cannot be read."""

    info: ClassVar[LayoutInfo] = INFO
    count: int
    sizes: tuple[int, ...] = (8,)
    dates: int = 2
    dtype: str = "uint16"
    targets: str = "raster"  # "class", "vector", "none", "dated"
    bad: tuple[int, ...] = ()
    radar: bool = True
    seconds: float = 0.0  # of reading one
    full: bool = False

    @property
    def items(self) -> list[Item]:
        return [
            Item(f"item-{i:04}", f"/there/{i}", f"tile{i // 3}", ("train", "test")[i % 3 == 2])
            for i in range(self.count)
        ]

    def read(self, index: int) -> Sample:
        time.sleep(self.seconds)
        if index in self.bad:
            raise InputError("is cut short", where=f"/there/{index}")
        draw = np.random.default_rng(index)
        size = self.sizes[index % len(self.sizes)]
        shape = (self.dates, 4, size, size + 1)
        pixels = draw.integers(0, 10_000, shape).astype(self.dtype)
        valid = np.ones(shape, bool) if self.full or index % 4 == 0 else draw.random(shape) < 0.8
        if pixels.dtype.kind == "f":
            pixels[~valid] = np.nan
        # The offset of the newer processing baseline holds for whole series: statistics need one scale.
        offset = -0.1 if index % 2 else 0.0
        when = tuple(dt.date(2020, 1, 1) + dt.timedelta(days=index + 20 * t) for t in range(self.dates))
        cubes = {
            "sentinel2": Cube(
                pixels, valid, S2, when, ((Encoding("reflectance", 1e-4, offset, "L2A"),) * 4,) * self.dates,
                gsd=10.0, place=Place(10.0 + index, 50.0 - index / 7),
                grid=Grid("EPSG:32633", (10.0, 0.0, 5e5 + index, 0.0, -10.0, 5e6), size, size + 1),
                source=f"/there/{index}.tif",
            ).with_statistics()
        }  # fmt: skip
        if self.radar:
            decibels = draw.normal(-12, 3, (1, 2, 5, 5)).astype(np.float32)
            cubes["sentinel1"] = Cube(
                decibels, np.ones((1, 2, 5, 5), bool), S1, (None,), ((Encoding("decibel"),) * 2,)
            ).with_statistics()
        target: Any = {
            "raster": draw.integers(-1, 5, (size, size + 1)),
            "class": np.asarray(index % 5),
            "vector": draw.integers(0, 2, 6),
            "none": None,
            "dated": draw.integers(-1, 5, (self.dates, size, size + 1)),
        }[self.targets]
        item = self.items[index]
        return Sample(cubes, item.id, target, item.group)


def same_cube(a: Cube, b: Cube) -> bool:
    return (
        a.pixels.dtype == b.pixels.dtype
        and a.pixels.tobytes() == b.pixels.tobytes()
        and a.pixels.shape == b.pixels.shape
        and np.array_equal(a.valid, b.valid)
        and (a.bands, a.dates, a.encodings, a.gsd, a.place, a.grid, a.source)
        == (b.bands, b.dates, b.encodings, b.gsd, b.place, b.grid, b.source)
        and repr(a.statistics) == repr(b.statistics)
    )


def same_sample(a: Sample, b: Sample) -> bool:
    same_target = (a.target is None) == (b.target is None)
    if a.target is not None and b.target is not None:
        same_target = a.target.dtype == b.target.dtype and np.array_equal(a.target, b.target)
    return (
        (a.id, a.group, a.weight, set(a.cubes)) == (b.id, b.group, b.weight, set(b.cubes))
        and same_target
        and all(same_cube(a.cubes[name], b.cubes[name]) for name in a.cubes)
    )
