from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import InputError
from swath.feed.base import IGNORE
from swath.feed.grid import GridFeed, axis_windows


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 20), st.data())
def test_every_place_of_an_axis_is_answered_for_once_and_inside_its_window(length, size, data):
    stride = data.draw(st.integers(1, size))
    windows = axis_windows(length, size, stride)
    owned = [p for _, first, last in windows for p in range(first, last)]
    assert owned == list(range(length))
    for start, first, last in windows:
        assert start <= first < last <= start + size
        assert start + size <= max(length, size)


@pytest.mark.parametrize(("size", "stride"), [(8, None), (8, 5), (64, None)])
def test_every_labelled_pixel_of_the_area_is_scored_once(cube, contract, size, stride):
    labels = np.arange(1200).reshape(30, 40)
    labels[10:14] = IGNORE
    area = np.zeros((30, 40), bool)
    area[:, 21:] = True
    feed = GridFeed([cube()], contract, size, batch_size=3, stride=stride, labels=[labels], scored=[area])
    seen = []
    batches = list(feed)
    for batch in batches:
        target = batch.target.numpy()
        seen += target[target != IGNORE].tolist()
        # Where a pixel is scored, the pixels below it are its own.
        value = batch.pixels[:, 0, 0].numpy()
        scored = target != IGNORE
        np.testing.assert_array_equal(value[scored], target[scored])
    assert sorted(seen) == sorted(labels[area & (labels != IGNORE)].tolist())
    assert len(batches) == len(feed)


def test_beyond_a_small_cube_nothing_is_valid(cube, contract):
    (batch,) = GridFeed([cube(height=5, width=6)], contract, 8)
    assert batch.pixels.shape[-2:] == (8, 8) and batch.target is None
    assert int(batch.valid[0, 0, 0].sum()) == 30 and not batch.valid[..., 5:, :].any()


def test_what_cannot_be_is_said(cube, contract):
    with pytest.raises(InputError, match="leaves gaps"):
        GridFeed([cube()], contract, 8, stride=9)
    with pytest.raises(InputError, match="no pixel is left"):
        GridFeed([cube()], contract, 8, labels=[np.full((30, 40), IGNORE)])
