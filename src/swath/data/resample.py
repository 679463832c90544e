"""Bring a coarser band to a finer grid of the same extent, by a whole factor, with validity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from swath.cube import Array, BoolArray

# Rows of a fine window that are interpolated at once.
_STRIP = 16


def enlarge(
    read_window: tuple[int, int, int, int],
    factor: int,
    method: str,
    shape: tuple[int, int],
) -> tuple[int, int, int, int]:
    """The coarse window (row, col, height, width) that a fine window needs; one pixel wider for bilinear."""
    row, col, height, width = read_window
    halo = 1 if method == "bilinear" else 0
    top, left = max(row // factor - halo, 0), max(col // factor - halo, 0)
    bottom = min(-(-(row + height) // factor) + halo, shape[0])
    right = min(-(-(col + width) // factor) + halo, shape[1])
    return top, left, bottom - top, right - left


def upsample(
    pixels: Array,
    valid: BoolArray,
    origin: tuple[int, int],
    fine_window: tuple[int, int, int, int],
    factor: int,
    method: str,
) -> tuple[Array, BoolArray]:
    """Values of a fine window from a coarse block.

    Nearest repeats pixels and keeps their type. Bilinear weighs the (up to four) valid neighbours, clamped at
    the edge, in float64 rounded back to the type; a fine pixel is valid where the coarse pixel under it is,
    with either method, so that no method changes what is known. Blocks of any cut give the same values: no
    seams.

    Args:
        pixels: coarse block [h,w].
        valid: of the same shape.
        origin: (row, col) of the block in the coarse raster.
        fine_window: (row, col, height, width) in the fine grid.
        factor: fine pixels per coarse pixel.
        method: "nearest" or "bilinear".
    """
    row, col, height, width = fine_window
    rows, cols = np.arange(row, row + height), np.arange(col, col + width)
    under = np.ix_(rows // factor - origin[0], cols // factor - origin[1])
    good = valid[under]
    if method == "nearest":
        return pixels[under], good
    values, weights = np.where(valid, pixels, 0).astype(np.float64), valid.astype(np.float64)
    xs, wx = _taps(cols, factor, origin[1], pixels.shape[1])
    out = np.empty((height, width), pixels.dtype)
    for first in range(0, height, _STRIP):
        # Strip by strip: numbers of 64 bits for the whole window would be the most that reading holds.
        ys, wy = _taps(rows[first : first + _STRIP], factor, origin[0], pixels.shape[0])
        total = np.zeros((len(ys[0]), width))
        weight = np.zeros(total.shape)
        for y, a in zip(ys, wy, strict=True):
            for x, b in zip(xs, wx, strict=True):
                w = weights[np.ix_(y, x)] * (a[:, None] * b[None, :])
                total += values[np.ix_(y, x)] * w
                weight += w
        mean = total / np.where(weight > 0, weight, 1.0)
        out[first : first + _STRIP] = np.rint(mean) if pixels.dtype.kind in "iu" else mean
    return out, good


def _taps(
    fine: npt.NDArray[np.int_], factor: int, origin: int, size: int
) -> tuple[tuple[npt.NDArray[np.int_], ...], tuple[npt.NDArray[np.float64], ...]]:
    """Indices of the two coarse neighbours of each fine pixel in the block, and their weights."""
    centre = (fine + 0.5) / factor - 0.5
    low = np.floor(centre).astype(np.int_)
    share = centre - low
    clip = [np.clip(i - origin, 0, size - 1) for i in (low, low + 1)]
    return (clip[0], clip[1]), (1.0 - share, share)
