from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from swath.errors import ContractError
from swath.models.spectralgpt import (
    SENTINEL2_12,
    SpectralGPT,
    SpectralGPTClassifier,
    SpectralGPTClassifierConfig,
    SpectralGPTConfig,
)

LANDSAT = (485.0, 560.0, 660.0, 835.0, 1650.0, 2220.0)
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def spread(module: nn.Module, seed: int = 0) -> None:
    """Random values everywhere, so that nothing is zero by chance of the initialisation."""
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=gen) * (0.3 if p.ndim < 2 else 0.15))


def classifier(**options: object) -> SpectralGPTClassifier:
    small = {"image_size": 16, "embed_dim": 16, "depth": 2, "heads": 2, "num_classes": 3, "temporal": True}
    model = SpectralGPTClassifier(SpectralGPTClassifierConfig(**{**small, **options}))  # type: ignore[arg-type]
    spread(model)
    return model.eval()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def some_days(b: int, t: int) -> Tensor:
    return torch.tensor([[10.0 + 40 * i, 2019.0 + i] for i in range(t)]).expand(b, t, 2)


def some_wavelengths(bands: int, seed: int) -> tuple[float, ...]:
    return tuple((draw(bands, seed=seed) * 2000 + 400).tolist())


@given(
    bands=st.sampled_from([1, 4, 6, 10, 12, 13]),
    t=st.integers(1, 3),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_any_bands_dates_and_size(bands: int, t: int, height: int, width: int, seed: int) -> None:
    model = classifier()
    x, nm = draw(2, t, bands, height, width, seed=seed), some_wavelengths(bands, seed)
    assert model(x, days=some_days(2, t), wavelengths=nm).shape == (2, 3)
    features = model.features(x, wavelengths=nm, layers=(0, -1))
    h, w = -(-height // 8), -(-width // 8)
    assert [m.shape for m in features.maps] == [(2, t, -(-bands // 3), 16, h, w)] * 2
    assert features.strides == (8, 8)
    assert features.pooled.shape == (2, 16)


@given(seed=st.integers(0, 999), bands=st.sampled_from([3, 6, 12]), t=st.integers(1, 2), other=st.booleans())
def test_no_value_in_an_invalid_pixel_matters(seed: int, bands: int, t: int, other: bool) -> None:
    model = classifier()
    nm = some_wavelengths(bands, seed) if other else SENTINEL2_12[:bands]
    x = draw(2, t, bands, 20, 12, seed=seed)
    valid = draw(2, t, bands, 20, 12, seed=seed + 1) > 0.5
    valid[0, 0, 0] = False
    valid[1, :, :, 8:] = False
    results = []
    for fill in (0.0, 1e30, float("nan"), float("inf")):
        model.zero_grad()
        out = model(torch.where(valid, x, torch.tensor(fill)), valid, wavelengths=nm)
        out.square().sum().backward()
        results.append([out, *(p.grad for p in model.parameters())])
    for result in results[1:]:
        for a, b in zip(results[0], result, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.isfinite().all()
                assert torch.equal(a, b)


def outputs_and_gradients(
    model: SpectralGPTClassifier, x: Tensor, *args: Tensor | None, **options: object
) -> list[Tensor]:
    model.zero_grad()
    out = model(x, *args, **options)
    out.square().sum().backward()
    return [
        out.detach(),
        *(torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()),
    ]


def same(a: list[Tensor], b: list[Tensor]) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, **CLOSE)


@given(seed=st.integers(0, 999), at=st.integers(0, 2), drop_first=st.booleans())
def test_an_invalid_date_equals_no_date(seed: int, at: int, drop_first: bool) -> None:
    model = classifier()
    x, days = draw(2, 2, 12, 12, 20, seed=seed), some_days(2, 2)
    valid = draw(2, 2, 12, 12, 20, seed=seed + 1) > 0.3
    more_x = torch.cat([x[:, :at], torch.full_like(x[:, :1], float("nan")), x[:, at:]], 1)
    more_valid = torch.cat([valid[:, :at], torch.zeros_like(valid[:, :1]), valid[:, at:]], 1)
    more_days = torch.cat([days[:, :at], days[:, :1] + 7, days[:, at:]], 1)
    same(
        outputs_and_gradients(model, x, valid, days),
        outputs_and_gradients(model, more_x, more_valid, more_days),
    )


@given(seed=st.integers(0, 999), left_out=st.sets(st.integers(0, 11), min_size=1, max_size=9))
def test_invalid_bands_equal_no_bands_for_the_models_own(seed: int, left_out: set[int]) -> None:
    model = classifier()
    x = draw(2, 1, 12, 16, 16, seed=seed)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, sorted(left_out)] = False
    rest = [c for c in range(12) if c not in left_out]
    nm = tuple(SENTINEL2_12[c] for c in rest)
    same(outputs_and_gradients(model, x, valid), outputs_and_gradients(model, x[:, :, rest], wavelengths=nm))


@given(seed=st.integers(0, 999), bands=st.integers(2, 8), part=st.floats(0.2, 0.9))
def test_invalid_bands_equal_no_bands_for_another_sensor(seed: int, bands: int, part: float) -> None:
    model = classifier()
    nm = tuple(2300 + 50 * v for v in draw(bands, seed=seed).tolist())
    x = draw(2, 2, bands, 16, 16, seed=seed)
    here = (draw(bands, seed=seed + 1) < part).tolist()
    here[seed % bands] = True
    rest = [c for c in range(bands) if here[c]]
    valid = torch.zeros_like(x, dtype=torch.bool)
    valid[:, :, rest] = True
    same(
        outputs_and_gradients(model, x, valid, wavelengths=nm),
        outputs_and_gradients(model, x[:, :, rest], wavelengths=tuple(nm[c] for c in rest)),
    )


def test_samples_do_not_touch_each_other() -> None:
    model = classifier()
    x = draw(2, 1, 6, 16, 16)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[0, :, 1:3] = False
    together = model(x, valid, wavelengths=LANDSAT)
    for i in range(2):
        alone = model(x[i : i + 1], valid[i : i + 1], wavelengths=LANDSAT)
        torch.testing.assert_close(together[i : i + 1], alone, **CLOSE)


def test_the_order_of_channels_does_not_matter_but_their_wavelengths_do() -> None:
    model = classifier()
    for nm in (LANDSAT, SENTINEL2_12[:6]):
        x, turned = draw(2, 1, 6, 16, 16), list(reversed(range(6)))
        out = model(x, wavelengths=nm)
        torch.testing.assert_close(
            out, model(x[:, :, turned], wavelengths=tuple(nm[c] for c in turned)), **CLOSE
        )
        assert not torch.allclose(out, model(x[:, :, turned], wavelengths=nm), atol=1e-3)


@pytest.mark.parametrize("positions", ["separable", "joint"])
def test_all_valid_equals_no_validity(positions: str) -> None:
    model = classifier(positions=positions)
    x = draw(2, 1, 12, 13, 24)
    torch.testing.assert_close(model(x), model(x, torch.ones_like(x, dtype=torch.bool)))


def test_a_sample_without_any_data_is_finite() -> None:
    model = classifier()
    x = torch.full((1, 1, 12, 16, 16), float("nan"))
    for result in outputs_and_gradients(model, x, torch.zeros_like(x, dtype=torch.bool)):
        assert result.isfinite().all()


def test_features_are_zero_where_invalid_and_pooled_is_what_the_head_sees() -> None:
    model = classifier()
    x = draw(1, 1, 12, 16, 16)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, 3:6, :8] = False
    features = model.features(x, valid)
    assert (features.maps[0][:, :, 1, :, 0] == 0).all()
    assert (features.maps[0][:, :, 0] != 0).any()
    torch.testing.assert_close(model.head(features.pooled), model(x, valid))


def test_positions_are_resized_and_never_drawn() -> None:
    model = classifier(temporal=False)
    with torch.no_grad():
        model.pos_embed_spatial.fill_(2.0)
    for size in (8, 24, 40):
        tokens = model.tokenize(draw(1, 1, 12, size, 16))
        expected = (2.0 + model.pos_embed_spectral).repeat_interleave(tokens.rows * tokens.cols, 1)
        torch.testing.assert_close(model.positions(tokens), expected, **CLOSE)


def test_joint_positions_follow_size_and_bands_too() -> None:
    model = classifier(positions="joint", temporal=False)
    assert model(draw(1, 1, 6, 24, 40), wavelengths=LANDSAT).shape == (1, 3)
    tokens = model.tokenize(draw(1, 1, 12, 16, 16))
    torch.testing.assert_close(model.positions(tokens), model.pos_embed)


def test_dates_tell_tokens_apart_once_learned() -> None:
    model = classifier()
    x, days = draw(1, 2, 12, 16, 16), some_days(1, 2)
    assert not torch.allclose(model(x, days=days), model(x, days=days.flip(1)), atol=1e-4)
    with torch.no_grad():
        model.date_embed.weight.zero_()
    torch.testing.assert_close(model(x, days=days), model(x))
    torch.testing.assert_close(model(x, days=days), model(x.flip(1)), **CLOSE)


def test_several_dates_need_a_model_that_encodes_them() -> None:
    with pytest.raises(ContractError, match="temporal=True"):
        classifier(temporal=False)(draw(1, 2, 12, 16, 16))


def test_bands_without_wavelengths_are_refused() -> None:
    with pytest.raises(ContractError, match="6 bands of pixels but 12 wavelengths"):
        classifier()(draw(1, 1, 6, 16, 16))


def test_joint_positions_of_the_pretraining_model() -> None:
    torch.manual_seed(0)
    separable = SpectralGPT(
        SpectralGPTConfig(
            image_size=16,
            embed_dim=8,
            depth=1,
            heads=1,
            decoder_embed_dim=8,
            decoder_depth=1,
            decoder_heads=1,
        )
    )
    joint = SpectralGPT(replace(separable.config, positions="joint"))
    state = separable.state_dict()
    for prefix in ("", "decoder_"):
        spatial, spectral = (state.pop(f"{prefix}pos_embed_{axis}") for axis in ("spatial", "spectral"))
        state[f"{prefix}pos_embed"] = (spatial[:, None] + spectral[:, :, None]).flatten(1, 2)
    joint.load_state_dict(state)
    for size in (16, 24):
        x, keep = draw(1, 1, 12, size, size), torch.tensor([[0, 5, 7]])
        outs = []
        for model in (separable, joint):
            tokens = model.tokenize(x)
            outs.append(model.decode(model.encode(tokens, keep=keep), tokens, keep))
        torch.testing.assert_close(*outs)


def test_first_token_can_be_left_out() -> None:
    model = classifier()
    x = draw(1, 1, 12, 16, 16)
    before = model(x)
    model.config = replace(model.config, drop_first_token=True)
    assert not torch.allclose(before, model(x))
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, :, :3, :8, :8] = False
    model.config = replace(model.config, drop_first_token=False)
    expected = model(x, valid)
    model.config = replace(model.config, drop_first_token=True)
    torch.testing.assert_close(model(x, valid), expected)  # token 0 is invalid and so left out either way


def test_drop_path_grows_and_head_dropout_drops() -> None:
    model = classifier(drop_path=0.2, depth=3, head_dropout=0.5)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0.0, 0.1, 0.2])
    torch.manual_seed(0)
    x = draw(1, 1, 12, 16, 16)
    model.train()
    assert not torch.equal(model(x), model(x))


def test_initialisation() -> None:
    torch.manual_seed(0)
    config = SpectralGPTConfig(
        image_size=64, embed_dim=96, depth=1, heads=4, decoder_embed_dim=64, decoder_depth=1
    )
    model = SpectralGPT(replace(config, temporal=True))
    kernel = model.patch_embed.proj.weight
    bound = (6 / (192 + 96)) ** 0.5
    assert 0.95 * bound < kernel.abs().max().item() <= bound
    assert model.patch_embed.proj.bias is not None and (model.patch_embed.proj.bias != 0).any()
    for name, p in model.named_parameters():
        if "pos_embed" in name or name == "mask_token":
            assert p.std().item() == pytest.approx(0.02, rel=0.25), name
        elif "date" in name or (name.endswith("bias") and name != "patch_embed.proj.bias"):
            assert (p == 0).all(), name
    assert model.decoder_pred.weight.abs().max().item() <= (6 / (192 + 64)) ** 0.5
    head = SpectralGPTClassifier(
        SpectralGPTClassifierConfig(image_size=8, embed_dim=256, depth=1, heads=1)
    ).head
    assert head.weight.std().item() == pytest.approx(0.02, rel=0.1)
