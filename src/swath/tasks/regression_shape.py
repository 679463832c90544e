"""Targets of a regression in the shape of its outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.tasks.base import class_axis, seen_pixels, seen_records


def scored(target: Tensor, output: Tensor, valid: Tensor | None) -> Tensor:
    """The target in the output's shape, NaN where it is unknown or nothing was seen.

    Raises:
        ConfigError: the two differ in more than an axis of one output.
    """
    axis = class_axis(output)
    shaped = target if target.ndim == output.ndim else target.unsqueeze(axis)
    if shaped.shape != output.shape:
        raise ConfigError(
            f"the network gives {tuple(output.shape)}, the targets are {tuple(target.shape)}",
            where="labels",
            mend="give targets of the output's size",
        )
    if valid is None:
        return shaped
    return torch.where(seen(valid, shaped, dated=output.ndim == 5), shaped, torch.nan)


def of_dates(target: Tensor, dates: int, outputs: int) -> bool:
    """Whether targets [B,…] are of each date: [B,T,K,H,W], or [B,T,H,W] of one output.

    Of one date it makes no difference what [B,1,H,W] is taken for.
    """
    return target.ndim == 5 or (target.ndim == 4 and outputs == 1 and target.shape[1] == dates)


def seen(valid: Tensor, target: Tensor, *, dated: bool = False) -> Tensor:
    """What was seen, as it spreads over a target [B,K,H,W], [B,H,W], [B,K] or [B]; or over one of each date (`dated`),
    [B,T,K,H,W] or [B,T,H,W].
    """
    if dated:
        each = seen_pixels(valid, per_date=True)
        return each.unsqueeze(2) if target.ndim == 5 else each
    where = seen_pixels(valid) if target.ndim >= 3 else seen_records(valid)
    return where.unsqueeze(1) if target.ndim in (2, 4) else where


def known_pairs(output: Tensor, target: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Flat predictions and references of output number `k`, where the reference is known."""
    axis = class_axis(output)
    shaped = scored(target, output, None).select(axis, k)
    known = torch.isfinite(shaped)
    return output.select(axis, k)[known], shaped[known]
