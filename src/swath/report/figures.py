"""Figures as PNG bytes: maps, reconstructions, curves and bars.

Drawn on matplotlib's Agg canvas without pyplot, so that no window system and no global state is involved. All
are a hand wide (4.4 inches) with 9 to 10 point text: readable in a page on a phone and not clumsy on a desk.
Titles are left to the page's captions.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from swath.data.legend import LandClass

Array = npt.NDArray[Any]
RGBA = npt.NDArray[np.uint8]
WIDTH = 4.4  # inches
# Image pixels are drawn as whole numbers of PNG pixels, about this many across: sharp, and small once
# compressed.
ACROSS = 800
# Larger scenes are thinned to this side.
LARGEST = 1400
INK, FAINT = "#26313b", "#8a949e"
# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")
# Of type Any: the keys that matplotlib accepts differ between its versions.
STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def stretch(
    pixels: Array,
    valid: Array | None = None,
    *,
    percentiles: tuple[float, float] = (2.0, 98.0),
    gamma: float = 1.0,
) -> RGBA:
    """[H,W,4] uint8 of three bands [3,H,W]: each stretched between percentiles of its valid pixels,
    transparent where any of the three is invalid. A gamma below 1 brightens what is dark.
    """
    known = np.ones(pixels.shape, bool) if valid is None else np.asarray(valid, bool)
    out = np.zeros((*pixels.shape[1:], 4), np.uint8)
    for i in range(3):
        shares = _scaled(pixels[i], known[i], _limits(pixels[i], known[i], percentiles))
        out[..., i] = np.rint(255 * shares**gamma)
    out[..., 3] = 255 * known.all(axis=0)
    out[~known.all(axis=0)] = 0
    return out


def composite(
    pixels: Array,
    valid: Array | None = None,
    *,
    percentiles: tuple[float, float] = (2.0, 98.0),
    metres: float | None = None,
) -> bytes:
    """Three bands [3,H,W] as red, green and blue; a scale bar where the pixels' size in metres is given."""
    figure, axes = _picture(pixels.shape[1:], below=0.0)
    axes.imshow(
        _thin(stretch(pixels, valid, percentiles=percentiles)), interpolation="nearest", aspect="auto"
    )
    _scale_bar(axes, pixels.shape[2], metres)
    return _png(figure, pixels.shape[2], transparent=True)


def class_map(
    values: Array, classes: Sequence[LandClass], *, nodata: int = 255, metres: float | None = None
) -> bytes:
    """A map [H,W] of class values in the legend's colours, with the share of every class; no-data is
    white.
    """
    colors = np.zeros((256, 4), np.uint8)
    for c in classes:
        colors[c.value] = (*c.color, 255)
    known = values != nodata
    mapped = max(int(known.sum()), 1)
    entries = []
    for c in classes:
        share = int(((values == c.value) & known).sum()) / mapped
        entries.append(
            Patch(facecolor=c.hex, edgecolor=FAINT, linewidth=0.5, label=f"{c.name}  {_share(share)}")
        )
    if not known.all():
        none = 1 - known.mean()
        entries.append(
            Patch(facecolor="white", edgecolor=FAINT, linewidth=0.5, label=f"no data ({none:.0%} of all)")
        )
    columns = 2
    rows = math.ceil(len(entries) / columns)
    figure, axes = _picture(values.shape, below=0.15 + 0.21 * rows)
    axes.imshow(_thin(colors[values]), interpolation="nearest", aspect="auto")
    _scale_bar(axes, values.shape[1], metres)
    with rc_context(STYLE):
        figure.legend(handles=entries, loc="lower left", ncols=columns, fontsize=9, borderaxespad=0.2)
    return _png(figure, values.shape[1])


def percent_map(
    values: Array, label: str, *, nodata: int = 255, metres: float | None = None, colors: str = "viridis"
) -> bytes:
    """A map [H,W] of percentages, such as confidence or coverage, with its scale; no-data is white."""
    figure, axes = _picture(values.shape, below=0.70)
    shown = np.ma.masked_equal(_thin(values), nodata)
    image = axes.imshow(shown, cmap=colors, vmin=0, vmax=100, interpolation="nearest", aspect="auto")
    _scale_bar(axes, values.shape[1], metres)
    height = float(figure.get_figheight())
    with rc_context(STYLE):
        scale = figure.add_axes((0.04, 0.47 / height, 0.92, 0.13 / height))
        bar = figure.colorbar(image, cax=scale, orientation="horizontal", ticks=[0, 25, 50, 75, 100])
        bar.outline.set_visible(False)
        scale.tick_params(labelsize=9, length=2, pad=2)
        scale.set_xlabel(f"{label}, percent", fontsize=9, labelpad=2)
    return _png(figure, values.shape[1])


def reconstruction(
    original: Array,
    reconstructed: Array,
    hidden: Array,
    names: Sequence[str],
    valid: Array | None = None,
) -> bytes:
    """Bands [C,H,W] as rows of three: what the model saw, what it made of it, and what was there.

    `hidden` [C,H,W] is True where the model saw nothing. Every row is stretched by the original's valid
    pixels, so that the three can be compared; invalid pixels are white, hidden ones grey.
    """
    known = np.ones(original.shape, bool) if valid is None else np.asarray(valid, bool)
    limits = [_limits(o, k, (2.0, 98.0)) for o, k in zip(original, known, strict=True)]

    def picture(i: int, values: Array, there: Array) -> Array:
        return np.repeat(_scaled(values[i], there[i], limits[i])[..., None], 3, axis=-1)

    return _threes(original, reconstructed, hidden, known, names, picture)


def series(
    original: Array,
    reconstructed: Array,
    hidden: Array,
    names: Sequence[str],
    valid: Array | None = None,
) -> bytes:
    """Dates [T,C,H,W] as rows of three: what the model saw, with the hidden parts filled in, what was there.

    C is three bands as red, green and blue, or one. All dates are stretched alike, so that the seasons show;
    a pixel is hidden or invalid if a band of it is.
    """
    given = np.ones(original.shape, bool) if valid is None else np.asarray(valid, bool)
    known: Array = np.asarray(given.all(axis=1))
    limits = [_limits(original[:, c], known, (1.0, 99.0)) for c in range(original.shape[1])]

    def picture(i: int, values: Array, there: Array) -> Array:
        bands = [_scaled(v, there[i], limit) for v, limit in zip(values[i], limits, strict=True)]
        return np.stack(bands * (3 // len(bands)), axis=-1)

    filled = np.where(hidden, reconstructed, original)
    gone = np.asarray(np.any(hidden, axis=1))
    return _threes(original, filled, gone, known, names, picture, "filled in")


def _threes(
    original: Array,
    reconstructed: Array,
    hidden: Array,
    known: Array,
    names: Sequence[str],
    picture: Callable[[int, Array, Array], Array],
    middle: str = "reconstructed",
) -> bytes:
    """Rows of what was seen, what was made of it and what was there.

    `hidden` and `known` are [rows,H,W]; `picture` gives row i of some values as colours [H,W,3] of 0 to 1.
    """
    rows, height, width = known.shape
    side = WIDTH * 0.88 / 3
    figure = Figure(figsize=(WIDTH, 0.3 + rows * (side * height / width + 0.06)))
    FigureCanvasAgg(figure)
    nowhere = np.zeros_like(known)
    with rc_context(STYLE):
        grid = figure.subplots(rows, 3, squeeze=False)
        for i in range(rows):
            seen = [
                (original, known & ~hidden, hidden & known),
                (reconstructed, known, nowhere),
                (original, known, nowhere),
            ]
            for j, (values, there, masked) in enumerate(seen):
                axes = grid[i, j]
                image = np.full((height, width, 3), 255, np.uint8)
                colors = np.rint(255 * picture(i, values, there)).astype(np.uint8)
                image[there[i]] = colors[there[i]]
                # A blue that no grey of the image can be taken for.
                image[masked[i]] = (176, 190, 214)
                axes.imshow(image, interpolation="nearest", aspect="auto")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if i == 0:
                    axes.set_title(("seen", middle, "original")[j], fontsize=10, pad=4)
            grid[i, 0].set_ylabel(names[i], fontsize=10)
        figure.subplots_adjust(
            left=0.08,
            right=0.995,
            bottom=0.005,
            top=1 - 0.28 / figure.get_figheight(),
            wspace=0.03,
            hspace=0.05,
        )
    return _png(figure)


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], *, x: str = "step", y: str = "loss", log: bool = False
) -> bytes:
    """One line per name through its (x, y) points; points that are not finite are gaps."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    with rc_context(STYLE):
        axes = figure.subplots()
        for i, (name, points) in enumerate(lines.items()):
            xs, ys = zip(*points, strict=True) if points else ((), ())
            marker = "o" if len(points) == 1 else None
            axes.plot(xs, ys, label=name, color=COLORS[i % len(COLORS)], linewidth=1.6, marker=marker)
        axes.set(xlabel=x, ylabel=y)
        if log:
            axes.set_yscale("log")
        axes.grid(axis="y", color="#e3e7ea", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(x=0.01)
        if lines:
            # As many columns as fit a hand's width with the longest name.
            columns = max(1, min(len(lines), 72 // (8 + max(len(name) for name in lines))))
            figure.legend(loc="outside upper left", ncols=columns, fontsize=9, handlelength=1.4)
    return _png(figure)


def bars(values: Mapping[str, float | Sequence[float]], *, label: str, strong: Sequence[str] = ()) -> bytes:
    """Horizontal bars from 0; several values of one name (seeds) are their mean with each value as a dot.

    `strong` names the bars in colour; the others are grey.
    """
    figure = Figure(figsize=(WIDTH, 0.7 + 0.52 * len(values)), layout="constrained")
    FigureCanvasAgg(figure)
    with rc_context(STYLE):
        axes = figure.subplots()
        runs = {k: (v,) if isinstance(v, int | float) else tuple(v) for k, v in values.items()}
        highest = max((max(v) for v in runs.values()), default=1.0)
        for row, (name, single) in enumerate(runs.items()):
            mean = float(np.mean(single))
            axes.barh(row, mean, color=COLORS[0] if name in strong else "#b6bfc8", height=0.42)
            if len(single) > 1:
                axes.plot(single, [row] * len(single), "o", color=INK, markersize=3.5, alpha=0.8)
            beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9}
            axes.annotate(f"{mean:.3f}", (max(single), row), (5, 0), **beside)
            # Above its bar: beside it, long names would leave the bars no room on a narrow screen.
            axes.text(0, row - 0.27, name, va="bottom", fontsize=9.5)
        axes.set_yticks([])
        axes.set_ylim(len(runs) - 0.7, -0.75)
        axes.set_xlim(0, highest * 1.14 or 1.0)
        axes.set_xlabel(label)
        axes.spines["left"].set_visible(False)
    return _png(figure)


def confusion(matrix: Array, names: Sequence[str]) -> bytes:
    """A confusion matrix [K,K], rows the truth: shares of every row in percent, the truth's counts at the
    right.
    """
    count = np.asarray(matrix, float)
    support = count.sum(axis=1)
    share = np.divide(count, support[:, None], out=np.zeros_like(count), where=support[:, None] > 0)
    k = len(names)
    figure = Figure(
        figsize=(WIDTH, 1.2 + WIDTH * 0.12 * min(k, 7) + 0.25 * max(0, k - 7)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    small = 9 if k <= 8 else 7
    with rc_context(STYLE):
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i in range(k):
            for j in range(k):
                if support[i] and count[i, j]:
                    percent = 100 * share[i, j]
                    axes.text(
                        j,
                        i,
                        f"{percent:.0f}" if percent >= 0.5 else "<1",
                        ha="center",
                        va="center",
                        fontsize=small,
                        color="white" if share[i, j] > 0.55 else INK,
                        fontweight="bold" if i == j else "normal",
                    )
            said = f"{int(support[i]):,}" if support[i] else "absent"
            axes.text(k - 0.4, i, said, va="center", fontsize=small, color=FAINT)
        axes.set_xticks(
            range(k), list(names), rotation=40, ha="right", rotation_mode="anchor", fontsize=small
        )
        axes.set_yticks(range(k), list(names), fontsize=small)
        # Two lines: with long names on the left there is no room for one.
        axes.set(xlabel="mapped as, percent of the row\n(pixels of the row at the right)", ylabel="in truth")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return _png(figure)


def _share(share: float) -> str:
    """A percentage that does not say 0 for what is there."""
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _limits(values: Array, known: Array, percentiles: tuple[float, float]) -> tuple[float, float]:
    if not known.any():
        return 0.0, 1.0
    low, high = np.percentile(np.asarray(values, np.float64)[known], percentiles)
    return float(low), float(high)


def _scaled(values: Array, known: Array, limits: tuple[float, float]) -> npt.NDArray[np.float64]:
    """0 to 1 between the limits; 0 where unknown. A constant band is a middle grey."""
    low, high = limits
    finite = np.where(known, np.asarray(values, np.float64), low)
    if high <= low:
        return np.where(known, 0.5, 0.0)
    return np.where(known, np.clip((finite - low) / (high - low), 0.0, 1.0), 0.0)


def _thin(image: Array) -> Array:
    step = math.ceil(max(image.shape[:2]) / LARGEST)
    return image[::step, ::step]


def _picture(shape: Sequence[int], below: float) -> tuple[Figure, Axes]:
    """A figure with an image over its whole width and room below it, inches."""
    height, width = shape
    tall = WIDTH * height / width
    figure = Figure(figsize=(WIDTH, tall + below))
    FigureCanvasAgg(figure)
    with rc_context(STYLE):
        axes = figure.add_axes((0.0, below / (tall + below), 1.0, tall / (tall + below)))
    axes.set_axis_off()
    return figure, axes


def _scale_bar(axes: Axes, width: int, metres: float | None) -> None:
    """A bar of a round length, about a quarter of the width, at the lower left."""
    if metres is None:
        return
    room = width * metres / 4
    power = 10.0 ** math.floor(math.log10(room))
    length = max(f * power for f in (1, 2, 5) if f * power <= room)
    said = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    share = length / (width * metres)
    line = {"transform": axes.transAxes, "solid_capstyle": "butt", "clip_on": False}
    # The stubs take no mapping of mixed values, although plot does.
    axes.plot([0.03, 0.03 + share], [0.03, 0.03], color="white", linewidth=6, **line)  # type: ignore[arg-type]
    axes.plot([0.03, 0.03 + share], [0.03, 0.03], color="black", linewidth=3, **line)  # type: ignore[arg-type]
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "boxstyle": "round,pad=0.2"}
    axes.text(0.03, 0.048, said, transform=axes.transAxes, fontsize=9, va="bottom", color="black", bbox=box)


def _png(figure: Figure, across: int | None = None, *, transparent: bool = False) -> bytes:
    """PNG bytes; with `across` image pixels over the width, at a whole multiple of them."""
    dots = ACROSS
    if across is not None:
        shown = math.ceil(across / math.ceil(across / LARGEST))
        dots = shown * max(1, round(ACROSS / shown))
    out = io.BytesIO()
    # No software tag and no date: the same figure is the same bytes.
    with rc_context(STYLE):
        figure.savefig(
            out, format="png", dpi=dots / WIDTH, transparent=transparent, metadata={"Software": None}
        )
    return out.getvalue()
