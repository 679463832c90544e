from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError
from swath.scenes.box import Box
from swath.scenes.windows import Plan, make_plan


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    window = (draw(st.integers(4, 40)), draw(st.integers(4, 40)))
    overlap = draw(st.integers(0, min(window) - 1))
    trim = draw(st.integers(0, overlap // 2))
    return Plan(draw(st.integers(1, 600)), draw(st.integers(1, 600)), window, overlap, trim, 256)


@given(plans())
def test_weights_sum_to_one_everywhere(plan: Plan) -> None:
    for axis in (plan.rows, plan.cols):
        total = np.zeros(axis.length)
        for i, start in enumerate(axis.starts):
            weights = axis.weights(i).astype(np.float32)
            inside = min(axis.window, axis.length - start)
            assert (weights >= 0).all()
            total[start : start + inside] += weights[:inside]
        np.testing.assert_allclose(total, 1.0, rtol=0, atol=1e-6)


@given(plans())
def test_windows_stay_inside_scenes_that_hold_one(plan: Plan) -> None:
    for axis in (plan.rows, plan.cols):
        assert axis.starts[0] == 0
        assert list(axis.starts) == sorted(set(axis.starts))
        if axis.length >= axis.window:
            assert axis.starts[-1] + axis.window == axis.length
        else:
            assert axis.starts == (0,)


@given(plans())
def test_blocks_tile_the_scene_and_run_exactly_the_windows_that_reach_them(plan: Plan) -> None:
    seen = np.zeros((plan.height, plan.width), int)
    runs = 0
    for block in plan.blocks():
        box = block.box
        seen[box.row : box.row + box.height, box.col : box.col + box.width] += 1
        runs += len(block.windows)
        assert block.windows == tuple(
            Box(y, x, *plan.window)
            for i, y in enumerate(plan.rows.starts)
            for j, x in enumerate(plan.cols.starts)
            if _meets(plan.rows.support(i), box.row, box.height)
            and _meets(plan.cols.support(j), box.col, box.width)
        )
        for w in block.windows:
            assert block.read.row <= w.row
            assert w.row + w.height <= block.read.row + block.read.height
            assert block.read.col <= w.col
            assert w.col + w.width <= block.read.col + block.read.width
        assert block.halo < max(plan.window)
    assert (seen == 1).all()
    assert runs == plan.run_count
    assert plan.block_count == len(list(plan.blocks()))

    assert [plan.block(i) for i in range(plan.block_count)] == list(plan.blocks())


@given(plans())
def test_windows_of_one_kind_weigh_the_same(plan: Plan) -> None:
    for axis in (plan.rows, plan.cols):
        for i in range(len(axis.starts)):
            assert np.array_equal(axis.weights(i), axis.weights(axis.kind(i)))
    kinds = {plan.cols.kind(i) for i in range(len(plan.cols.starts))}
    reach = -(-plan.cols.window // (plan.cols.window - plan.cols.overlap)) + 1
    assert len(kinds) <= 2 * reach + 3


def _meets(support: tuple[int, int], start: int, length: int) -> bool:
    return support[0] < start + length and support[1] > start


def test_windows_do_not_depend_on_blocks() -> None:
    small, large = (Plan(700, 900, (96, 96), 32, 0, block) for block in (256, 1024))
    assert {w for b in small.blocks() for w in b.windows} == {w for b in large.blocks() for w in b.windows}


@pytest.mark.parametrize("window", [32, 64, 96, 128, 224, 256])
def test_default_plans_compute_at_most_a_tenth_more(window: int) -> None:
    plan = make_plan(12000, 12000, (window, window))
    assert plan.extra <= 0.10
    assert plan.side % 512 == 0
    assert 0.25 <= plan.overlap / window <= 0.5


def test_a_small_scene_is_one_block_with_nothing_extra() -> None:
    plan = make_plan(489, 443, (96, 96))
    assert (plan.block_count, plan.extra) == (1, 0.0)
    assert plan.run_count == plan.window_count


def test_the_default_leaves_room_for_the_trim() -> None:
    plan = make_plan(500, 500, (64, 64), trim=20)
    assert plan.overlap >= 40


def test_plans_are_printable_values() -> None:
    plan = make_plan(2000, 3000, (128, 128))
    assert plan == make_plan(2000, 3000, (128, 128))
    assert "2000x3000 pixels" in str(plan)
    assert "\n" not in str(plan)
    assert str(next(plan.blocks()).box).endswith("at (0, 0)")


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((0, 5, (8, 8), 0, 0, 256), "0x5"),
        ((5, 5, (0, 8), 0, 0, 256), "window"),
        ((5, 5, (8, 8), 8, 0, 256), "overlap"),
        ((5, 5, (8, 8), 4, 3, 256), "trim"),
        ((5, 5, (8, 8), 4, 0, 300), "multiple of 256"),
    ],
)
def test_impossible_plans_are_refused(numbers: tuple, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Plan(*numbers)
