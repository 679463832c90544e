from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), min_size=1, max_size=6),
    st.sampled_from([8, 16]),
)
def test_shares_are_rounded_each_on_its_own(
    fakes: SimpleNamespace, rows: list[list[float]], bits: int
) -> None:
    """Each is off by half a step at most; their sum by half a step for each class, and so need not be 100."""
    p = np.array(rows, np.float32).T + np.float32(1e-3)
    p = (p / p.sum(0))[:, None]
    layers = ClassLayers(fakes.classes, probabilities=True, bits=bits)  # type: ignore[arg-type]  # 8 or 16
    got = layers.encode(BlockMap(Box(0, 0, 1, len(rows)), p, np.full((1, len(rows)), 100, np.uint8)))
    step = 1 if bits == 8 else 0.01
    shares = got[3:].astype(np.float64) * step
    assert np.abs(shares - p * 100.0).max() <= step / 2 + 1e-4
    assert np.abs(shares.sum(0) - 100).max() <= 4 * step / 2 + 1e-3
    # The confidence is the largest of them, rounded alike.
    assert np.array_equal(got[1], got[3:].max(0))


def test_a_sum_that_is_not_a_hundred(fakes: SimpleNamespace) -> None:
    p = np.array([0.334, 0.333, 0.333], np.float32)[:, None, None]
    for bits, total in ((8, 99), (16, 10000)):
        layers = ClassLayers(fakes.classes[:3], probabilities=True, bits=bits)  # type: ignore[arg-type]  # 8 or 16
        got = layers.encode(BlockMap(Box(0, 0, 1, 1), p, np.full((1, 1), 100, np.uint8)))
        assert got[3:].astype(int).sum() == total
