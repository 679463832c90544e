"""What a task's training may be told: what a wrong answer costs, and what chooses the weights. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from swath.errors import ConfigError
from swath.training.config import TrainConfig

_OF_CLASSES = ("overall_accuracy", "macro_f1", "miou")
SCORES: Mapping[str, tuple[str, ...]] = {
    "classification": _OF_CLASSES,
    "segmentation": _OF_CLASSES,
    "change": _OF_CLASSES,
    "multilabel": ("map_macro", "map_micro", "f1_macro", "f1_micro"),
    "regression": ("mse", "rmse", "mae", "r2"),
}
"""What the validation part is scored by, task by task."""
MONITORS: Mapping[str, str] = {
    "classification": "overall_accuracy",
    "segmentation": "miou",
    "change": "macro_f1",
    "multilabel": "map_macro",
    "regression": "mse",
}
"""What chooses the weights where training.monitor is auto."""
ERRORS = ("mse", "rmse", "mae")
ANY_SCORE = tuple(dict.fromkeys(name for names in SCORES.values() for name in names))


@dataclass(frozen=True)
class LossOptions:
    """What a wrong answer costs.

    Attributes:
        class_weight_power: classes weigh in the cross-entropy by their count to minus this power; 0: alike.
        class_weights: one weight per class, in their order, in place of that.
        class_factors: one factor per class, in their order, on top of `class_weight_power`: [10, 1] makes the first ten
            times as heavy as its count alone does.
        label_smoothing: share of the target that is spread over all classes.
        dice: weight of a dice term beside the cross-entropy (maps of classes).
        cross_entropy: weight of the cross-entropy; 0 leaves the dice term alone.
        focal: power by which what is already sure counts less; 0: off.
        auxiliary: weight of the same loss of a second, small convolutional head on the encoder's deepest map, which is
            gone when the network has learned (one map of all dates); 0: off.
        mixup: parameter of the beta distribution that two records are mixed by (one class per record); 0: off.
        cutmix: the same for patches of one record in another; with both, one is drawn for each batch.
        error: of real numbers: "mse", "mae", or "huber" (squared up to `delta`).
        delta: of huber, in units of the target.
    """

    class_weight_power: float = 0.0
    class_weights: tuple[float, ...] = ()
    class_factors: tuple[float, ...] = ()
    label_smoothing: float = 0.0
    dice: float = 0.0
    cross_entropy: float = 1.0
    focal: float = 0.0
    auxiliary: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    error: Literal["mse", "mae", "huber"] = "mse"
    delta: float = 1.0

    def __post_init__(self) -> None:
        for name in _AMOUNTS:
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigError(
                    f"{value} is negative or not finite", where=f"loss.{name}", mend="give 0 or more"
                )
        if self.label_smoothing >= 1:
            raise ConfigError(
                f"{self.label_smoothing} is not below 1", where="loss.label_smoothing", mend="try 0.1"
            )
        if not self.delta > 0:
            raise ConfigError(
                f"{self.delta} is not above 0", where="loss.delta", mend="give a positive number"
            )
        if self.class_weights and self.class_weight_power:
            raise ConfigError(
                "class_weights are stated, and class_weight_power asks for others",
                where="loss",
                mend="choose one",
            )
        if self.class_factors and not self.class_weight_power:
            raise ConfigError(
                "are factors of class_weight_power, which is 0",
                where="loss.class_factors",
                mend="state class_weights instead",
            )
        for name in ("class_weight_power", "class_weights", "label_smoothing", "focal"):
            if getattr(self, name) and not self.cross_entropy:
                raise ConfigError(
                    "is of the cross-entropy, which is 0", where=f"loss.{name}", mend="leave it out"
                )
        for name in ("class_weights", "class_factors"):
            given = getattr(self, name)
            if not all(math.isfinite(f) and f >= 0 for f in given) or (given and not any(given)):
                raise ConfigError(
                    "one is negative or not finite, or all are 0",
                    where=f"loss.{name}",
                    mend="give 0 or more, and one of them more",
                )

    def check(self, task: str) -> None:
        """Raises ConfigError for an option that this task cannot follow: it would change nothing in silence."""
        plain = LossOptions()
        for name, tasks in _FOR.items():
            if getattr(self, name) != getattr(plain, name) and task not in tasks:
                raise ConfigError(
                    f"is for {' and '.join(tasks)}, not for {task}", where=f"loss.{name}", mend="leave it out"
                )


_AMOUNTS = (
    "class_weight_power", "label_smoothing", "dice", "cross_entropy", "focal", "auxiliary", "mixup", "cutmix", "delta",
)  # fmt: skip
_MAPS = ("segmentation", "change")
_SINGLE = ("classification", *_MAPS)
_FOR: Mapping[str, tuple[str, ...]] = {
    "class_weight_power": _SINGLE,
    "class_weights": _SINGLE,
    "label_smoothing": _SINGLE,
    "focal": _SINGLE,
    "cross_entropy": _MAPS,
    "dice": _MAPS,
    "auxiliary": _MAPS,
    "mixup": ("classification",),
    "cutmix": ("classification",),
    "error": ("regression",),
    "delta": ("regression",),
}


def settled(training: TrainConfig, task: str, auto: str = "") -> TrainConfig:
    """Training whose monitor is a number of this task, and is followed the right way.

    Args:
        training: its monitor may be "auto".
        task: gives the numbers.
        auto: the number that is meant then; empty: the one the task is known by.

    Raises:
        ConfigError: the task gives no such number, or an error is to be made larger.
    """
    name = training.monitor
    if name == "auto":
        name = auto or MONITORS[task]
        return replace(training, monitor=name, monitor_mode="min" if name in ERRORS else "max")
    if name is None:
        return training
    if name not in SCORES[task]:
        raise ConfigError(
            f"the validation gives no '{name}'",
            where="training.monitor",
            mend=f"use {', '.join(SCORES[task])}, auto, or null",
        )
    if (name in ERRORS) != (training.monitor_mode == "min"):
        better = "less" if name in ERRORS else "more"
        raise ConfigError(
            f"{better} {name} is better",
            where="training.monitor_mode",
            mend=f"set it to {'min' if name in ERRORS else 'max'}",
        )
    return training
