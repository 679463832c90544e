from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.errors import ConfigError
from swath.models.spectralgpt import SENTINEL2_12, SpectralGPT, SpectralGPTConfig
from swath.pretraining.objective import ObjectiveOutput
from swath.pretraining.spectralgpt import (
    LOSSES,
    SpectralGPTObjective,
    SpectralGPTObjectiveConfig,
)
from swath.pretraining.targets import token_statistics

CLOSE = {"atol": 2e-5, "rtol": 2e-4}
THREE = LOSSES["three_target"].to_dict()
VARIANTS = {
    **LOSSES,
    "norm_pix": SpectralGPTObjectiveConfig.from_dict({**THREE, "norm_pix_loss": True, "mask_ratio": 0.6}),
    "norm_pix_token": SpectralGPTObjectiveConfig.from_dict(
        {**THREE, "norm_pix_loss": True, "aggregate_targets": "token"}
    ),
}


def objective(loss: str = "released", temporal: bool = True) -> SpectralGPTObjective:
    config = SpectralGPTConfig(
        image_size=16,
        embed_dim=16,
        depth=2,
        heads=2,
        decoder_embed_dim=8,
        decoder_depth=1,
        decoder_heads=2,
        temporal=temporal,
    )
    network = SpectralGPT(config)
    gen = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=gen) * (0.3 if p.ndim < 2 else 0.15))
    return SpectralGPTObjective(network, VARIANTS[loss])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def days(t: int) -> Tensor:
    return torch.tensor([[[10.0 + 40 * i, 2019.0 + i] for i in range(t)]] * 2)


def run(
    module: SpectralGPTObjective, x: Tensor, *args: Tensor | None, **options: object
) -> tuple[ObjectiveOutput, list[Tensor]]:
    module.zero_grad()
    out: ObjectiveOutput = module(x, *args, **options)
    out.loss.backward()
    return out, [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]


def same(a: tuple[ObjectiveOutput, list[Tensor]], b: tuple[ObjectiveOutput, list[Tensor]]) -> None:
    torch.testing.assert_close(a[0].loss, b[0].loss, **CLOSE)
    for name, part in a[0].parts.items():
        torch.testing.assert_close(part.count, b[0].parts[name].count)
        torch.testing.assert_close(part.numerator, b[0].parts[name].numerator, **CLOSE)
    for x, y in zip(a[1], b[1], strict=True):
        torch.testing.assert_close(x, y, **CLOSE)


@pytest.mark.parametrize("loss", [*LOSSES, "norm_pix_token"])
@given(
    bands=st.sampled_from([4, 6, 10, 12, 13]),
    t=st.integers(1, 2),
    size=st.integers(5, 20),
    seed=st.integers(0, 99),
)
def test_a_perfect_prediction_costs_nothing(loss: str, bands: int, t: int, size: int, seed: int) -> None:
    module = objective(loss)
    x = draw(2, t, bands, size, 16, seed=seed)
    valid = draw(2, t, bands, size, 16, seed=seed + 1) > 0.3
    tokens = module.network.tokenize(x, valid, tuple(400.0 + 150 * i for i in range(bands)))
    target = tokens.patches
    if module.config.norm_pix_loss:
        mean, std = token_statistics(tokens)
        target = (target - mean) / std
    hidden = torch.ones(target.shape[:2], dtype=torch.bool)
    for part in module.parts(target, tokens, hidden).values():
        assert part.mean.item() == 0.0
        assert part.count > 0


def test_with_normalised_targets_only_the_token_term_can_be_zero() -> None:
    module = objective("norm_pix")
    tokens = module.network.tokenize(draw(1, 1, 12, 16, 16))
    mean, std = token_statistics(tokens)
    parts = module.parts((tokens.patches - mean) / std, tokens, torch.ones(1, 16, dtype=torch.bool))
    assert parts["token"].mean == 0 and parts["spatial"].mean > 0 and parts["spectral"].mean > 0


@given(
    bands=st.sampled_from([1, 4, 6, 10, 12, 13]),
    t=st.integers(1, 2),
    height=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_any_bands_dates_and_size(bands: int, t: int, height: int, seed: int) -> None:
    module = objective("three_target")
    x = draw(2, t, bands, height, 12, seed=seed)
    nm = tuple((draw(bands, seed=seed) * 2000 + 400).tolist())
    out = module(x, noise=draw(2, module.noise_length(x.shape)), days=days(t), wavelengths=nm)
    assert out.loss.isfinite()
    assert out.reconstruction is not None and out.reconstruction.shape == x.shape
    assert out.mask is not None and out.mask.shape == x.shape and out.mask.dtype == torch.bool


@pytest.mark.parametrize("loss", VARIANTS)
@given(seed=st.integers(0, 999), t=st.integers(1, 2))
def test_no_value_in_an_invalid_pixel_matters(loss: str, seed: int, t: int) -> None:
    module = objective(loss)
    x, valid = draw(2, t, 12, 20, 12, seed=seed), draw(2, t, 12, 20, 12, seed=seed + 1) > 0.5
    valid[0, 0, 3:6] = False
    valid[1, :, :, 8:] = False
    noise = draw(2, module.noise_length(x.shape), seed=seed + 2)
    results = [
        run(module, torch.where(valid, x, torch.tensor(fill)), valid, noise=noise)
        for fill in (0.0, 1e30, float("nan"), float("-inf"))
    ]
    for out, grads in results:
        assert out.loss.isfinite() and torch.equal(out.loss, results[0][0].loss)
        for a, b in zip(grads, results[0][1], strict=True):
            assert a.isfinite().all() and torch.equal(a, b)
        assert out.reconstruction is not None and out.reconstruction.isfinite().all()


@pytest.mark.parametrize("loss", VARIANTS)
@given(seed=st.integers(0, 999), at=st.integers(0, 2))
def test_an_invalid_date_equals_no_date(loss: str, seed: int, at: int) -> None:
    module = objective(loss)
    x, valid, when = draw(2, 2, 12, 12, 16, seed=seed), draw(2, 2, 12, 12, 16, seed=seed + 1) > 0.3, days(2)
    noise = draw(2, module.noise_length(x.shape), seed=seed + 2)
    per_date = noise.reshape(2, 2, -1)

    def insert(y: Tensor, new: Tensor) -> Tensor:
        return torch.cat([y[:, :at], new, y[:, at:]], 1)

    same(
        run(module, x, valid, noise=noise, days=when),
        run(
            module,
            insert(x, torch.full_like(x[:, :1], float("nan"))),
            insert(valid, torch.zeros_like(valid[:, :1])),
            noise=insert(per_date, draw(*per_date[:, :1].shape) * 1e-3).flatten(1),
            days=insert(when, when[:, :1] + 3),
        ),
    )


@pytest.mark.parametrize("loss", VARIANTS)
@given(seed=st.integers(0, 999), left_out=st.sets(st.integers(0, 11), min_size=1, max_size=10))
def test_invalid_bands_equal_no_bands(loss: str, seed: int, left_out: set[int]) -> None:
    """For the model's own bands, whole groups included; the noise has one length, so the draw is the same."""
    module = objective(loss)
    x = draw(2, 1, 12, 16, 16, seed=seed)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, sorted(left_out)] = False
    rest = [c for c in range(12) if c not in left_out]
    noise = draw(2, module.noise_length(x.shape), seed=seed + 2)
    assert noise.shape[1] == module.noise_length(x[:, :, rest].shape)
    nm = tuple(SENTINEL2_12[c] for c in rest)
    same(run(module, x, valid, noise=noise), run(module, x[:, :, rest], noise=noise, wavelengths=nm))


@given(seed=st.integers(0, 999), bands=st.integers(2, 9))
def test_invalid_bands_equal_no_bands_for_another_sensor(seed: int, bands: int) -> None:
    module = objective("three_target")
    nm = tuple(2300 + 50 * v for v in draw(bands, seed=seed).tolist())
    x = draw(2, 1, bands, 16, 16, seed=seed)
    rest = [c for c in range(bands) if c == seed % bands or draw(bands, seed=seed + 1)[c] > 0.4]
    valid = torch.zeros_like(x, dtype=torch.bool)
    valid[:, :, rest] = True
    noise = draw(2, module.noise_length(x.shape), seed=seed + 2)
    same(
        run(module, x, valid, noise=noise, wavelengths=nm),
        run(module, x[:, :, rest], noise=noise, wavelengths=tuple(nm[c] for c in rest)),
    )


def test_counts_are_of_valid_pixels() -> None:
    module = objective("three_target", temporal=False)
    x = draw(1, 1, 12, 16, 16)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, :3] = False  # the first group: 4 of 16 tokens
    valid[:, :, :, 0, 0] = False
    out = module(x, valid, noise=draw(1, 16))
    assert out.mask is not None
    assert out.parts["token"].count == (out.mask & valid).sum()
    assert out.mask.sum() == (12 - 1) * 192  # one of twelve stays visible
    assert (
        out.parts["spatial"].count == 4 * 192 - 3
    )  # of 4 places; one pixel of three bands is missing everywhere
    assert out.parts["spectral"].count == 3 * 192


def test_all_valid_equals_no_validity() -> None:
    module = objective("three_target")
    x = draw(2, 1, 10, 16, 16)
    noise, nm = draw(2, module.noise_length(x.shape)), SENTINEL2_12[:10]
    same(
        run(module, x, noise=noise, wavelengths=nm),
        run(module, x, torch.ones_like(x, dtype=torch.bool), noise=noise, wavelengths=nm),
    )


def test_samples_do_not_touch_each_other() -> None:
    """Also where they keep different numbers of tokens."""
    module = objective("token_only")
    x, noise = draw(2, 1, 12, 32, 32), draw(2, 64)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[0, :, 3:] = False
    together = module(x, valid, noise=noise)
    numerators = [
        module(x[i : i + 1], valid[i : i + 1], noise=noise[i : i + 1]).parts["token"] for i in range(2)
    ]
    torch.testing.assert_close(
        together.parts["token"].numerator, sum(p.numerator for p in numerators), **CLOSE
    )
    torch.testing.assert_close(together.parts["token"].count, sum(p.count for p in numerators))


def test_hidden_pixels_do_not_reach_the_prediction() -> None:
    module = objective()
    x, noise = draw(1, 1, 12, 16, 16), draw(1, 16)
    out = module(x, noise=noise)
    assert out.mask is not None and out.reconstruction is not None
    again = module(torch.where(out.mask, torch.tensor(7.0), x), noise=noise)
    torch.testing.assert_close(again.reconstruction, out.reconstruction)
    visible = module(torch.where(out.mask, x, torch.tensor(7.0)), noise=noise)
    assert not torch.allclose(visible.reconstruction, out.reconstruction)


def test_reconstruction_is_in_the_units_of_the_input() -> None:
    module = objective("norm_pix")
    with torch.no_grad():  # predicts 0, which is the mean of each token
        module.network.decoder_pred.weight.zero_()
        module.network.decoder_pred.bias.zero_()
    x = draw(1, 1, 12, 16, 16) + 5
    out = module(x, noise=draw(1, 16))
    assert out.reconstruction is not None
    tokens = module.network.tokenize(x)
    expected = tokens.to_pixels(tokens.patches.mean(-1, keepdim=True).expand_as(tokens.patches))
    torch.testing.assert_close(out.reconstruction, expected)


def test_normalised_targets_use_the_unbiased_variance_of_valid_pixels() -> None:
    network = objective().network
    x = draw(1, 1, 12, 8, 8)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, :3, 4:] = False
    mean, std = token_statistics(network.tokenize(x, valid))
    values = x[0, 0, :3, :4].flatten()
    torch.testing.assert_close(mean[0, 0, 0], values.mean())
    torch.testing.assert_close(std[0, 0, 0], (values.var(unbiased=True) + 1e-6).sqrt())


def test_a_batch_without_any_data_is_finite() -> None:
    module = objective("three_target")
    x = torch.full((2, 1, 12, 16, 16), float("nan"))
    out, grads = run(module, x, torch.zeros_like(x, dtype=torch.bool), noise=draw(2, 16))
    assert out.loss.item() == 0.0
    assert out.mask is not None and not out.mask.any()
    assert all((g == 0).all() for g in grads)


def test_half_precision_autocast_runs_and_is_close() -> None:
    module = objective("three_target")
    x, noise = draw(2, 1, 12, 16, 16), draw(2, 16)
    exact = module(x, noise=noise)
    with torch.autocast("cpu", torch.bfloat16):
        half = module(x, noise=noise)
    half.loss.backward()
    assert half.loss.dtype == torch.float32
    torch.testing.assert_close(half.loss, exact.loss, atol=0.0, rtol=0.05)


def test_a_short_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    module = objective("three_target")
    x = draw(4, 1, 12, 16, 16).round()
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
    losses = []
    for step in range(30):
        out = module(x, noise=draw(4, 16, seed=step))
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(out.loss.item())
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("wrong", [{"mask_ratio": 1.0}, {"reduction": "max"}, {"aggregate_targets": "none"}])
def test_wrong_options_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SpectralGPTObjectiveConfig.from_dict(wrong)


def spectrometer(bands: int = 224) -> tuple[float, ...]:
    return tuple(round(420 + 2030 / bands * i, 2) for i in range(bands))


@pytest.mark.parametrize("bands", [4, 6, 10, 13, 224])
def test_weights_of_twelve_bands_learn_from_other_sensors_and_several_dates(bands: int) -> None:
    """By wavelength; dates and bands without data equal fewer of them."""
    module = objective("three_target")
    nm = spectrometer(bands)
    x = draw(2, 2, bands, 8, 8)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, 1] = False
    empty = [c for c in range(bands) if c % 5 == 2]
    valid[:, :, empty] = False
    rest = [c for c in range(bands) if c not in empty]
    noise = draw(2, module.noise_length(x.shape)).reshape(2, 2, -1)
    fewer = x[:, :1, rest]
    groups = module.noise_length(fewer.shape)
    same(
        run(
            module,
            torch.where(valid, x, torch.nan),
            valid,
            noise=noise.flatten(1),
            days=days(2),
            wavelengths=nm,
        ),
        run(module, fewer, noise=noise[:, 0, :groups], days=days(1), wavelengths=tuple(nm[c] for c in rest)),
    )


def test_a_model_built_for_a_spectrometer_keeps_its_missing_bands_apart() -> None:
    """A model of 224 bands: water-vapour bands without data leave the other groups' tokens as they are."""
    nm = spectrometer()
    config = SpectralGPTConfig(
        wavelengths=nm, image_size=8, embed_dim=16, depth=1, heads=2,
        decoder_embed_dim=8, decoder_depth=1, decoder_heads=2,
    )  # fmt: skip
    module = SpectralGPTObjective(SpectralGPT(config), LOSSES["three_target"])
    assert len(config.anchors) == 75
    x = draw(1, 1, 224, 8, 8)
    noise = draw(1, module.noise_length(x.shape))
    assert noise.shape[1] == 75
    valid = torch.ones_like(x, dtype=torch.bool)
    gone = [*range(90, 99), 150]
    valid[:, :, gone] = False
    rest = [c for c in range(224) if c not in gone]
    tokens = module.network.tokenize(x, valid)
    assert tokens.valid is not None and int((~tokens.valid).sum()) == 3  # 90 to 98 are three whole groups
    same(
        run(module, torch.where(valid, x, torch.nan), valid, noise=noise),
        run(module, x[:, :, rest], noise=noise, wavelengths=tuple(nm[c] for c in rest)),
    )
