"""What reading holds at once is what a plan counts, whatever the pixels lie in."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from swath.scenes.sources.opening import open_source
from swath.scenes.sources.spec import MaskOptions, SourceSpec

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
# Below a megabyte arrays come from the C library, of which every byte is counted here.
SIDE = 256
SAID = {"sensor": "sentinel2", "unit": "reflectance", "scale": 1e-4}


def stack(make: SimpleNamespace, seed: int = 0, side: int = SIDE) -> np.ndarray:
    return np.stack([make.numbers(side, side, seed + i) for i in range(len(BANDS))])


def together(folder: Path, make: SimpleNamespace) -> SourceSpec:
    return SourceSpec(str(make.tif(folder / "all.tif", stack(make), nodata=0)), bands=BANDS, **SAID)


def apart(folder: Path, make: SimpleNamespace) -> SourceSpec:
    files = tuple(str(make.tif(folder / f"{i}.tif", p, nodata=0)) for i, p in enumerate(stack(make)))
    return SourceSpec(files, bands=BANDS, **SAID)


def coarser(folder: Path, make: SimpleNamespace) -> SourceSpec:
    files = [make.tif(folder / f"{i}.tif", p, nodata=0) for i, p in enumerate(stack(make)[:3])]
    half = stack(make, side=SIDE // 2)[3:]
    files += [make.tif(folder / f"half{i}.tif", p, nodata=0, size=20.0) for i, p in enumerate(half)]
    return SourceSpec(tuple(map(str, files)), bands=BANDS, resampling="bilinear", **SAID)


def items(folder: Path, make: SimpleNamespace, *, one_file: bool, size: float = 10.0) -> SourceSpec:
    found = []
    for number in range(2):
        pixels = stack(make, 10 * number)
        pixels[:, number::2] = 0  # both are needed
        place = {"nodata": 0, "size": size, "origin": (6e5, 5e6)}
        scl = make.tif(folder / f"scl{number}.tif", np.full((SIDE, SIDE), 4, np.uint8), **place)
        assets = {"scl": str(scl)}
        if one_file:
            assets["all"] = str(make.tif(folder / f"{number}.tif", pixels, **place))
        else:
            files = [
                make.tif(folder / f"{number}{b}.tif", p, **place) for b, p in zip(BANDS, pixels, strict=True)
            ]
            assets |= {b: str(f) for b, f in zip(BANDS, files, strict=True)}
        made = make.item(f"i{number}", f"2022-06-01T10:0{number}:00Z", assets)
        if one_file:
            asset = made["assets"]["all"]
            asset["bands"] = [{"name": b} for b in BANDS]
            asset["raster:bands"] = [{"nodata": 0, "scale": 1e-4, "offset": 0.0}] * len(BANDS)
        found.append(made)
    path = make.json(folder / "items.json", make.collection(found))
    return SourceSpec(path, bands=BANDS, mask=MaskOptions("scl", (3,)))


def cube(folder: Path, make: SimpleNamespace) -> SourceSpec:
    data = xr.DataArray(
        stack(make), dims=("band", "y", "x"), name="reflectance",
        coords={"band": list(BANDS), "y": 5e6 - 10 * np.arange(SIDE), "x": 6e5 + 10 * np.arange(SIDE)},
        attrs={"units": "reflectance", "scale_factor": 1e-4, "_FillValue": 0, "crs": "EPSG:32633"},
    ).to_dataset()  # fmt: skip
    data.to_netcdf(folder / "cube.nc", engine="scipy")
    return SourceSpec(str(folder / "cube.nc"), sensor="sentinel2")


SOURCES: dict[str, Callable[[Path, SimpleNamespace], SourceSpec]] = {
    "a stack": together,
    "a file per band": apart,
    "coarser bands": coarser,
    "items of one file": lambda folder, make: items(folder, make, one_file=True),
    "items of many files": lambda folder, make: items(folder, make, one_file=False),
    "netCDF": cube,
}


@pytest.mark.parametrize("name", SOURCES)
def test_reading_holds_no_more_than_the_plan_counts(name: str, tmp_path: Path, make: SimpleNamespace) -> None:
    with open_source(SOURCES[name](tmp_path, make)) as scene:
        scene.read(0, 0, SIDE, SIDE)  # files are open, modules are there
        tracemalloc.start()
        read = scene.read(0, 0, SIDE, SIDE)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        stored = scene.dtype.itemsize
        # As `swath.scenes.estimate.block_bytes` counts the raw numbers of one date.
        counted = SIDE * SIDE * len(BANDS) * ((stored + 1) + scene.COPIES * (stored + 2))
    assert read.valid.all()
    # Strips of what is interpolated, tables of rows and columns.
    assert peak <= 1.1 * counted
