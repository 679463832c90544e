"""The same answer everywhere: how common each class or label is, or the mean number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swath.baselines.goal import Goal, Values
from swath.cube import Cube, Sample
from swath.errors import InputError


@dataclass(frozen=True, eq=False)
class Majority:
    """What is said of everything.

    Attributes:
        values: [K].
        per_pixel: whether it is said of each pixel.
        notes: in words.
    """

    values: Values
    per_pixel: bool
    notes: tuple[str, ...] = ()

    def answer(self, cube: Cube) -> Values:
        """The same for all."""
        if not self.per_pixel:
            return self.values
        h, w = cube.shape[2:]
        return np.broadcast_to(self.values[:, None, None], (len(self.values), h, w)).copy()


def fit_majority(records: Sequence[Sample], goal: Goal) -> Majority:
    """Of all that is labelled in the records.

    Raises:
        InputError: nothing is.
    """
    total, count = np.zeros(goal.outputs), 0
    for record in records:
        target = np.asarray(record.target)
        known = goal.known(target)
        if goal.kind == "classes":
            total += np.bincount(target[known].ravel(), minlength=goal.outputs)
        else:
            total += goal.rows(target)[:, known].reshape(goal.outputs, -1).sum(1)
        count += int(known.sum())
    if not count:
        raise InputError("nothing is labelled", where="part train", mend="check the labels")
    return Majority((total / count).astype(np.float32), goal.per_pixel)
