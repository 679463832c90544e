"""Scores over the share of labels: one line per method, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from swath.report.figures import COLORS, STYLE, WIDTH, _png

Point = tuple[float, float, float, float]
"""Share of the labels, score, and from where to where it may lie; NaN where that is not known."""
_DASHES = ("-", "--", ":", "-.")


def over_labels(
    lines: Mapping[str, Sequence[Point]], *, score: str, looks: Mapping[str, tuple[int, int]] | None = None
) -> bytes:
    """Lines through the points of each name, on a logarithmic axis of shares, with bars for their intervals.

    The bars of different names stand side by side, so that all can be read.

    Args:
        lines: points of each name.
        score: what is measured.
        looks: numbers of the colour and of the dashes of each name, so that names that belong together look alike;
            None: each name has its own.
    """
    # Long names stand below each other: the legend takes its room from the page, not from the axes.
    columns = max(1, min(2, 62 // (8 + max(map(len, lines), default=0))))
    figure = Figure(figsize=(WIDTH, 3.2 + 0.19 * -(-len(lines) // columns)), layout="constrained")
    FigureCanvasAgg(figure)
    shares = sorted({point[0] for points in lines.values() for point in points})
    with rc_context(STYLE):
        axes = figure.subplots()
        for i, (name, points) in enumerate(lines.items()):
            aside = 1.02 ** (i - (len(lines) - 1) / 2)
            xs = [100 * p[0] * aside for p in points]
            below = [max(0.0, p[1] - p[2]) for p in points]
            above = [max(0.0, p[3] - p[1]) for p in points]
            colour, dash = (i, i // len(COLORS)) if looks is None else looks[name]
            axes.errorbar(
                xs, [p[1] for p in points], yerr=[below, above], label=name, color=COLORS[colour % len(COLORS)],
                linestyle=_DASHES[dash % len(_DASHES)], linewidth=1.6, elinewidth=0.9, marker="o",
                markersize=3.5,
            )  # fmt: skip
        axes.set(xlabel="percent of the labels", ylabel=score)
        if len(shares) > 1:
            axes.set_xscale("log")
        axes.set_xticks([100 * s for s in shares], [f"{100 * s:.3g}" for s in shares])
        axes.minorticks_off()
        axes.grid(axis="y", color="#e3e7ea", linewidth=0.8)
        axes.set_axisbelow(True)
        if lines:
            figure.legend(loc="outside upper left", ncols=columns, fontsize=9, handlelength=3.2)
    return _png(figure)
