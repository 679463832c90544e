"""Pictures of one place side by side: what was seen, what is known, what was answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from swath.bands import Band
from swath.cube import BoolArray
from swath.data.legend import LandClass
from swath.report.figures import INK, RGBA, STYLE, WIDTH, Array, _png, _thin, stretch

# Land beside clouds is black without it.
_GAMMA = 0.6


def seen_bands(bands: Sequence[Band]) -> list[int]:
    """Which bands are red, green and blue of a picture: those colours, if all are there; else the last three, the
    last as red; of fewer than three the first, in grey.
    """
    common = [b.common for b in bands]
    natural = ("red", "green", "blue")
    if all(name in common for name in natural):
        return [common.index(name) for name in natural]
    return list(range(len(bands)))[:-4:-1] if len(bands) >= 3 else [0, 0, 0]


def fullest_date(valid: BoolArray, bands: Sequence[Band]) -> int:
    """Of [T,C,H,W]: the date on which most pixels of the picture are valid, the latest of equals."""
    counts = valid[:, seen_bands(bands)].all(1).sum((1, 2))
    return int(len(counts) - 1 - counts[::-1].argmax())


def view(pixels: Array, valid: BoolArray, bands: Sequence[Band]) -> RGBA:
    """[H,W,4] of one date [C,H,W], by `seen_bands`, each stretched; clear where invalid."""
    chosen = seen_bands(bands)
    return stretch(pixels[chosen], valid[chosen], gamma=_GAMMA)


def panels(pictures: Sequence[tuple[str, RGBA]], columns: int = 0) -> bytes:
    """Pictures [H,W,4] of one size, so many in a row (0: three, or of four two), with a word above each.

    What is clear is hatched, since white may be a class, such as cloud.
    """
    height, width = pictures[0][1].shape[:2]
    columns = columns or (2 if len(pictures) == 4 else 3)
    rows = -(-len(pictures) // columns)
    head, high = 0.26, WIDTH / columns * height / width
    tall = rows * (high + head)
    figure = Figure(figsize=(WIDTH, tall))
    FigureCanvasAgg(figure)
    with rc_context(STYLE):
        for i, (word, picture) in enumerate(pictures):
            row, column = divmod(i, columns)
            left, top = column / columns, 1 - row / rows
            axes = figure.add_axes(
                (left + 0.01, top - (head + high) / tall, 1 / columns - 0.02, (high - 0.05) / tall)
            )
            axes.set_axis_off()
            behind = Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor="white", edgecolor="#cdd4da")
            behind.set_hatch("//////")
            behind.set_zorder(-1)  # patches are drawn over images otherwise
            axes.add_patch(behind)
            axes.imshow(_thin(picture), interpolation="nearest", aspect="auto")
            middle = left + 0.5 / columns
            figure.text(middle, top - 0.14 / tall, word, ha="center", va="center", color=INK)
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
