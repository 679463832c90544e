"""Our SpectralGPT against numbers made by running the published code (tests/golden/spectralgpt)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from swath.models.attention import force_kernel
from swath.models.spectralgpt import (
    PRESETS,
    SpectralGPT,
    SpectralGPTClassifier,
    SpectralGPTClassifierConfig,
    SpectralGPTConfig,
)
from swath.pretraining.objective import ObjectiveOutput
from swath.pretraining.spectralgpt import LOSSES, SpectralGPTObjective
from swath.weights.convert.spectralgpt_names import from_published

GOLDEN = Path(__file__).parents[1] / "golden" / "spectralgpt"
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}
EXACT = {"atol": 1e-9, "rtol": 1e-9}

MAE = SpectralGPTConfig(
    image_size=32, embed_dim=64, depth=2, heads=4, decoder_embed_dim=32, decoder_depth=1, decoder_heads=4
)
CLASSIFIER = SpectralGPTClassifierConfig(
    image_size=32, embed_dim=64, depth=2, heads=4, positions="joint", drop_first_token=True, num_classes=10
)


def golden(name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


def part(arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def mae(
    arrays: dict[str, Tensor], loss: str = "released", dtype: torch.dtype = torch.float32
) -> SpectralGPTObjective:
    network = SpectralGPT(MAE)
    network.load_state_dict(from_published(part(arrays, "param.")), strict=True)
    return SpectralGPTObjective(network, LOSSES[loss]).to(dtype).eval()


def run_mae(objective: SpectralGPTObjective, arrays: dict[str, Tensor]) -> ObjectiveOutput:
    dtype = objective.network.mask_token.dtype
    out: ObjectiveOutput = objective(arrays["input"][:, None].to(dtype), noise=arrays["noise"])
    return out


def close(actual: Tensor, expected: Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(actual, expected.reshape(actual.shape), **(tolerance or TOLERANCE))


def check_gradients(module: nn.Module, arrays: dict[str, Tensor]) -> None:
    expected = from_published(part(arrays, "grad."))
    actual = {name: p.grad for name, p in module.named_parameters()}
    assert set(actual) == set(expected)
    for name, grad in actual.items():
        assert grad is not None, name
        # Gradients of the loss sum over many more terms than one activation.
        scale = max(1.0, expected[name].abs().max().item())
        torch.testing.assert_close(
            grad / scale, expected[name] / scale, **TOLERANCE, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("kernel", ["explicit", "sdpa"])
def test_pretraining_forward_and_gradient(kernel: str) -> None:
    arrays = golden("mae_a_12b32")
    objective = mae(arrays)
    network = objective.network
    with force_kernel(kernel):
        out = run_mae(objective, arrays)
        out.loss.backward()
        tokens = network.tokenize(arrays["input"][:, None])
        keep = arrays["ids_keep"]
        latent = network.encode(tokens, keep=keep)
        prediction = network.decode(latent, tokens, keep)
    close(network.patch_embed(tokens.patches), arrays["tokens"])
    close(tokens.patches, arrays["target_raw"], atol=0.0, rtol=0.0)
    close(latent, arrays["latent"])
    close(prediction, arrays["pred"])
    close(out.loss, arrays["loss"])
    close(out.parts["token"].mean, arrays["loss_token"].float())
    close(out.parts["spatial"].mean, arrays["loss_spatial"].float())
    assert out.reconstruction is not None
    close(out.reconstruction, arrays["recon"])
    check_gradients(network, arrays)


def test_pretraining_mask_is_the_published_one() -> None:
    arrays = golden("mae_a_12b32")
    out = run_mae(mae(arrays), arrays)
    assert out.mask is not None
    tokens = SpectralGPT(MAE).tokenize(out.mask.float())
    torch.testing.assert_close(tokens.patches.amin(-1), arrays["mask"])
    torch.testing.assert_close(tokens.patches.amax(-1), arrays["mask"])


def test_pretraining_in_double() -> None:
    arrays = golden("mae_a_12b32")
    objective = mae(arrays, dtype=torch.float64)
    network = objective.network
    out = run_mae(objective, arrays)
    tokens = network.tokenize(arrays["input"][:, None].double())
    latent = network.encode(tokens, keep=arrays["ids_keep"])
    close(latent, arrays["latent_f64"], **EXACT)
    close(network.decode(latent, tokens, arrays["ids_keep"]), arrays["pred_f64"], **EXACT)
    close(out.loss, arrays["loss_f64"], **EXACT)


@pytest.mark.parametrize(
    ("loss", "terms"),
    [
        ("released", {"token": "token", "spatial": "spatial_sum", "total": "released_total"}),
        (
            "three_target",
            {
                "token": "token",
                "spatial": "spatial_mean",
                "spectral": "spectral_mean",
                "total": "three_target_total",
            },
        ),
        ("token_only", {"token": "token", "total": "token"}),
    ],
)
def test_losses(loss: str, terms: dict[str, str]) -> None:
    expected = json.loads((GOLDEN / "losses.json").read_text())["mae_a_12b32"]
    arrays = golden("mae_a_12b32")
    out = run_mae(mae(arrays, loss, torch.float64), arrays)
    assert set(out.parts) | {"total"} == set(terms)
    for name, key in terms.items():
        value = out.loss if name == "total" else out.parts[name].mean
        assert value.item() == pytest.approx(expected[key], rel=1e-6)


def _no_encoder_positions(patch: pytest.MonkeyPatch) -> None:
    original = SpectralGPT.positions
    patch.setattr(SpectralGPT, "positions", lambda self, *a: original(self, *a) * 0)


def _no_decoder_positions(patch: pytest.MonkeyPatch) -> None:
    original = SpectralGPT.decoder_positions
    patch.setattr(SpectralGPT, "decoder_positions", lambda self, *a: original(self, *a) * 0)


def _no_spectral_position(patch: pytest.MonkeyPatch) -> None:
    original = SpectralGPT._at_wavelengths
    patch.setattr(SpectralGPT, "_at_wavelengths", lambda self, *a: original(self, *a) * 0)


def _drop_term(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = SpectralGPTObjective.parts

        def parts(self: SpectralGPTObjective, *args: Tensor) -> dict[str, object]:
            return {key: value for key, value in original(self, *args).items() if key != name}

        patch.setattr(SpectralGPTObjective, "parts", parts)

    return mutate


@pytest.mark.parametrize(
    "mutate",
    [
        _no_encoder_positions,
        _no_decoder_positions,
        _no_spectral_position,
        _drop_term("token"),
        _drop_term("spatial"),
    ],
    ids=["encoder-positions", "decoder-positions", "spectral-position", "token-term", "spatial-term"],
)
def test_comparison_fails_when_a_piece_is_dropped(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = golden("mae_a_12b32")
    close(run_mae(mae(arrays), arrays).loss, arrays["loss"])
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        close(run_mae(mae(arrays), arrays).loss, arrays["loss"])


@pytest.mark.parametrize("term", ["token", "spatial", "spectral"])
def test_three_target_fails_when_a_term_is_dropped(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = json.loads((GOLDEN / "losses.json").read_text())["mae_a_12b32"]["three_target_total"]
    arrays = golden("mae_a_12b32")
    _drop_term(term)(monkeypatch)
    assert run_mae(mae(arrays, "three_target"), arrays).loss.item() != pytest.approx(expected, rel=1e-3)


def classifier(arrays: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> SpectralGPTClassifier:
    model = SpectralGPTClassifier(CLASSIFIER)
    model.load_state_dict(from_published(part(arrays, "param.")), strict=True)
    return model.to(dtype).eval()


@pytest.mark.parametrize("kernel", ["explicit", "sdpa"])
def test_classifier_forward_and_gradient(kernel: str) -> None:
    arrays = golden("cls_a_12b32_joint")
    model = classifier(arrays)
    pixels = arrays["input"][:, None]
    with force_kernel(kernel):
        logits = model(pixels)
        logits.square().sum().backward()
        features = model.features(pixels)
    close(logits, arrays["logits"])
    close(features.maps[0].permute(0, 1, 2, 4, 5, 3), arrays["last_block"])
    close(model.patch_embed(model.tokenize(pixels).patches), arrays["tokens"])
    close(
        model.norm(features.maps[0].flatten(4).permute(0, 1, 2, 4, 3).flatten(1, 3)[:, 1:].mean(1)),
        arrays["pooled_normed"],
    )
    check_gradients(model, arrays)


def test_classifier_in_double() -> None:
    arrays = golden("cls_a_12b32_joint")
    close(classifier(arrays, torch.float64)(arrays["input"][:, None].double()), arrays["logits_f64"], **EXACT)


def test_classifier_comparison_fails_without_positions_or_with_token_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrays = golden("cls_a_12b32_joint")
    model = classifier(arrays)
    with torch.no_grad():
        model.pos_embed.zero_()
    with pytest.raises(AssertionError):
        close(model(arrays["input"][:, None]), arrays["logits"])
    model = classifier(arrays)
    model.config = replace(model.config, drop_first_token=False)
    with pytest.raises(AssertionError):
        close(model(arrays["input"][:, None]), arrays["logits"])


def meta_state(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("keys", "preset"),
    [("spectralgpt_keys_base", "spectralgpt_base_128"), ("spectralgpt_keys_base96", "spectralgpt_base_96")],
)
def test_published_keys_of_the_pretraining_model(keys: str, preset: str) -> None:
    published = meta_state(json.loads((GOLDEN / f"{keys}.json").read_text()))
    assert len(published) == 271
    with torch.device("meta"):
        ours = SpectralGPT(PRESETS[preset]).state_dict()
    assert {k: v.shape for k, v in from_published(published).items()} == {k: v.shape for k, v in ours.items()}


@pytest.mark.parametrize(
    ("keys", "positions"), [("spectralgpt_keys_cls", "joint"), ("spectralgpt_keys_cls_sep", "separable")]
)
def test_published_keys_of_the_classifier(keys: str, positions: str) -> None:
    published = meta_state(json.loads((GOLDEN / f"{keys}.json").read_text()))
    with torch.device("meta"):
        config = SpectralGPTClassifierConfig(image_size=128, num_classes=10, positions=positions)
        ours = SpectralGPTClassifier(config).state_dict()
    assert {k: v.shape for k, v in from_published(published).items()} == {k: v.shape for k, v in ours.items()}


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("spectralgpt_base_96", 98_496_960),
        ("spectralgpt_base_128", 98_640_320),
        ("spectralgpt_large_96", 315_970_752),
        ("spectralgpt_large_128", 316_142_784),
        ("spectralgpt_huge_96", 643_558_336),
        ("spectralgpt_huge_128", 643_759_040),
    ],
)
def test_parameter_counts(preset: str, count: int) -> None:
    with torch.device("meta"):
        network = SpectralGPT(PRESETS[preset])
    assert sum(p.numel() for p in network.parameters()) == count
