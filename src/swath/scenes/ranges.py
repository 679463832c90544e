"""The range of each feature, for numbers of 8 bits: of a sample of windows that depends on the scene's cut alone."""

from __future__ import annotations

import logging
import math

import numpy as np

from swath.errors import InputError
from swath.scenes.box import Box
from swath.scenes.engine import Engine
from swath.scenes.windows import Block, Plan

log = logging.getLogger(__name__)
# On either side, as a share of what the sample spans: windows that were not looked at reach further.
MARGIN = 0.125
_TRIES = 16  # windows without data per window with data
_GOLDEN = (math.sqrt(5) - 1) / 2


def sample_range(engine: Engine, windows: int = 64) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(low, high) of each feature: of what the network makes of up to so many windows with data, spread evenly over
    the scene, widened by an eighth of the span on either side.

    Which windows is a function of the plan alone (`spread`), so the range depends neither on blocks nor on their
    order, nor on who computes them. Blending takes means, so blended values of these windows lie within.

    Raises:
        InputError: none of the windows looked at holds a valid pixel.
        ReadError: one cannot be read, and holes are not allowed.
    """
    low = high = None
    found = 0
    for box in spread(engine.plan, windows * _TRIES):
        seen = engine.look(Block(box, box, (box,)))
        if seen is None:
            continue
        out, given = seen
        values = out[0].float().cpu().numpy()[:, given.coverage > 0]
        first, last = values.min(axis=1), values.max(axis=1)
        low = first if low is None else np.minimum(low, first)
        high = last if high is None else np.maximum(high, last)
        found += 1
        if found == windows:
            break
    if low is None or high is None:
        raise InputError(
            f"none of {windows * _TRIES} windows spread over the scene holds a valid pixel",
            where=engine.source,
            mend="state the range of the features",
        )
    log.info("the range of each feature is that of %d windows", found)
    margin = (high - low) * np.float32(MARGIN)
    return tuple((low - margin).tolist()), tuple((high + margin).tolist())


def spread(plan: Plan, count: int) -> list[Box]:
    """Up to so many different windows of a plan, the first of them as evenly spread as all: steps of the golden ratio
    through their number.
    """
    total = plan.window_count
    step = max(1, round(total * _GOLDEN))
    while math.gcd(step, total) > 1:
        step += 1
    across = len(plan.cols.starts)
    h, w = plan.window
    places = (divmod(k * step % total, across) for k in range(min(count, total)))
    return [Box(plan.rows.starts[y], plan.cols.starts[x], h, w) for y, x in places]
