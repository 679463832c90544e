from __future__ import annotations

import datetime as dt
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import sensor
from swath.cube import (
    BandStatistics,
    Cube,
    CubeBatch,
    Encoding,
    Grid,
    Sample,
    band_statistics,
    date_features,
)
from swath.errors import InputError

S2 = sensor("sentinel2")
DN = Encoding("dn")


def cube(t: int = 1, c: int = 2, h: int = 4, w: int = 5, **changes: Any) -> Cube:
    pixels = np.arange(t * c * h * w, dtype=np.uint16).reshape(t, c, h, w)
    fields: dict[str, Any] = {
        "pixels": pixels,
        "valid": np.ones(pixels.shape, bool),
        "bands": S2.bands[:c],
        "dates": (None,) * t,
        "encodings": ((DN,) * c,) * t,
        "source": "scene.tif",
    }
    return Cube(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pixels": np.zeros((2, 4, 5))}, "3 axes"),
        ({"pixels": np.zeros((1, 2, 0, 5)), "valid": np.zeros((1, 2, 0, 5), bool)}, "empty"),
        ({"valid": np.ones((1, 2, 4, 4), bool)}, "validity"),
        ({"valid": np.ones((1, 2, 4, 5), np.uint8)}, "validity"),
        ({"bands": S2.bands[:1]}, "1 band named for 2"),
        ({"bands": (S2.bands[0], S2.bands[0])}, "twice"),
        ({"dates": ()}, "0 dates"),
        ({"dates": (None, None)}, "2 dates"),
        ({"encodings": ((DN,),)}, "encodings"),
        ({"encodings": ()}, "encodings"),
        ({"pixels": np.zeros((1, 2, 4, 5), np.complex64)}, "complex64"),
        ({"pixels": np.zeros((1, 2, 4, 5), bool)}, "bool"),
        ({"pixels": np.full((1, 2, 4, 5), np.nan)}, "NaN"),
        ({"pixels": np.full((1, 2, 4, 5), np.inf)}, "infinity"),
        ({"statistics": BandStatistics((0.0,), (1.0,), (0.5,), (0.1,), (9,))}, "statistics hold 1"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        cube(**changes)
    assert str(caught.value).startswith("scene.tif: ") and "\n" not in str(caught.value)


def test_dates_must_be_in_order_unknown_ones_aside() -> None:
    one, two = dt.date(2020, 1, 1), dt.date(2020, 2, 1)
    assert cube(t=3, dates=(one, None, two)).dates[1] is None
    assert cube(t=2, dates=(one, one)).dates == (one, one)
    with pytest.raises(InputError, match="not in order"):
        cube(t=3, dates=(two, None, one))


def test_invalid_pixels_may_hold_anything() -> None:
    pixels = np.full((1, 2, 4, 5), np.nan)
    assert not cube(pixels=pixels, valid=np.zeros(pixels.shape, bool)).valid.any()


def test_it_is_frozen() -> None:
    c = cube()
    with pytest.raises(FrozenInstanceError):
        c.source = "other"  # type: ignore[misc]
    for array in (c.pixels, c.valid, c.window(0, 0, 2, 2).pixels):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0, 0, 0] = 1


@given(st.integers(0, 3), st.integers(0, 4), st.integers(1, 4), st.integers(1, 5))
def test_a_window_is_a_crop_with_the_statistics_of_the_whole(
    row: int, col: int, height: int, width: int
) -> None:
    whole = cube(grid=Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 4, 5)).with_statistics()
    if row + height > 4 or col + width > 5:
        with pytest.raises(InputError, match="outside 4x5"):
            whole.window(row, col, height, width)
        return
    part = whole.window(row, col, height, width)
    np.testing.assert_array_equal(part.pixels, whole.pixels[:, :, row : row + height, col : col + width])
    assert part.statistics is whole.statistics
    assert part.grid is not None and whole.grid is not None
    assert part.grid.xy(0, 0) == whole.grid.xy(row, col)
    assert (part.grid.height, part.grid.width) == (height, width)


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, 0, 0, 2), (0, 0, 2, -1)])
def test_windows_outside_or_of_no_size(window: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="outside"):
        cube().window(*window)


@given(st.integers(0, 2**31))
def test_statistics_are_over_valid_pixels_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(2, 3, 3, 3)).astype(np.float32)
    valid = rng.random(pixels.shape) < 0.5
    spoiled = np.where(valid, pixels, np.nan)
    found = band_statistics(spoiled, valid)
    for c in range(3):
        x = pixels[:, c][valid[:, c]].astype(np.float64)
        assert found.count[c] == x.size
        values = [found.minimum[c], found.maximum[c], found.mean[c], found.std[c]]
        expected = [x.min(), x.max(), x.mean(), x.std()] if x.size else [np.nan] * 4
        np.testing.assert_array_equal(values, expected)
    assert found.take((2, 0)).count == (found.count[2], found.count[0])


def test_sums_of_large_numbers_do_not_overflow() -> None:
    pixels = np.full((1, 1, 300, 300), 65535, np.uint16)
    found = band_statistics(pixels, np.ones(pixels.shape, bool))
    assert (found.mean[0], found.std[0]) == (65535.0, 0.0)


@pytest.mark.parametrize("fields", [{"scale": 0.0}, {"scale": float("nan")}, {"offset": float("inf")}])
def test_an_encoding_must_be_usable(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"scale .*;"):
        Encoding("reflectance", **fields)


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(InputError, match="unknown unit 'percent'; use one of dn, reflectance"):
        Encoding("percent")  # type: ignore[arg-type]


def test_rotated_grids() -> None:
    grid = Grid("", (0.0, 2.0, 10.0, 3.0, 0.0, 20.0), 4, 4)
    assert grid.xy(1, 2) == (12.0, 26.0)
    assert grid.window(1, 2, 2, 2).xy(1, 1) == grid.xy(2, 3)


def test_a_sample_of_several_sensors_has_no_only_cube() -> None:
    one = cube()
    assert Sample({"sentinel2": one}, "a").cube is one
    for cubes in ({}, {"sentinel2": one, "sentinel1": one}):
        with pytest.raises(InputError, match=rf"sample a holds {len(cubes)} cubes"):
            _ = Sample(cubes, "a").cube


def test_dates_as_features() -> None:
    days = date_features((dt.date(2020, 12, 31), None, dt.date(2021, 1, 1)))
    assert days.dtype == np.float32 and days.shape == (3, 2)
    assert days[0].tolist() == [366, 2020] and days[2].tolist() == [1, 2021] and np.isnan(days[1]).all()


def test_a_batch_moves_whole() -> None:
    batch = CubeBatch(
        pixels=torch.zeros(1, 1, 2, 3, 3),
        valid=torch.ones(1, 1, 2, 3, 3, dtype=torch.bool),
        bands=S2.bands[:2],
        days=torch.zeros(1, 1, 2),
        gain=torch.ones(1, 2),
        bias=torch.zeros(1, 2),
        ids=("a",),
        target=torch.zeros(1, 3, 3),
    )
    moved = batch.to("meta")
    for name in ("pixels", "valid", "days", "gain", "bias", "target"):
        assert getattr(moved, name).device.type == "meta", name
    assert moved.ids == ("a",) and moved.wavelengths == (442.7, 492.4)


def test_some_dates_of_a_cube_keep_their_order_and_the_statistics_of_the_record() -> None:
    days = tuple(dt.date(2020, m, 1) for m in (1, 2, 3, 4))
    whole = cube(t=4, dates=days).with_statistics()
    some = whole.at_dates([3, 1])
    assert some.dates == (days[1], days[3]) and some.shape == (2, *whole.shape[1:])
    np.testing.assert_array_equal(some.pixels, whole.pixels[[1, 3]])
    np.testing.assert_array_equal(some.valid, whole.valid[[1, 3]])
    assert len(some.encodings) == 2 and some.statistics == whole.statistics


@given(count=st.integers(1, 9), most=st.integers(1, 10))
def test_a_batch_in_parts_is_whole(count: int, most: int) -> None:
    x = torch.arange(count * 4.0).reshape(count, 1, 1, 2, 2)
    flat = torch.arange(float(count))
    batch = CubeBatch(
        x,
        x > 1,
        S2.select(("B02",)),
        flat.reshape(-1, 1, 1).expand(-1, 1, 2),
        flat[:, None],
        -flat[:, None],
        tuple(map(str, range(count))),
        flat.long(),
    )
    parts = list(batch.parts(most))
    sizes = [len(p.ids) for p in parts]
    assert len(parts) == -(-count // most) and max(sizes) <= most and max(sizes) - min(sizes) <= 1
    assert sum((p.ids for p in parts), ()) == batch.ids
    for name in ("pixels", "valid", "days", "gain", "bias", "target"):
        assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(batch, name)), name
