"""Whether a representation is alive, told from its features alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COLLAPSED_RANK = 2.0
"""Below this, fewer than two directions carry anything (of few samples: half of those that there can be)."""
COLLAPSED_VARIATION = 2.0**-8
"""Below this, samples differ by less of their length than bf16 can tell."""


@dataclass(frozen=True)
class Health:
    """What features tell of themselves.

    What all samples share says nothing of any, and whatever learns on top takes it away: a large mean is no collapse,
    nor is one feature that is larger than the others.

    Attributes:
        rank: effective rank (Roy and Vetterli, 2007) of the centred features, each divided by its standard deviation:
            e to the entropy of the shares of the singular values; 1 if one direction carries all, D if all carry the
            same.
        variation: length of what sets samples apart, over the length of the features: the root of the mean squared
            distance from the mean over that from 0. 1 where the mean is 0, 0 if all samples have the same features.
        finite: whether all features are numbers.
        most: the largest rank that so many samples of so many features can have.
    """

    rank: float
    variation: float
    finite: bool = True
    most: int = 2

    @property
    def collapsed(self) -> bool:
        """Whether different samples have nearly the same features, or differ along one direction."""
        least = min(COLLAPSED_RANK, self.most / 2)
        return not self.finite or self.rank < least or self.variation < COLLAPSED_VARIATION


def health(features: Tensor) -> Health:
    """Of the pooled features [N,D] of at least two different samples."""
    if not bool(torch.isfinite(features).all()):
        return Health(0.0, 0.0, finite=False)
    x = features.detach().cpu().double()
    centred = x - x.mean(dim=0)
    length = float(x.square().sum(dim=1).mean().sqrt())
    if length == 0.0:
        return Health(0.0, 0.0)
    variation = float(centred.square().sum(dim=1).mean().sqrt()) / length
    # What varies by less than bf16 tells of it is as good as constant, and is not blown up.
    floor = COLLAPSED_VARIATION * length / x.shape[1] ** 0.5
    scaled = centred / centred.square().mean(dim=0).sqrt().clamp_min(floor)
    return Health(effective_rank(scaled), variation, most=min(len(x) - 1, x.shape[1]))


def effective_rank(centred: Tensor) -> float:
    """Of [N,D] whose mean over N is 0; 0 if it is 0 throughout."""
    values = torch.linalg.svdvals(centred)
    total = values.sum()
    if float(total) <= 1e-12:
        return 0.0
    shares = values / total
    return float(torch.exp(-(shares * shares.clamp_min(1e-300).log()).sum()))
