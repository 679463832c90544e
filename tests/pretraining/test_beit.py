"""BEiT: its mask, its codebook and its loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.errors import ConfigError
from swath.models.beit import BEiT, BEiTConfig
from swath.models.visual_tokens import nearest
from swath.pretraining import tokenizer
from swath.pretraining.beit import BEiTObjective
from swath.pretraining.block_masks import NOISE_PER_DATE, hide_blocks

NM = (490.0, 560.0, 665.0)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def objective(codes: int = 6) -> BEiTObjective:
    torch.manual_seed(0)
    network = BEiT(
        BEiTConfig(
            wavelengths=NM, image_size=16, patch_size=4, cells=2, codes=codes, embed_dim=16, depth=1, heads=2,
            temporal=True,
        )
    )  # fmt: skip
    network.visual_tokens.codes.copy_(draw(codes, 12, seed=9))
    return BEiTObjective(network, 0.4, 3)


def rectangles(mask: Tensor) -> tuple[int, int, int]:
    """Height and width of the box around what is hidden, and how many tokens it is."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1), int(mask.sum())


def test_blocks_hide_the_share_asked_for_and_little_more() -> None:
    hidden = hide_blocks(draw(300, 2 * NOISE_PER_DATE), (2, 14, 14), ratio=0.4)
    count = hidden.sum(dim=(2, 3))
    assert (count >= 78).all()  # floor(0.4 * 196)
    # The last block may go beyond: at least 16 tokens, at most half as much again by rounding.
    assert (count <= 78 + 24).all() and count.float().mean() < 90
    assert not torch.equal(hidden[:, 0], hidden[:, 1])
    # Every place is hidden now and then, the middle more often than the corners.
    often = hidden.float().mean(dim=(0, 1))
    assert often.min() > 0.02 and often[5:9, 5:9].mean() > often[[0, 0, -1, -1], [0, -1, 0, -1]].mean() + 0.1


def test_the_first_block_is_a_rectangle_of_the_published_shape() -> None:
    """With 16 tokens wanted and 16 the least, one block is drawn: of about 16 tokens and an aspect of 0.3 … 1 / 0.3."""
    noise = draw(400, NOISE_PER_DATE, seed=3)
    hidden = hide_blocks(noise, (1, 40, 40), ratio=0.01)[:, 0]
    boxes = [rectangles(m) for m in hidden]
    whole = [(a, b) for a, b, n in boxes if a * b == n]
    assert len(whole) > 150  # a block that rounds below 16 gets a second one
    aspects = torch.tensor([a / b for a, b in whole])
    assert aspects.min() >= 2 / 8 and aspects.max() <= 8 / 2
    tall = (aspects > 1).sum().item()
    wide = (aspects < 1).sum().item()
    assert 0.7 < tall / wide < 1.4
    assert all(12 <= a * b <= 21 for a, b in whole)


@given(seed=st.integers(0, 99))
def test_blocks_count_and_hide_only_what_holds_data(seed: int) -> None:
    valid = draw(4, 2, 12, 12, seed=seed) > 0.3
    valid[0, 0] = False
    valid[1, :, :, 6:] = False
    hidden = hide_blocks(
        draw(4, 2 * NOISE_PER_DATE, seed=seed + 1), (2, 12, 12), ratio=0.4, least=4, valid=valid
    )
    assert not (hidden & ~valid).any()
    wanted = (valid.sum(dim=(2, 3)) * 0.4).floor()
    assert (hidden.sum(dim=(2, 3)) >= wanted).all() and not hidden[0, 0].any()


def test_nearest_against_a_loop() -> None:
    x, held, codes = draw(20, 6), draw(20, 6, seed=1) > 0.4, draw(5, 6, seed=2)
    x = torch.where(held, x, 0.0)
    ids, distance = nearest(x, held, codes)
    for i in range(20):
        each = torch.stack([(x[i] - c)[held[i]].square().sum() for c in codes])
        assert int(ids[i]) == int(each.argmin())
        torch.testing.assert_close(distance[i], each.min(), atol=1e-5, rtol=1e-4)


def test_the_codebook_finds_the_kinds_that_are_there_and_its_error_never_rises() -> None:
    network = objective(codes=5).network
    centres = draw(5, 12, seed=4) * 10
    kind = torch.arange(200) % 5
    held = draw(200, 12, seed=5) > 0.2
    x = torch.where(held, centres[kind] + 0.01 * draw(200, 12, seed=6), 0.0)
    best = []
    for seed in range(8):
        fitted = tokenizer.fit(network.visual_tokens, x, held, iterations=15, seed=seed)
        assert all(b <= a + 1e-6 for a, b in zip(fitted.errors, fitted.errors[1:], strict=False))
        again = network.visual_tokens.codes.clone()
        tokenizer.fit(network.visual_tokens, x, held, iterations=15, seed=seed)
        assert torch.equal(again, network.visual_tokens.codes)
        best.append((fitted.errors[-1], seed))
    # Lloyd's algorithm stops at the nearest valley: some start finds the deepest.
    error, seed = min(best)
    assert tokenizer.fit(network.visual_tokens, x, held, iterations=15, seed=seed).used == 5 and error < 1e-3
    ids = nearest(x, held, network.visual_tokens.codes)[0]
    assert all(len(set(ids[kind == k].tolist())) == 1 for k in range(5))
    with pytest.raises(ConfigError, match="3 tokens for 5 codes"):
        tokenizer.fit(network.visual_tokens, x[:3], held[:3], iterations=1, seed=0)


def test_tokens_are_told_by_the_means_of_their_parts() -> None:
    network = objective().network
    x = draw(1, 1, 3, 8, 8)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[0, 0, 1, :2, :2] = False
    valid[0, 0, 2, 0, 0] = False
    mean, held = network.visual_tokens.describe(network.tokenize(x, valid))
    parts = mean.reshape(1, 2, 2, 3, 2, 2)
    assert parts[0, 1, 0, 2, 0, 1] == pytest.approx(float(x[0, 0, 2, 4:6, 2:4].mean()))
    assert parts[0, 0, 0, 2, 0, 0] == pytest.approx(float(x[0, 0, 2, :2, :2].flatten()[1:].mean()))
    assert not held.reshape(1, 2, 2, 3, 2, 2)[0, 0, 0, 1, 0, 0] and held.sum() == 4 * 12 - 1


def test_the_loss_against_a_plain_loop() -> None:
    module = objective()
    x, valid = draw(2, 2, 3, 16, 16), draw(2, 2, 3, 16, 16, seed=1) > 0.4
    noise = draw(2, module.noise_length(x.shape), seed=2)
    with torch.no_grad():
        out = module(x, valid, noise=noise)
    tokens = module.network.tokenize(x, valid)
    assert out.mask is not None and out.reconstruction is not None
    hidden = out.mask[:, :, 0, ::4, ::4].flatten(1)
    ids = module.network.visual_tokens.ids(tokens)
    logits = module.network.name_tokens(tokens, hidden)
    want = torch.stack(
        [-F.log_softmax(logits[b, n], 0)[ids[b, n]] for b, n in hidden.nonzero().tolist()]
    ).mean()
    torch.testing.assert_close(out.loss, want)
    assert int(out.parts["visual_token"].count) == len(hidden.nonzero())
    assert out.reconstruction.shape == x.shape


def run(module: BEiTObjective, x: Tensor, *args: Tensor | None, **options: object) -> list[Tensor]:
    module.zero_grad()
    out = module(x, *args, **options)
    out.loss.backward()
    grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]
    return [out.loss.detach(), out.parts["visual_token"].count, *grads]


def same(a: list[Tensor], b: list[Tensor]) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, atol=1e-5, rtol=1e-4)


@given(seed=st.integers(0, 99), at=st.integers(0, 2))
def test_invalid_dates_bands_and_pixels_change_nothing(seed: int, at: int) -> None:
    module = objective()
    x, valid = draw(2, 2, 3, 16, 16, seed=seed), draw(2, 2, 3, 16, 16, seed=seed + 1) > 0.3
    valid[:, :, 2] = False
    noise = draw(2, module.noise_length(x.shape), seed=seed + 2)
    plain = run(module, torch.where(valid, x, torch.nan), valid, noise=noise)
    same(plain, run(module, torch.where(valid, x, 1e30), valid, noise=noise))
    same(plain, run(module, x[:, :, :2], valid[:, :, :2], noise=noise, wavelengths=NM[:2]))

    def insert(y: Tensor, new: Tensor) -> Tensor:
        return torch.cat([y[:, :at], new, y[:, at:]], 1)

    per_date = noise.reshape(2, 2, -1)
    more = insert(per_date, draw(2, 1, NOISE_PER_DATE, seed=7)).flatten(1)
    hole = insert(valid, torch.zeros_like(valid[:, :1]))
    same(plain, run(module, insert(x, x[:, :1] * torch.nan), hole, noise=more))


def test_hidden_tokens_are_not_seen_and_training_learns_names() -> None:
    module = objective()
    x = draw(4, 1, 3, 1, 1, seed=1).expand(4, 1, 3, 16, 16).clone()
    tokens = module.network.tokenize(x)
    hidden = draw(4, 16) > 0.5
    changed = torch.where(hidden[..., None], torch.rand_like(tokens.patches), tokens.patches)
    from dataclasses import replace

    logits = module.network.name_tokens(tokens, hidden)
    assert torch.equal(logits, module.network.name_tokens(replace(tokens, patches=changed), hidden))
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    losses = []
    for i in range(30):
        loss = module(x, noise=draw(4, module.noise_length(x.shape), seed=i)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="5 cells do not divide tokens of 16"):
        BEiTConfig(cells=5)
    with pytest.raises(ConfigError, match="tokens hold all bands"):
        BEiTConfig(wavelengths=NM, groups=((0, 1), (2,)))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        BEiTObjective(objective().network, 1.0)
