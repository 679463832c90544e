from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.feed.dates import draw_dates, good_dates, spread_dates, valid_counts
from swath.rng import numpy_generator


def some_valid(seed: int, dates: int) -> np.ndarray:
    share = np.random.default_rng(seed).random((dates, 1, 1, 1))
    return np.random.default_rng(seed + 1).random((dates, 2, 4, 5)) < share


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 1000), st.floats(0, 1))
def test_drawn_dates_are_good_sorted_and_a_function_of_the_key(seed, dates, n, least):
    valid = some_valid(seed, dates)
    good = good_dates(valid_counts(valid), valid[0].size, least)
    np.testing.assert_array_equal(good, valid.mean((1, 2, 3)) >= least - 1e-9)
    if not good.any():
        return
    count = int(np.random.default_rng(n).integers(1, good.sum() + 1))
    drawn = draw_dates(numpy_generator(seed, "dates", n), good, count)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == count and good[drawn].all()
    assert drawn == draw_dates(numpy_generator(seed, "dates", n), good, count)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 14), st.floats(0, 1))
def test_spread_dates_are_good_ones_or_the_fullest(seed, dates, count, least):
    valid = some_valid(seed, dates)
    counts = valid_counts(valid)
    good = np.flatnonzero(good_dates(counts, valid.any(0).sum(), least))
    chosen = spread_dates(valid, count, least)
    assert chosen == sorted(set(chosen)) and len(chosen) == min(count, dates)
    if len(good) >= len(chosen):
        assert set(chosen) <= set(good.tolist())
        if len(chosen) > 1:
            assert (chosen[0], chosen[-1]) == (good[0], good[-1])
    else:
        assert min(counts[chosen]) >= max((counts[t] for t in range(dates) if t not in chosen), default=0)


def test_what_is_never_valid_counts_against_no_date():
    valid = np.zeros((6, 1, 4, 4), bool)
    valid[:, :, :1] = True  # a quarter of the record is seen at all
    valid[3, :, :1, :3] = False
    assert spread_dates(valid, 3, 0.5) == [0, 2, 5]
    valid[4:] = False
    assert spread_dates(valid, 3, 0.5) == [0, 1, 2]


def test_every_good_date_is_drawn():
    good = np.array([True, False, True, True, True])
    seen = {t for n in range(60) for t in draw_dates(numpy_generator(0, "dates", n), good, 2)}
    assert seen == {0, 2, 3, 4}
