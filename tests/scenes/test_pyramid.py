from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from swath.scenes.layers import ClassLayers, ValueLayers
from swath.scenes.pyramid import overview_count, reduce


@given(arrays.arrays(np.uint8, (3, 4, 6), elements=st.sampled_from([0, 1, 2, 5, 255])))
def test_classes_by_majority_and_shares_by_mean(fakes: SimpleNamespace, bands: np.ndarray) -> None:
    got = reduce(bands, ClassLayers(fakes.classes))
    for y in range(2):
        for x in range(3):
            cell = bands[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(3, 4).tolist()
            known = [[v for v in row if v != 255] for row in cell]
            # Counter keeps the order of first appearance, and so does most_common among equals.
            mode = Counter(known[0]).most_common(1)[0][0] if known[0] else 255
            assert got[0, y, x] == mode
            for i in (1, 2):
                if known[i]:
                    assert abs(got[i, y, x] - np.mean(known[i])) <= 0.5
                else:
                    assert got[i, y, x] == 255


def test_real_numbers_leave_out_nan() -> None:
    four = np.array([[[1.0, np.nan], [3.0, np.nan]], [[100, 0], [0, 0]]], np.float32)
    got = reduce(four, ValueLayers(("height",)))
    assert got[:, 0, 0].tolist() == [2.0, 25.0]
    assert np.isnan(reduce(np.full((2, 2, 2), np.nan, np.float32), ValueLayers(("height",)))).all()


def test_overviews_end_at_one_small_tile() -> None:
    assert [overview_count(n, 10) for n in (1, 256, 257, 512, 513, 1100)] == [0, 0, 1, 1, 2, 3]
