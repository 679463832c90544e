"""Hiding blocks of tokens, as BEiT does (Bao et al., 2022, algorithm 1), among those that hold data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCKS = 32  # more are never needed in practice; a fixed number keeps the draws' places fixed
ASPECT = 0.3  # the flattest block; the tallest is its inverse
NOISE_PER_DATE = 4 * BLOCKS


def hide_blocks(
    noise: Tensor,
    grid: tuple[int, int, int],
    *,
    ratio: float = 0.4,
    least: int = 16,
    valid: Tensor | None = None,
) -> Tensor:
    """The tokens to hide: blocks are added to each date until `ratio` of its tokens with data are hidden.

    A block has at least `least` tokens and at most as many as are still wanted, and an aspect of 0.3 … 1 / 0.3,
    evenly in its logarithm, so that flat and tall ones are as likely.

    Args:
        noise: U(0, 1) draws, [B, dates * NOISE_PER_DATE].
        grid: (dates, rows, columns) of tokens.
        ratio: part of the tokens with data to hide, in each date; the last block may go beyond it.
        least: tokens of the smallest block (all that are wanted, if they are fewer).
        valid: bool [B, dates, rows, columns], tokens with data; None for all.

    Returns:
        bool [B, dates, rows, columns], True for hidden; never True for a token without data.
    """
    d, h, w = grid
    noise = noise.reshape(len(noise), d, BLOCKS, 4)
    if valid is None:
        valid = torch.ones(len(noise), d, h, w, dtype=torch.bool, device=noise.device)
    wanted = (valid.sum(dim=(2, 3)).double() * ratio).floor()
    smallest = wanted.clamp(max=least)
    hidden = torch.zeros_like(valid)
    row = torch.arange(h, device=noise.device)
    column = torch.arange(w, device=noise.device)
    for block in range(BLOCKS):
        size, shape, top, left = noise[:, :, block].unbind(-1)
        missing = wanted - hidden.sum(dim=(2, 3))
        tokens = smallest + size * (missing - smallest).clamp_min(0)
        aspect = torch.exp((2 * shape - 1) * math.log(1 / ASPECT))
        rows = (tokens * aspect).sqrt().round().clamp(1, h)
        columns = (tokens / aspect).sqrt().round().clamp(1, w)
        first_row, first_column = (top * (h - rows + 1)).floor(), (left * (w - columns + 1)).floor()
        in_rows = (row >= first_row[..., None]) & (row < (first_row + rows)[..., None])
        in_columns = (column >= first_column[..., None]) & (column < (first_column + columns)[..., None])
        wants = (missing > 0)[..., None, None]
        hidden = hidden | (in_rows[..., :, None] & in_columns[..., None, :] & wants & valid)
    return hidden
