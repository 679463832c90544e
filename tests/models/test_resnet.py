"""The small residual network: any size, and validity as every network here."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError, ContractError
from swath.models.resnet import PRESETS, ResNet, ResNetConfig

TINY = ResNetConfig(bands=3, outputs=4, width=4, blocks=(1, 2, 1))


@given(
    st.integers(1, 3),
    st.integers(1, 23),
    st.integers(1, 23),
    st.lists(st.integers(1, 2), min_size=1, max_size=4),
)
def test_any_size_has_one_answer_and_a_gap_that_is_none_changes_nothing(
    t: int, h: int, w: int, blocks: list[int]
) -> None:
    torch.manual_seed(0)
    model = ResNet(ResNetConfig(bands=3, outputs=4, width=4, blocks=tuple(blocks))).double().eval()
    pixels = torch.randn(2, t, 3, h, w, dtype=torch.float64)
    found = model(pixels)
    assert found.shape == (2, 4)
    torch.testing.assert_close(model(pixels, torch.ones_like(pixels, dtype=torch.bool)), found)


@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_invalid_date_equals_no_date(where: int) -> None:
    torch.manual_seed(0)
    model = ResNet(TINY).double()
    pixels = torch.randn(2, 2, 3, 13, 16, dtype=torch.float64)
    valid = torch.rand(2, 2, 3, 13, 16) > 0.3
    more = torch.cat([pixels[:, :where], torch.full_like(pixels[:, :1], torch.nan), pixels[:, where:]], dim=1)
    more_valid = torch.cat([valid[:, :where], torch.zeros_like(valid[:, :1]), valid[:, where:]], dim=1)
    found = []
    for x, ok in ((pixels, valid), (more, more_valid)):
        answers = model(x, ok)
        found.append([answers, *torch.autograd.grad(answers.square().sum(), list(model.parameters()))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


def test_the_order_of_dates_is_nothing_to_it() -> None:
    torch.manual_seed(0)
    model = ResNet(TINY).double()
    pixels, valid = torch.randn(2, 3, 3, 9, 10, dtype=torch.float64), torch.rand(2, 3, 3, 9, 10) > 0.3
    torch.testing.assert_close(model(pixels.flip(1), valid.flip(1)), model(pixels, valid))


def test_no_invalid_value_changes_any_output() -> None:
    torch.manual_seed(0)
    model = ResNet(TINY)
    pixels, valid = torch.randn(2, 2, 3, 9, 9), torch.rand(2, 2, 3, 9, 9) > 0.5
    valid[1] = False
    found = model(torch.where(valid, pixels, torch.nan), valid)
    assert torch.equal(found, model(torch.where(valid, pixels, 7.0), valid))
    assert found.isfinite().all()


def test_cells_without_data_count_in_no_mean() -> None:
    """Of a row of cells that is wholly invalid, only what reaches over the edge of the others is left."""
    torch.manual_seed(0)
    model = ResNet(ResNetConfig(bands=3, outputs=4, width=4, blocks=(1,)))
    for module in model.modules():  # each pixel by itself: neither kernels nor statistics reach over an edge
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
            with torch.no_grad():
                module.weight[..., [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0.0
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x  # type: ignore[method-assign]  # for this test alone
    pixels = torch.randn(1, 1, 3, 6, 5)
    valid = torch.ones(1, 1, 3, 6, 5, dtype=torch.bool)
    valid[..., 4:, :] = False
    torch.testing.assert_close(model(pixels, valid), model(pixels[..., :4, :]))


def test_presets_sizes_and_options() -> None:
    counts = {name: sum(p.numel() for p in ResNet(config).parameters()) for name, config in PRESETS.items()}
    assert 0.2e6 < counts["resnet_32"] < 0.4e6
    assert 2.6e6 < counts["resnet_64"] < 3.0e6
    assert ResNetConfig.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY
    for wrong, message in (
        ({"blocks": ()}, "one or more in each stage"),
        ({"blocks": (1, 0)}, "one or more in each stage"),
        ({"width": 0}, "1 or more"),
        ({"dropout": 1.0}, "not in"),
    ):
        with pytest.raises(ConfigError, match=message):
            ResNetConfig(**wrong)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ContractError, match="but the model eats"):
        ResNet(TINY)(torch.randn(1, 1, 2, 8, 8))
