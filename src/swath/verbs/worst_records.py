"""Which records are answered worst: where a method fails, to go and look."""

from __future__ import annotations

import torch

from swath.feed.config import IGNORE
from swath.verbs.answerer import Answer

MOST = 8


class Worst:
    """Collects how far off each record is.

    That is: of classes per pixel the share of labelled pixels that are wrong, of one class per record what
    probability was left for others, of labels the share that is wrong, and of numbers the root of the mean squared
    error.

    Args:
        task: of the answers.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self._sums: dict[str, list[float]] = {}

    def add(self, answer: Answer) -> None:
        """One answer, which may be a piece of a record."""
        off = self._off(answer)
        sums = self._sums.setdefault(answer.record, [0.0, 0.0])
        sums[0] += float(off.sum())
        sums[1] += off.numel()

    def compute(self, most: int = MOST) -> tuple[tuple[str, float], ...]:
        """(record, how far off), the worst first."""
        means = {name: total / count for name, (total, count) in self._sums.items() if count}
        if self.task == "regression":
            means = {name: mean**0.5 for name, mean in means.items()}
        return tuple(sorted(means.items(), key=lambda one: (-one[1], one[0]))[:most])

    def _off(self, answer: Answer) -> torch.Tensor:
        values, target = answer.values, answer.target
        if self.task == "regression":
            rows = target if target.ndim == values.ndim else target[None].expand_as(values)
            return (values - rows)[torch.isfinite(rows)].double() ** 2
        if self.task == "multilabel":
            known = target != IGNORE
            return ((values > 0.5) != (target > 0.5))[known].double()
        known = target != IGNORE
        if target.ndim == 0:
            return 1 - values[target].double().reshape(1) if bool(known) else values.new_empty(0)
        return (values.argmax(0) != target)[known].double()
