"""How far probabilities can be believed: one temperature for all logits, and what it mends.

C. Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017): probabilities are the softmax of logits divided
by a number above 0, chosen so that places which training never saw are the least surprising. Where windows of a map
are blended, the surprise is that of the blend, which is what a person reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from swath.errors import InputError

LOW, HIGH = 0.05, 20.0
"""Temperatures that are looked at."""


@dataclass(frozen=True)
class Temperature:
    """What was found.

    Attributes:
        value: divides logits.
        before, after: surprise (mean negative log-likelihood, nats) at temperature 1 and at `value`.
    """

    value: float
    before: float
    after: float

    @property
    def note(self) -> str:
        """A sentence if the best is the least or the most that was looked at."""
        if LOW * 1.01 < self.value < HIGH / 1.01:
            return ""
        return f"the temperature is at the end of what was looked at ({LOW:g} to {HIGH:g}): the logits say little"


def fit_temperature(surprise: Callable[[float], float], tolerance: float = 0.005) -> Temperature:
    """The temperature with the least surprise, by golden sections of its logarithm.

    Args:
        surprise: of a temperature; it may run a network over a scene, and is asked about 20 times.
        tolerance: relative, of the temperature.

    Raises:
        InputError: the surprise is no number.
    """
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(LOW), math.log(HIGH)
    known: dict[float, float] = {}

    def at(x: float) -> float:
        if x not in known:
            known[x] = surprise(math.exp(x))
            if not math.isfinite(known[x]):
                raise InputError(
                    "the surprise of the labels is no number", mend="check the weights and labels"
                )
        return known[x]

    before = at(0.0)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    while high - low > tolerance:
        if at(left) <= at(right):
            high, right, left = right, left, right - ratio * (right - low)
        else:
            low, left, right = left, right, left + ratio * (high - left)
    best = min(known, key=lambda x: (known[x], abs(x)))
    return Temperature(math.exp(best), before, known[best])


def surprise_of_classes(probabilities: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood [N] in nats of classes [N] under probabilities [N,K]."""
    right = probabilities.double().gather(1, target[:, None])[:, 0]
    return -right.clamp(min=1e-12).log()


def surprise_of_labels(probabilities: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood [N], summed over labels, of zeros and ones [N,K] under probabilities [N,K]."""
    p = probabilities.double().clamp(1e-12, 1 - 1e-12)
    return -(torch.where(target == 1, p, 1 - p)).log().sum(1)


class Reliability:
    """Collects how sure answers were and how often they were right, over a whole set.

    Args:
        bins: of the confidence, of equal width.
    """

    def __init__(self, bins: int = 15) -> None:
        self._count = torch.zeros(bins, dtype=torch.float64)
        self._said, self._right = self._count.clone(), self._count.clone()
        self._surprise = 0.0

    def update(self, probabilities: Tensor, target: Tensor) -> None:
        """More entries: probabilities [N,K] of classes [N]."""
        confidence, guess = probabilities.max(1)
        count, said, right = _binned(confidence, guess == target, len(self._count))
        self._count += count
        self._said += said
        self._right += right
        self._surprise += float(surprise_of_classes(probabilities, target).sum())

    def compute(self) -> dict[str, float]:
        """The mean surprise in nats and the expected calibration error (Guo et al., section 2): the mean gap between
        confidence and share of right answers, over bins, each by its share of the entries.

        Raises:
            InputError: nothing was collected.
        """
        total = float(self._count.sum())
        if total == 0:
            raise InputError("nothing was scored", mend="check that there are labels")
        gap = float((self._said - self._right).abs().sum())
        return {"surprise": self._surprise / total, "calibration_error": gap / total}

    def bins(self) -> list[tuple[float, float, int]]:
        """(mean confidence, share of right answers, entries) of the bins that hold any."""
        rows = zip(self._said.tolist(), self._right.tolist(), self._count.tolist(), strict=True)
        return [(said / n, right / n, int(n)) for said, right, n in rows if n]


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """Expected calibration error of confidence [N] in 0 to 1 and bool [N], whether the answer was right."""
    count, said, true = _binned(confidence, right, bins)
    return float((said - true).abs().sum() / count.sum())


def _binned(confidence: Tensor, right: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """How many entries each bin holds, and its sums of confidence and of right answers."""
    place = (confidence.double() * bins).long().clamp(0, bins - 1)
    return (
        torch.bincount(place, minlength=bins).double(),
        torch.bincount(place, confidence.double(), minlength=bins),
        torch.bincount(place, right.double(), minlength=bins),
    )
