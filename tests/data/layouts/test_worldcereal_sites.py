from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from swath.data.layouts.registry import open_layout
from swath.data.layouts.worldcereal_sites import WorldCereal
from swath.errors import ConfigError, InputError

SITES = "worldcereal-sites/tests/worldcerealtests/testresources/worldcerealtraining"


def make_sites(root: Path) -> Path:
    """Two small sites with radar, Landsat and labels; Sentinel-2 is tested with `read_site`."""
    h5py = pytest.importorskip("h5py")
    for name in ("b-site", "a-site"):
        folder = root / "deep" / name
        folder.mkdir(parents=True)
        for part, n, bands in (
            ("OUTPUT_POLY-110_10m", 8, ("LC", "CT")),
            ("S1_GRD-ASCENDING_20m", 4, ("VV", "VH")),
            ("L8_SR_10m", 8, ("B02", "B03", "B04", "B05", "B06", "B07", "B10", "B11", "pixel_qa")),
        ):
            step = 80 / n
            with h5py.File(folder / f"{part}_x.nc", "w") as file:
                file.attrs["epsg"] = "32631"
                file["x"] = 501360.0 + step * (np.arange(n) + 0.5)
                file["y"] = 5629680.0 - step * (np.arange(n) + 0.5)
                for band in bands:
                    if band in ("LC", "CT"):
                        codes = [0, 11, 13, 99] if band == "LC" else [0, 1200, 9998, 8100]
                        file[band] = np.tile(np.array(codes, np.uint16), (8, 2))
                        continue
                    cube = np.arange(2 * n * n).reshape(2, n, n) + 1
                    if band == "pixel_qa":
                        cube = np.full((2, n, n), 66)
                        cube[1, 0, :2] = 66 | 32, 66 | 8
                        cube[1, 1, 0] = 0
                    elif part.startswith("L8"):
                        cube[1, 1, :2] = 64537, 65513  # -999 and -23, wrapped
                    file[band] = (-cube * 1000).astype(np.int32) if n == 4 else cube.astype(np.uint16)
                    file[band].attrs["scale_factor"] = 0.1 if band in ("B10", "B11") else 1e-4
                if "LC" not in bands:
                    file["timestamp"] = np.arange(2) * 864000
                    file["timestamp"].attrs["units"] = "seconds since 2017-08-01 17:32:36"
    return root


def test_radar_and_landsat_on_the_grid_of_the_labels(tmp_path: Path) -> None:
    layout = WorldCereal(make_sites(tmp_path), sensors=("sentinel1", "landsat8"))
    assert [(i.id, i.group) for i in layout.items] == [("a-site", "a-site"), ("b-site", "b-site")]
    sample = layout.read(0)
    s1, l8 = sample.cubes["sentinel1"], sample.cubes["landsat8"]
    assert (s1.shape, l8.shape) == ((2, 2, 8, 8), (2, 8, 8, 8))
    assert s1.grid == l8.grid and s1.dates == (dt.date(2017, 8, 1), dt.date(2017, 8, 11))
    np.testing.assert_array_equal(s1.pixels[:, :, ::2, ::2].repeat(2, 2).repeat(2, 3), s1.pixels)
    assert [(e.unit, e.scale) for e in l8.encodings[0]][-3:] == [
        ("reflectance", 1e-4),
        ("kelvin", 0.1),
        ("kelvin", 0.1),
    ]
    assert s1.encodings[0][0].unit == "decibel"
    # Cloud and shadow of the quality band.
    assert not l8.valid[1, :, 0, :2].any() and l8.valid.sum() == l8.valid.size - 8 * 3
    assert not l8.valid[1, :, 1, 0].any() and (l8.pixels[1, :, 1, 1] == -23).all()
    assert sample.target[0, :4].tolist() == [-1, 0, 1, 3]


def test_crops_are_groups_by_their_first_digit(tmp_path: Path) -> None:
    layout = WorldCereal(make_sites(tmp_path), sensors=("sentinel1",), target="crops")
    assert layout.read(1).target[0, :4].tolist() == [-1, 0, -1, 7]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    layout = open_layout("worldcereal", make_sites(tmp_path))
    with pytest.raises(InputError, match=r"a-site: holds 0 files S2_L2A_10m_\*\.nc"):
        layout.read(0)
    with pytest.raises(ConfigError, match="'lidar' is unknown"):
        WorldCereal(tmp_path, sensors=("lidar",))
    with pytest.raises(InputError, match="holds no item of worldcereal"):
        WorldCereal(empty)


@pytest.mark.shared_data
def test_the_real_sites(shared_data) -> None:
    pytest.importorskip("h5py")
    root = shared_data / SITES
    layout = WorldCereal(root, sensors=("sentinel1",), target="crops")
    assert [i.id for i in layout.items] == ["00002806639B424A", "2021_TZA_COPERNICUS-GEOGLAM_POLY_1101950"]
    shapes = [layout.read(i).cube.shape for i in range(2)]
    assert shapes == [(159, 2, 64, 64), (60, 2, 64, 64)]
    # Of the second site, 34 pixels are of an unknown crop.
    assert (layout.read(1).target == -1).sum() == 2789 + 34
    both = WorldCereal(root, sensors=("sentinel2", "landsat8")).read(0)
    assert {n: c.shape[0] for n, c in both.cubes.items()} == {"sentinel2": 118, "landsat8": 26}
    kelvin = both.cubes["landsat8"]
    at = kelvin.pixels[:, 6][kelvin.valid[:, 6]] * 0.1
    assert at.min() > 250 and at.max() < 330
