"""The loss of ST-SwinMAE looks at hidden, valid pixels and at nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from swath.errors import ConfigError
from swath.models.st_swin import STSwinConfig, STSwinMAE
from swath.models.swin3d import join_patches
from swath.pretraining.objective import ObjectiveOutput
from swath.pretraining.st_swin_mae import STSwinMAEObjective, masked_patch_error

TINY = STSwinConfig(
    bands=2, embed_dim=8, depths=(1, 1), heads=(1, 2), window=(2, 3, 3), mlp_ratio=2.0, drop_path=0.0
)
TUBELETS = STSwinConfig(
    **{**TINY.to_dict(), "patch_size": (2, 4, 4)},
)


def objective(config: STSwinConfig = TINY, **options: object) -> STSwinMAEObjective:
    torch.manual_seed(0)
    network = STSwinMAE(config)
    for p in network.parameters():
        if p.ndim == 1:
            torch.nn.init.normal_(p, 0.3, 0.3)
    return STSwinMAEObjective(network.double().eval(), **{"mask_window": 2, **options})  # type: ignore[arg-type]


def batch(model: STSwinMAEObjective, *shape: int) -> tuple[Tensor, Tensor, Tensor]:
    pixels = torch.randn(shape, dtype=torch.float64)
    return pixels, torch.rand(shape) > 0.3, torch.rand(shape[0], model.noise_length(shape))


def gradients(model: STSwinMAEObjective, out: ObjectiveOutput) -> list[Tensor]:
    found = torch.autograd.grad(out.loss, list(model.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(model.parameters(), found, strict=True)]


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("norm_pix", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_the_loss_is_the_error_of_hidden_valid_pixels(norm_pix: bool, gaps: bool) -> None:
    """Against a plain loop over tokens."""
    model = objective(norm_pix=norm_pix)
    pixels, valid, noise = batch(model, 2, 2, 2, 17, 22)
    valid[0, 0, :, :8, :8] = False
    out = model(pixels, valid if gaps else None, noise=noise)
    ok = valid if gaps else torch.ones_like(valid)
    assert out.mask is not None and out.reconstruction is not None
    hidden = out.mask[:, :, 0, ::4, ::4]
    drawn = model.network.predict_patches(pixels, valid if gaps else None, hidden)
    image = join_patches(drawn, (2, 17, 22))
    errors = []
    for b, t, i, j in hidden.nonzero().tolist():
        cell = (b, t, slice(None), slice(4 * i, 4 * i + 4), slice(4 * j, 4 * j + 4))
        target = pixels[cell][ok[cell]]
        if len(target) == 0:
            continue
        if norm_pix:
            spread = target.var() if len(target) > 1 else torch.zeros(())
            target = (target - target.mean()) / (spread + 1e-6).sqrt()
        errors.append(((image[cell][ok[cell]] - target) ** 2).mean())
    same(out.loss, torch.stack(errors).mean())
    assert int(out.parts["masked_mse"].count) == len(errors)
    if not norm_pix:
        same(out.reconstruction, image)


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_visible_and_invalid_targets_do_not_count(seed: int) -> None:
    torch.manual_seed(seed)
    prediction, target = torch.randn(3, 5, 7), torch.randn(3, 5, 7)
    valid, hidden = torch.rand(3, 5, 7) > 0.4, torch.rand(3, 5) > 0.5
    first = masked_patch_error(prediction, target, valid, hidden)
    other = torch.where(hidden[..., None] & valid, target, torch.randn_like(target))
    assert torch.equal(masked_patch_error(prediction, other, valid, hidden).numerator, first.numerator)
    more = torch.where(hidden[..., None] & valid, target + 1, target)
    assert not torch.equal(masked_patch_error(prediction, more, valid, hidden).numerator, first.numerator)


def test_the_loss_asks_nothing_of_visible_places() -> None:
    """No gradient reaches the prediction of a visible token, and the prediction sees no hidden pixel."""
    model = objective()
    pixels, valid, noise = batch(model, 2, 2, 2, 16, 16)
    seen: list[Tensor] = []

    def keep(_: object, __: object, out: Tensor) -> None:
        out.retain_grad()
        seen.append(out)

    handle = model.network.decoder_pred.register_forward_hook(keep)
    out = model(pixels, valid, noise=noise)
    out.loss.backward()
    assert seen[0].grad is not None and out.mask is not None and out.reconstruction is not None
    hidden = out.mask[:, :, 0, ::4, ::4]
    assert not seen[0].grad[~hidden].any()
    assert seen[0].grad[hidden].any(dim=-1).float().mean() > 0.9
    handle.remove()
    changed = torch.where(out.mask, torch.randn_like(pixels), pixels)
    again = model(changed, valid, noise=noise)
    same(again.reconstruction, out.reconstruction)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("config", [TINY, TUBELETS], ids=["1 date", "2 dates"])
def test_invalid_dates_equal_no_dates(shared: bool, config: STSwinConfig) -> None:
    """Dates that hold nothing, at the end of one sample and before the others of another."""
    model = objective(config, share_over_time=shared)
    pixels, valid, _ = batch(model, 1, 2, 2, 13, 16)
    for t in (0, 2):
        hole = torch.full((1, 1 if config is TINY else 2, 2, 13, 16), torch.nan, dtype=torch.float64)
        more = torch.cat([pixels[:, :t], hole, pixels[:, t:]], dim=1)
        more_valid = torch.cat([valid[:, :t], torch.zeros_like(hole, dtype=torch.bool), valid[:, t:]], dim=1)
        tokens = 3 if config is TINY else 2
        noise = torch.rand(1, model.noise_length(more.shape))
        kept = [i for i in range(tokens) if i != (t if config is TINY else t // 2)]
        fewer = noise if shared else noise.view(1, tokens, -1)[:, kept].flatten(1)
        plain = model(pixels, valid, noise=fewer)
        out = model(more, more_valid, noise=noise)
        same(out.loss, plain.loss)
        assert out.reconstruction is not None and plain.reconstruction is not None
        here = [i for i in range(more.shape[1]) if not t <= i < t + hole.shape[1]]
        same(out.reconstruction[:, here], plain.reconstruction)
        for a, b in zip(gradients(model, out), gradients(model, plain), strict=True):
            same(a, b)


def test_samples_count_by_their_valid_patches() -> None:
    """The loss of a batch is the sum over its samples divided by the sum of their counts."""
    model = objective()
    pixels, valid, noise = batch(model, 3, 2, 2, 16, 20)
    valid[0, 1] = False
    valid[1] = False
    together = model(pixels, valid, noise=noise).parts["masked_mse"]
    alone = [model(pixels[i : i + 1], valid[i : i + 1], noise=noise[i : i + 1]) for i in range(3)]
    same(together.numerator, torch.stack([o.parts["masked_mse"].numerator for o in alone]).sum())
    same(together.count, torch.stack([o.parts["masked_mse"].count for o in alone]).sum())
    assert not alone[1].loss.any()
    assert all(g.isfinite().all() for g in gradients(model, alone[1]))


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=8)
def test_no_invalid_value_changes_the_loss(seed: int, norm_pix: bool) -> None:
    model = objective(norm_pix=norm_pix)
    torch.manual_seed(seed)
    pixels, valid, noise = batch(model, 2, 2, 2, 13, 18)
    valid[1, 0] = False
    spoiled = torch.where(valid, pixels, torch.nan)
    first = model(torch.where(valid, pixels, 5.0), valid, noise=noise)
    out = model(spoiled, valid, noise=noise)
    same(out.loss, first.loss)
    for a, b in zip(gradients(model, out), gradients(model, first), strict=True):
        same(a, b)


def test_the_order_of_samples_and_shared_dates_is_free() -> None:
    model = objective(share_over_time=True)
    pixels, _, noise = batch(model, 3, 2, 2, 16, 16)
    order = [2, 0, 1]
    same(model(pixels[order], noise=noise[order]).loss, model(pixels, noise=noise).loss)


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    model = STSwinMAEObjective(STSwinMAE(TINY), mask_window=2)
    pixels = torch.linspace(-1, 1, 16).expand(4, 1, 2, 16, 16).clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = model(pixels, noise=torch.rand(4, model.noise_length(pixels.shape))).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("wrong", [{"mask_ratio": 1.0}, {"mask_ratio": 0.0}, {"mask_window": 0}])
def test_wrong_options(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        STSwinMAEObjective(STSwinMAE(TINY), **wrong)  # type: ignore[arg-type]
