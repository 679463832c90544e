from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.errors import ConfigError, ContractError
from swath.models.mae import MAE, MAEConfig
from swath.pretraining.mae import MAEObjective, MAEObjectiveConfig
from swath.pretraining.objective import ObjectiveOutput

CLOSE = {"atol": 2e-5, "rtol": 2e-4}
NM = (490.0, 560.0, 665.0, 830.0, 1610.0, 2200.0)
GROUPS = ((0, 1, 2), (3,), (4, 5))
SCOPES = ("joint", "each", "shared")


def objective(
    scope: str = "joint",
    groups: tuple[tuple[int, ...], ...] = GROUPS,
    norm_pix: bool = True,
    ratio: float = 0.75,
) -> MAEObjective:
    network = MAE(
        MAEConfig(
            wavelengths=NM,
            groups=groups,
            image_size=16,
            patch_size=4,
            embed_dim=16,
            depth=2,
            heads=2,
            group_dim=4,
            decoder_embed_dim=12,
            decoder_depth=1,
            decoder_heads=2,
            decoder_group_dim=4,
            temporal=True,
        )
    )
    gen = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=gen) * (0.3 if p.ndim < 2 else 0.15))
    return MAEObjective(network, MAEObjectiveConfig(ratio, scope, norm_pix))  # type: ignore[arg-type]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def days(t: int) -> Tensor:
    return torch.tensor([[[10.0 + 40 * i, 2019.0 + i] for i in range(t)]] * 2)


def run(
    module: MAEObjective, x: Tensor, *args: Tensor | None, **options: object
) -> tuple[ObjectiveOutput, list[Tensor]]:
    module.zero_grad()
    out: ObjectiveOutput = module(x, *args, **options)
    out.loss.backward()
    return out, [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]


def same(a: tuple[ObjectiveOutput, list[Tensor]], b: tuple[ObjectiveOutput, list[Tensor]]) -> None:
    torch.testing.assert_close(a[0].loss, b[0].loss, **CLOSE)
    torch.testing.assert_close(a[0].parts["token"].count, b[0].parts["token"].count)
    for x, y in zip(a[1], b[1], strict=True):
        torch.testing.assert_close(x, y, **CLOSE)


@pytest.mark.parametrize("norm_pix", [False, True])
@pytest.mark.parametrize("scope", SCOPES)
def test_the_loss_against_a_plain_loop(scope: str, norm_pix: bool) -> None:
    module = objective(scope, norm_pix=norm_pix)
    x, valid = draw(2, 2, 6, 16, 12), draw(2, 2, 6, 16, 12, seed=1) > 0.3
    noise = draw(2, module.noise_length(x.shape), seed=2)
    out = module(x, valid, noise=noise)
    assert out.mask is not None and out.reconstruction is not None
    errors = []
    for b in range(2):
        for t in range(2):
            for group in GROUPS:
                for i in range(0, 16, 4):
                    for j in range(0, 12, 4):
                        cell = (b, t, list(group), slice(i, i + 4), slice(j, j + 4))
                        if not out.mask[cell].any():
                            continue
                        assert out.mask[cell].all()
                        target, drawn = x[cell][valid[cell]], out.reconstruction[cell][valid[cell]]
                        if norm_pix:  # the reconstruction is in units of the input
                            spread = (target.var() + 1e-6).sqrt() if len(target) > 1 else torch.tensor(1e-3)
                            errors.append((drawn - target) ** 2 / spread**2)
                        else:
                            errors.append((drawn - target) ** 2)
    torch.testing.assert_close(out.loss, torch.cat(errors).mean(), atol=1e-4, rtol=1e-3)


def shares(scope: str, ratio: float) -> Tensor:
    """What is hidden by (sample, date, group, place)."""
    module = objective(scope, ratio=ratio)
    x = torch.zeros(64, 2, 6, 16, 16)
    tokens = module.network.tokenize(x)
    mask = module.mask(draw(64, module.noise_length(x.shape)), tokens)
    seen = torch.ones_like(mask.hidden).scatter(1, mask.keep, False)
    assert torch.equal(seen, mask.hidden)  # kept and hidden are a split of all
    return mask.hidden.reshape(64, 2, 3, 16)


def test_what_is_hidden_is_what_the_scope_says() -> None:
    joint, each, shared = (shares(scope, 0.75) for scope in SCOPES)
    for hidden in (joint, each, shared):
        assert hidden.flatten(1).float().mean(1).eq(0.75).all()
        # Every token is as likely as any other: 64 draws of a coin of 0.75 lie within four deviations.
        assert (hidden.float().mean(0) - 0.75).abs().max() < 4 * (0.75 * 0.25 / 64) ** 0.5
    assert each.float().mean(-1).eq(0.75).all()
    assert not joint.float().mean(-1).eq(0.75).all()
    assert shared.eq(shared[:, :1, :1]).all()
    assert not each.eq(each[:, :1, :1]).all()


@pytest.mark.parametrize("scope", SCOPES)
@given(seed=st.integers(0, 99))
def test_no_value_in_an_invalid_pixel_matters(scope: str, seed: int) -> None:
    module = objective(scope)
    x, valid = draw(2, 2, 6, 13, 16, seed=seed), draw(2, 2, 6, 13, 16, seed=seed + 1) > 0.5
    valid[0, 0, 3:] = False
    valid[1, :, :, 8:] = False
    noise = draw(2, module.noise_length(x.shape), seed=seed + 2)
    results = [
        run(module, torch.where(valid, x, torch.tensor(fill)), valid, noise=noise)
        for fill in (0.0, float("nan"), 1e30)
    ]
    for out, grads in results:
        assert out.loss.isfinite() and torch.equal(out.loss, results[0][0].loss)
        for a, b in zip(grads, results[0][1], strict=True):
            assert a.isfinite().all() and torch.equal(a, b)


@pytest.mark.parametrize("scope", SCOPES)
@given(seed=st.integers(0, 99), at=st.integers(0, 2))
def test_an_invalid_date_equals_no_date(scope: str, seed: int, at: int) -> None:
    module = objective(scope)
    x, valid, when = draw(2, 2, 6, 16, 12, seed=seed), draw(2, 2, 6, 16, 12, seed=seed + 1) > 0.3, days(2)
    noise = draw(2, module.noise_length(x.shape), seed=seed + 2)

    def insert(y: Tensor, new: Tensor) -> Tensor:
        return torch.cat([y[:, :at], new, y[:, at:]], 1)

    more = noise
    if scope != "shared":
        per_date = noise.reshape(2, 2, -1)
        more = insert(per_date, draw(*per_date[:, :1].shape) * 1e-3).flatten(1)
    same(
        run(module, x, valid, noise=noise, days=when),
        run(
            module,
            insert(x, torch.full_like(x[:, :1], float("nan"))),
            insert(valid, torch.zeros_like(valid[:, :1])),
            noise=more,
            days=insert(when, when[:, :1] + 3),
        ),
    )


@pytest.mark.parametrize("scope", SCOPES)
@given(seed=st.integers(0, 99), left_out=st.sets(st.integers(0, 5), min_size=1, max_size=5))
def test_invalid_bands_equal_no_bands(scope: str, seed: int, left_out: set[int]) -> None:
    module = objective(scope)
    x = draw(2, 1, 6, 16, 16, seed=seed)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, sorted(left_out)] = False
    rest = [c for c in range(6) if c not in left_out]
    noise = draw(2, module.noise_length(x.shape), seed=seed + 2)
    same(
        run(module, x, valid, noise=noise),
        run(module, x[:, :, rest], noise=noise, wavelengths=tuple(NM[c] for c in rest)),
    )


def test_hidden_pixels_do_not_reach_the_prediction() -> None:
    module = objective()
    x, noise = draw(1, 2, 6, 16, 16), draw(1, 96)
    out = module(x, noise=noise)
    assert out.mask is not None
    changed = torch.where(out.mask, x + draw(*x.shape, seed=3), x)
    tokens, other = module.network.tokenize(x), module.network.tokenize(changed)
    mask = module.mask(noise, tokens)
    same_latent = [module.network.encode(t, None, mask.keep) for t in (tokens, other)]
    assert torch.equal(*same_latent)


def test_dates_and_groups_are_told_apart() -> None:
    """The order of dates matters only through their days, that of groups through their encoding."""
    network = objective().network
    x = draw(1, 2, 6, 16, 16)
    plain = network.features(x).pooled
    torch.testing.assert_close(network.features(x.flip(1)).pooled, plain)
    dated = network.features(x, None, days(2)[:1]).pooled
    assert not torch.allclose(network.features(x.flip(1), None, days(2)[:1]).pooled, dated)
    torch.testing.assert_close(network.features(x.flip(1), None, days(2)[:1].flip(1)).pooled, dated)
    maps = network.features(x).maps[0]
    assert maps.shape == (1, 2, 3, 16, 4, 4)


def test_all_bands_in_one_token_is_mae() -> None:
    module = objective(groups=())
    x = draw(2, 1, 6, 16, 16)
    assert module.noise_length(x.shape) == 16
    out = module(x, noise=draw(2, 16))
    assert out.parts["token"].count == 2 * 12 * 16 * 6  # 12 of 16 tokens of 4 x 4 pixels and 6 bands


def test_training_lowers_the_loss() -> None:
    module = objective(groups=(), norm_pix=False)
    x = torch.linspace(-1, 1, 16).expand(4, 1, 6, 16, 16).clone()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    losses = []
    for i in range(40):
        loss = module(x, noise=draw(4, 16, seed=i)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_strange_bands_and_options_are_refused() -> None:
    module = objective()
    with pytest.raises(ContractError, match="700 nm are none of the model's"):
        module.network.tokenize(draw(1, 1, 1, 16, 16), None, (700.0,))
    with pytest.raises(ContractError, match="encodes no dates"):
        MAE(
            MAEConfig(wavelengths=NM, embed_dim=8, depth=1, heads=1, decoder_embed_dim=8, decoder_heads=1)
        ).tokenize(draw(1, 2, 6, 16, 16))
    with pytest.raises(ConfigError, match="each band into one group"):
        MAEConfig(wavelengths=NM, groups=((0, 1), (1, 2)))
    with pytest.raises(ConfigError, match="unknown scope"):
        MAEObjectiveConfig(scope="any")  # type: ignore[arg-type]
