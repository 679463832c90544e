"""From what a network returns to values that may be averaged, over the turns and flips of a window if wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from swath.scenes.layers import Activation

# [B,…,h,w] of a view to what the network returns for it, [B,K,h,w] or [B,K].
Call = Callable[[Tensor, Tensor], Tensor]


def windows_of(
    out: Tensor, activation: Activation, size: tuple[int, int], temperature: float = 1.0
) -> Iterator[Tensor]:
    """[V,h,w] float32 of each window of a batch, one after the other; of maps of each date, the values of the first,
    then of the second, ….

    On a CPU each is made when it is wanted: a window stays in the caches, where a batch goes through memory several
    times.

    Args:
        out: what the network returned, [B,K,h,w], [B,K], or of each date [B,T,K,h,w].
        activation: turns logits into probabilities, or leaves values as they are.
        size: (h, w) of a window.
        temperature: logits are divided by it before the activation.
    """
    for part in torch.split(out, 1 if out.device.type == "cpu" else len(out)):
        values = _activated(_cooled(part.float(), temperature), activation)
        if out.ndim == 5:
            values = values.flatten(1, 2)
        yield from values if out.ndim >= 4 else values[:, :, None, None].expand(-1, -1, *size)


def blendable(
    call: Call,
    pixels: Tensor,
    valid: Tensor,
    activation: Activation,
    *,
    turns: bool,
    spread: bool,
    temperature: float = 1.0,
) -> Tensor:
    """[B,V,h,w] float32 of windows; V as of `windows_of`. One answer for a window counts for each of its pixels.

    Args:
        call: as of `averaged`.
        pixels: as there.
        valid: as there.
        activation: as there.
        turns: as there.
        temperature: as there.
        spread: add what the views' disagreement is made of: for probabilities the mean of the views' entropies
            (one value, as a share of the largest), for values their standard deviation (one each). Not for
            probabilities of each date.
    """
    found = averaged(call, pixels, valid, activation, turns=turns, spread=spread, temperature=temperature)
    return found if found.ndim == 4 else found[:, :, None, None].expand(-1, -1, *pixels.shape[-2:])


def averaged(
    call: Call,
    pixels: Tensor,
    valid: Tensor,
    activation: Activation,
    *,
    turns: bool,
    spread: bool = False,
    temperature: float = 1.0,
) -> Tensor:
    """The mean answer to the views of windows, [B,V,h,w] of maps, which are turned back before, or [B,V].

    Args:
        call: the network, given normalised pixels and their validity.
        pixels: [B,T,C,h,w], normalised.
        valid: of the same shape.
        activation: turns logits into probabilities, or leaves values as they are.
        turns: average over the ways to turn and flip a window: eight, or four where it is not square.
        spread: as of `blendable`.
        temperature: logits are divided by it before the activation.
    """
    total: Tensor | None = None
    more: Tensor | None = None
    count = 0
    for flip, quarter in _turns(pixels.shape[-2:] if turns else None):
        x, v = (_turn(t, flip, quarter) for t in (pixels, valid))
        out = _activated(_cooled(call(x, v).float(), temperature), activation)
        if out.ndim > 2:
            out = _turn_back(out, flip, quarter)
        if out.ndim == 5:
            out = out.flatten(1, 2)
        count += 1
        total = out if total is None else total + out
        if spread:
            extra = _entropy(out) if activation == "softmax" else out.double() ** 2
            more = extra if more is None else more + extra
    assert total is not None
    mean = total / count if count > 1 else total
    if more is None:
        return mean
    more = more / count
    if activation != "softmax":
        more = (more - mean.double() ** 2).clamp_min(0).sqrt().float()
    return torch.cat([mean, more], dim=1)


def _turns(square: torch.Size | None) -> Iterator[tuple[bool, int]]:
    if square is None:
        yield False, 0
        return
    for flip in (False, True):
        for quarter in range(4) if square[0] == square[1] else (0, 2):
            yield flip, quarter


def _turn(x: Tensor, flip: bool, quarter: int) -> Tensor:
    x = x.flip(-1) if flip else x
    return torch.rot90(x, quarter, (-2, -1)) if quarter else x


def _turn_back(x: Tensor, flip: bool, quarter: int) -> Tensor:
    x = torch.rot90(x, -quarter, (-2, -1)) if quarter else x
    return x.flip(-1) if flip else x


def _cooled(out: Tensor, temperature: float) -> Tensor:
    return out if temperature == 1.0 else out / temperature


def _activated(out: Tensor, activation: Activation) -> Tensor:
    if activation == "softmax":
        return out.softmax(dim=1 if out.ndim == 2 else -3)
    return out.sigmoid() if activation == "sigmoid" else out


def _entropy(p: Tensor) -> Tensor:
    """[B,1,…] of probabilities, as a share of the largest."""
    largest = math.log(max(p.shape[1], 2))
    return -(p * p.clamp_min(1e-30).log()).sum(dim=1, keepdim=True) / largest
