"""Loss terms as sums and counts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.pretraining.objective import Part
from swath.tasks.config import IGNORE


def cross_entropy(
    logits: Tensor, target: Tensor, weights: Tensor | None, smoothing: float, weight: float = 1.0
) -> Part:
    """Cross-entropy of logits [N,K] against classes [N] (IGNORE: not counted), in float32.

    The count is the summed weight of the labelled entries, as in `F.cross_entropy(reduction="mean")`.
    Rows, not images: the two-dimensional kernel has no deterministic form on a GPU.
    """
    numerator = F.cross_entropy(
        logits.float(), target, weights, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )
    return Part(numerator, label_count(target, weights), weight)


def focal(logits: Tensor, target: Tensor, weights: Tensor | None, gamma: float, weight: float) -> Part:
    """(1 - p)^gamma times the cross-entropy of logits [N,K] and classes [N], p the right class' probability
    (Lin et al., "Focal loss", ICCV 2017); counted as the cross-entropy is.
    """
    labelled = target != IGNORE
    logs = logits.float().log_softmax(1).gather(1, target.clamp(min=0)[:, None])[:, 0]
    term = -((1 - logs.exp()).clamp(min=0) ** gamma) * logs
    if weights is not None:
        term = term * weights[target.clamp(min=0)]
    return Part(torch.where(labelled, term, 0.0).sum(), label_count(target, weights), weight)


def soft_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None, weight: float) -> Part:
    """Cross-entropy of logits [N,K] against shares [N,K]; rows that are 0 throughout count nothing."""
    scaled = target if weights is None else target * weights
    numerator = -(scaled * logits.float().log_softmax(1)).sum()
    return Part(numerator, scaled.sum(), weight)


def smoothed(target: Tensor, classes: int, smoothing: float) -> Tensor:
    """Classes [N] as shares [N,K], `smoothing` of them spread evenly; a row of zeros where IGNORE."""
    hard = F.one_hot(target.clamp(min=0), classes).float() * (1 - smoothing) + smoothing / classes
    return torch.where((target != IGNORE)[:, None], hard, 0.0)


def binary_cross_entropy(logits: Tensor, target: Tensor, weight: float = 1.0) -> Part:
    """Mean over classes of the binary cross-entropy of logits [N,K] against zeros and ones [N,K], in float32:
    what `MultiLabelSoftMarginLoss` is. Entries that are IGNORE count nothing.
    """
    known = target != IGNORE
    each = F.binary_cross_entropy_with_logits(logits.float(), target.clamp(min=0).float(), reduction="none")
    return Part(torch.where(known, each, 0.0).sum(), known.sum().float(), weight)


def regression(predicted: Tensor, target: Tensor, kind: str, delta: float) -> Part:
    """Squared, absolute or Huber differences of any equal shape, in float32; NaN targets count nothing."""
    known = torch.isfinite(target)
    difference = torch.where(known, predicted.float() - torch.where(known, target, 0.0).float(), 0.0)
    if kind == "mse":
        each = difference**2
    elif kind == "mae":
        each = difference.abs()
    else:
        # Half the square near 0, as torch defines it.
        each = F.huber_loss(difference, torch.zeros_like(difference), reduction="none", delta=delta)
    return Part(torch.where(known, each, 0.0).sum(), known.sum().float())


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
