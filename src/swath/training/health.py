"""Whether a representation is alive, told from its features alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Below these, all samples look alike to whatever comes after: fewer than two dimensions carry anything, or the
# unit vectors of different samples stand closer than a tenth of what chance would give.
COLLAPSED_RANK = 2.0
COLLAPSED_SPREAD = 0.1


@dataclass(frozen=True)
class Health:
    """What features tell of themselves.

    Attributes:
        rank: effective rank (Roy and Vetterli, 2007): e to the entropy of the shares of the singular values; 1 if
            one direction carries all, D if all carry the same.
        spread: standard deviation of the unit-length features over samples, times sqrt(D): about 1 for features
            in all directions, 0 if all samples have one (Chen and He, SimSiam, 2021).
        finite: whether all features are numbers.
    """

    rank: float
    spread: float
    finite: bool = True

    @property
    def collapsed(self) -> bool:
        """Whether different samples have nearly the same features."""
        return not self.finite or self.rank < COLLAPSED_RANK or self.spread < COLLAPSED_SPREAD


def health(features: Tensor) -> Health:
    """Of the pooled features [N,D] of at least two different samples."""
    if not bool(torch.isfinite(features).all()):
        return Health(0.0, 0.0, finite=False)
    x = features.detach().cpu().double()
    unit = x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)
    spread = float(unit.std(dim=0).mean()) * x.shape[1] ** 0.5
    return Health(effective_rank(x - x.mean(dim=0)), spread)


def effective_rank(centred: Tensor) -> float:
    """Of [N,D] whose mean over N is 0; 0 if it is 0 throughout."""
    values = torch.linalg.svdvals(centred)
    total = values.sum()
    if float(total) <= 1e-12:
        return 0.0
    shares = values / total
    return float(torch.exp(-(shares * shares.clamp_min(1e-300).log()).sum()))
