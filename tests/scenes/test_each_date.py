"""A network that draws a map for each date gives, date by date, the maps of the dates alone, in bounded memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import ConfigError, ContractError
from swath.scenes.engine import Engine
from swath.scenes.estimate import block_bytes
from swath.scenes.layers import NODATA, ClassLayers, DatedLayers, ValueLayers
from swath.scenes.mapping import predict_scene
from swath.scenes.sink import MemorySink
from swath.scenes.windows import Plan


class EachDate(torch.nn.Module):
    """The maps of a network of one date, for each."""

    def __init__(self, one: torch.nn.Module) -> None:
        super().__init__()
        self.one = one

    def forward(
        self, pixels: Any, valid: Any = None, days: Any = None, wavelengths: Any = None
    ) -> torch.Tensor:
        return torch.stack([self.one(pixels[:, t : t + 1]) for t in range(pixels.shape[1])], 1)


@settings(max_examples=15)
@given(
    st.integers(5, 60),
    st.integers(5, 60),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.4]),
    st.booleans(),
    st.booleans(),
)
def test_each_date_is_mapped_as_if_alone(
    fakes: SimpleNamespace, height: int, width: int, dates: int, holes: float, turns: bool, real: bool
) -> None:  # fmt: skip
    scene, net = fakes.scene(height, width, dates=dates, holes=holes), fakes.ConvNet()
    contract, plan = fakes.contract("scene"), Plan(height, width, (16, 16), 4, 2, 256)
    inner = ValueLayers(("a", "b", "c", "d")) if real else ClassLayers(fakes.classes, 50)
    names = tuple("xyz"[:dates])
    sink = MemorySink(DatedLayers(inner, names), height, width)
    found = predict_scene(scene, EachDate(net), contract, plan, sink, turns=turns)
    parts = np.split(sink.bands, dates)
    shown = np.zeros((height, width), bool)
    for t, part in enumerate(parts):
        one = fakes.scene(height, width)
        one.pixels, one.valid = scene.pixels[t : t + 1], scene.valid[t : t + 1]
        one.statistics = scene.statistics  # type: ignore[method-assign]  # those of all dates, as the network was given
        if not one.valid.any():
            continue
        alone = MemorySink(inner, height, width)
        predict_scene(one, net, contract, plan, alone, turns=turns)
        np.testing.assert_array_equal(part[4 if real else 2], alone.bands[4 if real else 2])
        if real:
            np.testing.assert_allclose(part, alone.bands, atol=1e-4)
        else:
            # Batches of other sizes round otherwise: a percent more or less.
            assert (np.abs(part[1].astype(int) - alone.bands[1]) <= 1).all()
            clear = (alone.bands[1] > 51) | (alone.bands[1] == NODATA)
            np.testing.assert_array_equal(part[0][clear], alone.bands[0][clear])
        shown |= one.valid.sum((0, 1)) * 100 // 3 >= inner.min_coverage
    assert found.nodata_pixels == (~shown).sum() and found.pixels == height * width


def test_maps_of_each_date_are_told_from_others(fakes: SimpleNamespace) -> None:
    scene, plan = fakes.scene(20, 20, dates=2), Plan(20, 20, (16, 16), 4, 2, 256)
    one, each = fakes.ConvNet(), EachDate(fakes.ConvNet())

    def run(net: torch.nn.Module, **more: Any) -> None:
        engine = Engine(scene, net, fakes.contract(), plan, **more)
        next(iter(engine.blocks()))

    run(each, each_date=True)
    with pytest.raises(
        ContractError, match=r"returns \(4, 4, 16, 16\) for 4 windows of 2 dates .* not \(4, 2, classes"
    ):
        run(one, each_date=True)
    with pytest.raises(
        ContractError, match=r"returns \(4, 2, 4, 16, 16\) .* not \(4, classes, 16, 16\); set each_date"
    ):
        run(each)
    with pytest.raises(ConfigError, match="spread: is not for maps of each date"):
        run(each, each_date=True, spread=True)


def test_memory_is_counted_date_by_date_and_not_by_the_scene(fakes: SimpleNamespace) -> None:
    def counted(side: int, dates: int) -> int:
        plan = Plan(side, side, (16, 16), 4, 2, 256)
        layers = DatedLayers(ClassLayers(fakes.classes), tuple(str(t) for t in range(dates)))
        about = {"dates": dates, "bands": 3, "stored_bands": 3, "stored": 2, "values": 4 * dates}
        return block_bytes(plan, layers, **about)

    assert counted(50_000, 3) == counted(1_000, 3)
    assert counted(1_000, 3) > 2 * counted(1_000, 1)
