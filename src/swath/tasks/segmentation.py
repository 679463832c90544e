"""A class for every pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.pretraining.objective import ObjectiveOutput, total
from swath.tasks.base import ClassTask, seen_pixels
from swath.tasks.config import IGNORE
from swath.tasks.losses import cross_entropy, dice, focal, label_count
from swath.tasks.metrics import ClassScorer


class SegmentationTask(ClassTask):
    """Cross-entropy (or its focal form), dice, or both, over labelled pixels.

    The network gives logits [B,K,H,W], or [B,T,K,H,W] for a map per date. A pixel that is IGNORE, or
    invalid in all dates and bands, counts in no sum. A batch without a labelled pixel has loss 0 and
    gradients 0.
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
        """Args: pixels and valid [B,T,C,H,W], normalised; target [B,H,W] (or [B,T,H,W]) int64."""
        self._check_target(target)
        logits = self.output(pixels, valid, days, wavelengths)
        if logits.ndim not in (4, 5):
            raise ConfigError(f"segmentation needs a map of logits, the network gives {tuple(logits.shape)}")
        rows = logits.movedim(-3, -1).reshape(-1, logits.shape[-3])
        classes = _scored(target, valid, per_date=logits.ndim == 5).reshape(-1)
        config, parts = self.config, {}
        if config.focal > 0 and config.cross_entropy > 0:
            parts["cross_entropy"] = focal(rows, classes, self.weights, config.focal, config.cross_entropy)
        elif config.cross_entropy > 0:
            parts["cross_entropy"] = cross_entropy(
                rows, classes, self.weights, config.label_smoothing, config.cross_entropy
            )
        if config.dice > 0:
            parts["dice"] = dice(rows, classes, config.dice)
        return ObjectiveOutput(total(parts), parts)

    def counts(self, valid: Tensor | None, target: Tensor) -> dict[str, Tensor]:
        classes = _scored(target, valid, per_date=target.ndim == 4)
        counts = {}
        if self.config.cross_entropy > 0:
            counts["cross_entropy"] = label_count(classes, self.weights)
        if self.config.dice > 0:
            numbers = torch.arange(len(self.config.classes), device=target.device)
            counts["dice"] = (classes.reshape(-1, 1) == numbers).any(0).sum().float()
        return counts

    def scorer(self) -> ClassScorer:
        return ClassScorer(self.config.classes)


def _scored(target: Tensor, valid: Tensor | None, per_date: bool) -> Tensor:
    """The target with IGNORE where no band (of no date, or of its date) was seen."""
    if valid is None:
        return target
    return torch.where(seen_pixels(valid, per_date), target, IGNORE)
