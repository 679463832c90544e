"""Scoring sees every labelled pixel or record once, whatever their sizes, and nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swath.errors import InputError
from swath.feed.relabel import Relabelled
from swath.feed.score import ScoreFeed
from swath.feed.windows import RecordFeed, WindowFeed

Cubes = Callable[..., Any]


# The fixtures are functions without a state.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(3, 30), st.integers(3, 30), st.integers(1, 2)), min_size=1, max_size=4),
       st.integers(2, 12), st.integers(1, 7), st.integers(1, 3), st.booleans())  # fmt: skip
def test_each_labelled_pixel_once(
    cube: Cubes,
    contract: Any,
    sizes: list[tuple[int, int, int]],
    side: int,
    batch: int,
    world: int,
    real: bool,
) -> None:
    draw = np.random.default_rng(0)
    records = []
    for n, (height, width, dates) in enumerate(sizes):
        whole = cube(dates=dates, name=f"r{n}").window(0, 0, height, width)
        target = np.arange(height * width).reshape(height, width) + 1000 * n
        target = np.where(draw.random((height, width)) < 0.2, -1, target)
        records.append((whole, np.where(target < 0, np.nan, target).astype(np.float32) if real else target))
    seen: list[float] = []
    for rank in range(world):
        feed = ScoreFeed(
            len(records), records.__getitem__, contract, side, batch_size=batch, rank=rank, world=world
        )
        for b in feed:
            assert b.target is not None and len(b.ids) <= batch and b.pixels.shape[3:] == (side, side)
            assert b.target.dtype == (torch.float32 if real else torch.int64)
            good = torch.isfinite(b.target) if real else b.target >= 0
            assert bool(b.valid.any(2).any(1)[good].all())  # what is scored lies inside the record
            seen += b.target[good].tolist()
    wanted = [t[np.isfinite(t) if real else t >= 0] for _, t in records]
    assert sorted(seen) == sorted(np.concatenate(wanted).tolist())


def test_a_record_of_one_class_is_seen_around_its_centre(cube: Cubes, contract: Any) -> None:
    whole = cube()  # 30 x 40
    one = next(iter(ScoreFeed(1, lambda i: (whole, np.asarray(3)), contract, (10, 20))))
    np.testing.assert_array_equal(one.pixels[0], whole.pixels[:, :, 10:20, 10:30])
    assert one.target is not None and one.target.tolist() == [3]
    small = next(iter(ScoreFeed(1, lambda i: (whole, np.asarray([0, 1])), contract, 64)))
    assert small.valid[0, :, :, :30, :40].any() and not small.valid[0, :, :, 30:].any()


def test_gaps_and_emptiness_are_refused(cube: Cubes, contract: Any) -> None:
    with pytest.raises(InputError, match=r"stride of 9 leaves gaps"):
        ScoreFeed(1, lambda i: (cube(), np.asarray(0)), contract, 8, stride=9)
    with pytest.raises(InputError, match=r"no record is left to score"):
        ScoreFeed(0, lambda i: (cube(), np.asarray(0)), contract, 8)


def test_small_records_are_filled_up_when_asked(cube: Cubes, contract: Any) -> None:
    small, large = cube().window(0, 0, 6, 7), cube(name="b")
    labels = [np.full((6, 7), 2), np.full((30, 40), 1)]
    with pytest.raises(InputError, match=r"is 6x7 pixels, not 9x9"):
        RecordFeed([small, large], contract, 9, targets=labels)
    batch = RecordFeed([small, large], contract, 9, targets=labels, pad=True).take(0, 2)
    assert batch.target is not None
    counts = {int(t.max()): int((t >= 0).sum()) for t in batch.target}
    assert counts == {2: 42, 1: 81}


def test_real_targets_stay_real(cube: Cubes, contract: Any) -> None:
    values = np.linspace(0, 1, 30 * 40, dtype=np.float32).reshape(30, 40)
    values[:3] = np.nan
    for feed in (
        RecordFeed([cube()], contract, 9, targets=[values]),
        WindowFeed([cube()], contract, 9, labels=[values], need_label=True),
    ):
        target = feed.take(0, 30).target
        assert target is not None and target.dtype == torch.float32
        assert target.nan_to_num(0.5).std() > 0 and target.nan_to_num(0.0).max() <= 1


def test_targets_in_other_numbers(cube: Cubes, contract: Any) -> None:
    feed = RecordFeed([cube()], contract, 9, targets=[np.asarray(4)])
    assert Relabelled(feed, lambda t: t - 3).take(0, 2).target.tolist() == [1, 1]  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"has no targets"):
        Relabelled(RecordFeed([cube()], contract, 9), lambda t: t).take(0, 1)
