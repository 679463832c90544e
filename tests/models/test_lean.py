"""What is computed again equals what would have been kept, and less is kept."""

from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from swath.models.lean import gelu_linear, linear, norm_linear, plain_layers
from swath.models.swin3d import SwinBlock
from swath.models.swin_config import Swin3DConfig
from swath.models.windows import plan_windows

KINDS = ("linear", "norm", "gelu")


def layers(bias: bool = True, wide: int = 24) -> tuple[nn.LayerNorm, nn.Linear]:
    torch.manual_seed(0)
    norm, layer = nn.LayerNorm(8), nn.Linear(8, wide, bias=bias)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, layer


def call(kind: str, x: Tensor, norm: nn.LayerNorm, layer: nn.Linear) -> Tensor:
    if kind == "linear":
        return linear(x, layer)
    return norm_linear(x, norm, layer) if kind == "norm" else gelu_linear(x, layer)


def both(kind: str, x: Tensor, norm: nn.LayerNorm, layer: nn.Linear, bf16: bool) -> list[list[Tensor | None]]:
    """Output and gradients of the plain form and of the lean one."""
    found = []
    for way in (plain_layers(), contextlib.nullcontext()):
        own = x.detach().clone().requires_grad_(x.requires_grad)
        norm.zero_grad()
        layer.zero_grad()
        with way, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = call(kind, own, norm, layer)
        out.float().square().sum().backward()
        found.append([out.detach(), own.grad, *(p.grad for m in (norm, layer) for p in m.parameters())])
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("bf16", "number"), [(False, torch.float32), (True, torch.float32), (True, torch.bfloat16)]
)
def test_outputs_and_gradients_are_those_of_the_plain_form(
    kind: str, bias: bool, bf16: bool, number: torch.dtype
) -> None:
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)).to(number).requires_grad_()
    for wanted, lean in zip(*both(kind, x, *layers(bias), bf16), strict=True):
        assert (wanted is None) == (lean is None)
        if wanted is not None and lean is not None:
            assert wanted.dtype == lean.dtype
            tolerance = 2e-2 if bf16 else 1e-6
            torch.testing.assert_close(lean, wanted, atol=tolerance * float(wanted.abs().max()), rtol=1e-5)


@pytest.mark.parametrize("still", ["x", "norm", "weight", "bias"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_frozen_gets_no_gradient_and_the_rest_its_own(kind: str, still: str) -> None:
    norm, layer = layers()
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)).requires_grad_(still != "x")
    norm.requires_grad_(still != "norm")
    layer.weight.requires_grad_(still != "weight")
    layer.bias.requires_grad_(still != "bias")
    for wanted, lean in zip(*both(kind, x, norm, layer, False), strict=True):
        assert (wanted is None) == (lean is None)
        if wanted is not None and lean is not None:
            torch.testing.assert_close(lean, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_a_copy_of_the_weight_nor_what_stands_before_the_product_is_kept(kind: str) -> None:
    norm, layer = layers()
    x = torch.randn(2, 5, 8).bfloat16().requires_grad_()
    kept: dict[bool, list[Tensor]] = {True: [], False: []}
    for plain in (True, False):

        def note(t: Tensor, plain: bool = plain) -> Tensor:
            kept[plain].append(t)
            return t

        with (
            plain_layers() if plain else contextlib.nullcontext(),
            torch.autocast("cpu", torch.bfloat16),
            torch.autograd.graph.saved_tensors_hooks(note, lambda t: t),
        ):
            call(kind, x, norm, layer)
    own = {p.data_ptr() for m in (norm, layer) for p in m.parameters()} | {x.data_ptr()}
    assert all(t.data_ptr() in own for t in kept[False])
    assert any(t.data_ptr() not in own for t in kept[True])


def test_who_listens_to_a_layer_hears_it() -> None:
    norm, layer = layers()
    heard: list[str] = []
    norm.register_forward_hook(lambda *_: heard.append("norm"))
    layer.register_forward_hook(lambda *_: heard.append("layer"))
    x = torch.randn(2, 8)
    norm_linear(x, norm, layer)
    gelu_linear(x, layer)
    linear(x, layer)
    assert heard == ["norm", "layer", "layer", "layer"]


def test_a_cropped_map_is_multiplied_in_rows() -> None:
    """Not in one piece, it would be multiplied as a batch, by a copy of the weight for every row of the map."""
    layer = nn.Linear(8, 24)
    x = torch.randn(2, 3, 6, 6, 8)[:, :, :4, :5].detach().requires_grad_()
    with torch.profiler.profile() as seen:
        linear(x, layer).sum().backward()
    assert not [event.key for event in seen.key_averages() if "bmm" in event.key]


@settings(deadline=None, max_examples=20)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_projecting_before_the_cut_equals_projecting_what_was_padded(
    size: tuple[int, int, int], shifted: bool, holes: bool, masked: bool
) -> None:
    config = Swin3DConfig(embed_dim=8, depths=(2,), heads=(2,), window=(2, 3, 3), mask_padding=masked)
    torch.manual_seed(0)
    block = SwinBlock(config, 0, 0.0).double()
    for p in block.parameters():
        nn.init.normal_(p, std=0.5)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, *size, 8, generator=draw, dtype=torch.float64)
    valid = torch.rand(2, *size, generator=draw) < 0.7 if holes else None
    plan = plan_windows(size, config.rule(0), shifted=shifted, device=x.device, valid=valid)
    found = []
    for way in (plain_layers(), contextlib.nullcontext()):
        own = x.clone().requires_grad_()
        block.zero_grad()
        with way:
            out = block(own, plan)
        out.square().sum().backward()
        found.append([out.detach(), own.grad, *(p.grad for p in block.parameters())])
    for wanted, lean in zip(*found, strict=True):
        torch.testing.assert_close(lean, wanted, atol=1e-8, rtol=1e-8)
