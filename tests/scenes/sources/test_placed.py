"""A file on the grid of a scene: what says which of its pixels are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from swath.cube import Grid
from swath.scenes.sources.placed import Placed

SIDE = 20


def written(path: Path, bands: int, alpha: bool, nodata: float | None) -> str:
    """500 everywhere but for one 7 in the first band; alpha hides the first eight rows."""
    pixels = np.full((bands + alpha, SIDE, SIDE), 500, np.uint16)
    if alpha:
        pixels[-1] = 255
        pixels[-1, :8] = 0
    pixels[0, 15, 15] = 7
    about = {
        "driver": "GTiff", "height": SIDE, "width": SIDE, "count": len(pixels), "dtype": "uint16", "nodata": nodata,
        "crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "photometric": "MINISBLACK",
    }  # fmt: skip
    with rasterio.open(path, "w", **about) as file:
        file.write(pixels)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (*[ColorInterp.gray] * bands, *[ColorInterp.alpha] * alpha)
    return str(path)


@pytest.mark.parametrize("off", [0.0, 5.0], ids=["in step", "warped"])
@pytest.mark.parametrize("nodata", [None, 7.0])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bands", [1, 2, 3, 6])
def test_alpha_and_nodata_count_for_any_number_of_bands(
    tmp_path: Path, bands: int, alpha: bool, nodata: float | None, off: float
) -> None:
    path = written(tmp_path / "a.tif", bands, alpha, nodata)
    onto = Grid("EPSG:32633", (10, 0, 499_950 + off, 0, -10, 5_000_050 - off), 30, 30)
    placed = Placed(path, onto, "nearest")
    values, valid = placed.read(range(1, bands + 1), (0, 0, 30, 30))
    placed.close()
    assert valid[-1].sum() == (SIDE - 8 * alpha) * SIDE - (bands == 1 and nodata is not None)
    assert valid[0].sum() == (SIDE - 8 * alpha) * SIDE - (nodata is not None)
    assert not valid[:, :4].any() and not values[~valid].any()
