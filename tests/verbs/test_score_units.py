"""What is drawn again: groups, records, or squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.data.split_parts import Box
from swath.errors import ConfigError
from swath.verbs.labelled_records import Part
from swath.verbs.score_units import IntervalOptions, squares, units_of
from swath.verbs.target_meaning import Meaning


def part(*groups: str | None) -> Part:
    ids = tuple(f"r{i}" for i in range(len(groups)))
    return Part("test", Meaning("segmentation", ()), [], ids, groups, (None,) * len(groups))


def test_groups_are_taken_where_there_are_several() -> None:
    found = units_of(part("a", "a", "b"), IntervalOptions(), per_pixel=True)
    assert found.kind == "group" and [found.name(i) for i in ("r0", "r1", "r2")] == ["a", "a", "b"]
    assert found.words == "group"


def test_records_are_taken_where_groups_say_nothing_and_squares_of_one_record() -> None:
    for groups in (("a", "a"), ("a", None, "b"), (None, None)):
        found = units_of(part(*groups), IntervalOptions(), per_pixel=True)
        assert found.kind == "record" and found.name("r0") == "r0"
    assert units_of(part(None), IntervalOptions(square=8), True).words == "square of 8 pixels"
    assert units_of(part(None), IntervalOptions(), False).kind == "record"


def placed(*lefts: float, block: float) -> Part:
    """Windows of 10 m, each said to be of a group of its own."""
    boxes = tuple(Box("EPSG:32633", left, 0.0, left + 10.0, 10.0) for left in lefts)
    ids = tuple(f"r{i}" for i in range(len(lefts)))
    return Part("test", Meaning("segmentation", ()), [], ids, ids, boxes, block=block)


def test_neighbours_on_the_ground_are_one_block_whatever_their_groups() -> None:
    found = units_of(placed(0.0, 20.0, 120.0, block=100.0), IntervalOptions(), True)
    assert found.kind == "block" and found.words == "block of the ground"
    first, second, third = (found.name(f"r{i}") for i in range(3))
    assert first == second != third
    # Where blocks did not divide the data, or hold all of it, groups are what there is.
    assert units_of(placed(0.0, 20.0, 120.0, block=0.0), IntervalOptions(), True).kind == "group"
    assert units_of(placed(0.0, 20.0, block=100.0), IntervalOptions(), True).kind == "group"
    assert units_of(placed(0.0, 20.0, block=100.0), IntervalOptions(unit="block"), True).kind == "block"


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no blocks of the ground divided these data"):
        units_of(part("a", "b"), IntervalOptions(unit="block"), True)
    with pytest.raises(ConfigError, match="not all records say their group"):
        units_of(part("a", None), IntervalOptions(unit="group"), True)
    with pytest.raises(ConfigError, match="no squares"):
        units_of(part("a", "b"), IntervalOptions(unit="square"), False)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_squares_cover_every_pixel_once(height: int, width: int, side: int) -> None:
    count = np.zeros((height, width), int)
    names = []
    for name, box in squares(height, width, side, "map"):
        count[box] += 1
        names.append(name)
    assert (count == 1).all() and len(set(names)) == len(names) and names[0] == "map@0,0"
