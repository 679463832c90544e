from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import InputError
from swath.scenes.cells import CellPlan
from swath.scenes.engine import Engine
from swath.scenes.ranges import MARGIN, sample_range, spread


class Mean(torch.nn.Module):
    def forward(self, pixels, valid, days, wavelengths):
        return torch.nn.functional.avg_pool2d(pixels.mean(1), 4)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 5), st.integers(1, 400))
def test_the_sample_holds_different_windows_of_the_plan(
    height: int, width: int, window: int, count: int
) -> None:
    plan = CellPlan(height, width, (window, window), window // 2, 0, 16)
    boxes = spread(plan, count)
    assert len(set(boxes)) == len(boxes) == min(count, plan.window_count)
    assert {b.row for b in boxes} <= set(plan.rows.starts) and {b.col for b in boxes} <= set(plan.cols.starts)
    assert spread(plan, 2 * count)[: len(boxes)] == boxes


def test_the_sample_reaches_all_over_the_scene() -> None:
    plan = CellPlan(4000, 4000, (4, 4), 0, 0, 64)
    boxes = spread(plan, 64)
    quarters = np.zeros((4, 4), int)
    for box in boxes:
        quarters[box.row // 1000, box.col // 1000] += 1
    assert quarters.sum(axis=1).min() >= 12 and quarters.sum(axis=0).min() >= 4


def engine_of(scene, fakes: SimpleNamespace, side: int = 16) -> Engine:
    plan = CellPlan(-(-scene.height // 4), -(-scene.width // 4), (4, 4), 2, 0, side)
    return Engine(scene, Mean(), fakes.contract(), plan, activation="identity", cell=4)


def test_the_range_is_that_of_the_windows_and_a_margin(fakes: SimpleNamespace) -> None:
    """With more windows than there are, all are looked at: every value of the map lies within, cells without data
    count for nothing, and the blocks do not matter.
    """
    scene = fakes.scene(90, 110, holes=0.5)
    low, high = sample_range(engine_of(scene, fakes), 10_000)
    values = np.concatenate(
        [b.values[:, b.coverage > 0] for b in engine_of(scene, fakes).blocks() if b.values is not None],
        axis=1,
    )
    span = (np.array(high) - low) / (1 + 2 * MARGIN)
    assert (values.min(axis=1) >= np.array(low) + 0.99 * MARGIN * span).all()
    assert (values.max(axis=1) <= np.array(high) - 0.99 * MARGIN * span).all()
    assert (values.max(axis=1) - values.min(axis=1) > 0.5 * span).all()
    assert sample_range(engine_of(scene, fakes, 32), 10_000) == (low, high)
    assert sample_range(engine_of(scene, fakes), 3) != (low, high)


def test_a_scene_without_data_has_no_range(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(40, 40)
    scene.valid[:] = False
    with pytest.raises(InputError, match=r"none of 32 windows .* state the range"):
        sample_range(engine_of(scene, fakes), 2)
