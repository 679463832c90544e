from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from swath.data.legend import LandClass
from swath.errors import ConfigError, ContractError
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


def test_more_bands_on_request(fakes: SimpleNamespace) -> None:
    p = np.array([1.0, 0.0, 0.0, 0.0], np.float32), np.full(4, 0.25, np.float32)
    values = np.stack(p, axis=1)[:, None]  # [4,1,2]: one sure pixel, one wholly unsure
    spread = np.array([[[0.0, 0.4]]], np.float32)  # the views' mean entropy
    layers = ClassLayers(fakes.classes, probabilities=True, entropy=True, disagreement=True)
    assert [b.name for b in layers.bands][-2:] == ["entropy", "disagreement"]
    coverage = np.array([[100, 100]], np.uint8)
    got = layers.encode(BlockMap(Box(0, 0, 1, 2), np.concatenate([values, spread]), coverage))
    assert got[3:7, 0].tolist() == [[100, 25], [0, 25], [0, 25], [0, 25]]
    assert got[7, 0].tolist() == [0, 100]
    assert got[8, 0].tolist() == [0, 60]


def test_sixteen_bits_are_a_hundred_times_finer(fakes: SimpleNamespace) -> None:
    p = np.array([[[0.12344]], [[0.87656]], [[0.0]], [[0.0]]], np.float32)
    layers = ClassLayers(fakes.classes, probabilities=True, bits=16)
    got = layers.encode(BlockMap(Box(0, 0, 1, 1), p, np.array([[100]], np.uint8)))
    assert got.dtype == np.uint16
    assert got[:, 0, 0].tolist() == [2, 8766, 100, 1234, 8766, 0, 0]
    assert layers.bands[3].scale == pytest.approx(0.01)
    nothing = layers.encode(BlockMap(Box(0, 0, 1, 1), p, np.zeros((1, 1), np.uint8)))
    assert nothing[:, 0, 0].tolist() == [65535, 65535, 0, 65535, 65535, 65535, 65535]


def test_legends_that_do_not_fit_the_network_are_refused(fakes: SimpleNamespace) -> None:
    p = np.full((5, 1, 1), 0.2, np.float32)
    with pytest.raises(ContractError, match="tells 5 classes apart, the legend names 4"):
        ClassLayers(fakes.classes).encode(BlockMap(Box(0, 0, 1, 1), p, np.array([[100]], np.uint8)))
    with pytest.raises(ConfigError, match="12 is neither 8 nor 16"):
        ClassLayers(fakes.classes, bits=12)  # type: ignore[arg-type]
