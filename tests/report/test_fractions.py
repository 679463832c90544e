"""Scores over the share of labels."""

from __future__ import annotations

import math

from swath.report.fractions import over_labels


def test_lines_with_and_without_intervals_are_drawn() -> None:
    png = over_labels(
        {"one": [(0.01, 0.2, 0.1, 0.3), (1.0, 0.6, math.nan, math.nan)], "two": [(1.0, 0.5, 0.4, 0.6)]},
        score="mean IoU",
    )
    assert png[:4] == b"\x89PNG" and len(png) > 5000
    # Where a line lies is what is drawn, not only that it is there.
    assert png != over_labels({"one": [(0.01, 0.3, 0.1, 0.3), (1.0, 0.6, 0.5, 0.7)]}, score="mean IoU")
    assert over_labels({}, score="none")[:4] == b"\x89PNG"
