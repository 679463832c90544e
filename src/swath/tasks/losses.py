"""Loss terms as sums and counts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.pretraining.objective import Part
from swath.tasks.config import IGNORE


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None, smoothing: float) -> Part:
    """Cross-entropy of logits [N,K] against classes [N] (IGNORE: not counted), in float32.

    The count is the summed weight of the labelled entries, as in `F.cross_entropy(reduction="mean")`.
    Rows, not images: the two-dimensional kernel has no deterministic form on a GPU.
    """
    numerator = F.cross_entropy(
        logits.float(), target, weights, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )
    return Part(numerator, label_count(target, weights))


def label_count(target: Tensor, weights: Tensor | None) -> Tensor:
    """What the cross-entropy is divided by."""
    labelled = target != IGNORE
    if weights is None:
        return labelled.sum().float()
    return torch.where(labelled, weights[target.clamp(min=0)], 0.0).sum()


def dice(logits: Tensor, target: Tensor, weight: float) -> Part:
    """1 - soft dice per class, summed over the classes the batch holds, of logits [N,K] and classes [N]."""
    k = logits.shape[1]
    labelled = (target != IGNORE)[:, None]
    probability = torch.where(labelled, logits.float().softmax(1), 0.0)
    truth = torch.where(labelled, F.one_hot(target.clamp(min=0), k).float(), 0.0)
    both, either = (probability * truth).sum(0), probability.sum(0) + truth.sum(0)
    present = truth.sum(0) > 0
    # A class the batch does not hold has no overlap to speak of; cross-entropy sees its false positives.
    terms = torch.where(present, 1 - 2 * both / either.clamp(min=1e-6), 0.0)
    return Part(terms.sum(), present.sum().float(), weight)
