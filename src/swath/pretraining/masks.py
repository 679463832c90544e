"""Which tokens are hidden: drawn only among tokens that hold valid pixels (design §3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenMask:
    """A split of tokens into visible and hidden ones.

    Attributes:
        keep: long [B,k], the visible tokens, by rising noise.
        keep_valid: bool [B,k], which entries of `keep` count (samples keep different numbers); None for all.
        hidden: bool [B,N], the valid tokens that are not visible.
    """

    keep: Tensor
    keep_valid: Tensor | None
    hidden: Tensor


def kept(tokens: int, ratio: float) -> int:
    """How many of `tokens` stay visible: at least one.

    The product is rounded down in floating point, as the published code does: 0.9 of 576 leaves 57.
    """
    return max(1, int(tokens * (1 - ratio)))


def random_tokens(noise: Tensor, valid: Tensor | None, ratio: float) -> TokenMask:
    """Uniformly random over all valid tokens of a sample together (spec of SpectralGPT, masking).

    Args:
        noise: [B,N] in [0, 1); the smallest stay visible.
        valid: bool [B,N] or None (all valid).
        ratio: part of the valid tokens to hide.
    """
    if not 0.0 <= ratio < 1.0:
        raise ValueError(f"mask ratio {ratio} is not in [0, 1)")
    n = noise.shape[1]
    if valid is None:
        keep = noise.argsort(dim=1, stable=True)[:, : kept(n, ratio)]
        return TokenMask(keep, None, torch.ones_like(noise, dtype=torch.bool).scatter(1, keep, False))
    order = noise.masked_fill(~valid, 2.0).argsort(dim=1, stable=True)
    table = torch.tensor([0, *(kept(i, ratio) for i in range(1, n + 1))], device=noise.device)
    counts = table[valid.sum(dim=1)]  # [B]
    # On a GPU asking for the largest count would stall the queue; the bound costs a few masked keys instead.
    width = kept(n, ratio) if noise.is_cuda else max(1, int(counts.max()))
    keep = order[:, :width]
    keep_valid = torch.arange(width, device=noise.device) < counts[:, None]
    hidden = valid.scatter(1, keep, valid.gather(1, keep) & ~keep_valid)
    return TokenMask(keep, None if not noise.is_cuda and bool(keep_valid.all()) else keep_valid, hidden)


def tokens_of_each(noise: Tensor, valid: Tensor | None, ratio: float, parts: int) -> TokenMask:
    """Random in each part (date and group) of a sample on its own: every part keeps the same share of its tokens.

    Args:
        noise: [B,N] in [0, 1), N = parts * places.
        valid: bool [B,N] or None (all valid).
        ratio: part of the valid tokens to hide.
        parts: T * G.
    """
    places = noise.shape[1] // parts
    split = None if valid is None else valid.reshape(-1, places)
    inner = random_tokens(noise.reshape(-1, places), split, ratio)
    base = torch.arange(parts, device=noise.device)[:, None] * places
    keep = (inner.keep.reshape(len(noise), parts, -1) + base).flatten(1)
    hidden = inner.hidden.reshape(len(noise), -1)
    if valid is None:
        return TokenMask(keep, None, hidden)
    counts = inner.keep_valid
    ok = valid.gather(1, keep)
    if counts is not None:
        ok = ok & counts.reshape(len(noise), -1)
    return TokenMask(keep, ok, hidden)


def tokens_of_places(noise: Tensor, valid: Tensor | None, ratio: float, parts: int) -> TokenMask:
    """The same places are seen in all parts (dates and groups).

    Args:
        noise: [B,places] in [0, 1).
        valid: bool [B,N] or None, N = parts * places; a place counts as soon as one part holds data there.
        ratio: part of the places with data to hide.
        parts: T * G.
    """
    places = noise.shape[1]
    anywhere = None if valid is None else valid.reshape(len(noise), parts, places).any(dim=1)
    inner = random_tokens(noise, anywhere, ratio)
    base = torch.arange(parts, device=noise.device)[:, None] * places
    keep = (inner.keep[:, None] + base).flatten(1)
    hidden = inner.hidden.repeat(1, parts)
    if valid is None:
        return TokenMask(keep, None, hidden)
    ok = valid.gather(1, keep)
    if inner.keep_valid is not None:
        ok = ok & inner.keep_valid.repeat(1, parts)
    return TokenMask(keep, ok, hidden & valid)
