"""Which of several probes is taken: the one that the validation part likes best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor

from swath.errors import InputError

Answer = Callable[..., Tensor]
LOWER = ("mse", "rmse", "mae", "loss")
"""Scores of which less is better."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A probe and how it was found.

    Attributes:
        answer: the probe.
        setting: its number of neighbours, strength of regularisation, or epoch.
        monitor: the score of the validation part that chose.
        tried: (setting, score) of all, in the order they were tried.
    """

    answer: Answer
    setting: float
    monitor: str
    tried: tuple[tuple[float, float], ...] = field(default=())

    @property
    def score(self) -> float:
        """Of the validation part, by the one that was taken."""
        return dict(self.tried)[self.setting]

    @property
    def note(self) -> str:
        """A sentence if the best stands at an end of what was tried, so that the true best may lie beyond."""
        settings = [s for s, _ in self.tried]
        if len(settings) < 3 or min(settings) < self.setting < max(settings):
            return ""
        end = "smallest" if self.setting == min(settings) else "largest"
        return f"the best of {len(settings)} settings is the {end}"


def choose(tried: Iterable[tuple[float, Answer]], score: Callable[[Answer], float], monitor: str) -> Chosen:
    """The best by `score` on the validation part; of equals the first that was tried.

    Raises:
        InputError: no score is a number.
    """
    sign = -1.0 if monitor in LOWER else 1.0
    rows: list[tuple[float, float]] = []
    best: tuple[float, float, Answer] | None = None
    for setting, answer in tried:
        found = score(answer)
        rows.append((setting, found))
        if not math.isnan(found) and (best is None or sign * found > sign * best[0]):
            best = (found, setting, answer)
    if best is None:
        raise InputError(f"{monitor} of the validation part is no number", mend="check its labels")
    return Chosen(best[2], best[1], monitor, tuple(rows))
