"""Augmentation in batches against a plain loop over samples and pixels."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from swath.cube import date_features
from swath.errors import ConfigError
from swath.feed.augment import _draw, _move_days, augment
from swath.feed.base import IGNORE
from swath.feed.config import AugmentConfig
from swath.feed.windows import WindowFeed


def batch_of(cube, contract, size=9, count=12, dates=2):
    batch = WindowFeed([cube(dates=dates)], contract, size, seed=4).take(0, count)
    draw = np.random.default_rng(0)
    valid = torch.from_numpy(draw.random(batch.valid.shape) > 0.04)
    # Values that no plane fits, and NaN where nothing is known.
    pixels = torch.from_numpy(draw.normal(size=batch.pixels.shape).astype(np.float32))
    return replace(batch, pixels=torch.where(valid, pixels, float("nan")), valid=valid)


def weights(share: float, mode: str) -> list[tuple[int, float]]:
    """(tap from the pixel below, weight) of one axis; cubic convolution with a = -0.75, as torch has it."""
    if mode == "bilinear":
        return [(0, 1 - share), (1, share)]
    a = -0.75

    def near(x: float) -> float:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: float) -> float:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [(-1, far(share + 1)), (0, near(share)), (1, near(1 - share)), (2, far(2 - share))]


def sample(plane: np.ndarray, y: float, x: float, mode: str) -> float:
    """One value of a plane [h,w], the edge repeated; taps of no weight count for nothing."""
    h, w = plane.shape
    total = 0.0
    for i, a in weights(y - math.floor(y), mode):
        for j, b in weights(x - math.floor(x), mode):
            if abs(a * b) > 1e-6:
                row, col = min(max(math.floor(y) + i, 0), h - 1), min(max(math.floor(x) + j, 0), w - 1)
                total += a * b * float(plane[row, col])
    return total


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_crops_equal_a_plain_loop_and_touch_nothing_invalid(cube, contract, mode):
    batch = batch_of(cube, contract)
    config = AugmentConfig(flips=False, rotations=False, resized_crop=0.3, interpolation=mode)
    out = augment(batch, config, seed=2, first=5)
    h = w = 9
    reach = 2 if mode == "bicubic" else 1
    for b in range(12):
        top, left, height, width = _draw(config, 2, 5 + b, (2, 3, 9, 9)).crop
        for row in range(h):
            for col in range(w):
                y = (top + (row + 0.5) / h * height) * h - 0.5
                x = (left + (col + 0.5) / w * width) * w - 0.5
                ys = slice(max(round(y) - reach, 0), round(y) + reach + 1)
                xs = slice(max(round(x) - reach, 0), round(x) + reach + 1)
                good = batch.valid[b, :, :, ys, xs].flatten(2).all(2)
                assert torch.equal(out.valid[b, :, :, row, col], good)
                for t, c in np.argwhere(good.numpy()):
                    want = sample(batch.pixels[b, t, c].numpy(), y, x, mode)
                    assert out.pixels[b, t, c, row, col].item() == pytest.approx(want, abs=1e-4)
    assert (out.pixels[~out.valid] == 0).all() and 0.1 < out.valid.float().mean() < 1


@pytest.mark.parametrize("dates", [(), (2,)])
def test_real_targets_follow_and_stay_unknown(cube, contract, dates):
    batch = batch_of(cube, contract)
    target = torch.from_numpy(np.random.default_rng(1).random((12, *dates, 9, 9)).astype(np.float32))
    target[..., 4, 5] = float("nan")
    config = AugmentConfig(flips=False, rotations=False, resized_crop=0.3)
    out = augment(replace(batch, target=target), config, seed=2, first=0).target
    for b in range(12):
        top, left, height, width = _draw(config, 2, b, (2, 3, 9, 9)).crop
        plane = target[b].reshape(-1, 9, 9)[0].numpy()
        for row in range(9):
            for col in range(9):
                y = (top + (row + 0.5) / 9 * height) * 9 - 0.5
                x = (left + (col + 0.5) / 9 * width) * 9 - 0.5
                want = sample(plane, y, x, "bilinear")
                got = out[b].reshape(-1, 9, 9)[0, row, col].item()
                near = min(abs(y - 4) % 1, abs(x - 5) % 1)
                if 1e-3 < near < 1 - 1e-3:  # a tap of almost no weight is either known or not
                    assert math.isnan(got) == math.isnan(want)
                    assert math.isnan(want) or got == pytest.approx(want, abs=1e-4)
    assert 0 < torch.isnan(out).float().mean() < 0.2


def test_turns_equal_numpy_for_pixels_validity_and_targets_of_each_date(cube, contract):
    batch = batch_of(cube, contract)
    classes = torch.randint(IGNORE, 3, (12, 2, 9, 9), generator=torch.Generator().manual_seed(0))
    batch = replace(batch, target=classes)
    config = AugmentConfig()
    out = augment(batch, config, seed=7, first=100)
    for b in range(12):
        turn = _draw(config, 7, 100 + b, (2, 3, 9, 9)).turn

        def plain(x, turn=turn):
            x = np.rot90(x, turn % 4, (-2, -1))
            return x[..., ::-1] if turn >= 4 else x

        assert np.array_equal(out.pixels[b].numpy(), plain(batch.pixels[b].numpy()), equal_nan=True)
        assert np.array_equal(out.valid[b].numpy(), plain(batch.valid[b].numpy()))
        assert np.array_equal(out.target[b].numpy(), plain(classes[b].numpy()))


def test_nothing_in_an_invalid_pixel_changes_anything(cube, contract):
    batch = batch_of(cube, contract)
    other = replace(batch, pixels=torch.where(batch.valid, batch.pixels, 1e9))
    for mode in ("bilinear", "bicubic"):
        config = AugmentConfig(resized_crop=0.3, interpolation=mode, band_dropout=0.3, date_dropout=0.3)
        a, b = (augment(x, config, seed=1, first=0) for x in (batch, other))
        assert torch.equal(a.valid, b.valid) and torch.equal(a.pixels[a.valid], b.pixels[b.valid])


def test_days_move_together_across_the_turn_of_a_year(cube, contract):
    first = [dt.date(2019, 12, 30), dt.date(2020, 2, 29), None, dt.date(2020, 12, 31), dt.date(2021, 1, 1)]
    for by in (-40, -1, 0, 1, 3, 182):
        moved = [None if d is None else d + dt.timedelta(by) for d in first]
        have = _move_days(torch.from_numpy(date_features(first))[None], torch.tensor([by]))[0]
        assert torch.equal(have.nan_to_num(-1), torch.from_numpy(date_features(moved)).nan_to_num(-1))
    batch = batch_of(cube, contract, count=40)
    config = AugmentConfig(flips=False, rotations=False, day_jitter=5)
    out = augment(batch, config, seed=0, first=0)
    shift = (out.days - batch.days)[..., 0]
    shift = torch.where(shift > 180, shift - 365, shift)
    assert torch.equal(shift[:, 0], shift[:, 1]) and shift.min() == -5 and shift.max() == 5
    assert torch.equal(out.valid, batch.valid)


@pytest.mark.parametrize("fields", [{"day_jitter": -1}, {"day_jitter": 183}, {"interpolation": "cubic"}])
def test_options_that_are_none(fields):
    with pytest.raises(ConfigError):
        AugmentConfig(**fields)
