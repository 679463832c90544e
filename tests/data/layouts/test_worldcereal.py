from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.layouts.worldcereal import BANDS, FINE, LAND_COVER, read_site
from swath.errors import ConfigError, InputError, SwathError

SITE = "worldcereal-sites/tests/worldcerealtests/testresources/worldcerealtraining/00002806639B424A"
T, SIZE = 3, 8


def make_site(folder: Path, **changes: Any) -> Path:
    """A small site of the same layout."""
    h5py = pytest.importorskip("h5py")
    folder.mkdir(exist_ok=True)
    for part, step, bands in (
        ("S2_L2A_10m", 10.0, FINE),
        ("S2_L2A_20m", 20.0, tuple(b for b in BANDS if b not in FINE)),
        ("OUTPUT_POLY-110_10m", 10.0, ()),
    ):
        n = int(SIZE * 10 / step)
        with h5py.File(folder / f"{part}_x.nc", "w") as file:
            file.attrs["epsg"] = changes.get("epsg", "32631")
            file["x"] = 501360.0 + step * (np.arange(n) + 0.5)
            file["y"] = 5629680.0 - step * (np.arange(n) + 0.5)
            if not bands:
                file["LC"] = changes.get(
                    "labels", np.tile(np.array([0, 11, 13, 99], np.uint16), (SIZE, SIZE // 4))
                )
                continue
            file["timestamp"] = np.arange(T) * 864000 + (changes.get("shift", 0) if step == 20 else 0)
            file["timestamp"].attrs["units"] = changes.get("time", "seconds since 2017-08-04 10:53:28")
            for i, band in enumerate(bands):
                if band == changes.get("without"):
                    continue
                file[band] = (np.arange(T * n * n).reshape(T, n, n) + 100 * i).astype(np.uint16)
                file[band].attrs["scale_factor"] = changes.get("scale", 1e-4)
            if step == 20:
                scl = np.full((T, n, n), 4, np.uint8)
                scl[1, 0, 0] = 9
                file["SCL"] = scl
    return folder


def test_a_small_site(tmp_path: Path) -> None:
    sample = read_site(make_site(tmp_path / "site"))
    cube = sample.cube
    assert cube.shape == (T, 10, SIZE, SIZE) and [b.name for b in cube.bands] == list(BANDS)
    assert cube.dates == (dt.date(2017, 8, 4), dt.date(2017, 8, 14), dt.date(2017, 8, 24))
    assert cube.grid is not None and cube.grid.xy(0, 0) == (501360.0, 5629680.0)
    assert (cube.encodings[0][0].unit, cube.encodings[0][0].scale) == ("reflectance", 1e-4)
    # A stored 0 is no data; one cloudy 20 m pixel hides four of 10 m in every band.
    assert not cube.valid[0, 0, 0, 0] and cube.valid[0, 1, 0, 0]
    assert not cube.valid[1, :, :2, :2].any() and cube.valid[1, :, 2:, 2:].all()
    coarse = cube.pixels[0, BANDS.index("B05")]
    np.testing.assert_array_equal(coarse[::2, ::2].repeat(2, 0).repeat(2, 1), coarse)
    assert sample.target is not None and sample.target[0, :4].tolist() == [-1, 0, 1, 3]
    assert read_site(tmp_path / "site", mask_clouds=False).cube.valid[1].all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"without": "B08"}, "band B08 is missing"),
        ({"without": "B8A"}, "band B8A is missing"),
        ({"shift": 86400}, "other dates"),
        ({"time": "moons since 2017"}, "unit of its time"),
        ({"epsg": "Lambert"}, "its grid"),
        ({"scale": float("nan")}, "scale"),
        ({"labels": np.full((SIZE, SIZE), 42, np.uint16)}, "42"),
        ({"labels": np.full((4, 4), 11, np.uint16)}, "labels are"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SwathError, match=says) as caught:
        read_site(make_site(tmp_path / "site", **changes))
    assert "\n" not in str(caught.value) and caught.value.where and caught.value.mend


def test_a_folder_without_a_site_and_a_text_file(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    (site / "S2_L2A_10m_x.nc").write_text("no netCDF")
    with pytest.raises(InputError, match="cannot be read as netCDF-4"):
        read_site(site)
    with pytest.raises(InputError, match="holds 0 files"):
        read_site(tmp_path)


def test_without_h5py_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"swath\[series\]"):
        read_site(tmp_path)


@pytest.mark.shared_data
def test_the_real_site(shared_data: Path) -> None:
    pytest.importorskip("h5py")
    folder = shared_data / SITE
    if not folder.is_dir():
        pytest.skip("the WorldCereal sites are not there")
    sample = read_site(folder)
    assert sample.cube.shape == (118, 10, 64, 64)
    assert sample.target is not None
    assert np.bincount(sample.target.ravel()).tolist() == [1401, 835, 107, 1753] and len(LAND_COVER) == 4
