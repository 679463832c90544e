"""Any number of classes for a whole record."""

from __future__ import annotations

import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.pretraining.objective import ObjectiveOutput, total
from swath.tasks.base import ClassTask, seen_records
from swath.tasks.config import IGNORE
from swath.tasks.losses import binary_cross_entropy
from swath.tasks.metrics_multilabel import MultilabelScorer


class MultilabelTask(ClassTask):
    """Binary cross-entropy of each class. The network gives logits [B,K]; the target is zeros and ones [B,K].

    A record without a label (or without a valid pixel) is IGNORE throughout and counts in no sum.
    """

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        target: Tensor,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> ObjectiveOutput:
        """Args: pixels and valid [B,T,C,H,W], normalised; target [B,K] int64 of 0, 1 and IGNORE."""
        self._check_labels(target)
        logits = self.output(pixels, valid, days, wavelengths)
        if logits.shape != target.shape:
            raise ConfigError(
                f"the network gives {tuple(logits.shape)}, the labels are {tuple(target.shape)}",
                where="labels",
                mend="give one zero or one per class and record",
            )
        parts = {"binary_cross_entropy": binary_cross_entropy(logits, _scored(target, valid))}
        return ObjectiveOutput(total(parts), parts)

    def counts(self, valid: Tensor | None, target: Tensor) -> dict[str, Tensor]:
        return {"binary_cross_entropy": (_scored(target, valid) != IGNORE).sum().float()}

    def scorer(self) -> MultilabelScorer:
        return MultilabelScorer(self.config.classes)

    def _check_labels(self, target: Tensor) -> None:
        if not target.is_cuda and target.numel() and not (target.min() >= IGNORE and target.max() <= 1):
            raise ConfigError(
                "labels hold something else than 0 and 1",
                where="labels",
                mend="give zeros and ones per class",
            )


def _scored(target: Tensor, valid: Tensor | None) -> Tensor:
    return target if valid is None else torch.where(seen_records(valid)[:, None], target, IGNORE)
