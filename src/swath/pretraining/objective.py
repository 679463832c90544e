"""What an objective returns: a loss, its parts as sums and counts, and what a figure needs (design §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """One term of a loss, kept as a sum and a count.

    Over ranks and accumulated batches the right mean is (sum of numerators) / (sum of counts), which a mean
    of means is not once the number of valid pixels differs between samples.

    Attributes:
        numerator: scalar, carries the gradient.
        count: scalar, what the numerator is divided by; 0 when nothing was valid.
        weight: the term's factor in the total.
    """

    numerator: Tensor
    count: Tensor
    weight: float = 1.0

    @property
    def mean(self) -> Tensor:
        """The numerator over the count, and 0 (with a zero gradient) where nothing counts."""
        return self.numerator / torch.where(self.count > 0, self.count, torch.ones_like(self.count))


@dataclass(frozen=True)
class ObjectiveOutput:
    """The result of one forward pass of an objective or a task.

    Attributes:
        loss: scalar, the sum over parts of weight * numerator / count.
        parts: the terms by name.
        reconstruction: [B,T,C,H,W] in the units of the input, or None.
        mask: bool [B,T,C,H,W], True where the mask hid a valid token, or None.
    """

    loss: Tensor
    parts: dict[str, Part]
    reconstruction: Tensor | None = None
    mask: Tensor | None = None


def total(parts: Mapping[str, Part]) -> Tensor:
    """The loss of some parts: sum of weight * numerator / count."""
    if not parts:
        raise ValueError("a loss needs at least one part")
    terms = [part.weight * part.mean for part in parts.values()]
    return torch.stack(terms).sum()
