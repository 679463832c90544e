"""What the targets of a data set mean: the task, its classes or quantities, and the numbers that stand for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import numpy.typing as npt

from swath.cube import Array
from swath.data.labels import IGNORE
from swath.data.layouts.base import LayoutInfo
from swath.data.legend import LandClass, check_legend
from swath.errors import ConfigError, InputError
from swath.verbs.labelled_options import RecordData, TaskName

TASKS: tuple[TaskName, ...] = get_args(TaskName)


@dataclass(frozen=True, eq=False)
class Meaning:
    """What targets say.

    Attributes:
        task: what they are for.
        classes: in the order of the class numbers; those that are ignored are not among them.
        quantities: name -> unit of real-valued targets.
        table: from the data set's class numbers to these, its last entry for "unknown"; None: they are the same.
    """

    task: TaskName
    classes: tuple[LandClass, ...]
    quantities: Mapping[str, str] = field(default_factory=dict)
    table: npt.NDArray[np.int64] | None = None

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for a pixel or record."""
        return len(self.classes) or len(self.quantities)

    @property
    def several(self) -> bool:
        """Whether maps are of several quantities, [K,H,W]."""
        return self.task == "regression" and self.outputs > 1

    def of_dates(self, target: Array) -> bool:
        """Whether a record's target is maps of each date: classes or a quantity [T,H,W], or quantities [T,K,H,W]."""
        return target.ndim == (4 if self.several else 3)

    def numbers(self, target: Array, where: str, shape: tuple[int, int, int, int]) -> Array:
        """A record's target in the task's numbers: int64 classes or float32 values.

        Args:
            target: as the data set has it.
            where: for messages.
            shape: (T, C, H, W) of the record.

        Raises:
            InputError: it is none for this task, or of other dates than the record.
        """
        self._check(target, where, shape[2:])
        if self.of_dates(target) and (self.task == "change" or target.shape[0] != shape[0]):
            change = "a change has one map of all dates"
            raise InputError(
                f"its target holds maps of {target.shape[0]} dates, the pixels {shape[0]}",
                where=where,
                mend=change if self.task == "change" else "give a map for each date, or one for all",
            )
        if self.task == "regression":
            return target.astype(np.float32)
        whole = target.astype(np.int64)
        if self.table is None:
            return whole
        if self.task == "multilabel":
            chosen: Array = whole[self.table[:-1] != IGNORE]
            return chosen
        # The last entry of the table is that of -1.
        found: Array = self.table[whole]
        return found

    def _check(self, target: Array, where: str, size: tuple[int, int]) -> None:
        per_pixel = target.ndim >= 2 and target.shape[-2:] == size
        wanted = {
            "classification": target.ndim == 0,
            "multilabel": target.ndim == 1,
            "regression": target.ndim <= 1 or per_pixel,
        }.get(self.task, per_pixel)
        kind = "f" if self.task == "regression" else "iu"
        if not wanted or target.dtype.kind not in kind:
            shape = "x".join(map(str, target.shape)) or "a single number"
            raise InputError(
                f"its target is {target.dtype.name}, {shape}: nothing for {self.task}",
                where=where,
                mend="choose data.task, or options of the layout, to fit",
            )
        if self.task == "multilabel":
            known = len(self.classes) if self.table is None else len(self.table) - 1
            if len(target) != known:
                raise InputError(f"has {len(target)} labels, and {known} classes are named", where=where)


def meaning_of(info: LayoutInfo, data: RecordData) -> Meaning:
    """What a data set and the options say together.

    Raises:
        ConfigError: the data set has no such task, or classes that are not there are ignored.
    """
    task = _task(info, data)
    if task == "regression":
        if data.ignore or data.classes:
            raise ConfigError(
                "are not for regression", where="data.classes, data.ignore", mend="leave them out"
            )
        return Meaning(task, (), info.quantities or {"value": ""})
    classes = data.classes or info.classes
    if not classes:
        raise ConfigError(
            "no classes are named",
            where="data.classes",
            mend="give value, name and color of each class, in the order of the class numbers",
        )
    check_legend(classes, "data.classes")
    if not data.ignored_classes:
        return Meaning(task, classes)
    values = [c.value for c in classes]
    strange = [v for v in data.ignored_classes if v not in values]
    if strange:
        raise ConfigError(
            f"{strange[0]} is no class", where="data.ignore", mend=f"use values such as {values[0]}"
        )
    kept = tuple(c for c in classes if c.value not in data.ignored_classes)
    table = np.full(len(classes) + 1, IGNORE, np.int64)
    for i, c in enumerate(kept):
        table[classes.index(c)] = i
    return Meaning(task, kept, {}, table)


def _task(info: LayoutInfo, data: RecordData) -> TaskName:
    known = tuple(t for t in info.tasks if t in TASKS)
    if data.task:
        if known and data.task not in known:
            raise ConfigError(
                f"{info.name} is not for {data.task}", where="data.task", mend=f"use {', '.join(known)}"
            )
        return data.task
    if len(known) != 1:
        what = f"{info.name} is for {' and '.join(known)}" if known else f"{info.name} has no labels"
        raise ConfigError(what, where="data.task", mend=f"name one of {', '.join(known or TASKS)}")
    return known[0]
