"""Whatever is wrong with a file is one line that names it and the mend, and GDAL prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.raster import open_scene
from swath.data.spec import SceneSpec
from swath.data.tiff import bytes_needed
from swath.errors import InputError, SwathError

Write = Callable[..., str]
Ramp = Callable[..., np.ndarray]
BANDS = ("B02", "B03")


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing may reach stdout or stderr, from C code neither."""
    yield
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def refused(spec: SceneSpec, *says: str, **options: Any) -> str:
    with pytest.raises(SwathError) as caught, open_scene(spec, **options) as scene:
        scene.read_all()
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.where, line
    assert caught.value.mend, line
    for text in says:
        assert text in line
    return line


def spec(files: Any, **fields: Any) -> SceneSpec:
    return SceneSpec(files, **{"sensor": "sentinel2", "unit": "dn", **fields})


def test_a_text_file_named_tif(tmp_path: Path) -> None:
    path = tmp_path / "notes.tif"
    path.write_text("this is not a raster\n" * 50)
    refused(spec(str(path)), str(path), "cannot be read as a raster")


def test_no_file_an_empty_file_and_a_folder(tmp_path: Path) -> None:
    refused(spec(str(tmp_path / "none.tif")), "none.tif", "no such file")
    (tmp_path / "empty.tif").touch()
    refused(spec(str(tmp_path / "empty.tif")), "empty file")
    refused(spec(str(tmp_path)), "is a folder")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "deflate"},
        {"BIGTIFF": "YES"},
        {"ENDIANNESS": "BIG", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"driver": "COG"},
    ],
)
def test_a_file_cut_short_anywhere_is_refused_at_once(write: Write, options: dict[str, Any]) -> None:
    # The end of a TIFF may hold only names, the no-data value and the georeference: GDAL opens it without.
    noise = np.random.default_rng(0).integers(0, 60000, (2, 64, 64)).astype(np.uint16)
    path = Path(write("whole.tif", noise, nodata=0, **options))
    data = path.read_bytes()
    open_scene(spec(str(path), bands=BANDS)).close()
    cut = path.with_name("cut.tif")
    # A Cloud-Optimized GeoTIFF repeats its last four bytes after the end of what its directory names.
    last = bytes_needed(path)
    assert last is not None
    for length in [1, 7, 20, 150, *(int(last * p) for p in (0.3, 0.6, 0.9, 0.99)), last - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(InputError, match="cannot be read") as caught:
            open_scene(spec(str(cut), bands=BANDS))
        assert caught.value.where == str(cut) and caught.value.mend, length


def test_damage_in_the_middle_is_found_by_reading(write: Write) -> None:
    noise = np.random.default_rng(0).integers(0, 60000, (1, 64, 64)).astype(np.uint16)
    path = Path(
        write("bad.tif", noise, names=BANDS[:1], compress="deflate", tiled=True, blockxsize=16, blockysize=16)
    )
    data = bytearray(path.read_bytes())
    start = len(data) // 2
    data[start : start + 600] = b"\xff" * 600
    path.write_bytes(data)
    refused(spec(str(path)), str(path), "at row")


def test_the_sensor_and_the_bands_must_be_known(write: Write, ramp: Ramp) -> None:
    path = write("s.tif", ramp(2, 4, 4))
    refused(spec(path, sensor=None), path, "no sensor")
    with pytest.raises(SwathError, match="sentinel2"):
        open_scene(spec(path, sensor="sentinel_2"))
    refused(spec(path), path, "bear no names of sentinel2", "bands:")
    refused(spec(path, bands=("B02",)), path, "holds 2 bands, but 1 are named")
    refused(spec(path, bands=("B02", "B99")), path, "B99")
    refused(spec(path, bands=("B02", "b2")), path, "named twice")


def test_a_band_that_is_missing_is_named(write: Write, ramp: Ramp) -> None:
    path = write("s.tif", ramp(2, 4, 4), names=BANDS)
    refused(spec(path, bands=("B02", "B8A")), path, "band B8A of sentinel2 is missing", "B02, B03")


def test_names_that_contradict_the_files_are_refused(write: Write, ramp: Ramp) -> None:
    named = [write(f"{n}.tif", ramp(4, 4), names=(n,)) for n in BANDS]
    line = refused(spec(named, bands=("B03", "B02")), named[0], "calls itself B02", "B03")
    assert "order" in line
    partly = write("s.tif", ramp(2, 4, 4), names=("B02", None))
    refused(spec(partly, bands=("B03", "B02")), "calls itself B02")


def test_a_band_must_come_once(write: Write, ramp: Ramp) -> None:
    twice = [write(f"{i}.tif", ramp(4, 4), names=("B02",)) for i in range(2)]
    refused(spec(twice), "band B02 comes from 2 files", "files_are: dates")
    refused(spec(write("t.tif", ramp(2, 4, 4), names=("B02", "b2"))), "band B02 twice")


def test_the_number_of_files_bands_and_dates_must_agree(write: Write, ramp: Ramp) -> None:
    flat = [write(f"{i}.tif", ramp(4, 4)) for i in range(2)]
    refused(spec(flat), "bears no band name")
    refused(spec(flat, bands=("B02", "B03", "B04")), "2 files, but 3 bands")
    refused(spec(flat, bands=BANDS, dates=("2020-01-01", "2020-01-02")), "2 dates stated")
    refused(spec(flat, bands=("B02",), files_are="dates", dates=("2020-01-02", "2020-01-01")), "not in order")
    refused(spec(flat, bands=("B02",), files_are="dates", offset=(0.0, 1.0, 2.0)), "3 values of offset")
    refused(spec([flat[0], write("two.tif", ramp(2, 4, 4))], bands=BANDS), "two.tif", "holds 2 bands")
    refused(spec(write("three.tif", ramp(3, 4, 4)), bands=BANDS, stack_dates=2), "do not divide")
    other = write("other.tif", ramp(1, 4, 4), names=("B04",))
    first = write("first.tif", ramp(1, 4, 4), names=("B02",))
    refused(spec([first, other], files_are="dates"), other, "lacks band B02 and has band B04")


def test_files_must_lie_on_one_grid(write: Write, ramp: Ramp) -> None:
    base = write("base.tif", ramp(6, 6))
    for name, options in {
        "crs.tif": {"crs": "EPSG:32634"},
        "nocrs.tif": {"crs": None},
        "shift.tif": {"origin": (500_005.0, 5_000_000.0)},
        "res.tif": {"res": 11.0},
    }.items():
        other = write(name, ramp(6, 6), **options)
        line = refused(spec([base, other], bands=BANDS), base, other, "gdalwarp")
        if name == "crs.tif":
            assert "EPSG:32634" in line and "EPSG:32633" in line
    for shape, res in (((4, 4), 15.0), ((3, 2), 20.0), ((7, 6), 10.0)):
        refused(spec([base, write("size.tif", ramp(*shape), res=res)], bands=BANDS), base, "size.tif")


def test_a_rounded_transform_is_the_same_grid(write: Write, ramp: Ramp) -> None:
    paths = [write("a.tif", ramp(6, 6)), write("b.tif", ramp(6, 6), origin=(500_000.001, 5_000_000.0))]
    open_scene(spec(paths, bands=BANDS)).close()


def test_the_unit_is_never_guessed(write: Write, ramp: Ramp) -> None:
    silent = write("s.tif", ramp(1, 4, 4), names=("B02",), scale=1e-4)
    refused(SceneSpec(silent, sensor="sentinel2"), silent, "band B02 does not say its unit", "state unit")
    strange = write("t.tif", ramp(1, 4, 4), names=("B02",), unit="furlong")
    refused(SceneSpec(strange, sensor="sentinel2"), "furlong")


@pytest.mark.parametrize("tag", [{"scale": float("nan")}, {"scale": 0.0}, {"offset": float("inf")}])
def test_a_scale_that_is_no_number(write: Write, ramp: Ramp, tag: dict[str, float]) -> None:
    path = write("s.tif", ramp(1, 4, 4), names=("B02",), **tag)
    refused(spec(path), path, "band B02", "scale")


def test_no_data_must_be_possible(write: Write, ramp: Ramp) -> None:
    path = write("s.tif", ramp(1, 4, 4), names=("B02",))
    for value in (-9999.0, 0.5, float("nan")):
        refused(spec(path, nodata=value), path, "no-data")


def test_complex_pixels(write: Write) -> None:
    refused(spec(write("c.tif", np.ones((1, 4, 4), np.complex64), names=("B02",))), "complex64")


def test_a_scene_without_a_valid_pixel(write: Write, ramp: Ramp) -> None:
    nothing = write("n.tif", np.zeros((2, 4, 4), np.uint8), names=BANDS, nodata=0)
    refused(spec(nothing), nothing, "no valid pixel", require_valid=True)
    assert not open_scene(spec(nothing)).read(0, 0, 4, 4).valid.any()
    half = np.stack([np.zeros((4, 4)), np.ones((4, 4))]).astype(np.uint8)
    refused(spec(write("h.tif", half, names=BANDS, nodata=0)), "band B02 holds no valid", require_valid=True)
    nans = write("f.tif", np.full((1, 4, 4), np.nan, np.float32), names=("B02",))
    refused(spec(nans), "no valid pixel", require_valid=True)
    open_scene(spec(write("ok.tif", ramp(1, 4, 4), names=("B02",))), require_valid=True).close()


def test_a_window_of_no_size(write: Write, ramp: Ramp) -> None:
    with open_scene(spec(write("s.tif", ramp(1, 4, 4), names=("B02",)))) as scene:
        for height, width in ((0, 4), (4, -1)):
            with pytest.raises(InputError, match="is empty"):
                scene.read(0, 0, height, width)


def test_reading_after_closing_is_said(write: Write, ramp: Ramp) -> None:
    scene = open_scene(spec(write("s.tif", ramp(1, 4, 4), names=("B02",))))
    scene.close()
    with pytest.raises(InputError, match=r"s\.tif"):
        scene.read(0, 0, 2, 2)
