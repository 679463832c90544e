from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swath.errors import InputError
from swath.feed.base import IGNORE, Feed
from swath.feed.windows import RecordFeed, WindowFeed, window_sums


def test_a_sample_is_a_function_of_seed_and_number(cube, contract):
    feed = WindowFeed([cube(), cube(name="other")], contract, 8, seed=1)
    assert isinstance(feed, Feed)
    whole = feed.take(100, 6)
    parts = [feed.take(104, 2), feed.take(100, 4)]  # in any order and any division
    assert whole.ids == parts[1].ids + parts[0].ids
    assert torch.equal(whole.pixels, torch.cat([parts[1].pixels, parts[0].pixels]))
    assert WindowFeed([cube(), cube(name="other")], contract, 8, seed=1).take(100, 6).ids == whole.ids
    assert WindowFeed([cube(), cube(name="other")], contract, 8, seed=2).take(100, 6).ids != whole.ids
    assert len({i.split("@")[0] for i in feed.take(0, 50).ids}) == 2


def test_windows_hold_the_pixels_their_id_says(cube, contract):
    scene = cube(dates=2)
    labels = np.arange(30 * 40).reshape(30, 40)
    batch = WindowFeed([scene], contract, (6, 9), labels=[labels]).take(0, 20)
    assert batch.pixels.shape == (20, 2, 3, 6, 9) and batch.target.dtype == torch.int64
    for b, name in enumerate(batch.ids):
        row, col = map(int, name.split("@")[1].split(","))
        np.testing.assert_array_equal(batch.pixels[b], scene.pixels[:, :, row : row + 6, col : col + 9])
        np.testing.assert_array_equal(batch.target[b], labels[row : row + 6, col : col + 9])
    assert batch.days[0].tolist() == [[1, 2020], [32, 2020]]
    gain, bias = contract.affine(scene)
    np.testing.assert_allclose(batch.gain[3], gain, rtol=1e-6)
    np.testing.assert_allclose(batch.bias[3], bias, rtol=1e-6)


def test_every_position_is_drawn_and_none_outside_the_allowed_area(cube, contract):
    allowed = np.zeros((30, 40), bool)
    allowed[:, :12] = True
    feed = WindowFeed([cube()], contract, 10, allowed=[allowed])
    assert len(feed) == 21 * 3
    starts = {tuple(map(int, i.split("@")[1].split(","))) for i in feed.take(0, 600).ids}
    assert starts == {(r, c) for r in range(21) for c in range(3)}


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9))
def test_window_sums_are_sums(seed, h, w):
    values = np.random.default_rng(seed).integers(0, 5, (9, 9))
    expected = [[values[r : r + h, c : c + w].sum() for c in range(10 - w)] for r in range(10 - h)]
    np.testing.assert_array_equal(window_sums(values, (h, w)), expected)


def test_windows_keep_enough_valid_pixels_and_a_label(cube, contract):
    scene = cube()
    valid = scene.valid.copy()
    valid[..., 15:] = False
    holed = replace(scene, valid=valid)
    labels = np.full((30, 40), IGNORE)
    labels[20, 3] = 2
    feed = WindowFeed([holed], contract, 8, labels=[labels], min_valid=0.5, need_label=True)
    batch = feed.take(0, 64)
    assert (batch.valid.float().mean((1, 2, 3, 4)) >= 0.5).all()
    assert ((batch.target != IGNORE).flatten(1).sum(1) == 1).all()
    whole = WindowFeed([scene], contract, 8, min_valid=1.0)
    assert len(whole) == 23 * 33  # rounding refuses no window that is valid throughout


# The fixtures are functions without a state.
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(1, 4))
def test_cubes_without_a_window_are_counted(cube, contract, clear, dates):
    cubes = []
    for number, kept in enumerate(clear):
        scene = cube(dates=4, name=str(number))
        valid = scene.valid.copy()
        valid[kept:] = False
        cubes.append(replace(scene, valid=valid))
    poor = sum(kept < dates for kept in clear)
    if poor == len(clear):
        with pytest.raises(InputError, match="no window of 8x8"):
            WindowFeed(cubes, contract, 8, min_valid=0.5, dates=dates)
        return
    feed = WindowFeed(cubes, contract, 8, min_valid=0.5, dates=dates)
    assert feed.undrawn == poor
    assert {int(i.split("@")[0]) for i in feed.take(0, 90).ids} <= {
        n for n, kept in enumerate(clear) if kept >= dates
    }


def test_what_cannot_be_is_said(cube, contract):
    with pytest.raises(InputError, match="no window of 50x50"):
        WindowFeed([cube()], contract, 50)
    with pytest.raises(InputError, match="labels are 3x3, the pixels 30x40"):
        WindowFeed([cube()], contract, 8, labels=[np.zeros((3, 3), int)])
    with pytest.raises(InputError, match="2 labels are given for 1"):
        WindowFeed([cube()], contract, 8, labels=[None, None])
    with pytest.raises(InputError, match="no labels"):
        WindowFeed([cube()], contract, 8, need_label=True)
    with pytest.raises(InputError, match=r"has 1 dates.*first cube 2"):
        WindowFeed([cube(dates=2), cube()], contract, 8)
    with pytest.raises(InputError, match="no cubes"):
        WindowFeed([], contract, 8)


def test_records_come_once_per_epoch_in_another_order(cube, contract):
    cubes = [cube(height=12, width=12, name=f"r{i}") for i in range(7)]
    feed = RecordFeed(cubes, contract, targets=list(range(7)), seed=4)
    epochs = [feed.take(7 * e, 7) for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch.ids) == [f"r{i}" for i in range(7)]
        assert [f"r{int(k)}" for k in epoch.target] == list(epoch.ids)
    assert len({e.ids for e in epochs}) == 3
    assert feed.take(5, 4).ids == (*epochs[0].ids[5:], *epochs[1].ids[:2])


def test_records_are_cropped_with_their_labels(cube, contract):
    labels = np.arange(144).reshape(12, 12)
    feed = RecordFeed([cube(height=12, width=12)], contract, 5, targets=[labels])
    batch = feed.take(0, 30)
    assert batch.pixels.shape[-2:] == (5, 5)
    # value = 40·row + column in band 0, and the label is 12·row + column
    value = batch.pixels[:, 0, 0].long()
    assert torch.equal(value // 40 * 12 + value % 40, batch.target)
    assert len(torch.unique(batch.target[:, 0, 0])) > 10
    with pytest.raises(InputError, match="crop size"):
        RecordFeed([cube(height=12, width=12), cube()], contract)
    vectors = RecordFeed([cube()], contract, targets=[[0.0, 1.0]]).take(0, 2).target
    assert vectors.dtype == torch.float32 and vectors.shape == (2, 2)


def test_a_sample_takes_some_good_dates_of_its_series(cube, contract):
    series = [cube(dates=6), cube(dates=4, name="other")]
    valid = series[0].valid.copy()
    valid[1] = False  # a clouded date
    valid[4, :, :, :20] = False  # half of one
    series[0] = replace(series[0], valid=valid)
    feed = WindowFeed(series, contract, 8, seed=3, dates=3, min_valid=0.6)
    batch = feed.take(7, 80)
    assert batch.pixels.shape == (80, 3, 3, 8, 8) and batch.days.shape == (80, 3, 2)
    assert (batch.valid.float().mean((2, 3, 4)) >= 0.6).all()
    taken = set()
    for b, name in enumerate(batch.ids):
        source, corner, dates = name.split("@")
        (row, col), chosen = (tuple(map(int, part.split(","))) for part in (corner, dates))
        assert list(chosen) == sorted(set(chosen))
        of = series[source == "other"]
        np.testing.assert_array_equal(
            batch.pixels[b], of.pixels[list(chosen), :, row : row + 8, col : col + 8]
        )
        np.testing.assert_array_equal(batch.valid[b], of.valid[list(chosen), :, row : row + 8, col : col + 8])
        assert batch.days[b].tolist() == [[of.dates[t].timetuple().tm_yday, 2020] for t in chosen]
        taken |= {(source, t) for t in chosen}
    assert ("scene", 1) not in taken and ("scene", 4) in taken and len(taken) == 9
    parts = [feed.take(40, 47), feed.take(7, 33)]  # in any order and any division
    assert batch.ids == parts[1].ids + parts[0].ids
    assert torch.equal(batch.pixels, torch.cat([parts[1].pixels, parts[0].pixels]))


def test_windows_without_enough_good_dates_are_not_drawn(cube, contract):
    series = cube(dates=3)
    valid = series.valid.copy()
    valid[1:, :, :, 20:] = False
    holed = replace(series, valid=valid)
    feed = WindowFeed([holed], contract, 10, dates=2, min_valid=1.0)
    assert len(feed) == 21 * 11
    assert len(WindowFeed([holed], contract, 10, dates=2)) == 21 * 31
    with pytest.raises(InputError, match=r"on 3 dates; take .*, or fewer dates"):
        WindowFeed([holed], contract, 30, dates=3, min_valid=1.0)
    with pytest.raises(InputError, match="has 3 dates, and 4 are asked for"):
        WindowFeed([holed], contract, 10, dates=4)
    with pytest.raises(InputError, match="0 dates are asked for"):
        WindowFeed([holed], contract, 10, dates=0)
