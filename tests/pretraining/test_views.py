from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.errors import ConfigError
from swath.pretraining.config import ViewConfig
from swath.pretraining.views import noise_length, two_views

PLAIN = ViewConfig(resized_crop=0.0, flips=False, band_dropout=0.0, radiometry=0.0, seasonal=False)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def split(noise: Tensor, t: int, c: int) -> tuple[Tensor, Tensor, Tensor]:
    return noise[:, :t], noise[:, t : t + 14], noise[:, t + 14 :].reshape(-1, 2, 3, c)


def joined(dates: Tensor, fixed: Tensor, bands: Tensor) -> Tensor:
    return torch.cat([dates, fixed, bands.flatten(1)], 1)


def test_nothing_asked_is_nothing_done() -> None:
    x, days = draw(3, 2, 4, 8, 8), draw(3, 2, 2)
    for view in two_views(x, None, days, draw(3, noise_length(x.shape)), PLAIN):
        assert torch.equal(view.pixels, x) and view.valid.all() and view.days is days


@pytest.mark.parametrize("held", [(0, 1, 2), (0, 2), (1,), ()])
def test_seasonal_views_are_two_dates_that_hold_data(held: tuple[int, ...]) -> None:
    b = 300
    x = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(b, 3, 2, 4, 4).clone()
    valid = torch.zeros_like(x, dtype=torch.bool)
    valid[:, list(held)] = True
    days = torch.arange(3.0).view(1, 3, 1).expand(b, 3, 2)
    config = ViewConfig(resized_crop=0.0, flips=True, band_dropout=0.0, radiometry=0.0, seasonal=True)
    views = two_views(x, valid, days, draw(b, noise_length(x.shape)), config)
    dates = [v.days[:, 0, 0].long() if v.days is not None else torch.zeros(0) for v in views]
    assert all(v.pixels.shape == (b, 1, 2, 4, 4) for v in views)
    if not held:
        assert not any(v.holds.any() for v in views)
        return
    for view, date in zip(views, dates, strict=True):
        assert view.holds.all()
        assert torch.equal(view.pixels[:, 0, 0, 0, 0].long(), date)
        # Every date with data is as likely.
        counts = torch.bincount(date, minlength=3).float() / b
        assert set(date.tolist()) == set(held)
        assert (counts[list(held)] - 1 / len(held)).abs().max() < 0.12
    assert torch.equal(dates[0] == dates[1], torch.full((b,), len(held) == 1))


def test_flips_are_the_eight_symmetries_each_as_often() -> None:
    b = 800
    x = torch.arange(9.0).view(1, 1, 1, 3, 3).expand(b, 1, 1, 3, 3)
    config = ViewConfig(resized_crop=0.0, flips=True, band_dropout=0.0, radiometry=0.0)
    found: dict[tuple[float, ...], int] = {}
    for view in two_views(x, None, None, draw(b, noise_length(x.shape)), config):
        for image in view.pixels:
            key = tuple(image.flatten().tolist())
            found[key] = found.get(key, 0) + 1
    assert len(found) == 8 and all(abs(n / (2 * b) - 1 / 8) < 0.03 for n in found.values())
    square = x[0, 0, 0]
    assert tuple(square.rot90().flatten().tolist()) in found


def test_bands_are_dropped_as_often_as_asked_and_never_all() -> None:
    x = torch.ones(2000, 1, 3, 2, 2)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, 2] = False
    config = ViewConfig(resized_crop=0.0, flips=False, band_dropout=0.4, radiometry=0.0)
    first, second = two_views(x, valid, None, draw(2000, noise_length(x.shape)), config)
    kept = torch.stack([v.valid[:, 0, :, 0, 0] for v in (first, second)]).float()
    assert first.holds.all() and second.holds.all() and not kept[..., 2].any()
    # Of two bands, one is missing with 0.4; but where both would be, one stays.
    assert (kept[..., :2].mean(1) - (0.6 + 0.16 / 2)).abs().max() < 0.04
    assert not torch.equal(kept[0], kept[1])


def test_radiometry_has_the_spread_asked_for() -> None:
    x = torch.ones(4000, 1, 2, 1, 1)
    config = ViewConfig(resized_crop=0.0, flips=False, band_dropout=0.0, radiometry=0.2)
    first, second = two_views(x, None, None, draw(4000, noise_length(x.shape)), config)
    for view in (first, second):
        # Factor and shift are both of 0.2: their sum spreads by 0.2 times the root of two.
        assert view.pixels.std().item() == pytest.approx(0.2 * 2**0.5, rel=0.05)
        assert view.pixels.mean().item() == pytest.approx(1.0, abs=0.02)


def test_crops_have_the_area_asked_for() -> None:
    x = torch.linspace(0, 1, 32).view(1, 1, 1, 1, 32).expand(400, 1, 1, 32, 32)
    config = ViewConfig(resized_crop=0.25, flips=False, band_dropout=0.0, radiometry=0.0)
    first, _ = two_views(x, None, None, draw(400, noise_length(x.shape)), config)
    widths = first.pixels[:, 0, 0, 0, -1] - first.pixels[:, 0, 0, 0, 0]
    assert 0.4 < widths.min() < 0.55 and 0.95 < widths.max() < 1.05


@given(seed=st.integers(0, 99), at=st.integers(0, 2))
def test_an_invalid_date_equals_no_date(seed: int, at: int) -> None:
    x, valid = draw(2, 2, 3, 8, 8, seed=seed), draw(2, 2, 3, 8, 8, seed=seed + 1) > 0.2
    noise = draw(2, noise_length(x.shape), seed=seed + 2)
    dates, fixed, bands = split(noise, 2, 3)

    def insert(y: Tensor, new: Tensor) -> Tensor:
        return torch.cat([y[:, :at], new, y[:, at:]], 1)

    more = joined(insert(dates, torch.zeros(2, 1)), fixed, bands)
    hole = insert(valid, torch.zeros_like(valid[:, :1]))
    views = two_views(x, valid, None, noise, ViewConfig())
    for a, b in zip(
        views, two_views(insert(x, x[:, :1] * torch.nan), hole, None, more, ViewConfig()), strict=True
    ):
        assert torch.equal(a.pixels, b.pixels) and torch.equal(a.valid, b.valid)


@given(seed=st.integers(0, 99), at=st.integers(0, 3))
def test_an_invalid_band_equals_no_band(seed: int, at: int) -> None:
    x, valid = draw(2, 2, 3, 8, 8, seed=seed), draw(2, 2, 3, 8, 8, seed=seed + 1) > 0.2
    noise = draw(2, noise_length(x.shape), seed=seed + 2)
    dates, fixed, bands = split(noise, 2, 3)
    more = joined(dates, fixed, torch.cat([bands[..., :at], torch.ones(2, 2, 3, 1), bands[..., at:]], -1))
    hole = torch.cat([valid[:, :, :at], torch.zeros_like(valid[:, :, :1]), valid[:, :, at:]], 2)
    wide = torch.cat([x[:, :, :at], x[:, :, :1] * torch.nan, x[:, :, at:]], 2)
    rest = [c for c in range(4) if c != at]
    config = ViewConfig(band_dropout=0.5)
    views = two_views(x, valid, None, noise, config)
    for a, b in zip(views, two_views(wide, hole, None, more, config), strict=True):
        assert not b.valid[:, :, at].any() and b.pixels.isfinite().all()
        assert torch.equal(a.valid, b.valid[:, :, rest])
        torch.testing.assert_close(a.pixels, b.pixels[:, :, rest])


def test_shares_outside_0_and_1_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"views.band_dropout: 1.5 is not in \[0, 1\)"):
        ViewConfig(band_dropout=1.5)
