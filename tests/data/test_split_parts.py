"""Parts share nothing, cover everything, and are as far apart as the buffer."""

from __future__ import annotations

import datetime as dt
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.data.split_parts import Box, Located, Parts, by_blocks, by_dates, by_groups, by_list, by_random
from swath.errors import ConfigError, InputError

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def grid(rows: int, cols: int, size: float = 10.0, plane: str = "p", x: float = 0.0) -> list[Located]:
    return [
        Located(
            f"{plane}@{r},{c}",
            group=f"g{c // 3}",
            box=Box(plane, x + c * size, r * size, x + (c + 1) * size, (r + 1) * size),
        )
        for r in range(rows)
        for c in range(cols)
    ]


def covers_once(parts: Parts, count: int) -> None:
    seen = [i for members in parts.parts.values() for i in members] + list(parts.left_out)
    assert sorted(seen) == list(range(count))


def distance(a: Box, b: Box) -> float:
    return max(a.left - b.right, b.left - a.right, a.low - b.high, b.low - a.high)


@given(
    st.integers(8, 24),
    st.integers(8, 24),
    st.sampled_from([1.0, 10.0, 128.0]),
    st.integers(2, 6),
    st.floats(1, 2),
    st.floats(-1e6, 1e6),
    st.integers(0, 9),
)
def test_blocks_keep_parts_a_buffer_apart(
    rows: int, cols: int, size: float, block: int, wide: float, x: float, seed: int
) -> None:
    items = grid(rows, cols, size, x=x)
    buffer = wide * size
    try:
        parts = by_blocks(items, SHARES, block=max(block * size, size + buffer), buffer=buffer, seed=seed)
    except InputError as err:
        assert "leaves no item to" in str(err)
        return
    covers_once(parts, len(items))
    assert parts == by_blocks(items, SHARES, block=max(block * size, size + buffer), buffer=buffer, seed=seed)
    names = parts.names(len(items))
    boxes = [(n, i.box) for n, i in zip(names, items, strict=True) if n is not None]
    for n, (part, a) in enumerate(boxes):
        for other, b in boxes[n + 1 :]:
            if part != other and a is not None and b is not None:
                assert distance(a, b) >= buffer * (1 - 1e-6)


def test_the_order_of_items_changes_nothing() -> None:
    items = grid(20, 20)
    parts = by_blocks(items, SHARES, block=50.0, seed=3).names(400)
    turned = by_blocks(items[::-1], SHARES, block=50.0, seed=3).names(400)
    assert parts == turned[::-1]
    assert by_blocks(items, SHARES, block=50.0, seed=4).names(400) != parts


def test_planes_are_divided_by_themselves() -> None:
    items = grid(12, 12, plane="a") + grid(12, 12, plane="b")
    names = by_blocks(items, SHARES, block=40.0).names(288)
    assert names[:144] != names[144:]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"block": 50.0, "buffer": 9.0}, "buffer of 9 is narrower than a window of 10"),
        ({"block": 19.0}, "no window of 10 with a buffer of 10 fits a block of 19"),
        ({"block": 1000.0}, "leaves no item to"),
    ],
)
def test_blocks_that_cannot_be(fields: dict[str, float], words: str) -> None:
    with pytest.raises((ConfigError, InputError), match=words) as caught:
        by_blocks(grid(10, 10), SHARES, **fields)
    assert caught.value.mend
    with pytest.raises(InputError, match="item x has no footprint"):
        by_blocks([Located("x")], SHARES, block=1.0)


@given(st.integers(3, 12), st.integers(0, 5))
def test_groups_stay_whole(groups: int, seed: int) -> None:
    items = grid(5, 3 * groups)
    parts = by_groups(items, SHARES, seed=seed)
    covers_once(parts, len(items))
    names = parts.names(len(items))
    for g in {i.group for i in items}:
        assert len({n for n, i in zip(names, items, strict=True) if i.group == g}) == 1
    assert all(parts.parts.values())
    with pytest.raises(InputError, match="item x has no group"):
        by_groups([Located("x")], SHARES)


def test_a_random_split_warns_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parts = by_random(grid(10, 10), SHARES, seed=1)
    assert "neighbours that look alike lie in several parts" in caplog.text
    covers_once(parts, 100)
    assert [len(parts.parts[p]) for p in SHARES] == [60, 20, 20]


def test_dates() -> None:
    items = [Located(str(y), dates=(dt.date(y, 5, 1), dt.date(y, 6, 1))) for y in (2019, 2020, 2021, 2022)]
    borders = {"train": dt.date.min, "validation": dt.date(2021, 1, 1), "test": dt.date(2022, 1, 1)}
    assert by_dates(items, borders).parts == {"train": (0, 1), "validation": (2,), "test": (3,)}
    # A first border of its own leaves out what is before.
    assert by_dates(items, {"a": dt.date(2020, 1, 1)}).left_out == (0,)
    with pytest.raises(InputError, match="dates of item 2021 lie in several parts"):
        by_dates(items, {"train": dt.date.min, "test": dt.date(2021, 5, 15)})
    with pytest.raises(InputError, match="leaves no item to test"):
        by_dates(items, {"train": dt.date.min, "test": dt.date(2030, 1, 1)})
    with pytest.raises(InputError, match="has no date"):
        by_dates([Located("x", dates=(None,))], borders)
    with pytest.raises(ConfigError, match="not in order"):
        by_dates(items, {"a": dt.date(2021, 1, 1), "b": dt.date(2020, 1, 1)})


def test_a_list() -> None:
    items = [Located(n) for n in "abc"]
    parts = by_list(items, {"c": "train", "a": "test"})
    assert parts == Parts({"train": (2,), "test": (0,)}, (1,))
    with pytest.raises(InputError, match="lists 1 unknown items, such as 'z'; use ids such as 'a'"):
        by_list(items, {"z": "train"})


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan"), "b": 0.5}])
def test_shares_that_are_none(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="are not above 0 with a sum of 1"):
        by_random(grid(2, 2), shares)
