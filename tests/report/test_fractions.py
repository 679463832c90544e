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


def test_a_long_legend_takes_nothing_from_the_axes() -> None:
    def height(names: list[str]) -> int:
        # Of a PNG's header.
        return int.from_bytes(
            over_labels({n: [(1.0, 0.5, 0.4, 0.6)] for n in names}, score="IoU")[20:24], "big"
        )

    long = [f"a long name of an encoder and a method {i}" for i in range(12)]
    one, two = height(["a"]), height(["a", "b"])
    assert one == two  # side by side
    line = height(long[:3]) - height(long[:2])
    assert line > 0 and height(long) - height(long[:1]) >= 11 * (line - 1)


def test_names_that_belong_together_look_alike() -> None:
    def drawn(looks: dict[str, tuple[int, int]] | None) -> bytes:
        points = {
            n: [(0.1, y, y - 0.1, y + 0.1), (1.0, y, y - 0.1, y + 0.1)] for n, y in (("a", 0.3), ("b", 0.6))
        }
        return over_labels(points, score="IoU", looks=looks)

    assert drawn({"a": (0, 0), "b": (1, 0)}) == drawn(None)
    apart = drawn({"a": (2, 0), "b": (2, 1)})
    assert apart != drawn({"a": (2, 0), "b": (2, 0)}) and apart != drawn({"a": (2, 1), "b": (2, 0)})
