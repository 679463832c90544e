"""The plain U-Net: any size, and validity as every network here."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError, ContractError
from swath.models.unet import PRESETS, UNet, UNetConfig

TINY = UNetConfig(bands=3, classes=4, width=4, levels=3)


@given(st.integers(1, 3), st.integers(1, 23), st.integers(1, 23), st.integers(1, 4))
def test_the_map_has_the_size_of_the_input(t: int, h: int, w: int, levels: int) -> None:
    model = UNet(UNetConfig(bands=3, classes=4, width=4, levels=levels)).eval()
    assert model(torch.randn(2, t, 3, h, w)).shape == (2, 4, h, w)


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_invalid_date_equals_no_date(where: int, norm: str) -> None:
    torch.manual_seed(0)
    model = UNet(
        UNetConfig.from_dict({**TINY.to_dict(), "norm": norm})
    ).double()  # in training: statistics too
    pixels = torch.randn(2, 2, 3, 13, 16, dtype=torch.float64)
    valid = torch.rand(2, 2, 3, 13, 16) > 0.3
    more = torch.cat([pixels[:, :where], torch.full_like(pixels[:, :1], torch.nan), pixels[:, where:]], dim=1)
    more_valid = torch.cat([valid[:, :where], torch.zeros_like(valid[:, :1]), valid[:, where:]], dim=1)
    found = []
    for x, ok in ((pixels, valid), (more, more_valid)):
        logits = model(x, ok)
        found.append([logits, *torch.autograd.grad(logits.square().sum(), list(model.parameters()))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


def test_no_invalid_value_changes_any_output() -> None:
    model = UNet(TINY)
    pixels, valid = torch.randn(2, 2, 3, 9, 9), torch.rand(2, 2, 3, 9, 9) > 0.5
    valid[1] = False
    spoiled = torch.where(valid, pixels, torch.nan)
    before = valid.clone()
    logits = model(spoiled, valid)
    assert torch.equal(logits, model(torch.where(valid, pixels, 7.0), valid))
    assert logits.isfinite().all()
    assert torch.equal(valid, before)


def test_presets_sizes_and_options() -> None:
    counts = {name: sum(p.numel() for p in UNet(config).parameters()) for name, config in PRESETS.items()}
    assert 1.8e6 < counts["unet_16"] < 2.1e6
    assert 7e6 < counts["unet_32"] < 8.5e6
    assert UNetConfig.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY
    with pytest.raises(ConfigError):
        UNetConfig(norm="layer")  # type: ignore[arg-type]
    with pytest.raises(ContractError):
        UNet(TINY)(torch.randn(1, 1, 2, 8, 8))


def test_a_map_for_each_date_is_that_of_the_date_alone() -> None:
    torch.manual_seed(0)
    each = UNet(UNetConfig.from_dict({**TINY.to_dict(), "dates": "none"})).eval()
    joined = UNet(TINY).eval()
    joined.load_state_dict(each.state_dict())
    pixels, valid = torch.randn(2, 3, 3, 13, 16), torch.rand(2, 3, 3, 13, 16) > 0.3
    valid[1, 2] = False
    found = each(pixels, valid)
    assert each.each_date and not joined.each_date and found.shape == (2, 3, 4, 13, 16)
    for b, t in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        one = joined(pixels[b : b + 1, t : t + 1], valid[b : b + 1, t : t + 1])
        torch.testing.assert_close(found[b, t], one[0])
    assert (found[1, 2] == 0).all()
    torch.testing.assert_close(each(pixels), each(pixels, torch.ones_like(valid)))
    with pytest.raises(ConfigError, match="'last' is neither mean nor none"):
        UNetConfig(dates="last")  # type: ignore[arg-type]  # what is refused
