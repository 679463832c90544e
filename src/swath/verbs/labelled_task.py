"""A network with what it is trained for, from the meaning of targets and the options of the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from torch import nn

from swath.cube import Array
from swath.errors import ConfigError
from swath.tasks.base import Task
from swath.tasks.classification import ClassificationTask
from swath.tasks.config import RegressionConfig, TaskConfig, balanced_weights
from swath.tasks.multilabel import MultilabelTask
from swath.tasks.regression import RegressionTask
from swath.tasks.segmentation import SegmentationTask
from swath.verbs.labelled_records import Part
from swath.verbs.task_options import LossOptions

_TASKS = {
    "classification": ClassificationTask,
    "multilabel": MultilabelTask,
    "segmentation": SegmentationTask,
    "change": SegmentationTask,
}


def make_task(network: nn.Module, train: Part, loss: LossOptions) -> Task:
    """The task of a part's targets.

    Raises:
        ConfigError: the options are not for this task, or do not fit its classes.
    """
    meaning = train.meaning
    loss.check(meaning.task)
    if meaning.task == "regression":
        names = tuple(meaning.quantities)
        return RegressionTask(network, RegressionConfig(names, loss.error, loss.delta))
    names = tuple(c.name for c in meaning.classes)
    config = class_config(names, loss, lambda: class_counts(train.targets, len(names)))
    return _TASKS[meaning.task](network, config)


def class_config(
    names: tuple[str, ...], loss: LossOptions, counts: Callable[[], npt.NDArray[np.int64]]
) -> TaskConfig:
    """Options of a task with classes.

    Args:
        names: in the order of the class numbers.
        loss: what a wrong answer costs.
        counts: of the classes, where their weights follow them.

    Raises:
        ConfigError: the weights are not one per class.
    """
    weights = loss.class_weights or None
    for name in ("class_weights", "class_factors"):
        given = getattr(loss, name)
        if given and len(given) != len(names):
            raise ConfigError(
                f"{len(given)} {name.removeprefix('class_')} for {len(names)} classes",
                where=f"loss.{name}",
                mend="give one per class, in their order",
            )
    if loss.class_weight_power:
        weights = balanced_weights(tuple(int(n) for n in counts()), loss.class_weight_power)
        if loss.class_factors:
            weights = tuple(w * f for w, f in zip(weights, loss.class_factors, strict=True))
    return TaskConfig(
        names,
        weights,
        loss.label_smoothing,
        loss.dice,
        loss.cross_entropy,
        loss.focal,
        loss.mixup,
        loss.cutmix,
        loss.auxiliary,
    )


def class_counts(targets: Iterable[Array], classes: int) -> npt.NDArray[np.int64]:
    """How many pixels (records) each class has."""
    counts = np.zeros(classes, np.int64)
    for target in targets:
        numbers = target.astype(np.int64).reshape(-1)
        counts += np.bincount(numbers[numbers >= 0], minlength=classes)
    return counts
