"""The encoder of visible tokens alone against the ordinary one with hidden tokens marked as empty."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from swath.errors import ConfigError
from swath.models.attention import force_kernel
from swath.models.flops import flops
from swath.models.st_swin import STSwinConfig, STSwinMAE, STSwinUNet, STSwinUNetConfig, from_mae
from swath.models.swin3d import SwinBlock
from swath.models.visible_swin import encode_plain, encode_visible
from swath.pretraining.st_swin_mae import STSwinMAEObjective
from swath.pretraining.window_masks import hide_windows, noise_length
from swath.training.parallel import checkpoint_blocks

SIZES: dict[str, Any] = {
    "bands": 2, "patch_size": (1, 2, 2), "embed_dim": 8, "depths": (2, 2, 2), "heads": (1, 2, 2),
    "window": (2, 3, 3), "decoder_depths": (1, 1), "drop_path": 0.0,
}  # fmt: skip


def network(**options: Any) -> STSwinMAE:
    torch.manual_seed(0)
    return STSwinMAE(STSwinConfig(**{**SIZES, "encoder_sees": "visible", **options})).double()


def masks(b: int, grid: tuple[int, int, int], window: int, share: bool, valid: Tensor | None) -> Tensor:
    noise = torch.rand(b, noise_length(*grid, window, share))
    return hide_windows(noise, grid, window=window, ratio=0.6, share_over_time=share, valid=valid)


@given(
    seed=st.integers(0, 99),
    grid=st.tuples(st.integers(1, 3), st.integers(3, 13), st.integers(3, 13)),
    window=st.sampled_from([1, 2, 4]),
    share=st.booleans(),
    gaps=st.booleans(),
    final=st.booleans(),
)
@settings(max_examples=15)
def test_the_fast_form_equals_the_plain_one_and_so_do_its_gradients(
    seed: int, grid: tuple[int, int, int], window: int, share: bool, gaps: bool, final: bool
) -> None:
    """Any grid, shifted and padded windows, masks finer and coarser than a merged token."""
    model = network(final_norm=final)
    torch.manual_seed(seed)
    x = torch.randn(2, *grid, 8, dtype=torch.float64)
    valid = torch.rand(2, *grid) > 0.3 if gaps else None
    hidden = masks(2, grid, window, share, valid)
    shown = ~hidden if valid is None else valid & ~hidden
    results = []
    for encode in (encode_plain, encode_visible):
        model.zero_grad()
        leaf = x.clone().requires_grad_()
        top, seen = encode(model, leaf, shown)
        top = top.masked_fill(~seen[..., None], 0.0)
        (top * torch.linspace(-1, 1, top.numel(), dtype=top.dtype).view_as(top)).sum().backward()
        grads = {n: p.grad for n, p in model.named_parameters() if n.startswith("layers.")}
        results.append((top, seen, leaf.grad, grads))
    (a, seen_a, grad_a, grads_a), (b, seen_b, grad_b, grads_b) = results
    assert torch.equal(seen_a, seen_b)
    torch.testing.assert_close(a, b)
    assert grad_a is not None and grad_b is not None
    torch.testing.assert_close(grad_a.masked_fill(~shown[..., None], 0.0), grad_b)
    for name, grad in grads_a.items():
        other = grads_b[name]
        if grad is not None:
            torch.testing.assert_close(
                grad, torch.zeros_like(grad) if other is None else other, atol=1e-9, rtol=1e-6
            )


def test_with_nothing_hidden_it_is_the_ordinary_network() -> None:
    model, dense = network(), network(encoder_sees="all")
    state = {k: v for k, v in model.state_dict().items() if k != "mask_token"}
    dense.load_state_dict(state, strict=False)
    pixels = torch.rand(2, 2, 2, 18, 14, dtype=torch.float64)
    nothing = torch.zeros(2, 2, 9, 7, dtype=torch.bool)
    torch.testing.assert_close(model(pixels, None, nothing), dense(pixels))


def test_where_nothing_is_visible_nothing_is_encoded() -> None:
    model = network()
    top, seen = encode_visible(model, torch.rand(2, 2, 9, 7, 8).double(), torch.zeros(2, 2, 9, 7).bool())
    assert not seen.any() and torch.equal(top, torch.zeros_like(top))
    top.sum().backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_hidden_pixels_do_not_reach_the_prediction_and_it_learns() -> None:
    torch.manual_seed(0)
    objective = STSwinMAEObjective(network(), mask_ratio=0.5, mask_window=2).double()
    pixels = torch.linspace(-1, 1, 16, dtype=torch.float64).expand(2, 2, 2, 16, 16).clone()
    noise = torch.rand(2, objective.noise_length(pixels.shape))
    out = objective(pixels, noise=noise)
    assert out.mask is not None and out.reconstruction is not None
    changed = torch.where(out.mask, torch.rand_like(pixels), pixels)
    torch.testing.assert_close(objective(changed, noise=noise).reconstruction, out.reconstruction)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = objective(pixels, noise=torch.rand(2, objective.noise_length(pixels.shape))).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("at", [0, 1, 2])
def test_invalid_dates_equal_no_dates(at: int) -> None:
    objective = STSwinMAEObjective(network(), mask_ratio=0.5, mask_window=2).double()
    torch.manual_seed(at)
    pixels, valid = torch.rand(1, 2, 2, 12, 16, dtype=torch.float64), torch.rand(1, 2, 2, 12, 16) > 0.2
    noise = torch.rand(1, 2, objective.noise_length(pixels.shape) // 2)

    def insert(y: Tensor, new: Tensor) -> Tensor:
        return torch.cat([y[:, :at], new, y[:, at:]], 1)

    plain = objective(pixels, valid, noise=noise.flatten(1))
    more = objective(
        insert(pixels, pixels[:, :1] * torch.nan),
        insert(valid, torch.zeros_like(valid[:, :1])),
        noise=insert(noise, torch.rand_like(noise[:, :1])).flatten(1),
    )
    torch.testing.assert_close(more.loss, plain.loss)


def test_its_weights_go_into_the_unet_and_its_operations_are_counted() -> None:
    model = network(window=(2, 8, 8))
    unet = STSwinUNet(STSwinUNetConfig(model.config, classes=3))
    assert "mask_token" in from_mae(dict(model.named_parameters()), dict(unet.named_parameters())).dropped
    # One square of four in each window, shifted or not: nothing is hidden in vain, as the formula has it.
    squares = torch.ones(4, 4, dtype=torch.bool)
    squares[::2, ::2] = False
    hidden = squares.repeat_interleave(4, 0).repeat_interleave(4, 1).expand(1, 2, 16, 16)
    with force_kernel("explicit"), FlopCounterMode(display=False) as counter, torch.no_grad():
        model.predict_patches(torch.rand(1, 2, 2, 32, 32, dtype=torch.float64), None, hidden)
    counted = flops(model.config, (2, 2, 32, 32), mask_ratio=0.75)
    assert counted == counter.get_total_flops()
    assert counted < flops(network(encoder_sees="all").config, (2, 2, 32, 32))


def test_unmasked_padding_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs mask_padding"):
        STSwinConfig(**{**SIZES, "encoder_sees": "visible", "mask_padding": False})


def test_what_is_done_to_blocks_from_outside_is_done_here_too() -> None:
    """Activation checkpointing and compilation take hold of a block's forward: none may be passed by."""
    objective = STSwinMAEObjective(network().float(), 0.6, 2)
    blocks = [m for m in objective.modules() if isinstance(m, SwinBlock)]
    called: set[int] = set()
    for block in blocks:
        block.register_forward_pre_hook(lambda m, given: called.add(id(m)))
    pixels = torch.randn(1, 2, 2, 16, 16)
    noise = torch.rand(1, objective.noise_length(pixels.shape))

    def gradients() -> list[Tensor]:
        objective.zero_grad()
        objective(pixels, None, noise=noise).loss.backward()
        return [p.grad.clone() for p in objective.parameters() if p.grad is not None]

    plain = gradients()
    assert called == {id(block) for block in blocks}
    assert checkpoint_blocks(objective) == len(blocks)
    for a, b in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(a, b)
