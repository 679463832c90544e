"""Options of the tasks. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swath.errors import ConfigError
from swath.feed.config import IGNORE


@dataclass(frozen=True)
class TaskConfig:
    """What a task with classes learns.

    Attributes:
        classes: names, in the order of the class numbers 0 … K-1.
        class_weights: one factor per class in the cross-entropy, or None.
        label_smoothing: share of the target spread evenly over all classes.
        dice: weight of the dice term (segmentation); 0 means off.
        cross_entropy: weight of the cross-entropy; 0 leaves the dice term alone.
        focal: power by which the cross-entropy of what is already sure is reduced; 0 means off.
        auxiliary: weight of the same terms of a second head on the encoder's deepest map (segmentation), which learns
            with the network and is no part of it; 0 means off.
        mixup, cutmix: parameters of the beta distributions that two records are mixed by (classification);
            0 means off. With both, one is drawn for each batch.
    """

    classes: tuple[str, ...]
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    dice: float = 0.0
    cross_entropy: float = 1.0
    focal: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    auxiliary: float = 0.0

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ConfigError(f"{len(self.classes)} classes", where="classes", mend="name at least two")
        if len(set(self.classes)) != len(self.classes):
            raise ConfigError("a class is named twice", where="classes", mend="name each class once")
        if self.class_weights is not None:
            if len(self.class_weights) != len(self.classes):
                raise ConfigError(
                    f"{len(self.class_weights)} weights for {len(self.classes)} classes",
                    where="loss.class_weights",
                    mend="give one per class",
                )
            if min(self.class_weights) < 0 or not math.isfinite(sum(self.class_weights)):
                raise ConfigError("a weight is negative or not finite", where="loss.class_weights")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError(f"{self.label_smoothing} is not in [0, 1)", where="loss.label_smoothing")
        for name in ("dice", "cross_entropy", "focal", "mixup", "cutmix", "auxiliary"):
            value = getattr(self, name)
            if not (value >= 0.0 and math.isfinite(value)):
                raise ConfigError(
                    f"{value} is negative or not finite", where=f"loss.{name}", mend="give 0 or more"
                )
        if self.dice == 0.0 and self.cross_entropy == 0.0:
            raise ConfigError(
                "both terms of the loss are off", where="loss.cross_entropy", mend="give it or dice a weight"
            )
        if self.focal > 0 and self.label_smoothing > 0:
            raise ConfigError(
                "is defined for hard labels, and label_smoothing makes them soft",
                where="loss.focal",
                mend="choose one of the two",
            )


@dataclass(frozen=True)
class RegressionConfig:
    """What a task with real-valued targets learns.

    Attributes:
        names: of the outputs, such as ("building density",); one per channel of the network's output.
        loss: "mse", "mae", or "huber" (squared up to `delta`, straight beyond).
        delta: of huber, in units of the target.
    """

    names: tuple[str, ...]
    loss: Literal["mse", "mae", "huber"] = "mse"
    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ConfigError("outputs need names, each its own", where="names", mend="name each output once")
        if self.loss not in ("mse", "mae", "huber"):
            raise ConfigError(f"unknown loss '{self.loss}'", where="loss.error", mend="use mse, mae or huber")
        if not (self.delta > 0 and math.isfinite(self.delta)):
            raise ConfigError(
                f"{self.delta} is not above 0", where="loss.delta", mend="give a positive number"
            )


def balanced_weights(counts: tuple[int, ...], power: float = 0.5) -> tuple[float, ...]:
    """Class weights that fall with the class's count to a power (1: inverse frequency, 0: all equal).

    Scaled so that the mean weight over the counted pixels is 1; classes without one get 0.
    """
    total = sum(counts)
    if total == 0:
        raise ConfigError("no pixel is labelled", where="loss.class_weights", mend="give labels")
    raw = [0.0 if n == 0 else (n / total) ** -power for n in counts]
    mean = sum(w * n for w, n in zip(raw, counts, strict=True)) / total
    return tuple(w / mean for w in raw)


__all__ = ["IGNORE", "RegressionConfig", "TaskConfig", "balanced_weights"]
