"""Zarr stores and netCDF files through xarray: layouts, places, dates, numbers, holes."""

from __future__ import annotations

import datetime as dt
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from swath.errors import InputError, ReadError
from swath.scenes.sources.arrays import ArraySource
from swath.scenes.sources.opening import open_source
from swath.scenes.sources.spec import GridOptions, MaskOptions, SourceSpec

# What xarray writes for text coordinates; the writer is not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:The data type .* does not have a Zarr V3 specification")
T, C, H, W = 3, 2, 30, 40
TIMES = np.array(["2022-06-01T10:00", "2022-06-11T10:00", "2022-07-01T10:00"], "datetime64[ns]")


def cube_of(
    pixels: np.ndarray, *, dims: tuple[str, ...] = ("time", "band", "y", "x"), crs: bool = True
) -> xr.Dataset:
    """[T,C,H,W] as a data set with its place, dimensions in any order."""
    array = xr.DataArray(
        pixels,
        dims=("time", "band", "y", "x"),
        coords={
            "time": TIMES[: len(pixels)],
            "band": ["B02", "B04"],
            "y": 5000000.0 - 10 * np.arange(H) - 5,
            "x": 600000.0 + 10 * np.arange(W) + 5,
        },
        name="reflectance",
        attrs={"units": "reflectance", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0},
    ).transpose(*dims)
    data = array.to_dataset()
    if crs:
        data = data.assign_coords(spatial_ref=((), 0, {"crs_wkt": CRS.from_epsg(32633).to_wkt()}))
        data["reflectance"].attrs["grid_mapping"] = "spatial_ref"
    return data


def pixels_of(make: SimpleNamespace) -> np.ndarray:
    return np.stack([np.stack([make.numbers(H, W, 10 * t + c) for c in range(C)]) for t in range(T)])


def spec_of(path: Path, **options: Any) -> SourceSpec:
    return SourceSpec(str(path), sensor="sentinel2", **options)


@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "nc", "nc3"])
@pytest.mark.parametrize(
    "dims", [("time", "band", "y", "x"), ("y", "x", "time", "band"), ("band", "x", "y", "time")]
)
def test_a_cube_is_read_whatever_its_container_and_order(
    make: SimpleNamespace, tmp_path: Path, kind: str, dims: tuple[str, ...]
) -> None:
    pixels = pixels_of(make).astype(np.int16)  # what version 3 of netCDF can hold
    pixels[1, 0, 3, 4] = 0
    data, path = cube_of(pixels, dims=dims), tmp_path / f"a.{kind.rstrip('23')}"
    if kind.startswith("zarr"):
        data.to_zarr(path, zarr_format=int(kind[-1]), consolidated=kind == "zarr2", encoding=_chunks(data))
    else:
        data.to_netcdf(path, engine="scipy" if kind == "nc3" else "h5netcdf")
    with open_source(spec_of(path)) as scene:
        assert isinstance(scene, ArraySource)
        assert scene.grid.crs == "EPSG:32633" and scene.grid.transform == (10, 0, 600000, 0, -10, 5000000)
        assert (scene.height, scene.width, scene.gsd, len(scene.dates)) == (H, W, 10.0, T)
        assert [b.name for b in scene.bands] == ["B02", "B04"] and scene.dates[1] == dt.date(2022, 6, 11)
        e = scene.encodings[0][1]
        assert (e.unit, e.scale, e.offset) == ("reflectance", 1e-4, -0.1)
        cube, part = scene.read(0, 0, H, W), scene.read(5, 35, 10, 10)
        again = open_source(pickle.loads(pickle.dumps(scene.spec)))
        np.testing.assert_array_equal(again.read(0, 0, H, W).pixels, cube.pixels)
        again.close()
    np.testing.assert_array_equal(cube.pixels, pixels)
    np.testing.assert_array_equal(cube.valid, pixels != 0)
    np.testing.assert_array_equal(part.pixels[..., :5], pixels[..., 5:15, 35:])
    assert not part.valid[..., 5:].any()


def _chunks(data: xr.Dataset) -> dict[str, Any]:
    sizes = {"time": 1, "band": 1, "y": 16, "x": 16}
    return {"reflectance": {"chunks": [sizes[d] for d in map(str, data["reflectance"].dims)]}}


def test_one_variable_per_band(make: SimpleNamespace, tmp_path: Path) -> None:
    pixels = pixels_of(make)
    one = cube_of(pixels)["reflectance"]
    data = xr.Dataset({name: one.sel(band=name, drop=True) for name in ("B04", "B02")})
    data["scl"] = data["B02"].copy(data=np.full((T, H, W), 4, np.uint8))
    data["scl"].attrs = {}
    data["scl"][1, 2:5, 3:6] = 9
    data = data.assign_coords(spatial_ref=((), 0, {"spatial_ref": "EPSG:32633"}))
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    spec = spec_of(tmp_path / "a.zarr", mask=MaskOptions("scl", (3, 9)))
    with open_source(spec) as scene:
        cube = scene.read(0, 0, H, W)
    np.testing.assert_array_equal(cube.pixels[0], pixels[0])
    assert not cube.valid[1, :, 2:5, 3:6].any() and cube.valid.sum() == pixels.size - 2 * 9
    with open_source(spec_of(tmp_path / "a.zarr", bands=("B04",), dates=("2022-07-01",))) as scene:
        np.testing.assert_array_equal(scene.read(0, 0, H, W).pixels, pixels[2:, 1:])
    with pytest.raises(InputError, match="no variable for band B08"):
        open_source(spec_of(tmp_path / "a.zarr", bands=("B08",)))


def test_time_is_known_by_its_values_whatever_its_name(make: SimpleNamespace, tmp_path: Path) -> None:
    pixels = pixels_of(make)
    data = cube_of(pixels, crs=False).rename({"time": "timestamp"})
    data.attrs["epsg"] = 32633
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with open_source(spec_of(tmp_path / "a.nc")) as scene:
        assert scene.grid.crs == "EPSG:32633" and scene.dates[1] == dt.date(2022, 6, 11)
        np.testing.assert_array_equal(scene.read(0, 0, H, W).pixels, pixels)
    plain = cube_of(pixels).rename({"time": "step"}).assign_coords(step=[0, 1, 2])
    plain.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="dimension step of reflectance is none of time"):
        open_source(spec_of(tmp_path / "b.nc"))


@pytest.mark.parametrize(
    ("mask", "fill"), [(MaskOptions("qa", (9,)), 255), (MaskOptions("qa", bits=(3,)), np.nan)]
)
def test_where_a_mask_says_nothing_no_pixel_is_known_to_be_clear(
    make: SimpleNamespace, tmp_path: Path, mask: MaskOptions, fill: float
) -> None:
    pixels = pixels_of(make)
    data = cube_of(pixels)
    said = np.full((T, H, W), 4, np.float32 if np.isnan(fill) else np.uint8)
    said[0, 1:3, 2:4] = fill
    said[1, 0, :2] = 9
    data["qa"] = (("time", "y", "x"), said, {} if np.isnan(fill) else {"_FillValue": np.uint8(fill)})
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    with open_source(spec_of(tmp_path / "a.zarr", variable="reflectance", mask=mask)) as scene:
        valid = scene.read(0, 0, H, W).valid
    assert not valid[0, :, 1:3, 2:4].any() and not valid[1, :, 0, :2].any()
    assert valid.sum() == pixels.size - 2 * (4 + 2)


def test_times_out_of_order_are_put_in_order(make: SimpleNamespace, tmp_path: Path) -> None:
    pixels = pixels_of(make)
    cube_of(pixels).isel(time=[2, 0, 1]).to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    with open_source(spec_of(tmp_path / "a.zarr")) as scene:
        assert list(scene.dates) == sorted(scene.dates)  # type: ignore[type-var]
        np.testing.assert_array_equal(scene.read(0, 0, H, W).pixels, pixels)


def test_what_a_store_does_not_say_must_be_stated(make: SimpleNamespace, tmp_path: Path) -> None:
    data = cube_of(pixels_of(make), crs=False)
    del data["reflectance"].attrs["units"]
    data = data.drop_vars("band")
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match="no sensor"):
        open_source(SourceSpec(str(tmp_path / "a.zarr")))
    with pytest.raises(InputError, match="2 bands without names"):
        open_source(spec_of(tmp_path / "a.zarr"))
    with pytest.raises(InputError, match="does not say its unit"):
        open_source(spec_of(tmp_path / "a.zarr", bands=("B04", "B02")))
    stated = {"bands": ("B04", "B02"), "unit": "reflectance"}
    with pytest.raises(InputError, match=r"state grid\.crs"):
        open_source(spec_of(tmp_path / "a.zarr", **stated))
    with open_source(spec_of(tmp_path / "a.zarr", grid=GridOptions("EPSG:32633"), **stated)) as scene:
        assert [b.name for b in scene.bands] == ["B04", "B02"] and scene.gsd == 10.0


def test_a_place_that_contradicts_itself_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    data = cube_of(pixels_of(make))
    data["spatial_ref"].attrs["GeoTransform"] = "600100 10 0 5000000 0 -10"
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match="puts the first pixel at"):
        open_source(spec_of(tmp_path / "a.zarr"))
    data["spatial_ref"].attrs["GeoTransform"] = "600000 10 0 5000000 0 -10"
    data["x"] = data["x"] + np.where(np.arange(W) == 7, 1.0, 0.0)
    del data["spatial_ref"].attrs["GeoTransform"]
    data.to_zarr(tmp_path / "b.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match="not evenly spaced"):
        open_source(spec_of(tmp_path / "b.zarr"))


def test_damage_is_a_window_that_cannot_be_read(make: SimpleNamespace, tmp_path: Path) -> None:
    data = cube_of(pixels_of(make))
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False, encoding=_chunks(data))
    chunk = tmp_path / "a.zarr" / "reflectance" / "c" / "0" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with open_source(spec_of(tmp_path / "a.zarr")) as scene:
        with pytest.raises(ReadError, match="row 0, column 0"):
            scene.read(0, 0, 8, 8)
        assert scene.read(16, 16, 8, 8).valid.all()
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="no such file"):
        open_source(spec_of(tmp_path / "a.zarr"))
    (tmp_path / "b.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match="cannot be opened"):
        open_source(spec_of(tmp_path / "b.nc"))


@given(st.integers(-5, H + 4), st.integers(-5, W + 4), st.integers(1, 20), st.integers(1, 20))
def test_any_window_is_a_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    make: SimpleNamespace,
    row: int,
    col: int,
    height: int,
    width: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zarr"
    pixels = pixels_of(make)
    if not path.exists():
        data = cube_of(pixels)
        data.to_zarr(path, zarr_format=3, consolidated=False, encoding=_chunks(data))
    framed = np.pad(pixels, ((0, 0), (0, 0), (30, 30), (30, 30)))
    with open_source(spec_of(path)) as scene:
        cube = scene.read(row, col, height, width)
    expected = framed[..., row + 30 : row + 30 + height, col + 30 : col + 30 + width]
    np.testing.assert_array_equal(cube.pixels, expected)
    np.testing.assert_array_equal(cube.valid, expected != 0)
