from __future__ import annotations

import numpy as np
import pytest

from swath.errors import ConfigError, ContractError
from swath.scenes.box import Box
from swath.scenes.layers import BlockMap, ValueLayers

BOX = Box(0, 0, 1, 3)
COVERAGE = np.array([[100, 40, 0]], np.uint8)


def test_quantities_are_real_numbers_and_no_data_is_nan() -> None:
    layers = ValueLayers(("height", "biomass"), 50, units=("m", "t/ha"), gain=(2.0, 1.0), bias=(0.5, 0.0))
    values = np.array([[[1, 1, 1]], [[7, 7, 7]]], np.float32)
    got = layers.encode(BlockMap(BOX, values, COVERAGE))
    assert [b.name for b in layers.bands] == ["height", "biomass", "coverage"]
    np.testing.assert_array_equal(
        got[:, 0], np.array([[2.5, np.nan, np.nan], [7, np.nan, np.nan], [100, 40, 0]], np.float32)
    )
    empty = layers.encode(BlockMap(BOX, None, COVERAGE))
    assert np.isnan(empty[:2]).all() and (empty[2] == COVERAGE).all()


def test_disagreement_is_in_the_unit_of_the_quantity() -> None:
    layers = ValueLayers(("height",), disagreement=True, gain=(-2.0,), bias=(3.0,))
    values = np.array([[[1, 1, 1]], [[0.25, 0.5, 0]]], np.float32)
    got = layers.encode(BlockMap(BOX, values, np.full((1, 3), 100, np.uint8)))
    assert got[0, 0].tolist() == [1, 1, 1]
    assert got[2, 0].tolist() == [0.5, 1.0, 0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ContractError, match="gives 2 quantities, 1 are named"):
        ValueLayers(("a",)).encode(BlockMap(BOX, np.zeros((2, 1, 3), np.float32), COVERAGE))
    with pytest.raises(ConfigError, match="each another"):
        ValueLayers(("a", "a"))
    with pytest.raises(ConfigError, match="1 are given for 2"):
        ValueLayers(("a", "b"), units=("m",))
