"""Which dates of a series a window takes.

A date is *good* in a window if its share of valid pixels there, over all bands, is at least `min_valid`.
Training draws good dates; what is looked at takes good dates spread evenly over the series.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from swath.cube import Array, BoolArray, Cube

IntArray = npt.NDArray[np.int64]
# Shares are compared as counts; this much forgives the rounding of `min_valid` times a count.
_SLACK = 1e-6


def valid_counts(valid: BoolArray) -> IntArray:
    """Valid values of each date of a window [T,C,h,w]: [T]."""
    counts: IntArray = valid.sum((1, 2, 3), dtype=np.int64)
    return counts


def good_dates(
    counts: npt.NDArray[np.integer] | npt.NDArray[np.floating], size: int, min_valid: float
) -> BoolArray:
    """Where a count of valid values out of `size` is enough."""
    good: BoolArray = counts >= min_valid * size - _SLACK
    return good


def draw_dates(
    generator: np.random.Generator, good: BoolArray, count: int, wanted: BoolArray | None = None
) -> list[int]:
    """`count` of the good dates [T], each set of them as likely as any other, in time order.

    Of `wanted` dates, which are good, one is drawn first, and the others of what is left.
    """
    first = [] if wanted is None else [int(generator.choice(np.flatnonzero(wanted)))]
    left = good.copy()
    left[first] = False
    chosen = generator.choice(np.flatnonzero(left), count - len(first), replace=False)
    return sorted([*first, *(int(t) for t in chosen)])


def spread_dates(valid: BoolArray, count: int, min_valid: float) -> list[int]:
    """`count` dates of [T,C,h,w], evenly over those that are good; if those are too few, the fullest dates.

    Shares are of what is valid on some date: what never is, as the squares of other parts, counts against none.
    """
    counts = valid_counts(valid)
    good = np.flatnonzero(good_dates(counts, int(valid.any(0).sum()), min_valid))
    count = min(count, len(counts))
    if len(good) < count:
        good = np.sort(np.argsort(-counts, kind="stable")[:count])
    return [int(good[i]) for i in np.linspace(0, len(good) - 1, count).round().astype(int)]


def looked_at(
    cube: Cube, target: Array, count: int, min_valid: float, *, dated: bool = False
) -> tuple[Cube, Array]:
    """What is looked at of a cube and of its target, as `at_spread_dates` has it; a `dated` target [T,…] has the same
    dates.
    """
    if not count:
        return cube, target
    chosen = spread_dates(cube.valid, count, min_valid)
    return cube.at_dates(chosen), target[chosen] if dated else target


def at_spread_dates(cube: Cube, count: int, min_valid: float) -> Cube:
    """What is looked at of a cube: `count` of its dates, as `spread_dates` chooses them; all where `count` is 0."""
    return cube.at_dates(spread_dates(cube.valid, count, min_valid)) if count else cube
