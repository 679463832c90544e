"""A class for every pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.heads_auxiliary import AuxiliaryHead
from swath.pretraining.objective import ObjectiveOutput, Part, total
from swath.tasks.base import ClassTask, seen_pixels
from swath.tasks.config import IGNORE, TaskConfig
from swath.tasks.losses import cross_entropy, dice, focal, label_count
from swath.tasks.metrics import ClassScorer

_BESIDE = "auxiliary_"


class SegmentationTask(ClassTask):
    """Cross-entropy (or its focal form), dice, or both, over labelled pixels.

    With `auxiliary`, a second head learns from the encoder's deepest map by the same terms; the network is what it is
    without it, and whatever is asked later is asked of the network alone.

    The network gives logits [B,K,H,W], or [B,T,K,H,W] for a map per date. A pixel that is IGNORE, or
    invalid in all dates and bands, counts in no sum. A batch without a labelled pixel has loss 0 and
    gradients 0.
    """

    def __init__(self, network: nn.Module, config: TaskConfig) -> None:
        super().__init__(network, config)
        self.auxiliary = None if config.auxiliary == 0 else _auxiliary(network, len(config.classes))

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
        deepest: list[Tensor] = []
        more: dict[str, Any] = {} if self.auxiliary is None else {"deepest": deepest}
        logits = self._checked(self.network(pixels, valid=valid, days=days, wavelengths=wavelengths, **more))
        if logits.ndim not in (4, 5):
            raise ConfigError(f"segmentation needs a map of logits, the network gives {tuple(logits.shape)}")
        classes = _scored(target, valid, per_date=logits.ndim == 5).reshape(-1)
        parts = self._parts(logits, classes)
        if self.auxiliary is not None:
            size = (logits.shape[-2], logits.shape[-1])
            beside = self._parts(self.auxiliary(deepest[0], size), classes)
            for name, part in beside.items():
                parts[_BESIDE + name] = replace(part, weight=part.weight * self.config.auxiliary)
        return ObjectiveOutput(total(parts), parts)

    def _parts(self, logits: Tensor, classes: Tensor) -> dict[str, Part]:
        """The terms of logits [B,K,H,W] or [B,T,K,H,W] against classes [N], of all pixels in their order."""
        rows = logits.movedim(-3, -1).reshape(-1, logits.shape[-3])
        config, parts = self.config, {}
        if config.focal > 0 and config.cross_entropy > 0:
            parts["cross_entropy"] = focal(rows, classes, self.weights, config.focal, config.cross_entropy)
        elif config.cross_entropy > 0:
            parts["cross_entropy"] = cross_entropy(
                rows, classes, self.weights, config.label_smoothing, config.cross_entropy
            )
        if config.dice > 0:
            parts["dice"] = dice(rows, classes, config.dice)
        return parts

    def counts(self, valid: Tensor | None, target: Tensor) -> dict[str, Tensor]:
        classes = _scored(target, valid, per_date=target.ndim == 4)
        counts = {}
        if self.config.cross_entropy > 0:
            counts["cross_entropy"] = label_count(classes, self.weights)
        if self.config.dice > 0:
            numbers = torch.arange(len(self.config.classes), device=target.device)
            counts["dice"] = (classes.reshape(-1, 1) == numbers).any(0).sum().float()
        if self.auxiliary is not None:
            counts |= {_BESIDE + name: count for name, count in counts.items()}
        return counts

    def scorer(self) -> ClassScorer:
        return ClassScorer(self.config.classes)


def _auxiliary(network: nn.Module, classes: int) -> AuxiliaryHead:
    """A head on the deepest map of the network's encoder.

    Raises:
        ConfigError: the network hands out no such map, or draws one for each date.
    """
    form: tuple[int, int] | None = getattr(network, "deepest", None)
    if form is None or getattr(network, "each_date", False):
        what = "draws a map for each date" if form is not None else "hands out no deepest map of an encoder"
        raise ConfigError(
            f"the {type(network).__name__} {what}",
            where="loss.auxiliary",
            mend="leave it out, or learn one map of all dates by head.kind linear, conv, uper or st_swin_unet",
        )
    return AuxiliaryHead(*form, classes)


def _scored(target: Tensor, valid: Tensor | None, per_date: bool) -> Tensor:
    """The target with IGNORE where no band (of no date, or of its date) was seen."""
    if valid is None:
        return target
    return torch.where(seen_pixels(valid, per_date), target, IGNORE)
