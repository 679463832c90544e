"""Modules that know nothing of swath, in the engine."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import swath.scenes
from swath.errors import ConfigError, ContractError
from swath.scenes import Adapted, ClassLayers, MemorySink, make_plan, predict_scene


@pytest.mark.parametrize(
    ("axes", "dates", "shape"),
    [
        ("BCHW", 1, (2, 3, 8, 8)),
        ("BSHW", 2, (2, 6, 8, 8)),
        ("BTCHW", 2, (2, 2, 3, 8, 8)),
        ("BCTHW", 2, (2, 3, 2, 8, 8)),
    ],
)
def test_windows_come_as_the_module_wants_them(axes: str, dates: int, shape: tuple[int, ...]) -> None:
    seen: list[torch.Tensor] = []

    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x.flatten(1, -3)[:, :2]

    x = torch.arange(2 * dates * 3 * 64, dtype=torch.float32).reshape(2, dates, 3, 8, 8)
    Adapted(Net(), axes)(x, torch.ones_like(x, dtype=torch.bool))  # type: ignore[arg-type]  # one of Axes
    assert seen[0].shape == shape
    order = x.transpose(1, 2) if axes == "BCTHW" else x
    assert torch.equal(seen[0].reshape(-1), order.reshape(-1))


def test_maps_are_found_filled_and_resized() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": x[:, :2, ::4, ::4]}

    x = torch.zeros(1, 1, 3, 8, 8)
    valid = torch.zeros_like(x, dtype=torch.bool)
    out = Adapted(Net(), pick="logits", fill=7.0, resize=True)(x, valid)
    assert out.shape == (1, 2, 8, 8)
    assert (out == 7).all()
    named = SimpleNamespace(out=x)
    assert Adapted(lambda _: named, pick="out")(x, valid) is x  # type: ignore[arg-type]  # called like a module
    assert Adapted(lambda _: (1, x), pick=1)(x, valid) is x  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="returns dict, not a tensor; say where"):
        Adapted(Net())(x, valid)
    with pytest.raises(ContractError, match="the scene has 2 dates, the module eats one"):
        Adapted(Net())(x.expand(1, 2, 3, 8, 8), valid.expand(1, 2, 3, 8, 8))
    with pytest.raises(ConfigError, match="axes: 'BHWC' is unknown"):
        Adapted(Net(), "BHWC")  # type: ignore[arg-type]


def test_an_adapted_module_maps_a_scene(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(100, 90, holes=0.3)
    plan, conv = make_plan(100, 90, (32, 32)), nn.Conv2d(3, 4, 1)

    def plain(pixels: torch.Tensor, **_: object) -> torch.Tensor:
        return conv(pixels[:, 0])

    maps = []
    for network in (Adapted(conv), plain):
        sink = MemorySink(ClassLayers(fakes.classes), 100, 90)
        predict_scene(scene, network, fakes.contract(), plan, sink)
        maps.append(sink.bands)
    assert np.array_equal(maps[0], maps[1])


def test_the_room_names_what_it_offers() -> None:
    assert all(getattr(swath.scenes, name).__name__ == name for name in swath.scenes.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = swath.scenes.Nothing
