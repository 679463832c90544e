from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from swath.errors import ConfigError
from swath.feed.augment import augment
from swath.feed.base import IGNORE
from swath.feed.config import NO_AUGMENT, AugmentConfig
from swath.feed.windows import WindowFeed


def make(cube, contract, size=8, count=64, dates=1):
    """Targets, pixels of band 0 and validity all say the same: 40·row + column."""
    labels = np.arange(1200).reshape(30, 40)
    batch = WindowFeed([cube(dates=dates)], contract, size, labels=[labels], seed=9).take(0, count)
    valid = (batch.target % 3 != 0)[:, None, None].expand(batch.valid.shape).clone()
    return replace(batch, valid=valid)


@pytest.mark.parametrize("size", [8, (6, 9)])
def test_pixels_validity_and_target_stay_together(cube, contract, size):
    batch = make(cube, contract, size)
    out = augment(batch, AugmentConfig(), seed=1, first=0)
    assert torch.equal(out.pixels[:, 0, 0].long(), out.target)
    assert torch.equal(out.valid[:, 0, 0], out.target % 3 != 0)
    assert torch.equal(out.target.flatten(1).sort(1)[0], batch.target.flatten(1).sort(1)[0])
    assert not torch.equal(out.target, batch.target)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AugmentConfig(), 8),
        (AugmentConfig(rotations=False), 4),
        (AugmentConfig(flips=False), 4),
        (AugmentConfig(flips="horizontal", rotations=False), 2),
        (NO_AUGMENT, 1),
    ],
)
def test_all_symmetries_come_about_equally_often(cube, contract, config, expected):
    batch = make(cube, contract, count=1)
    batch = replace(
        batch,
        pixels=batch.pixels.expand(800, -1, -1, -1, -1),
        valid=batch.valid.expand(800, -1, -1, -1, -1),
        target=batch.target.expand(800, -1, -1),
        ids=batch.ids * 800,
    )
    out = augment(batch, config, seed=0, first=0)
    _, counts = torch.unique(out.target.flatten(1), dim=0, return_counts=True)
    assert len(counts) == expected
    assert counts.min() > 0.7 * 800 / expected


def test_a_draw_depends_on_the_number_of_the_sample_alone(cube, contract):
    batch = make(cube, contract)
    config = AugmentConfig(resized_crop=0.3, band_dropout=0.4, date_dropout=0.4, radiometry=0.1)
    whole = augment(batch, config, seed=1, first=100)
    half = replace(
        batch,
        pixels=batch.pixels[32:],
        valid=batch.valid[32:],
        target=batch.target[32:],
        ids=batch.ids[32:],
        gain=batch.gain[32:],
        bias=batch.bias[32:],
    )
    part = augment(half, config, seed=1, first=132)
    assert torch.equal(whole.pixels[32:], part.pixels)
    assert torch.equal(whole.valid[32:], part.valid)
    assert torch.equal(whole.target[32:], part.target)


def test_dropout_marks_bands_and_dates_invalid_and_leaves_something(cube, contract):
    batch = make(cube, contract, dates=3)
    batch = replace(batch, valid=torch.ones_like(batch.valid))
    config = AugmentConfig(flips=False, rotations=False, band_dropout=0.6, date_dropout=0.6)
    out = augment(batch, config, seed=0, first=0)
    kept = out.valid.flatten(3).all(-1)  # [B,T,C]
    assert torch.equal(kept, out.valid.flatten(3).any(-1))  # whole bands of whole dates
    assert kept.any(2).any(1).all()
    assert torch.equal(kept, kept.any(2)[:, :, None] & kept.any(1)[:, None])
    assert 0.3 < 1 - kept.any(2).float().mean() < 0.7
    assert torch.equal(out.pixels, batch.pixels)


def test_a_resized_crop_touches_no_invalid_pixel_and_keeps_labels_in_place(cube, contract):
    batch = make(cube, contract, size=16)
    valid = torch.ones_like(batch.valid)
    valid[..., 5, 7] = False
    pixels = torch.where(valid, batch.pixels, float("nan"))
    target = batch.target.clone()
    target[:, :2] = IGNORE
    config = AugmentConfig(flips=False, rotations=False, resized_crop=0.3)
    out = augment(replace(batch, pixels=pixels, valid=valid, target=target), config, seed=0, first=0)
    assert torch.isfinite(out.pixels).all()
    assert (out.pixels[~out.valid] == 0).all()
    assert 0.5 < out.valid.float().mean() < 1
    # Bicubic on a plane is exact away from edges: the value there is 40·row + column of the sample point.
    inside = out.valid[:, 0, 0] & (out.target != IGNORE)
    value, label = out.pixels[:, 0, 0][inside], out.target[inside]
    row, column = label // 40, label % 40
    assert ((value - (40 * row + column)).abs() < 40 * 0.6 + 2).float().mean() > 0.95
    whole = augment(batch, AugmentConfig(flips=False, rotations=False), seed=0, first=0)
    assert torch.equal(whole.pixels, batch.pixels)


def test_targets_that_are_no_maps_stay(cube, contract):
    batch = replace(make(cube, contract), target=torch.arange(64))
    assert torch.equal(augment(batch, AugmentConfig(), seed=0, first=0).target, torch.arange(64))


def test_a_share_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match=r"band_dropout: 1\.0 is not in"):
        AugmentConfig(band_dropout=1.0)


def test_radiometry_stretches_what_normalises_and_no_pixel(cube, contract):
    from swath.feed.normalise import normalise

    batch = make(cube, contract)
    out = augment(batch, replace(NO_AUGMENT, radiometry=0.1), seed=3, first=0)
    assert torch.equal(out.pixels, batch.pixels)
    before, after = normalise(batch), normalise(out)
    for b in range(3):
        x, y = before[b, 0, 0][batch.valid[b, 0, 0]], after[b, 0, 0][batch.valid[b, 0, 0]]
        factor = (y.max() - y.min()) / (x.max() - x.min())
        assert torch.allclose(y, x * factor + (y[0] - x[0] * factor), atol=1e-4)
        assert 0.5 < factor < 1.5
    assert not torch.equal(after[0], after[1] - before[1] + before[0])
    # One sample's stretch does not depend on its batch.
    alone = augment(make(cube, contract, count=5), replace(NO_AUGMENT, radiometry=0.1), seed=3, first=0)
    assert torch.equal(alone.gain[4], out.gain[4])


def test_windows_are_resized_with_their_validity_and_target(cube, contract):
    batch = make(cube, contract, size=30, count=3)
    batch = replace(batch, valid=torch.ones_like(batch.valid), pixels=batch.pixels.float())
    batch.valid[0, 0, 0, 10, 10] = False
    out = augment(batch, replace(NO_AUGMENT, resize=32), seed=1, first=0)
    assert out.pixels.shape[-2:] == out.valid.shape[-2:] == out.target.shape[-2:] == (32, 32)
    plain = torch.nn.functional.interpolate(batch.pixels.flatten(1, 2), (32, 32), mode="bilinear")
    held = out.valid.flatten(1, 2)
    torch.testing.assert_close(out.pixels.flatten(1, 2)[held], plain[held], atol=1e-2, rtol=1e-4)
    hole = (~out.valid[0, 0, 0]).nonzero()
    assert len(hole) >= 4 and bool(((hole >= 9) & (hole <= 12)).all())
    assert out.valid[1:].all() and out.valid[0, 0, 1:].all()
    near = torch.nn.functional.interpolate(batch.target[:, None].double(), (32, 32), mode="nearest-exact")
    assert torch.equal(out.target, near[:, 0].to(out.target.dtype))
    same = augment(batch, replace(NO_AUGMENT, resize=30), seed=1, first=0)
    assert torch.equal(same.pixels, batch.pixels)


def test_only_square_windows_are_resized(cube, contract):
    batch = make(cube, contract, size=(6, 9))
    with pytest.raises(ConfigError, match="not square"):
        augment(batch, AugmentConfig(resize=8), seed=1, first=0)
    with pytest.raises(ConfigError, match="resize"):
        AugmentConfig(resize=-1)


def test_a_chance_leaves_most_samples_and_never_those_that_it_takes(cube, contract):
    batch = make(cube, contract, count=1)
    many = 2000
    batch = replace(
        batch,
        pixels=batch.pixels.expand(many, -1, -1, -1, -1),
        valid=batch.valid.expand(many, -1, -1, -1, -1),
        target=batch.target.expand(many, -1, -1),
        ids=batch.ids * many,
    )

    def moved(**options) -> tuple[float, int]:
        out = augment(batch, AugmentConfig(chance=0.2, **options), seed=0, first=0)
        same = (out.target == batch.target).flatten(1).all(1)
        return 1 - float(same.float().mean()), len(torch.unique(out.target[~same].flatten(1), dim=0))

    share, kinds = moved(rotations=False)
    assert 0.17 < share < 0.23 and kinds == 3
    share, kinds = moved(rotations=False, flips="horizontal")
    assert 0.17 < share < 0.23 and kinds == 1
    share, kinds = moved(flips=False)
    assert 0.17 < share < 0.23 and kinds == 3
    # Drawn apart: 1 - 0.8 x 0.8, less where both undo each other.
    share, kinds = moved()
    assert 0.30 < share < 0.38 and kinds == 7
    assert moved(flips=False, rotations=False, noise=0.1) == (0.0, 0)
    with pytest.raises(ConfigError, match="flips, turns and noise are off, so that nothing is left to it"):
        AugmentConfig(chance=0.2, flips=False, rotations=False)


def test_windows_that_are_not_square_are_turned_by_half(cube, contract):
    batch = make(cube, contract, (6, 9))
    out = augment(batch, AugmentConfig(flips=False, chance=0.999), seed=1, first=0)
    assert torch.equal(out.target, batch.target.flip(-1, -2))


def test_noise_is_as_wide_as_said_once_normalised(cube, contract):
    batch = make(cube, contract, count=16)
    gain = batch.gain.clone()
    gain[:, 0] = 7.0
    gain[:, 1] = 0.0
    batch = replace(batch, gain=gain)
    plain = AugmentConfig(flips=False, rotations=False)
    out = augment(batch, replace(plain, noise=0.05), seed=3, first=0)
    change = (out.pixels - batch.pixels) * gain[:, None, :, None, None]
    assert torch.equal(out.valid, batch.valid) and torch.equal(out.target, batch.target)
    assert float(change[:, :, 0].std()) == pytest.approx(0.05, rel=0.1) and abs(float(change.mean())) < 0.005
    assert torch.equal(out.pixels[:, :, 1], batch.pixels[:, :, 1])  # a band that normalises to one value
    seldom = augment(batch, replace(plain, noise=0.05, chance=0.3), seed=3, first=0)
    same = (seldom.pixels == batch.pixels).flatten(1).all(1)
    assert 0 < int(same.sum()) < 16
    later = augment(batch, replace(plain, noise=0.05), seed=3, first=16)
    assert not torch.equal(later.pixels, out.pixels)


def test_chance_and_noise_outside_their_ranges_are_refused():
    for options in ({"chance": 0.0}, {"chance": 1.5}, {"noise": -0.1}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            AugmentConfig(**options)
