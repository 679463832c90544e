"""Hiding whole windows of tokens, as Swin-MAE does (Xu et al., 2022), among those that hold data.

A window is `window` x `window` tokens; windows at the far edges may be cut. Of n windows with valid data the
int(n * (1 - ratio)) with the smallest noise stay visible, the rest is hidden: the published rule where every
window is whole and valid. The noise comes from outside, one value per window and sample, so that a mask
depends on nothing but its own draw.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def window_grid(rows: int, columns: int, window: int) -> tuple[int, int]:
    """How many windows cover a grid of tokens; those at the far edges may be cut."""
    return -(-rows // window), -(-columns // window)


def noise_length(dates: int, rows: int, columns: int, window: int, share_over_time: bool) -> int:
    """How many draws a sample needs for a grid of dates x rows x columns tokens."""
    h, w = window_grid(rows, columns, window)
    return h * w if share_over_time else dates * h * w


def hide_windows(
    noise: Tensor,
    grid: tuple[int, int, int],
    *,
    window: int = 4,
    ratio: float = 0.75,
    share_over_time: bool = False,
    valid: Tensor | None = None,
) -> Tensor:
    """The tokens to hide.

    Args:
        noise: U(0, 1) draws, [B, dates * windows], date-major and row-major, or [B, windows] when shared.
        grid: (dates, rows, columns) of tokens.
        window: edge of a mask window in tokens.
        ratio: part of the windows with data to hide, per sample, and per date unless shared.
        share_over_time: one mask for all dates (a tube) instead of a new one for each.
        valid: bool [B, dates, rows, columns], tokens with data; None for all. A tube's window counts as soon
            as one of its dates holds data.

    Returns:
        bool [B, dates, rows, columns], True for hidden; never True for a token without data.
    """
    d, h, w = grid
    gh, gw = window_grid(h, w, window)
    masks = 1 if share_over_time else d
    noise = noise.reshape(len(noise), masks, gh * gw)
    if valid is None:
        holds = torch.ones_like(noise, dtype=torch.bool)
    else:
        seen = valid.any(dim=1, keepdim=True) if share_over_time else valid
        seen = F.pad(seen, (0, gw * window - w, 0, gh * window - h))
        holds = seen.reshape(len(seen), masks, gh, window, gw, window).any(dim=5).any(dim=3).flatten(2)
    # Windows without data come last in the order, so they take no rank from those with data.
    order = noise.masked_fill(~holds, float("inf")).argsort(dim=-1, stable=True)
    rank = order.argsort(dim=-1)
    # In double precision, as Python rounds: int(196 * (1 - 0.75)).
    keep = (holds.sum(dim=-1, keepdim=True).double() * (1 - ratio)).floor()
    hidden = (rank >= keep) & holds
    tokens = hidden.view(-1, masks, gh, 1, gw, 1).expand(-1, -1, -1, window, -1, window)
    tokens = tokens.reshape(-1, masks, gh * window, gw * window)[:, :, :h, :w].expand(-1, d, -1, -1)
    return tokens if valid is None else tokens & valid
