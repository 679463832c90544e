"""Squares inside a record: no pixel is seen by two parts, and a strip lies between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import sensor
from swath.cube import Cube, Encoding, Sample
from swath.data.part_spec import PARTS, PartsSpec
from swath.data.part_within import own_pixels, restrict
from swath.errors import ConfigError, InputError

SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}


@given(st.integers(20, 70), st.integers(20, 70), st.integers(4, 9), st.integers(0, 3), st.integers(0, 50))
def test_parts_are_apart_by_the_buffer(height: int, width: int, block: int, buffer: int, seed: int) -> None:
    spec = PartsSpec(by="within", shares=SHARES, block=block, buffer=buffer, seed=seed)
    own = {part: own_pixels("chip", height, width, spec, part) for part in PARTS}
    whole = PartsSpec(by="within", shares=SHARES, block=block, seed=seed)
    assert sum(own_pixels("chip", height, width, whole, part).sum() for part in PARTS) == height * width
    for part, mask in own.items():
        others = np.argwhere(np.any([own[p] for p in PARTS if p != part], axis=0))
        for row, col in np.argwhere(mask)[:: max(1, int(mask.sum()) // 40)]:
            apart = np.abs(others - (row, col)).max(1).min()
            assert apart > buffer


def record(target: np.ndarray) -> Sample:
    pixels = np.random.default_rng(0).random((2, 1, 24, 24))
    bands = sensor("sentinel2").select(("B02",))
    cube = Cube(pixels, np.ones(pixels.shape, bool), bands, (None, None), ((Encoding("reflectance"),),) * 2)
    return Sample({"s": cube}, "chip", target)


def test_a_part_sees_its_own_pixels_and_labels_alone() -> None:
    spec = PartsSpec(by="within", shares=SHARES, block=6, buffer=2)
    whole = record(np.arange(24 * 24).reshape(24, 24) % 3)
    seen = {part: restrict(whole, spec, part) for part in PARTS}
    for part, mine in seen.items():
        own = own_pixels("chip", 24, 24, spec, part)
        assert (mine.cube.valid == own).all()
        assert ((mine.target != -1) == own).all()
        assert mine.cube.statistics is not None and mine.cube.statistics.count == (int(own.sum()) * 2,)
    values = restrict(record(np.ones((24, 24), np.float32)), spec, "train").target
    assert values is not None and values.dtype == np.float32 and np.isnan(values).any()


def test_what_cannot_be_divided_is_said() -> None:
    spec = PartsSpec(by="within", shares=SHARES, block=6)
    with pytest.raises(InputError, match=r"chip: has no target per pixel"):
        restrict(record(np.asarray(3)), spec, "train")
    with pytest.raises(ConfigError, match=r"1 squares of 24 pixels leave none to .* make blocks smaller"):
        for part in PARTS:
            own_pixels("chip", 24, 24, PartsSpec(by="within", shares=SHARES, block=24), part)
    with pytest.raises(ConfigError, match=r"blocks of 6.5 pixels with 0 between"):
        own_pixels("chip", 24, 24, PartsSpec(by="within", shares=SHARES, block=6.5), "train")
