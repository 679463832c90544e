from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.data.running import Running


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=40), st.integers(1, 7))
def test_sums_of_whole_numbers_do_not_depend_on_the_cut(values: list[int], cut: int) -> None:
    array = np.array(values, np.uint16)
    one, many = Running(), Running()
    one.add(array)
    for i in range(0, len(array), cut):
        many.add(array[i : i + cut])
    assert (one.mean, one.std, one.count) == (many.mean, many.std, many.count)
    assert one.mean == pytest.approx(array.mean(), rel=1e-12)
    assert one.std == pytest.approx(array.std(), rel=1e-9, abs=1e-9)


def test_statistics_of_nothing() -> None:
    empty = Running()
    assert empty.count == 0 and math.isnan(empty.mean) and math.isnan(empty.std) and math.isnan(empty.minimum)
