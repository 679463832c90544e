"""How far a score may be off: confidence intervals by drawing spatial blocks again.

Sets of n blocks are drawn with replacement from the n that were scored, and the numbers of each set make the spread
that the score would have elsewhere (B. Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of
Statistics 7, 1979). Pixels are never drawn one by one: neighbours are alike, and intervals from them are far too
narrow. Percentiles of few blocks are too narrow as well, by a known amount that is taken back (T. Hesterberg, "What
Teachers Should Know About the Bootstrap", The American Statistician 69, 2015, section 3.3: expanded percentiles).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.rng import numpy_generator
from swath.tasks.block_scores import BlockScores
from swath.words import counted

FEW = 20
"""Intervals of fewer blocks are given with a warning."""


@dataclass(frozen=True)
class BootstrapOptions:
    """How intervals are drawn.

    Attributes:
        resamples: sets that are drawn.
        level: share of the time that an interval should hold the true value.
        seed: of the draw.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise ConfigError(
                f"{self.resamples} sets give no percentiles", where="resamples", mend="draw 100 or more"
            )
        if not 0.5 <= self.level < 1:
            raise ConfigError(f"{self.level} is not in [0.5, 1)", where="level", mend="use 0.95")


@dataclass(frozen=True)
class Interval:
    """From where to where a number may lie; NaN at both ends where that cannot be said."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


@dataclass(frozen=True)
class Intervals:
    """Confidence intervals of the numbers of a set.

    Attributes:
        intervals: by the number's name; those of classes as "iou.water".
        unit: what was drawn, such as "block" or "scene".
        blocks: how many of them.
        options: of the draw.
        notes: what must be said with them.
    """

    intervals: Mapping[str, Interval]
    unit: str
    blocks: int
    options: BootstrapOptions
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Interval:
        return self.intervals[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; what cannot be said is null."""
        return {
            "unit": self.unit,
            "units": self.blocks,
            **asdict(self.options),
            "intervals": {
                name: None if math.isnan(i.low) else [i.low, i.high] for name, i in self.intervals.items()
            },
            "notes": list(self.notes),
        }


def bootstrap(scored: BlockScores, options: BootstrapOptions | None = None, unit: str = "block") -> Intervals:
    """Intervals of all numbers of a scored set.

    Args:
        scored: after all updates.
        options: of the draw; None: the usual ones.
        unit: what the blocks are, in words.

    Raises:
        InputError: nothing was scored.
    """
    options = BootstrapOptions() if options is None else options
    n = len(scored.blocks)
    if n < 2:
        scored.compute()
        names = scored.resampled(torch.ones(1, max(n, 1)))
        nowhere = {name: Interval(math.nan, math.nan) for name in names}
        note = f"all that was scored lies in one {unit}: there is nothing to draw, and no interval"
        return Intervals(nowhere, unit, n, options, (note,))
    found = scored.resampled(draw_blocks(n, options))
    tail = _tail(n, options.level)
    intervals, undefined = {}, []
    for name, values in found.items():
        known = values[torch.isfinite(values)].numpy()
        if len(known) < len(values):
            undefined.append((name, 1 - len(known) / len(values)))
        # A number that half of the sets lack would be an interval of the lucky half.
        if len(known) < len(values) / 2:
            intervals[name] = Interval(math.nan, math.nan)
        else:
            low, high = np.quantile(known, [tail, 1 - tail])
            intervals[name] = Interval(float(low), float(high))
    return Intervals(intervals, unit, n, options, _notes(n, unit, undefined))


def interval(values: Tensor, options: BootstrapOptions) -> Interval:
    """Of the mean over blocks of one number each [n]; NaN for fewer than two blocks."""
    n = len(values)
    if n < 2:
        return Interval(math.nan, math.nan)
    means = (draw_blocks(n, options) @ values.double() / n).numpy()
    low, high = np.quantile(means, [_tail(n, options.level), 1 - _tail(n, options.level)])
    return Interval(float(low), float(high))


def draw_blocks(n: int, options: BootstrapOptions) -> Tensor:
    """How often each of n blocks stands in each drawn set: [resamples,n] of whole numbers that sum to n in a row."""
    draw = numpy_generator(options.seed, "bootstrap", n)
    return torch.from_numpy(draw.multinomial(n, np.full(n, 1 / n), size=options.resamples)).double()


def _notes(n: int, unit: str, undefined: list[tuple[str, float]]) -> tuple[str, ...]:
    notes = []
    if n < FEW:
        notes.append(
            f"intervals come from {counted(n, unit)} alone: they tell little of places that are unlike these"
        )
    if undefined:
        name, share = max(undefined, key=lambda item: item[1])
        notes.append(
            f"{counted(len(undefined), 'number')} without a value in some of the drawn sets, which the intervals "
            f"leave out ({name} in {share:.0%})"
        )
    return tuple(notes)


def _tail(n: int, level: float) -> float:
    """The share of the drawn sets beyond each end, wider than (1 - level) / 2 would make it for few blocks."""
    t = _t_quantile((1 + level) / 2, n - 1)
    return NormalDist().cdf(-t * math.sqrt(n / (n - 1)))


def _t_quantile(p: float, freedom: int) -> float:
    """Of Student's t distribution, for p >= 1/2, by bisection of its integral (Simpson's rule)."""
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)

    def above_half(angle: float) -> float:
        # With x = sqrt(f) tan(a) the density becomes sqrt(f) cos(a)^(f-1), smooth and on a finite range.
        a = np.linspace(0.0, angle, 2001)
        y = np.cos(a) ** (freedom - 1)
        simpson = (y[0] + y[-1] + 4 * y[1:-1:2].sum() + 2 * y[2:-1:2].sum()) * (a[1] - a[0]) / 3
        return float(simpson) * math.exp(log_scale) * math.sqrt(freedom)

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if above_half(middle) < p - 0.5 else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)
