"""Maps of each date in one file: the bands of each date are those of a map of it alone."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError, ContractError
from swath.scenes.box import Box
from swath.scenes.layers import (
    DATES,
    BlockMap,
    ClassLayers,
    DatedLayers,
    Layers,
    ValueLayers,
    legend_of,
    names_of_dates,
)


@given(st.integers(1, 4), st.integers(0, 99), st.booleans(), st.booleans(), st.integers(1, 100))
def test_the_bands_of_a_date_are_its_own_map(
    fakes: SimpleNamespace, dates: int, seed: int, real: bool, empty: bool, least: int
) -> None:
    draw = np.random.default_rng(seed)
    inner: Layers = (
        ValueLayers(("depth", "width"), least, units=("m", "m"), gain=(2.0, 1.0), bias=(0.0, -1.0))
        if real
        else ClassLayers(fakes.classes, least, probabilities=True, entropy=True)
    )
    k = 2 if real else 4
    values = draw.random((dates * k, 3, 5)).astype(np.float32)
    coverage = draw.integers(0, 101, (dates, 3, 5)).astype(np.uint8)
    layers = DatedLayers(inner, tuple(f"2020-06-0{t + 1}" for t in range(dates)))
    box = Box(0, 0, 3, 5)
    got = layers.encode(BlockMap(box, None if empty else values, coverage))
    assert got.shape == (len(layers.bands), 3, 5) and got.dtype.name == layers.dtype
    for t, part in enumerate(np.split(got, dates)):
        alone = BlockMap(box, None if empty else values[t * k : (t + 1) * k], coverage[t])
        np.testing.assert_array_equal(part, inner.encode(alone))
    names = [band.name for band in layers.bands]
    assert names[0] == f"{inner.bands[0].name} 2020-06-01" and len(set(names)) == len(names)
    assert layers.bands[-1].unit == inner.bands[-1].unit and layers.nodata is not None
    tags = layers.tags()
    assert tags[DATES].count(",") == dates - 1 and f"BAND_{len(names)}" in tags
    assert real or legend_of(tags) == fakes.classes


def test_dates_have_names_of_their_own() -> None:
    day = dt.date(2020, 6, 1)
    assert names_of_dates((day, day, dt.date(2020, 7, 1), day)) == (
        "2020-06-01", "2020-06-01 (2)", "2020-07-01", "2020-06-01 (3)"
    )  # fmt: skip
    assert names_of_dates((None, None)) == ("date 1", "date 2")


def test_what_does_not_fit_is_refused(fakes: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="disagreement: is not for maps of each date"):
        DatedLayers(ClassLayers(fakes.classes, disagreement=True), ("a",))
    for names in ((), ("a", "a")):
        with pytest.raises(ConfigError, match="dates need names, each another"):
            DatedLayers(ClassLayers(fakes.classes), names)
    with pytest.raises(ContractError, match="a block of 3 dates meets a file of 2"):
        DatedLayers(ClassLayers(fakes.classes), ("a", "b")).encode(
            BlockMap(Box(0, 0, 1, 1), None, np.zeros((3, 1, 1), np.uint8))
        )
