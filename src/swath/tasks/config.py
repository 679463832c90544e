"""Options of the tasks. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from swath.errors import ConfigError
from swath.feed.config import IGNORE


@dataclass(frozen=True)
class TaskConfig:
    """What a segmentation or single-label classification task learns.

    Attributes:
        classes: names, in the order of the class numbers 0 … K-1.
        class_weights: one factor per class in the cross-entropy, or None.
        label_smoothing: share of the target spread evenly over all classes.
        dice: weight of the dice term beside the cross-entropy (segmentation); 0 means off.
    """

    classes: tuple[str, ...]
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    dice: float = 0.0

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ConfigError(f"{len(self.classes)} classes", where="classes", mend="name at least two")
        if len(set(self.classes)) != len(self.classes):
            raise ConfigError("a class is named twice", where="classes", mend="name each class once")
        if self.class_weights is not None:
            if len(self.class_weights) != len(self.classes):
                raise ConfigError(
                    f"{len(self.class_weights)} weights for {len(self.classes)} classes",
                    where="class_weights",
                    mend="give one per class",
                )
            if min(self.class_weights) < 0 or not math.isfinite(sum(self.class_weights)):
                raise ConfigError("a weight is negative or not finite", where="class_weights")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError(f"{self.label_smoothing} is not in [0, 1)", where="label_smoothing")
        if not (self.dice >= 0.0 and math.isfinite(self.dice)):
            raise ConfigError(f"{self.dice} is negative or not finite", where="dice")


def balanced_weights(counts: tuple[int, ...], power: float = 0.5) -> tuple[float, ...]:
    """Class weights that fall with the class's count to a power (1: inverse frequency, 0: all equal).

    Scaled so that the mean weight over the counted pixels is 1; classes without one get 0.
    """
    total = sum(counts)
    if total == 0:
        raise ConfigError("no pixel is labelled", where="class_weights", mend="give labels")
    raw = [0.0 if n == 0 else (n / total) ** -power for n in counts]
    mean = sum(w * n for w, n in zip(raw, counts, strict=True)) / total
    return tuple(w / mean for w in raw)


__all__ = ["IGNORE", "TaskConfig", "balanced_weights"]
