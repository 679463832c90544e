"""Stochastic depth: what it drops, and that its draws are the samples' own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.models.drop_path import DropPath, path_length, path_rows, path_table
from swath.models.st_swin import STSwinConfig, STSwinMAE
from swath.models.vit import Block
from swath.models.vit_encoder import ViT, ViTConfig
from swath.training.parallel import checkpoint_blocks


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = DropPath(0.25).train()
    out = layer(torch.ones(4000, 2, 3))
    values = out.flatten(1)
    assert ((values == 0).all(1) | torch.isclose(values, torch.tensor(4 / 3)).all(1)).all()
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)


def test_drop_path_does_nothing_in_eval_or_at_zero() -> None:
    x = torch.randn(3, 2)
    assert DropPath(0.5).eval()(x) is x
    assert DropPath(0.0).train()(x) is x
    assert "0.5" in repr(DropPath(0.5))
    with pytest.raises(ValueError, match="drop path"):
        DropPath(1.0)


def drawn(x: torch.Tensor, layers: list[DropPath]) -> torch.Tensor:
    found = [layer.draw(x) for layer in layers]
    return torch.stack([f for f in found if f is not None])


@given(cut=st.integers(1, 5), times=st.integers(1, 3), seed=st.integers(0, 99))
def test_draws_are_those_of_the_sample_however_a_batch_is_cut(cut: int, times: int, seed: int) -> None:
    layers = [DropPath(0.3).train() for _ in range(3)]
    numbers = torch.rand(6, 2 * 3 * times, generator=torch.Generator().manual_seed(seed))
    with path_table(numbers):
        whole = drawn(torch.ones(6 * times, 2), layers)
    parts = []
    for rows in (numbers[:cut], numbers[cut:]):
        with path_table(rows):
            parts.append(drawn(torch.ones(len(rows) * times, 2), layers))
    assert whole.shape == (3, 2, 6 * times) and torch.equal(whole, torch.cat(parts, dim=2))
    assert ((whole == 0) | (whole == 1 / 0.7)).all()
    # Groups that run apart take what is theirs, in any order.
    chosen = torch.tensor([4, 1, 3]), torch.tensor([0, 2, 5])
    with path_table(numbers):
        found = []
        for rows in chosen:
            with path_rows(rows):
                found.append(drawn(torch.ones(3 * times, 2), layers))
    each = whole.unflatten(2, (6, times))
    for rows, part in zip(chosen, found, strict=True):
        assert torch.equal(part.unflatten(2, (3, times)), each[:, :, rows])


def test_without_a_table_or_with_another_number_of_rows_it_draws_by_itself() -> None:
    layer, x = DropPath(0.5).train(), torch.ones(5, 2)
    assert layer.draw(x) is None
    with path_table(torch.rand(3, 4)):
        assert layer.draw(x) is None and layer.draw(torch.ones(2, 2)) is None
        assert layer.eval().draw(torch.ones(3, 2)) is None
        assert layer.train().draw(torch.ones(3, 2)) is not None
    with path_rows(torch.tensor([0])):  # nothing to take a part of
        assert layer.draw(x) is None
    assert path_length(torch.nn.Sequential(layer, DropPath(0.0), DropPath(0.1)), 3) == 12


@pytest.mark.parametrize("kind", ["vit", "swin", "visible"])
def test_networks_drop_the_same_of_a_sample_alone_and_among_others(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "vit":
        network: torch.nn.Module = ViT(
            ViTConfig((500.0, 600.0), (), 16, 4, 8, 3, 2, drop_path=0.6, temporal=True)
        )
    else:
        network = STSwinMAE(
            STSwinConfig(
                bands=2, patch_size=(1, 4, 4), embed_dim=8, depths=(2, 1), heads=(1, 2), window=(2, 2, 2),
                decoder_depths=(2,), drop_path=0.6, encoder_sees="visible" if kind == "visible" else "all",
            )
        )  # fmt: skip
    network.train()
    pixels = torch.randn(4, 3, 2, 16, 16)
    valid = torch.ones_like(pixels, dtype=torch.bool)
    valid[1, 2], valid[2, 0] = False, False  # these run apart in a Swin
    numbers = torch.rand(4, path_length(network, 1))
    hidden = torch.zeros(4, 3, 4, 4, dtype=torch.bool)
    hidden[:, :, :2] = True

    def called(rows: slice) -> torch.Tensor:
        with path_table(numbers[rows]):
            if kind == "vit":
                return network.features(pixels[rows], valid[rows]).pooled  # type: ignore[operator]
            return network(pixels[rows], valid[rows], hidden[rows])

    whole = called(slice(None))
    assert not torch.allclose(whole, called(slice(None))[[1, 0, 3, 2]])
    for row in range(4):
        torch.testing.assert_close(called(slice(row, row + 1)), whole[row : row + 1], atol=1e-5, rtol=1e-5)
    # Computed a second time for the gradients, a block drops the same.
    gradients = []
    for _ in range(2):
        network.zero_grad()
        called(slice(None)).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
        checkpoint_blocks(network)
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_a_block_called_by_itself_still_drops() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, drop_path=0.9).train()
    x = torch.randn(64, 3, 8)
    assert ((block(x) == x).flatten(1).all(1)).float().mean() > 0.5
