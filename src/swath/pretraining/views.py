"""Two views of each sample, for learning by agreement: SimCLR (Chen et al., 2020) and MoCo, for satellite images.

A view is a crop, a flip, a set of bands and a radiometry of its own. With `seasonal`, the two views are two dates of
one place (SeCo, Manas et al., 2021): what agrees is then the place, not the season. All draws are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swath.feed.augment import crop_grid, resample
from swath.pretraining.config import ViewConfig

_FIXED = 7  # area, ratio, row and column of the crop; flips of rows, columns and of one for the other


DEFAULT_VIEWS = ViewConfig()


@dataclass(frozen=True)
class View:
    """One view of a batch.

    Attributes:
        pixels: [B,T',C,H,W], 0 where invalid; T' is 1 with `seasonal`.
        valid: bool [B,T',C,H,W].
        days: [B,T',2] or None.
    """

    pixels: Tensor
    valid: Tensor
    days: Tensor | None

    @property
    def holds(self) -> Tensor:
        """Which samples hold anything valid: bool [B]."""
        return self.valid.flatten(1).any(dim=1)


def noise_length(pixels_shape: Sequence[int]) -> int:
    """Uniform numbers that the two views of a sample [T,C,H,W] need."""
    t, c = pixels_shape[-4:-2]
    return t + 2 * (_FIXED + 3 * c)


def two_views(
    pixels: Tensor, valid: Tensor | None, days: Tensor | None, noise: Tensor, config: ViewConfig
) -> tuple[View, View]:
    """The views of a batch.

    Args:
        pixels: [B,T,C,H,W], normalised; anything where invalid.
        valid: bool [B,T,C,H,W] or None.
        days: [B,T,2] or None.
        noise: [B, noise_length] in [0, 1): one number per date; then for each view those of its crop and flips; then
            for each view and kind (dropout, stretch, shift) one per band.
        config: what sets them apart.
    """
    t, c = pixels.shape[1:3]
    if valid is None:
        valid = torch.ones(pixels.shape, dtype=torch.bool, device=pixels.device)
    pixels = torch.where(valid, pixels, torch.zeros((), dtype=pixels.dtype, device=pixels.device))
    dates, rest = noise[:, :t], noise[:, t:]
    fixed = rest[:, : 2 * _FIXED].reshape(-1, 2, _FIXED)
    bands = rest[:, 2 * _FIXED :].reshape(-1, 2, 3, c)
    chosen = _two_dates(valid, dates) if config.seasonal else (None, None)
    first, second = (
        _view(pixels, valid, days, chosen[i], fixed[:, i], bands[:, i], config) for i in range(2)
    )
    return first, second


def _two_dates(valid: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Two different dates with data, as likely as any two; the only one twice: long [B,1] each."""
    held = valid.flatten(2).any(dim=2)
    order = noise.masked_fill(~held, 2.0).argsort(dim=1, stable=True)
    first, second = order[:, :1], order[:, min(1, order.shape[1] - 1) :][:, :1]
    return first, torch.where(held.gather(1, second), second, first)


def _view(
    pixels: Tensor,
    valid: Tensor,
    days: Tensor | None,
    date: Tensor | None,
    fixed: Tensor,
    bands: Tensor,
    config: ViewConfig,
) -> View:
    if date is not None:
        rows = torch.arange(len(pixels), device=pixels.device)[:, None]
        pixels, valid = pixels[rows, date], valid[rows, date]
        days = None if days is None else days[rows, date]
    if config.band_dropout > 0:
        kept = _kept_bands(bands[:, 0], valid, config.band_dropout)
        valid = valid & kept[:, None, :, None, None]
    if config.radiometry > 0:
        normal = math.sqrt(2.0) * torch.erfinv(2.0 * bands[:, 1:].clamp(1e-6, 1 - 1e-6) - 1.0)
        factor, shift = (config.radiometry * normal).to(pixels.dtype)[:, :, None, :, None, None].unbind(1)
        pixels = pixels * (1.0 + factor) + shift
    h, w = pixels.shape[-2:]
    if config.resized_crop > 0:
        grid = crop_grid(_boxes(fixed[:, :4], config.resized_crop).to(pixels.dtype), h, w)
        pixels, valid = resample(pixels, valid, grid)
    if config.flips:
        pixels, valid = (_flipped(x, fixed[:, 4:] < 0.5) for x in (pixels, valid))
    return View(
        torch.where(valid, pixels, torch.zeros((), dtype=pixels.dtype, device=pixels.device)), valid, days
    )


def _kept_bands(noise: Tensor, valid: Tensor, probability: float) -> Tensor:
    """Bands that a view keeps, bool [B,C]; of those with data at least one."""
    held = valid.any(dim=4).any(dim=3).any(dim=1)
    kept = noise >= probability
    best = noise.masked_fill(~held, -1.0).argmax(dim=1, keepdim=True)
    none = ~(kept & held).any(dim=1, keepdim=True)
    return kept | (none & (torch.arange(noise.shape[1], device=noise.device) == best))


def _boxes(noise: Tensor, least: float) -> Tensor:
    """Top, left, height and width as shares: an area of `least` … 1 and a ratio of 3/4 … 4/3, [B,4]."""
    area = least + (1 - least) * noise[:, 0]
    ratio = torch.exp(math.log(3 / 4) + noise[:, 1] * math.log(16 / 9))
    height, width = (area / ratio).sqrt().clamp(max=1.0), (area * ratio).sqrt().clamp(max=1.0)
    return torch.stack([noise[:, 2] * (1 - height), noise[:, 3] * (1 - width), height, width], dim=1)


def _flipped(x: Tensor, flip: Tensor) -> Tensor:
    """Rows, columns, and rows for columns where `flip` [B,3] says so."""
    rows, columns, both = (flip[:, i, None, None, None, None] for i in range(3))
    x = torch.where(rows, x.flip(-2), x)
    x = torch.where(columns, x.flip(-1), x)
    return torch.where(both, x.transpose(-2, -1), x) if x.shape[-2] == x.shape[-1] else x
