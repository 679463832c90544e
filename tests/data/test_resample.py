from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from swath.data.resample import enlarge, upsample


def whole(pixels: np.ndarray, valid: np.ndarray, factor: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    h, w = pixels.shape
    return upsample(pixels, valid, (0, 0), (0, 0, h * factor, w * factor), factor, method)


@given(st.sampled_from(["nearest", "bilinear"]), st.integers(2, 4), st.integers(0, 2**31))
def test_blocks_have_no_seams(method: str, factor: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels, valid = rng.normal(size=(4, 5)), rng.random((4, 5)) < 0.8
    values, good = whole(pixels, valid, factor, method)
    row, col = int(rng.integers(0, 4 * factor - 1)), int(rng.integers(0, 5 * factor - 1))
    height, width = int(rng.integers(1, 4 * factor - row + 1)), int(rng.integers(1, 5 * factor - col + 1))
    window = (row, col, height, width)
    top, left, h, w = enlarge(window, factor, method, pixels.shape)
    cut = np.s_[top : top + h, left : left + w]
    part, part_good = upsample(pixels[cut], valid[cut], (top, left), window, factor, method)
    fine = np.s_[row : row + height, col : col + width]
    np.testing.assert_array_equal(part, values[fine])
    np.testing.assert_array_equal(part_good, good[fine])


def test_bilinear_keeps_planes_inside_and_ignores_invalid_values() -> None:
    y, x = np.mgrid[:6, :6].astype(float)
    values, good = whole(2 * x + 3 * y, np.ones((6, 6), bool), 2, "bilinear")
    fy, fx = (np.mgrid[:12, :12] + 0.5) / 2 - 0.5
    np.testing.assert_allclose(values[1:-1, 1:-1], (2 * fx + 3 * fy)[1:-1, 1:-1])
    assert good.all()
    pixels, valid = np.ones((4, 4)), np.ones((4, 4), bool)
    pixels[1, 1], valid[1, 1] = np.nan, False
    values, good = whole(pixels, valid, 2, "bilinear")
    assert (values[good] == 1).all() and (~good).sum() == 4


def test_whole_numbers_are_rounded_not_cut() -> None:
    values, _ = whole(np.array([[0, 3]], np.uint8), np.ones((1, 2), bool), 2, "bilinear")
    assert values.dtype == np.uint8 and values[0].tolist() == [0, 1, 2, 3]
