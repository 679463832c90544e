"""Augmentation on the device, in batches; validity and target follow the pixels.

A resized crop keeps a pixel valid only if everything its kernel can reach was valid. Targets of classes are taken
from the nearest pixel; real ones bilinearly, unknown (NaN) where any of the pixels they are made of is.

What is drawn for a sample depends on (seed, its number in the run) alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from swath.cube import CubeBatch
from swath.errors import ConfigError
from swath.feed.base import IGNORE
from swath.feed.config import AugmentConfig, Interpolation
from swath.rng import numpy_generator


@dataclass(frozen=True)
class _Draw:
    turn: int  # 0..7: quarter turns + 4 * flip
    crop: tuple[float, float, float, float] | None  # top, left, height, width as shares
    bands: tuple[bool, ...]  # kept
    dates: tuple[bool, ...]
    radiometry: npt.NDArray[np.float64]  # [2,C]: factor and shift of each band, once normalised
    days: int  # added to every day of year
    noise: npt.NDArray[np.float32] | None = None  # [T,C,H,W], added once normalised


def augment(batch: CubeBatch, config: AugmentConfig, *, seed: int, first: int) -> CubeBatch:
    """The batch with each sample changed by its own draw.

    Args:
        batch: on any device; a target [B,…,H,W] of the pixels' size follows, any other stays.
        config: what may be done.
        seed: of the run.
        first: number of the batch's first sample in the run.
    """
    batch = resized(batch, config.resize)
    b, t, c, h, w = batch.pixels.shape
    draws = [_draw(config, seed, first + i, (t, c, h, w)) for i in range(b)]
    pixels, valid, target = batch.pixels, batch.valid, batch.target
    spatial = target is not None and target.ndim >= 3 and target.shape[-2:] == (h, w)

    keep_bands = torch.tensor([d.bands for d in draws], device=valid.device)
    keep_dates = torch.tensor([d.dates for d in draws], device=valid.device)
    if not (all(all(d.bands) for d in draws) and all(all(d.dates) for d in draws)):
        valid = valid & keep_bands[:, None, :, None, None] & keep_dates[:, :, None, None, None]

    if any(d.crop is not None for d in draws):
        boxes = torch.tensor([d.crop or (0.0, 0.0, 1.0, 1.0) for d in draws], dtype=torch.float32)
        grid = crop_grid(boxes.to(pixels.device), h, w)
        pixels, valid = resample(pixels, valid, grid, config.interpolation)
        if spatial and target is not None:
            target = _resample_target(target, grid)

    turns = np.array([d.turn for d in draws])
    if turns.any():
        pixels, valid = _by_turn(pixels, turns), _by_turn(valid, turns)
        if spatial and target is not None:
            target = _by_turn(target, turns)
    if any(d.noise is not None for d in draws):
        # Pixels are normalised later, by their gain: in their own units the noise is that much wider.
        still = np.zeros((t, c, h, w), np.float32)
        noise = torch.from_numpy(np.stack([still if d.noise is None else d.noise for d in draws])).to(pixels)
        scale = batch.gain.to(pixels)[:, None, :, None, None]
        pixels = pixels + torch.where(scale == 0, 0.0, noise / torch.where(scale == 0, 1.0, scale))
    gain, bias = batch.gain, batch.bias
    if config.radiometry > 0:
        # (x * gain + bias) * factor + shift: no pixel is touched, only what normalises it.
        stretch = torch.from_numpy(np.stack([d.radiometry for d in draws])).to(gain)
        gain, bias = gain * stretch[:, 0], bias * stretch[:, 0] + stretch[:, 1]
    days = batch.days
    if config.day_jitter:
        days = _move_days(days, torch.tensor([d.days for d in draws], device=days.device))
    return replace(batch, pixels=pixels, valid=valid, target=target, gain=gain, bias=bias, days=days)


def resized(batch: CubeBatch, size: int) -> CubeBatch:
    """The batch with square windows of `size` pixels a side, bilinearly; 0: as it is.

    A pixel is valid only if all that its kernel may touch was; a target of the pixels' size follows.

    Raises:
        ConfigError: the windows are not square, so that places would be squeezed.
    """
    h, w = batch.pixels.shape[-2:]
    if size == 0 or size == h == w:
        return batch
    if h != w:
        raise ConfigError(
            f"windows of {h} x {w} pixels are not square", where="training.augment.resize", mend="leave it 0"
        )
    whole = torch.tensor([(0.0, 0.0, 1.0, 1.0)], device=batch.pixels.device).expand(len(batch.pixels), 4)
    grid = crop_grid(whole, size, size)
    pixels, valid = resample(batch.pixels, batch.valid, grid, "bilinear")
    target = batch.target
    if target is not None and target.ndim >= 3 and target.shape[-2:] == (h, w):
        target = _resample_target(target, grid)
    return replace(batch, pixels=pixels, valid=valid, target=target)


def _draw(config: AugmentConfig, seed: int, number: int, shape: tuple[int, int, int, int]) -> _Draw:
    t, c, h, w = shape
    square = h == w
    draw = numpy_generator(seed, "augment", number)
    # All numbers are drawn whether used or not: switching one option on leaves the others' draws alone.
    flip, quarter, mirror = int(draw.integers(2)), int(draw.integers(4)), int(draw.integers(2))
    area, ratio, y, x = draw.random(4)
    bands, dates = draw.random(c), draw.random(t)
    radiometry = np.array([[1.0], [0.0]]) + config.radiometry * draw.standard_normal((2, c))
    days = int(draw.integers(-config.day_jitter, config.day_jitter + 1))
    gates, picked = draw.random(3) < config.chance, draw.integers(1, 4, 2)
    # A flip of columns and half a turn make both flips; with quarter turns, all eight symmetries.
    quarters = 2 * mirror if config.flips is True else 0
    if config.rotations:
        quarters += quarter if square else quarter // 2 * 2
    turn = quarters % 4 + (4 * flip if config.flips else 0)
    if config.chance < 1:
        turn = _seldom(config, gates, picked, square)
    crop = None
    if config.resized_crop > 0:
        share = config.resized_crop + (1 - config.resized_crop) * area
        stretch = float(np.exp(np.log(3 / 4) + ratio * (np.log(4 / 3) - np.log(3 / 4))))
        height = min(1.0, float(np.sqrt(share / stretch)))
        width = min(1.0, float(np.sqrt(share * stretch)))
        crop = (float(y) * (1 - height), float(x) * (1 - width), height, width)
    kept = _kept(bands, config.band_dropout), _kept(dates, config.date_dropout)
    noise = None
    if config.noise > 0 and gates[2]:
        noise = (config.noise * draw.standard_normal(shape, dtype=np.float32)).astype(np.float32)
    return _Draw(turn, crop, *kept, radiometry, days, noise)


def _seldom(
    config: AugmentConfig, gates: npt.NDArray[np.bool_], picked: npt.NDArray[np.int64], square: bool
) -> int:
    """A turn as in `_Draw`, of samples that are flipped or turned by chance alone, and never left as they were then."""
    quarters, flip = 0, 0
    if config.flips and gates[0]:
        # Of columns, of rows, or both.
        which = int(picked[0]) if config.flips is True else 1
        quarters, flip = (0, 2, 2)[which - 1], which != 3
    if config.rotations and gates[1]:
        quarters += int(picked[1]) if square else 2
    return quarters % 4 + 4 * flip


def _kept(draws: npt.NDArray[np.float64], probability: float) -> tuple[bool, ...]:
    kept = draws >= probability
    if not kept.any():
        kept[draws.argmax()] = True  # something always stays
    return tuple(bool(k) for k in kept)


def _turn(x: Tensor, turn: int) -> Tensor:
    x = torch.rot90(x, turn % 4, (-2, -1)) if turn % 4 else x
    return x.flip(-1) if turn >= 4 else x


def _by_turn(x: Tensor, turns: npt.NDArray[np.int64]) -> Tensor:
    """Each sample by its own turn: at most eight whole-tensor operations."""
    out = torch.empty_like(x)
    for turn in np.unique(turns):
        chosen = torch.from_numpy(np.flatnonzero(turns == turn)).to(x.device)
        out[chosen] = _turn(x[chosen], int(turn))
    return out


def crop_grid(boxes: Tensor, h: int, w: int) -> Tensor:
    """Sample points [B,h,w,2] in [-1, 1] for `grid_sample` (pixel centres, no aligned corners).

    Args:
        boxes: [B,4], top, left, height and width as shares of the image.
        h: rows to sample.
        w: columns to sample.
    """
    device = boxes.device
    top, left, height, width = boxes.unbind(1)
    y = (torch.arange(h, device=device) + 0.5) / h
    x = (torch.arange(w, device=device) + 0.5) / w
    ys = (top[:, None] + y * height[:, None]) * 2 - 1
    xs = (left[:, None] + x * width[:, None]) * 2 - 1
    return torch.stack([xs[:, None, :].expand(-1, h, w), ys[:, :, None].expand(-1, h, w)], -1)


def resample(
    pixels: Tensor, valid: Tensor, grid: Tensor, mode: Interpolation = "bicubic"
) -> tuple[Tensor, Tensor]:
    """Pixels and validity [B,T,C,H,W] at sample points; a pixel is valid only if all its kernel may touch was."""
    clean = torch.where(valid, pixels, 0.0).flatten(1, 2)
    out = F.grid_sample(clean, grid, mode=mode, padding_mode="border", align_corners=False)
    # A cubic kernel reaches two pixels each way, a linear one: spread invalidity so far, then look at the nearest.
    reach = 2 if mode == "bicubic" else 1
    holes = F.max_pool2d(F.pad((~valid).to(grid.dtype).flatten(1, 2), (reach,) * 4), 2 * reach + 1, stride=1)
    touched = F.grid_sample(holes, grid, mode="nearest", padding_mode="border", align_corners=False)
    shape = (*valid.shape[:3], *grid.shape[1:3])
    good = (touched < 0.5).view(shape)
    return torch.where(good, out.view(shape), 0.0), good


def _resample_target(target: Tensor, grid: Tensor) -> Tensor:
    flat = target.reshape(target.shape[0], -1, *target.shape[-2:])
    if target.is_floating_point():
        unknown = torch.isnan(flat)
        values = F.grid_sample(
            torch.where(unknown, 0.0, flat), grid.to(flat), padding_mode="border", align_corners=False
        )
        share = F.grid_sample(unknown.to(grid.dtype), grid, padding_mode="border", align_corners=False)
        # A weight of less than this is rounding of a sample point that lies on a pixel's centre.
        return torch.where(share > 1e-4, float("nan"), values).view(*target.shape[:-2], *grid.shape[1:3])
    # Class numbers are small: exact in float64. Nearest, since the mean of two classes is none.
    near = F.grid_sample(
        (flat - IGNORE).double(), grid.double(), mode="nearest", padding_mode="zeros", align_corners=False
    )
    return (near.round().to(target.dtype) + IGNORE).view(*target.shape[:-2], *grid.shape[1:3])


def _move_days(days: Tensor, by: Tensor) -> Tensor:
    """Day of year and year [B,T,2] moved by whole days [B], across the turn of a year; NaN stays."""
    day, year = days[..., 0] + by[:, None], days[..., 1]
    before, after = day < 1, day > _year_length(year)
    day = torch.where(before, day + _year_length(year - 1), torch.where(after, day - _year_length(year), day))
    return torch.stack([day, year - before.to(year) + after.to(year)], -1)


def _year_length(year: Tensor) -> Tensor:
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return 365.0 + leap.to(year)
