"""The forest that a network has to beat."""

from __future__ import annotations

import numpy as np
import pytest

from swath.bands import sensor
from swath.baselines.forest import ForestOptions, forest_map, neighbourhood_mean, pixel_features
from swath.cube import Cube, Encoding
from swath.errors import InputError
from swath.feed.config import IGNORE


def make_cube(pixels: np.ndarray, valid: np.ndarray | None = None) -> Cube:
    t, c = pixels.shape[:2]
    valid = np.ones(pixels.shape, bool) if valid is None else valid
    bands = sensor("sentinel2").bands[:c]
    return Cube(pixels, valid, bands, (None,) * t, ((Encoding("dn"),) * c,) * t)


def test_neighbourhood_mean_counts_valid_pixels_only() -> None:
    rng = np.random.default_rng(0)
    plane, valid = rng.normal(size=(7, 9)), rng.random((7, 9)) > 0.4
    plane[~valid] = np.nan
    mean = neighbourhood_mean(plane, valid, 5)
    for r, c in ((0, 0), (3, 4), (6, 8), (2, 7)):
        cut = np.s_[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3]
        expected = plane[cut][valid[cut]].mean() if valid[cut].any() else 0.0
        assert mean[r, c] == pytest.approx(expected, abs=1e-5)


def test_forest_learns_a_threshold_and_leaves_invalid_pixels_unmapped() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(1, 2, 20, 30)).astype(np.float32)
    valid = np.ones(pixels.shape, bool)
    valid[0, 1, :, 5] = False
    labels = (pixels[0, 0] > 0).astype(np.int64)
    train = np.zeros((20, 30), bool)
    train[:, :15] = True
    got = forest_map(make_cube(pixels, valid), labels, train, ForestOptions(trees=20, threads=1))
    assert (got[:, 5] == IGNORE).all()
    assert (got[:, 15:] == labels[:, 15:]).mean() > 0.97
    again = forest_map(make_cube(pixels, valid), labels, train, ForestOptions(trees=20, threads=1))
    assert np.array_equal(got, again)


def test_labels_outside_the_training_area_are_never_seen() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.normal(size=(1, 2, 16, 16)).astype(np.float32)
    labels = (pixels[0, 0] > 0).astype(np.int64)
    train = np.zeros((16, 16), bool)
    train[:, :8] = True
    other = np.where(train, labels, 1 - labels)
    options = ForestOptions(trees=10, threads=1, neighbourhoods=(3,))
    assert np.array_equal(
        forest_map(make_cube(pixels), labels, train, options),
        forest_map(make_cube(pixels), other, train, options),
    )


def test_features_hold_bands_then_neighbourhoods() -> None:
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    features = pixel_features(make_cube(pixels), (3,))
    assert features.shape == (20, 12)
    assert np.array_equal(features[:, :6].T.reshape(2, 3, 4, 5), pixels)


def test_nothing_to_train_on_is_said() -> None:
    pixels = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises(InputError, match="no labelled pixel"):
        forest_map(make_cube(pixels), np.zeros((4, 4), np.int64), np.zeros((4, 4), bool), ForestOptions())
