"""Scores over a whole set, from one confusion matrix: never means over batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from swath.errors import InputError
from swath.tasks.base import class_axis
from swath.tasks.config import IGNORE


@dataclass(frozen=True)
class ClassScore:
    """One class: NaN where a score has no meaning (precision of a class never predicted)."""

    name: str
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float
    iou: float


@dataclass(frozen=True)
class Scores:
    """Scores of a whole set.

    Attributes:
        overall_accuracy: share of the scored pixels (records) that are right.
        macro_f1, miou: means over the classes that the reference holds.
        classes: per class.
        absent: classes with no reference pixel: in neither mean, but what was predicted as them is wrong.
        count: scored pixels (records).
        confusion: [K][K], rows the reference, columns the prediction.
    """

    overall_accuracy: float
    macro_f1: float
    miou: float
    classes: tuple[ClassScore, ...]
    absent: tuple[str, ...]
    count: int
    confusion: tuple[tuple[int, ...], ...]

    @property
    def note(self) -> str:
        """A sentence on what the means leave out; empty if nothing."""
        if not self.absent:
            return ""
        return f"means leave out {', '.join(self.absent)}: the reference holds no pixel of it"

    def summary(self) -> dict[str, float]:
        """The three headline numbers."""
        return {
            "overall_accuracy": self.overall_accuracy,
            "macro_f1": self.macro_f1,
            "miou": self.miou,
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
            "confusion": [list(row) for row in self.confusion],
        }


class Confusion:
    """Collects predictions over a set.

    Args:
        classes: names, in the order of the class numbers.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._matrix = MulticlassConfusionMatrix(
            num_classes=len(self.classes), ignore_index=IGNORE, validate_args=False
        )

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Adds class numbers of any equal shape; entries whose target is IGNORE do not count."""
        if predicted.shape != target.shape:
            raise InputError(f"predictions are {tuple(predicted.shape)}, labels {tuple(target.shape)}")
        # On the CPU: a few numbers, exact and deterministic whatever the device.
        self._matrix.update(predicted.detach().cpu().flatten(), target.detach().cpu().flatten())

    def compute(self) -> Scores:
        """The scores so far."""
        if not self._matrix.update_called:
            raise InputError("nothing was scored", mend="check that the area holds labels")
        return scores(self._matrix.compute(), self.classes)


class ClassScorer:
    """Collects logits over a set: the class with the highest counts, the first of equals.

    Args:
        classes: names, in the order of the class numbers.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._confusion = Confusion(classes)

    def update(self, output: Tensor, target: Tensor) -> None:
        """Logits [B,K], [B,K,H,W] or [B,T,K,H,W] and class numbers without that axis."""
        self._confusion.update(output.argmax(class_axis(output)), target)

    def compute(self) -> Scores:
        return self._confusion.compute()


def rates(confusion: Tensor) -> dict[str, Tensor]:
    """Scores of confusion matrices [...,K,K] whose rows are the reference, in float64.

    Returns:
        "overall_accuracy", "macro_f1" and "miou" [...], and per class "precision", "recall", "f1" and "iou" [...,K];
        NaN where a score has no meaning. Means are over the classes that the reference holds.
    """
    matrix = confusion.double()
    hit = matrix.diagonal(dim1=-2, dim2=-1)
    support, predicted = matrix.sum(-1), matrix.sum(-2)
    # 0 / 0 is the NaN that is wanted: neither side holds the class.
    each = {
        "precision": hit / predicted,
        "recall": hit / support,
        "f1": 2 * hit / (support + predicted),
        "iou": hit / (support + predicted - hit),
    }
    present = support > 0

    def mean(values: Tensor) -> Tensor:
        return torch.where(present, values, 0.0).sum(-1) / present.sum(-1)

    return {
        "overall_accuracy": hit.sum(-1) / matrix.sum((-2, -1)),
        "macro_f1": mean(each["f1"]),
        "miou": mean(each["iou"]),
        **each,
    }


def scores(confusion: Tensor, classes: Sequence[str]) -> Scores:
    """Scores from a confusion matrix [K,K] whose rows are the reference."""
    matrix = confusion.to(torch.int64)
    count = int(matrix.sum())
    if count == 0:
        raise InputError("no labelled pixel was scored", mend="check that the area holds labels")
    support, predicted = matrix.sum(1), matrix.sum(0)
    found = rates(matrix)
    rows = tuple(
        ClassScore(
            name,
            int(support[k]),
            int(predicted[k]),
            float(found["precision"][k]),
            float(found["recall"][k]),
            float(found["f1"][k]),
            float(found["iou"][k]),
        )
        for k, name in enumerate(classes)
    )
    return Scores(
        overall_accuracy=float(found["overall_accuracy"]),
        macro_f1=float(found["macro_f1"]),
        miou=float(found["miou"]),
        classes=rows,
        absent=tuple(row.name for row in rows if row.support == 0),
        count=count,
        confusion=tuple(tuple(int(x) for x in row) for row in matrix),
    )
