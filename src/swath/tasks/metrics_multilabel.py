"""Average precision and F1 of many labels, over a whole set: never means over batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision
from torchmetrics.utilities import dim_zero_cat

from swath.errors import InputError
from swath.tasks.config import IGNORE


@dataclass(frozen=True)
class LabelScore:
    """One class; NaN where a score has no meaning (no record bears the class)."""

    name: str
    support: int
    average_precision: float
    f1: float


@dataclass(frozen=True)
class MultilabelScores:
    """Scores of a whole set.

    Attributes:
        map_macro: mean average precision over the classes that the reference holds.
        map_micro: average precision of all (record, class) pairs together.
        f1_macro, f1_micro: at a probability of one half.
        classes: per class.
        absent: classes that no record bears: in no macro mean; their false positives count in the micro scores.
        count: records.
    """

    map_macro: float
    map_micro: float
    f1_macro: float
    f1_micro: float
    classes: tuple[LabelScore, ...]
    absent: tuple[str, ...]
    count: int

    @property
    def note(self) -> str:
        """A sentence on what the means leave out; empty if nothing."""
        return "" if not self.absent else f"means leave out {', '.join(self.absent)}: no record bears it"

    def summary(self) -> dict[str, float]:
        """The headline numbers."""
        return {
            "map_macro": self.map_macro,
            "map_micro": self.map_micro,
            "f1_macro": self.f1_macro,
            "f1_micro": self.f1_micro,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; scores without a meaning are null."""
        rows = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in vars(row).items()}
            for row in self.classes
        ]
        return {
            **self.summary(),
            "count": self.count,
            "absent": list(self.absent),
            "note": self.note,
            "classes": rows,
        }


class MultilabelScorer:
    """Collects logits and labels over a set.

    Args:
        classes: names, in the order of the labels.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        # Keeps every logit: exact, where binned curves are not. A million records of 43 classes are 340 MB.
        self._all = MultilabelAveragePrecision(len(self.classes), average="none", validate_args=False)

    def update(self, output: Tensor, target: Tensor) -> None:
        """Logits [B,K] and zeros and ones [B,K]; records that are IGNORE do not count."""
        if output.shape != target.shape:
            raise InputError(f"predictions are {tuple(output.shape)}, labels {tuple(target.shape)}")
        known = (target != IGNORE).all(1)
        if bool(known.any()):
            # On the CPU: deterministic whatever the device. Ranks keep the order of logits, ties included.
            self._all.update(output[known].detach().float().cpu().sigmoid(), target[known].detach().cpu())

    def compute(self) -> MultilabelScores:
        if not self._all.update_called:
            raise InputError("nothing was scored", mend="check that the records hold labels")
        with self._all.sync_context():
            scores = dim_zero_cat(self._all.preds)
            truth = dim_zero_cat(self._all.target).bool()
        return multilabel_scores(scores, truth, self.classes)


def multilabel_scores(probabilities: Tensor, truth: Tensor, classes: Sequence[str]) -> MultilabelScores:
    """Scores of probabilities [N,K] against bool [N,K]."""
    support = truth.sum(0)
    each = [average_precision(probabilities[:, k], truth[:, k]) for k in range(len(classes))]
    guess = probabilities > 0.5
    hit, wrong = (guess & truth).sum(0).double(), (guess ^ truth).sum(0).double()
    f1 = torch.where(support > 0, 2 * hit / (2 * hit + wrong).clamp(min=1), torch.nan)
    present = support > 0
    if not bool(present.any()):
        raise InputError("no record bears any label", mend="check the labels")
    rows = tuple(LabelScore(name, int(support[k]), each[k], float(f1[k])) for k, name in enumerate(classes))
    return MultilabelScores(
        map_macro=float(torch.tensor(each, dtype=torch.float64)[present].mean()),
        map_micro=average_precision(probabilities.flatten(), truth.flatten()),
        f1_macro=float(f1[present].mean()),
        f1_micro=float(2 * hit.sum() / (2 * hit.sum() + wrong.sum()).clamp(min=1)),
        classes=rows,
        absent=tuple(row.name for row in rows if row.support == 0),
        count=len(truth),
    )


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Area under the precision-recall steps, sum of (R_n - R_(n-1)) P_n over distinct scores; NaN without truth.

    In float64 and with ties as one step, as scikit-learn's; torchmetrics' own sums run in float32.
    """
    positives = int(truth.sum())
    if positives == 0:
        return math.nan
    order = scores.argsort(descending=True, stable=True)
    ranked, right = scores[order], truth[order].double().cumsum(0)
    last = torch.ones_like(ranked, dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]
    place = torch.arange(1, len(ranked) + 1, dtype=torch.float64)[last]
    found = right[last]
    steps = torch.diff(found, prepend=found.new_zeros(1))
    return float((steps * found / place).sum() / positives)
