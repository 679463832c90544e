"""One class for a whole record."""

from __future__ import annotations

import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.pretraining.objective import ObjectiveOutput, total
from swath.tasks.base import ClassTask, seen_records
from swath.tasks.config import IGNORE
from swath.tasks.losses import cross_entropy, focal, label_count, smoothed, soft_cross_entropy
from swath.tasks.metrics import ClassScorer
from swath.tasks.mix import mix


class ClassificationTask(ClassTask):
    """Cross-entropy over labelled records. The network gives logits [B,K].

    With mixup or cutmix, training sees pairs of records and shares of classes, and a record without a label
    stays as it is. What is then counted depends on the draw, so that `counts` is not exact with class weights:
    the two are refused together.
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
        """Args: pixels and valid [B,T,C,H,W], normalised; target [B] int64 with IGNORE."""
        self._check_target(target)
        config = self.config
        classes = _scored(target, valid)
        mixing = self.training and (config.mixup > 0 or config.cutmix > 0)
        shares = None
        if mixing:
            if self.weights is not None:
                raise ConfigError(
                    "cannot be weighted by class when records are mixed",
                    where="loss.class_weights",
                    mend="leave it out, or loss.mixup and loss.cutmix",
                )
            shares = smoothed(classes, len(config.classes), config.label_smoothing)
            pixels, valid, shares = mix(pixels, valid, shares, mixup=config.mixup, cutmix=config.cutmix)
        logits = self.output(pixels, valid, days, wavelengths)
        if logits.ndim != 2:
            raise ConfigError(f"classification needs logits [B,K], the network gives {tuple(logits.shape)}")
        if shares is not None:
            part = soft_cross_entropy(logits, shares, None, config.cross_entropy)
        elif config.focal > 0:
            part = focal(logits, classes, self.weights, config.focal, config.cross_entropy)
        else:
            part = cross_entropy(logits, classes, self.weights, config.label_smoothing, config.cross_entropy)
        parts = {"cross_entropy": part}
        return ObjectiveOutput(total(parts), parts)

    def counts(self, valid: Tensor | None, target: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": label_count(_scored(target, valid), self.weights)}

    def scorer(self) -> ClassScorer:
        return ClassScorer(self.config.classes)


def _scored(target: Tensor, valid: Tensor | None) -> Tensor:
    return target if valid is None else torch.where(seen_records(valid), target, IGNORE)
