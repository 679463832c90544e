from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from swath.data.legend import LandClass
from swath.errors import ConfigError
from swath.scenes.box import Box
from swath.scenes.layers import NODATA, BlockMap, ClassLayers, palette


def test_ties_go_to_the_first_class_and_values_are_the_legends(fakes: SimpleNamespace) -> None:
    p = np.array([[[0.25, 0.1]], [[0.25, 0.1]], [[0.25, 0.1]], [[0.25, 0.7]]], np.float32)
    got = ClassLayers(fakes.classes).encode(BlockMap(Box(0, 0, 1, 2), p, np.array([[100, 1]], np.uint8)))
    assert got[:, 0].tolist() == [[1, 6], [25, 70], [100, 1]]


def test_a_block_without_input_is_no_data(fakes: SimpleNamespace) -> None:
    got = ClassLayers(fakes.classes).encode(BlockMap(Box(0, 0, 1, 2), None, np.zeros((1, 2), np.uint8)))
    assert got[:, 0].tolist() == [[NODATA] * 2, [NODATA] * 2, [0, 0]]


def test_palette(fakes: SimpleNamespace) -> None:
    assert palette(fakes.classes)[5].tolist() == [27, 120, 55]


def test_impossible_legends_and_thresholds_are_refused(fakes: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="0 to 254"):
        ClassLayers((LandClass(255, "x", (0, 0, 0)),))
    for wrong in (0, 101):
        with pytest.raises(ConfigError, match="min_coverage"):
            ClassLayers(fakes.classes, min_coverage=wrong)
