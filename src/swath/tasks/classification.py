"""One class for a whole record."""

from __future__ import annotations

import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.pretraining.objective import ObjectiveOutput, total
from swath.tasks.base import Task
from swath.tasks.config import IGNORE
from swath.tasks.losses import cross_entropy, label_count


class ClassificationTask(Task):
    """Cross-entropy over labelled records. The network gives logits [B,K]."""

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        target: Tensor,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> ObjectiveOutput:
        """Args: pixels and valid [B,T,C,H,W], normalised; target [B] int64 with IGNORE."""
        self._check_target(target)
        logits = self.logits(pixels, valid, days, wavelengths)
        if logits.ndim != 2:
            raise ConfigError(f"classification needs logits [B,K], the network gives {tuple(logits.shape)}")
        classes = _scored(target, valid)
        parts = {"cross_entropy": cross_entropy(logits, classes, self.weights, self.config.label_smoothing)}
        return ObjectiveOutput(total(parts), parts)

    def counts(self, valid: Tensor | None, target: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": label_count(_scored(target, valid), self.weights)}


def _scored(target: Tensor, valid: Tensor | None) -> Tensor:
    return target if valid is None else torch.where(valid.flatten(1).any(1), target, IGNORE)
