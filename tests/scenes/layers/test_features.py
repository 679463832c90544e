from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from swath.errors import ConfigError, ContractError
from swath.scenes.box import Box
from swath.scenes.layers import BlockMap, FeatureLayers

COVERAGE = np.array([[100, 40, 0]], np.uint8)
BOX = Box(0, 0, 1, 3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_real_numbers_with_nan_where_there_is_no_data(dtype: str) -> None:
    layers = FeatureLayers(2, dtype, 50)  # type: ignore[arg-type]  # a parameter is any string to mypy
    values = np.array([[[1.5, 1, 1]], [[-0.1, 7, 7]]], np.float32)
    got = layers.encode(BlockMap(BOX, values, COVERAGE))
    assert got.dtype == dtype
    np.testing.assert_array_equal(
        got[:, 0],
        np.array([[1.5, np.nan, np.nan], [-0.1, np.nan, np.nan], [100, 40, 0]], np.float32).astype(dtype),
    )
    empty = layers.encode(BlockMap(BOX, None, COVERAGE))
    assert np.isnan(empty[:2]).all() and (empty[2] == COVERAGE).all()
    assert [b.name for b in layers.bands] == ["feature 0", "feature 1", "coverage"]
    assert layers.beyond(BlockMap(BOX, values, COVERAGE)) == 0


@given(
    st.floats(-1e6, 1e6, width=32),
    st.floats(0.0009765625, 1e6, width=32),
    hnp.arrays(np.float32, (1, 4, 5), elements=st.floats(0, 1, width=32)),
)
def test_eight_bits_are_within_half_a_step(low: float, span: float, share: np.ndarray) -> None:
    high = float(np.float32(low + span))
    if high <= low:
        return
    layers = FeatureLayers(1, "uint8", low=(low,), high=(high,))
    values = np.clip(np.float32(low) + share * np.float32(high - low), np.float32(low), np.float32(high))
    block = BlockMap(Box(0, 0, 4, 5), values, np.full((4, 5), 100, np.uint8))
    band = layers.bands[0]
    back = layers.encode(block)[0] * band.scale + band.offset
    # Half a step, and what float32 cannot tell apart at such a size.
    bound = 0.5 * band.scale + 4 * np.spacing(np.float32(max(abs(low), abs(high))))
    assert np.abs(back - values[0].astype(np.float64)).max() <= bound
    assert layers.beyond(block) == 0


def test_values_beyond_the_range_are_its_ends_and_are_counted() -> None:
    layers = FeatureLayers(2, "uint8", 50, low=(0.0, -1.0), high=(2.0, 1.0))
    values = np.array([[[-5, 9, 9]], [[1.01, 9, 9]]], np.float32)
    block = BlockMap(BOX, values, COVERAGE)
    got = layers.encode(block)
    assert got[:, 0].tolist() == [[0, 255, 255], [254, 255, 255], [100, 40, 0]]
    assert layers.beyond(block) == 2  # what is no-data does not count
    assert layers.beyond(BlockMap(BOX, None, COVERAGE)) == 0
    assert layers.nodata == 255 and layers.scales == (2 / 254, 2 / 254)
    far = np.array([[[-1e38, 0, 0]], [[1e38, 0, 0]]], np.float32)
    assert layers.encode(BlockMap(BOX, far, COVERAGE))[:2, 0, 0].tolist() == [0, 254]


def test_a_feature_that_is_one_value() -> None:
    layers = FeatureLayers(1, "uint8", low=(3.5,), high=(3.5,))
    got = layers.encode(BlockMap(BOX, np.full((1, 1, 3), 3.5, np.float32), np.full((1, 3), 100, np.uint8)))
    assert (got[0] * layers.bands[0].scale + layers.bands[0].offset == 3.5).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ContractError, match="gives 2 features, 1 are expected"):
        FeatureLayers(1).encode(BlockMap(BOX, np.zeros((2, 1, 3), np.float32), COVERAGE))
    with pytest.raises(ContractError, match=r"larger than float16 can hold .*; use dtype float32"):
        FeatureLayers(1, "float16").encode(BlockMap(BOX, np.full((1, 1, 3), 7e4, np.float32), COVERAGE))
    with pytest.raises(ConfigError, match="1 ends for 2 features in uint8"):
        FeatureLayers(2, "uint8", low=(0.0,), high=(1.0,))
    with pytest.raises(ConfigError, match="is no range"):
        FeatureLayers(1, "uint8", low=(1.0,), high=(0.0,))
    with pytest.raises(ConfigError, match="is no range"):
        FeatureLayers(1, "uint8", low=(float("nan"),), high=(0.0,))
