"""Pictures of one place side by side: what was seen, what is known, what was answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from swath.data.legend import LandClass
from swath.report.figures import INK, RGBA, STYLE, WIDTH, Array, _png, _thin


def panels(pictures: Sequence[tuple[str, RGBA]]) -> bytes:
    """Pictures [H,W,4] of one size in a row of three or more, with a word above each."""
    height, width = pictures[0][1].shape[:2]
    columns = max(3, len(pictures))
    side = WIDTH / columns
    head = 0.26
    figure = Figure(figsize=(WIDTH, side * height / width + head))
    FigureCanvasAgg(figure)
    tall = side * height / width + head
    with rc_context(STYLE):
        for i, (word, picture) in enumerate(pictures):
            left = i / columns
            axes = figure.add_axes((left + 0.01, 0.0, 1 / columns - 0.02, 1 - head / tall))
            axes.set_axis_off()
            axes.imshow(_thin(picture), interpolation="nearest", aspect="auto")
            figure.text(left + 0.5 / columns, 1 - 0.12 / tall, word, ha="center", va="center", color=INK)
    return _png(figure)


def in_colours(numbers: Array, classes: Sequence[LandClass]) -> RGBA:
    """Class numbers [H,W] (places in `classes`; below 0: unknown, transparent) in the legend's colours."""
    table = np.zeros((len(classes) + 1, 4), np.uint8)
    for i, c in enumerate(classes):
        table[i] = (*c.color, 255)
    picture: RGBA = table[np.where(numbers < 0, len(classes), numbers)]
    return picture


def in_shades(values: Array, low: float, high: float) -> RGBA:
    """Real numbers [H,W] from dark to light between two limits; NaN is transparent."""
    known = np.isfinite(values)
    share = np.clip((np.where(known, values, low) - low) / (high - low if high > low else 1.0), 0, 1)
    picture: RGBA = (colormaps["viridis"](share) * 255).round().astype(np.uint8)
    picture[~known] = 0
    return picture
