"""Pixels of another size: means of blocks, repeated pixels, and what of them is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import sensor
from swath.cube import Cube, Encoding, Grid, Place
from swath.data.resample import upsample
from swath.errors import InputError
from swath.feed.pixel_size import Step, known_after, resized, step_to, to_gsd

BANDS = sensor("sentinel2").select(("B02", "B03"))


def made(
    seed: int, height: int, width: int, kind: str = "uint16", share: float = 0.7, gsd: float = 10.0
) -> Cube:
    draw = np.random.default_rng(seed)
    shape = (2, 2, height, width)
    pixels = draw.integers(0, 200, shape).astype(kind)
    valid = draw.random(shape) < share
    if pixels.dtype.kind == "f":
        pixels[~valid] = np.nan
    row = (Encoding("reflectance", 1e-4, 0.0),) * 2
    grid = Grid("EPSG:32633", (gsd, 0.0, 5e5, 0.0, -gsd, 5e6), height, width)
    return Cube(pixels, valid, BANDS, (None, None), (row, row), gsd, Place(9.0, 50.0), grid, source="there")


@given(
    st.integers(2, 5), st.integers(1, 23), st.integers(1, 17), st.sampled_from(["uint8", "uint16", "float32"]),
    st.sampled_from([0.2, 0.7, 1.0]), st.integers(0, 2**31),
)  # fmt: skip
def test_a_coarse_pixel_is_the_mean_of_the_valid_ones_of_its_block_of_which_half_are_valid(
    factor: int, height: int, width: int, kind: str, share: float, seed: int
) -> None:
    cube = made(seed, height, width, kind, share)
    pixels, valid = resized(cube.pixels, cube.valid, Step(coarser=factor))
    assert pixels.shape == valid.shape == (2, 2, -(-height // factor), -(-width // factor))
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(known_after(cube.valid, Step(coarser=factor)), valid)
    for place in np.ndindex(valid.shape):
        t, c, y, x = place
        block = np.s_[t, c, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        seen = cube.pixels[block][cube.valid[block]].astype(float)
        # What the block lacks beyond an edge counts as invalid.
        assert valid[place] == (seen.size >= factor * factor / 2)
        assert pixels[place] == (np.float32(seen.mean()) if valid[place] else 0)


@given(st.integers(2, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_means_are_conserved(factor: int, height: int, width: int, seed: int) -> None:
    whole = made(seed, height * factor, width * factor, share=2.0)
    coarse, _ = resized(whole.pixels, whole.valid, Step(coarser=factor))
    np.testing.assert_allclose(coarse.mean((2, 3)), whole.pixels.mean((2, 3)), rtol=1e-5)
    # Repeated pixels have the same mean over those that are valid, and come back as they were.
    cube = made(seed, height, width)
    fine, known = resized(cube.pixels, cube.valid, Step(finer=factor))
    assert fine.dtype == cube.pixels.dtype
    assert (fine.astype(int) * known).sum() == (cube.pixels.astype(int) * cube.valid).sum() * factor**2
    back, valid = resized(fine, known, Step(coarser=factor))
    np.testing.assert_array_equal(valid, cube.valid)
    np.testing.assert_array_equal(back[valid], cube.pixels[valid])
    for t, c in np.ndindex(2, 2):
        window = (0, 0, height * factor, width * factor)
        wanted, good = upsample(cube.pixels[t, c], cube.valid[t, c], (0, 0), window, factor, "nearest")
        np.testing.assert_array_equal(fine[t, c], wanted)
        np.testing.assert_array_equal(known[t, c], good)


@given(
    st.data(), st.integers(1, 4), st.booleans(), st.sampled_from(["uint16", "float32"]), st.integers(0, 2**31)
)
def test_cutting_before_is_cutting_after(
    data: st.DataObject, factor: int, coarser: bool, kind: str, seed: int
) -> None:
    step = Step(coarser=factor) if coarser else Step(finer=factor)
    cube = made(seed, data.draw(st.integers(1, 19)), data.draw(st.integers(1, 19)), kind)
    pixels, valid = resized(cube.pixels, cube.valid, step)
    height, width = pixels.shape[2:]
    assert (height, width) == (step.size(cube.shape[2]), step.size(cube.shape[3]))
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    h, w = data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col))
    top, tall = step.source(row, h, cube.shape[2])
    left, wide = step.source(col, w, cube.shape[3])
    part = cube.window(top, left, tall, wide)
    first, first_valid = resized(part.pixels, part.valid, step)
    y, x = (row - top * step.finer, col - left * step.finer) if not coarser else (0, 0)
    np.testing.assert_array_equal(
        first[:, :, y : y + h, x : x + w], pixels[:, :, row : row + h, col : col + w]
    )
    np.testing.assert_array_equal(
        first_valid[:, :, y : y + h, x : x + w], valid[:, :, row : row + h, col : col + w]
    )


@given(st.integers(1, 40), st.floats(0.3, 100), st.booleans(), st.floats(-0.9, 0.9))
def test_factors_are_whole_or_refused(factor: int, size: float, coarser: bool, noise: float) -> None:
    want = size * factor if coarser else size / factor
    step = step_to(size, want * (1 + noise * 1e-6), "there")
    assert (step.coarser, step.finer) == ((factor, 1) if coarser else (1, factor))
    assert step_to(size, 0, "there").still and step_to(None, 0, "there").still
    # Nearly whole is not whole.
    with pytest.raises(InputError):
        step_to(size, want * 1.00001, "there")


def test_the_error_names_factors_that_would_do() -> None:
    with pytest.raises(InputError, match=r"^there: has pixels of 28\.5 m, and no whole number of them is one of 60 m; "
                                         r"set data\.gsd to 57 or 85\.5, or give"):  # fmt: skip
        step_to(28.5, 60.0, "there")
    with pytest.raises(InputError, match=r"which are no whole number of 20 m; set data\.gsd to 30 or 15, or"):
        step_to(30.0, 20.0, "there")
    with pytest.raises(
        InputError, match=r"^there: does not say how large its pixels are.*leave data\.gsd out"
    ):
        step_to(None, 20.0, "there")


@pytest.mark.parametrize(("want", "word"), [(1e9, "wider"), (20_000.0, "wider"), (1e-4, "narrower")])
def test_a_slip_of_the_pen_is_refused_at_once(want: float, word: str) -> None:
    with pytest.raises(InputError, match=rf"times {word}; give data\.gsd in metres, such as 20$"):
        step_to(10.0, want, "there")


def test_a_factor_beyond_the_image_gives_one_pixel() -> None:
    cube = made(1, 3, 5)
    coarse = to_gsd(cube, (cube.gsd or 0.0) * 900)
    assert coarse.shape[2:] == (1, 1) and not coarse.valid.any()


def test_a_cube_keeps_its_corner_and_place_and_has_statistics_of_the_new_pixels() -> None:
    cube = made(1, 7, 9).with_statistics()
    coarse = to_gsd(cube, 20.0)
    assert coarse.gsd == 20.0 and coarse.place == cube.place and coarse.source == cube.source
    assert coarse.grid == Grid("EPSG:32633", (20.0, 0.0, 5e5, 0.0, -20.0, 5e6), 4, 5)
    assert cube.grid is not None and coarse.grid is not None
    for row, col in np.ndindex(4, 5):
        assert coarse.grid.xy(row, col) == cube.grid.xy(2 * row, 2 * col)
    assert coarse.statistics == replace(coarse, statistics=None).with_statistics().statistics
    assert coarse.statistics != cube.statistics
    fine = to_gsd(cube, 5.0)
    assert fine.grid is not None and fine.grid.xy(14, 18) == cube.grid.xy(7, 9) and fine.shape[2:] == (14, 18)
    assert to_gsd(cube, 10.0) is cube and to_gsd(cube, 0.0) is cube
    assert to_gsd(replace(cube, statistics=None), 20.0).statistics is None
