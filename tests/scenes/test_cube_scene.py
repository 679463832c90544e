"""A cube in memory is read as any scene is."""

from __future__ import annotations

import datetime as dt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import sensor
from swath.cube import Cube, Encoding, Grid
from swath.scenes.cube_scene import CubeScene

BANDS = sensor("sentinel2").select(("B02", "B03"))


def cube() -> Cube:
    draw = np.random.default_rng(0)
    return Cube(
        draw.integers(1, 99, (2, 2, 5, 7)).astype(np.uint16), draw.random((2, 2, 5, 7)) < 0.8, BANDS,
        (dt.date(2020, 1, 1), dt.date(2020, 2, 1)), ((Encoding("reflectance", 1e-4),) * 2,) * 2,
        grid=Grid("EPSG:32633", (10.0, 0, 500.0, 0, -10.0, 900.0), 5, 7), source="here",
    )  # fmt: skip


@given(st.integers(-6, 8), st.integers(-6, 8), st.integers(1, 9), st.integers(1, 9))
def test_what_lies_beyond_the_edges_is_invalid(row: int, col: int, height: int, width: int) -> None:
    whole = cube()
    found = CubeScene(whole).read(row, col, height, width)
    assert found.shape == (2, 2, height, width) and found.dates == whole.dates
    for r in range(height):
        for c in range(width):
            inside = 0 <= row + r < 5 and 0 <= col + c < 7
            expected = whole.valid[:, :, row + r, col + c] if inside else np.zeros((2, 2), bool)
            assert np.array_equal(found.valid[:, :, r, c], expected)
            if inside:
                assert np.array_equal(found.pixels[:, :, r, c], whole.pixels[:, :, row + r, col + c])
    assert found.grid is not None and whole.grid is not None
    assert found.grid.xy(0, 0) == whole.grid.xy(row, col)


def test_its_statistics_are_those_of_its_record() -> None:
    whole = cube()
    scene = CubeScene(whole)
    assert (scene.height, scene.width, scene.bands, scene.grid, scene.source) == (
        5,
        7,
        BANDS,
        whole.grid,
        "here",
    )
    assert scene.statistics() == whole.with_statistics().statistics
    part = whole.with_statistics().window(0, 0, 2, 2)
    assert CubeScene(part).statistics() == whole.with_statistics().statistics
