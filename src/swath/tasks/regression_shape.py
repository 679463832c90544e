"""Targets of a regression in the shape of its outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.tasks.base import seen_pixels, seen_records


def scored(target: Tensor, output: Tensor, valid: Tensor | None) -> Tensor:
    """The target in the output's shape, NaN where it is unknown or nothing was seen.

    Raises:
        ConfigError: the two differ in more than an axis of one output.
    """
    shaped = target if target.ndim == output.ndim else target.unsqueeze(1)
    if shaped.shape != output.shape:
        raise ConfigError(
            f"the network gives {tuple(output.shape)}, the targets are {tuple(target.shape)}",
            where="labels",
            mend="give targets of the output's size",
        )
    if valid is None:
        return shaped
    return torch.where(seen(valid, shaped), shaped, torch.nan)


def seen(valid: Tensor, target: Tensor) -> Tensor:
    """What was seen, as it spreads over a target [B,K,H,W], [B,H,W], [B,K] or [B]."""
    where = seen_pixels(valid) if target.ndim >= 3 else seen_records(valid)
    return where.unsqueeze(1) if target.ndim in (2, 4) else where


def known_pairs(output: Tensor, target: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Flat predictions and references of output number `k`, where the reference is known."""
    shaped = scored(target, output, None)[:, k]
    known = torch.isfinite(shaped)
    return output[:, k][known], shaped[known]
