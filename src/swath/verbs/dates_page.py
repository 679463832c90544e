"""Pictures of a network that draws a map for each date: a column for each, of what was seen, known and answered."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.report.figures import RGBA
from swath.report.panels import in_colours, in_shades, view
from swath.words import counted

if TYPE_CHECKING:
    from swath.verbs.answers import Answer
    from swath.verbs.target_meaning import Meaning

MOST = 4
"""So many dates stand side by side; of more, these are spread evenly, the first and last among them."""


def shown_dates(count: int) -> list[int]:
    """Which of the dates are shown."""
    return [int(t) for t in np.linspace(0, count - 1, min(count, MOST)).round()]


def dates_pictures(one: Answer, meaning: Meaning) -> tuple[list[tuple[str, RGBA]], int]:
    """Three rows of pictures, what was seen on each date, truth and answer; and how many stand in a row."""
    chosen = shown_dates(len(one.pixels))
    real = meaning.task == "regression"
    truth = one.truth if meaning.of_dates(one.truth) else np.stack([one.truth] * len(one.pixels))
    truths, answers = ([_first(values[t], real) for t in chosen] for values in (truth, one.answer))
    if real:
        both = np.concatenate([np.ravel(x) for x in (*truths, *answers)])
        known = both[np.isfinite(both)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        drawn = [[in_shades(x, low, high) for x in row] for row in (truths, answers)]
    else:
        drawn = [[in_colours(x, meaning.classes) for x in row] for row in (truths, answers)]
    for t, picture in zip(chosen, drawn[1], strict=True):
        picture[~one.valid[t].any(0)] = 0  # nothing was seen there on that date
    names = [_day(one.dates[t], t) for t in chosen]
    rows = [[view(one.pixels[t], one.valid[t], one.bands) for t in chosen], *drawn]
    pictures = [
        (word or name, picture)
        for word, row in zip(("", "truth", "answer"), rows, strict=True)
        for name, picture in zip(names, row, strict=True)
    ]
    # One date alone has its three pictures in a row.
    return pictures, len(chosen) if len(chosen) > 1 else len(rows)


def dates_words(one: Answer, meaning: Meaning) -> str:
    """What stands below."""
    count, shown = len(one.pixels), len(shown_dates(len(one.pixels)))
    some = f" {shown} of {counted(count, 'date')}." if shown < count else ""
    kind = f" {next(iter(meaning.quantities))}, from dark to light." if meaning.quantities else ""
    return f"{some}{kind} Hatched is unknown or unseen."


def _first(values: Any, real: bool) -> Any:
    """A map [H,W] of a date: of several quantities the first."""
    return values[0] if real and values.ndim == 3 else values


def _day(date: dt.date | None, place: int) -> str:
    return f"date {place + 1}" if date is None else f"{date.day} {date:%b %Y}"
