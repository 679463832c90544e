"""Labels of each date follow the dates, crops and turns of their pixels; one map for all stands where it was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from swath.contract import InputContract
from swath.cube import Cube, CubeBatch
from swath.errors import InputError
from swath.feed.augment import augment
from swath.feed.base import IGNORE
from swath.feed.config import AugmentConfig
from swath.feed.dates import looked_at
from swath.feed.each_date import EachDate, at_each_date
from swath.feed.grid import GridFeed
from swath.feed.score import ScoreFeed
from swath.feed.windows import RecordFeed, WindowFeed

Make = Callable[..., Cube]
# The fixtures are functions without a state.
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def told(cube: Cube) -> np.ndarray:
    """Labels that say what the pixels of the first band say, date by date: [T,H,W]."""
    return cube.pixels[:, 0].astype(np.int64)


def agree(batch: CubeBatch) -> bool:
    """Wherever a label is known it is what its own date's pixel says, and known wherever the window lies inside."""
    assert batch.target is not None and batch.target.shape == batch.pixels[:, :, 0].shape
    known = batch.target != IGNORE
    same = torch.where(known, batch.pixels[:, :, 0].long() == batch.target, True)
    return bool(same.all()) and torch.equal(known, batch.valid[:, :, 0])


@QUICK
@given(
    st.integers(2, 6),
    st.integers(1, 4),
    st.sampled_from([5, 8, (4, 7)]),
    st.integers(0, 99),
    st.booleans(),
)
def test_a_choice_of_dates_takes_the_same_of_the_labels(
    cube: Make, contract: InputContract, dates: int, taken: int, size: int | tuple[int, int], seed: int, real: bool
) -> None:  # fmt: skip
    taken = min(taken, dates)
    scenes = [cube(dates + more, 12, 14, name) for more, name in enumerate(("a", "b"))]
    labels = [told(scene) + 5 for scene in scenes]
    given_labels = [x.astype(np.float32) for x in labels] if real else labels
    feed = WindowFeed(scenes, contract, size, seed=seed, labels=given_labels, dates=taken, need_label=True)
    batch = feed.take(3, 6)
    assert batch.target is not None and batch.target.shape[1] == taken
    assert torch.equal(batch.pixels[:, :, 0].long() + 5, batch.target.long())
    assert batch.target.dtype == (torch.float32 if real else torch.int64)
    assert len({name.split("@")[2] for name in batch.ids}) > 1 or taken == dates
    turned = augment(replace(batch, target=batch.target.long() - 5), AugmentConfig(), seed=seed, first=3)
    assert agree(turned)


@QUICK
@given(st.integers(1, 4), st.integers(3, 20), st.integers(0, 99))
def test_crops_of_records_cut_all_dates_and_fill_up_what_is_small(
    cube: Make, contract: InputContract, dates: int, size: int, seed: int
) -> None:
    scenes = [cube(dates, h, w, f"{h}x{w}") for h, w in ((12, 9), (20, 20), (5, 14))]
    feed = RecordFeed(scenes, contract, size, seed=seed, targets=[told(s) for s in scenes], pad=True)
    assert agree(feed.take(0, 7))


def test_labels_of_other_dates_or_forms_are_refused(cube: Make, contract: InputContract) -> None:
    two, plain = cube(2), np.zeros((30, 40), np.int64)
    with pytest.raises(InputError, match="labels are 3x30x40, the pixels 2x30x40"):
        WindowFeed([two], contract, 8, labels=[np.zeros((3, 30, 40), np.int64)])
    with pytest.raises(InputError, match="some labels are of each date, others of all"):
        WindowFeed([two, two], contract, 8, labels=[plain, told(two)])
    with pytest.raises(InputError, match=r"its target is \[30, 40\], that of scene \[2, 30, 40\]"):
        RecordFeed([two, two], contract, 8, targets=[told(two), plain])
    with pytest.raises(InputError, match="allowed areas are 2x30x40, the pixels 30x40"):
        WindowFeed([two], contract, 8, allowed=[np.ones((2, 30, 40), bool)])


def test_a_label_of_any_date_makes_a_window(cube: Make, contract: InputContract) -> None:
    scene = cube(2)
    labels = np.full((2, 30, 40), IGNORE, np.int64)
    labels[1, 20, 3] = 2
    batch = WindowFeed([scene], contract, 8, labels=[labels], need_label=True).take(0, 40)
    assert batch.target is not None
    assert ((batch.target != IGNORE).flatten(1).sum(1) == 1).all() and (batch.target[:, 0] == IGNORE).all()


@QUICK
@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 99), st.sampled_from([0.0, 0.6]))
def test_a_label_is_on_a_date_that_is_taken(
    cube: Make, contract: InputContract, dates: int, taken: int, seed: int, min_valid: float
) -> None:
    taken, draw = min(taken, dates), np.random.default_rng(seed)
    scene = cube(dates, 12, 14)
    valid = scene.valid & (np.arange(dates) % 2 == 0)[:, None, None, None]
    labels = np.where(draw.random((dates, 12, 14)) < 0.05, told(scene), IGNORE)
    labels[0, 5, 5] = told(scene)[0, 5, 5]
    clear = (dates + 1) // 2 if min_valid else dates
    if taken > clear:
        return
    feed = WindowFeed(
        [replace(scene, valid=valid)], contract, 5, seed=seed, labels=[labels], dates=taken, need_label=True,
        min_valid=min_valid,
    )  # fmt: skip
    batch = feed.take(0, 30)
    assert batch.target is not None and ((batch.target != IGNORE).flatten(1).any(1)).all()
    if min_valid:  # the labels of dates that are never taken open no window
        even = labels[::2]
        starts = [
            (r, c) for r in range(8) for c in range(10) if (even[:, r : r + 5, c : c + 5] != IGNORE).any()
        ]
        assert len(feed) == len(starts)


def test_a_rank_without_a_record_takes_part(cube: Make, contract: InputContract) -> None:
    scene = cube(2)
    batch = next(iter(ScoreFeed(1, lambda i: (scene, told(scene)), contract, 9, rank=1, world=2)))
    assert batch.target is not None and batch.target.shape == (1, 2, 9, 9) and (batch.target == IGNORE).all()


@pytest.mark.parametrize("stride", [None, 5])
def test_every_labelled_pixel_of_every_date_is_scored_once(
    cube: Make, contract: InputContract, stride: int | None
) -> None:
    scene, draw = cube(3), np.random.default_rng(0)
    labels = np.where(draw.random((3, 30, 40)) < 0.3, told(scene), IGNORE)
    wanted = np.sort(labels[labels != IGNORE])
    for feed in (
        GridFeed([scene], contract, 9, stride=stride, labels=[labels]),
        ScoreFeed(1, lambda i: (scene, labels), contract, 9, stride=stride),
    ):
        found = []
        for batch in feed:
            assert batch.target is not None
            known = batch.target != IGNORE
            assert torch.equal(batch.target[known], batch.pixels[:, :, 0].long()[known])
            found.append(batch.target[known].numpy())
        np.testing.assert_array_equal(np.sort(np.concatenate(found)), wanted)


def test_what_is_looked_at_has_the_same_dates_of_the_labels(cube: Make) -> None:
    scene = cube(5)
    seen, labels = looked_at(scene, told(scene), 3, 0.5, dated=True)
    assert seen.shape[0] == 3
    np.testing.assert_array_equal(labels, told(seen))
    one, plain = looked_at(scene, told(scene)[0], 3, 0.5)
    assert one.shape[0] == 3 and plain.shape == (30, 40)
    assert looked_at(scene, labels, 0, 0.5, dated=True)[0] is scene


@given(st.data(), st.integers(1, 4), st.booleans(), st.booleans())
def test_one_map_stands_where_it_was_seen(data: st.DataObject, dates: int, real: bool, several: bool) -> None:
    valid = data.draw(arrays.arrays(np.bool_, (2, dates, 2, 3, 4)))
    shape = (2, 3, 3, 4) if several else (2, 3, 4)
    plain = np.arange(np.prod(shape)).reshape(shape) % 5 - 1
    target = np.where(plain < 0, np.nan, plain).astype(np.float32) if real else plain
    found = at_each_date(target, valid, several=several)
    assert found.dtype == target.dtype
    unknown = np.isnan(found) if real else found == IGNORE
    for b in range(2):
        for t in range(dates):
            seen = valid[b, t].any(0)
            never = ~valid[b].any((0, 1))
            here = found[b, t]
            np.testing.assert_array_equal(here[..., seen | never], target[b][..., seen | never])
            assert unknown[b, t][..., ~(seen | never)].all()


def test_a_feed_of_plain_maps_becomes_one_of_dates(cube: Make, contract: InputContract) -> None:
    scene = cube(3)
    valid = scene.valid.copy()
    valid[1, :, :, :20] = False
    holed = replace(scene, valid=valid)
    feed = EachDate(WindowFeed([holed], contract, 8, labels=[np.ones((30, 40), np.int64)]))
    batch = feed.take(0, 12)
    assert batch.target is not None and batch.target.shape == (12, 3, 8, 8)
    assert torch.equal(batch.target == 1, batch.valid.any(2)) and (batch.target[:, 0] == 1).all()
    with pytest.raises(InputError, match="has no targets to be set at each date"):
        EachDate(WindowFeed([holed], contract, 8)).take(0, 1)
