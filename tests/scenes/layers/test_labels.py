from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from swath.errors import ConfigError, ContractError
from swath.scenes.box import Box
from swath.scenes.layers import NODATA, BlockMap, LabelLayers


def test_sixteen_bits_are_hundredths_of_a_percent(fakes: SimpleNamespace) -> None:
    layers = LabelLayers(fakes.classes[:1], bits=16)
    p = np.array([[[0.12345, 0.5, 1.0]]], np.float32)
    got = layers.encode(BlockMap(Box(0, 0, 1, 3), p, np.array([[100, 0, 7]], np.uint8)))
    assert got.dtype == np.uint16 and got.tolist() == [[[1234, 65535, 10000]], [[100, 0, 7]]]
    assert [b.scale for b in layers.bands] == [0.01, 1.0]
    with pytest.raises(ConfigError, match="12 is neither 8 nor 16"):
        LabelLayers(fakes.classes, bits=12)  # type: ignore[arg-type]  # on purpose


def test_labels_are_percent_each_of_its_own(fakes: SimpleNamespace) -> None:
    layers = LabelLayers(fakes.classes, 50)
    p = np.array([[[1.0, 1]], [[0.5, 1]], [[0.999, 1]], [[0.0, 1]]], np.float32)
    got = layers.encode(BlockMap(Box(0, 0, 1, 2), p, np.array([[100, 20]], np.uint8)))
    assert got[:, 0].tolist() == [[100, NODATA], [50, NODATA], [100, NODATA], [0, NODATA], [100, 20]]
    assert layers.activation == "sigmoid"
    with pytest.raises(ContractError, match="gives 2 labels, 4 are named"):
        layers.encode(BlockMap(Box(0, 0, 1, 2), p[:2], np.zeros((1, 2), np.uint8)))
