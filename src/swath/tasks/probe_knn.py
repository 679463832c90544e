"""Nearest neighbours on frozen features: nothing is learned, so nothing can be learned wrong.

Neighbours by cosine similarity, each with a say of exp(similarity / 0.07), as in Z. Wu et al., "Unsupervised Feature
Learning via Non-Parametric Instance Discrimination" (CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.errors import ConfigError, InputError

SHARPNESS = 0.07
# Similarities held at once.
_AT_ONCE = 1 << 24


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Answers by the training rows that are most alike.

    Attributes:
        rows: [N,D] of length 1.
        answers: [N,K]: one-hot classes, zeros and ones, or real numbers with NaN where unknown.
        count: how many have a say.
    """

    rows: Tensor
    answers: Tensor
    count: int

    def __call__(self, features: Tensor) -> Tensor:
        """[M,D] -> [M,K]: the weighted mean of the neighbours' answers."""
        at_once = max(1, _AT_ONCE // len(self.rows))
        return torch.cat([self._some(features[i : i + at_once]) for i in range(0, len(features), at_once)])

    def _some(self, features: Tensor) -> Tensor:
        likeness, place = (F.normalize(features.double(), dim=1) @ self.rows.T).topk(self.count, dim=1)
        say = (likeness / SHARPNESS).softmax(1)
        answers = self.answers[place]  # [M,count,K]
        known = torch.isfinite(answers)
        weight = torch.where(known, say[..., None], 0.0)
        return ((answers.nan_to_num() * weight).sum(1) / weight.sum(1)).float()


def neighbours(features: Tensor, answers: Tensor, counts: Sequence[int]) -> Iterator[Neighbours]:
    """Answers by each number of neighbours; numbers beyond the training rows are left out, one is always given.

    Args:
        features: [N,D].
        answers: [N,K] as in `Neighbours`.
        counts: of neighbours, 1 or more.

    Raises:
        InputError: features are not finite, or there are none.
    """
    if not counts or min(counts) < 1:
        raise ConfigError("must be 1 or more", where="neighbours", mend="give some, such as 5, 20")
    if not len(features) or not bool(torch.isfinite(features).all()):
        raise InputError("there are no features, or they hold NaN", mend="check the weights and labels")
    rows = F.normalize(features.double(), dim=1)
    held = sorted({min(c, len(rows)) for c in counts})
    for count in held:
        yield Neighbours(rows, answers.double(), count)
