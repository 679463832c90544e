"""The ledger's rows for SpectralGPT are green on the published numbers, and red when anything is changed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from swath.ledger import spectralgpt as ledger
from swath.ledger.row import LedgerRow
from swath.ledger.spectralgpt import check, understands
from swath.models.spectralgpt import (
    SENTINEL2_12,
    SpectralGPT,
    SpectralGPTClassifier,
    SpectralGPTClassifierConfig,
    SpectralGPTConfig,
    SpectralGPTEncoder,
)
from swath.pretraining.spectralgpt import SpectralGPTObjective
from swath.weights.convert.spectralgpt_names import to_published

GOLDEN = Path(__file__).parents[1] / "golden" / "spectralgpt"
SMALL = ("mae_a_12b32.safetensors", "cls_a_12b32_joint.safetensors", "losses.json")


def red(rows: list[LedgerRow]) -> list[str]:
    return [row.quantity for row in rows if not row.passed]


def arrays_of(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as reader:
        metadata = dict(reader.metadata())
    return load_file(path), metadata


@pytest.mark.parametrize("name", SMALL)
def test_the_published_numbers(name: str) -> None:
    assert understands(GOLDEN / name)
    rows = check(GOLDEN / name)
    assert not red(rows), [r for r in rows if not r.passed]
    assert all(row.file == name for row in rows)


def test_every_array_has_a_row() -> None:
    for name, inputs in ((SMALL[0], {"input", "noise"}), (SMALL[1], {"input"})):
        arrays, _ = arrays_of(GOLDEN / name)
        wanted = {key for key in arrays if not key.startswith("param.")} - inputs
        assert {row.quantity for row in check(GOLDEN / name)} == wanted | {"weights"}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("spectralgpt_keys_*.json")), ids=lambda p: p.stem[17:])
def test_lists_of_names(path: Path) -> None:
    assert understands(path)
    rows = check(path)
    assert len(rows) == 1 and not red(rows)


@pytest.mark.slow
def test_the_full_size_dense_network() -> None:
    rows = check(GOLDEN / "head_oscd.safetensors")
    assert not red(rows)
    quantities = {"weights", "fused_16x16", "ppm_out", "upernet_out_ch0_7", "output"}
    assert {row.quantity for row in rows} == quantities


@pytest.mark.slow
def test_the_other_dense_network_is_understood(tmp_path: Path) -> None:
    shapes = {
        "fused_16x16": (1, 768, 16, 16),
        "ppm_out": (1, 256, 16, 16),
        "upernet_out_ch0_7": (1, 8, 128, 128),
        "output": (1, 13, 128, 128),
    }
    path = tmp_path / "head_of_one_date.safetensors"  # told by its classes, not by its name
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path, {"params": "formula"})
    rows = check(path)
    # Zeros are not its numbers, but its weights convert and its outputs have these shapes.
    assert set(red(rows)) == set(shapes) and all(math.isfinite(row.error) for row in rows)


# Files like the ones that are not part of the repository: made by our own network, with other values.


def randomised(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for p in network.parameters():
        nn.init.normal_(p, std=0.3)
    return network.eval()


def params(network: nn.Module) -> dict[str, Tensor]:
    return {f"param.{k}": v.clone().contiguous() for k, v in to_published(network.state_dict()).items()}


def grads(network: nn.Module) -> dict[str, Tensor]:
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in network.named_parameters()}
    return {f"grad.{k}": v.clone().contiguous() for k, v in to_published(found).items()}


def write_mae(path: Path, *, norm_pix_loss: bool = True, positions: str = "separable", **ctor: Any) -> None:
    config = SpectralGPTConfig(
        wavelengths=SENTINEL2_12[:6], image_size=24, embed_dim=48, depth=3, heads=3, mlp_ratio=2.0,
        decoder_embed_dim=32, decoder_depth=2, decoder_heads=2, positions=positions,
    )  # fmt: skip
    network = randomised(SpectralGPT(config))
    objective = SpectralGPTObjective(
        network, replace(ledger.LOSSES["released"], mask_ratio=0.75, norm_pix_loss=norm_pix_loss)
    )
    pixels, noise = torch.rand(2, 6, 24, 24), torch.rand(2, 18)
    out = objective(pixels[:, None], noise=noise)
    out.loss.backward()
    tokens = network.tokenize(pixels[:, None])
    keep = noise.argsort(1)[:, :4]
    pred = network.decode(network.encode(tokens, keep=keep), tokens, keep).detach()
    target = tokens.patches
    if norm_pix_loss:
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    arrays = {
        **params(network), **grads(network),
        "input": pixels, "noise": noise, "ids_keep": keep, "pred": pred, "target_used": target,
        "target_raw": tokens.patches, "loss": out.loss.detach().reshape(1),
    }  # fmt: skip
    double = network.double()
    tokens = double.tokenize(pixels[:, None].double())
    arrays["latent_f64"] = double.encode(tokens, keep=keep).detach()
    published = {
        "img_size": 24, "patch_size": 8, "in_chans": 1, "embed_dim": 48, "depth": 3, "num_heads": 3,
        "decoder_embed_dim": 32, "decoder_depth": 2, "decoder_num_heads": 2, "mlp_ratio": 2, "num_frames": 6,
        "pred_t_dim": 6, "t_patch_size": 3, "norm_pix_loss": norm_pix_loss, "sep_pos_embed": positions == "separable",
        "cls_embed": False, "norm_layer": "LayerNorm(eps=1e-6)",
    }  # fmt: skip
    metadata = {"ctor": json.dumps({**published, **ctor}), "mask_ratio": "0.75"}
    save_file({k: v.clone().contiguous() for k, v in arrays.items()}, path, metadata)


@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize("positions", ["separable", "joint"])
def test_other_constructors_of_the_pretraining_model(
    tmp_path: Path, norm_pix_loss: bool, positions: str
) -> None:
    path = tmp_path / "mae_b.safetensors"
    write_mae(path, norm_pix_loss=norm_pix_loss, positions=positions)
    assert understands(path)
    rows = check(path)
    assert not red(rows), [r for r in rows if not r.passed]
    assert any(row.quantity == "grad.blocks.2.attn.k.weight" for row in rows)


@pytest.mark.parametrize(
    "ctor", [{"norm_pix_loss": False}, {"cls_embed": True}, {"num_heads": 4}, {"pred_t_dim": 3}, {"new": 1}]
)
def test_a_constructor_that_is_not_the_files_fails(tmp_path: Path, ctor: Mapping[str, Any]) -> None:
    path = tmp_path / "mae_b.safetensors"
    write_mae(path)
    arrays, metadata = arrays_of(path)
    metadata["ctor"] = json.dumps({**json.loads(metadata["ctor"]), **ctor})
    save_file(arrays, path, metadata)
    assert red(check(path))


@pytest.mark.parametrize("positions", ["separable", "joint"])
@pytest.mark.parametrize("bands", [6, 15])
def test_other_constructors_of_the_classifier(tmp_path: Path, positions: str, bands: int) -> None:
    waves = SENTINEL2_12[:6] if bands == 6 else tuple(400.0 + 20.0 * i for i in range(15))
    config = SpectralGPTClassifierConfig(
        wavelengths=waves, image_size=24, embed_dim=48, depth=3, heads=3, mlp_ratio=2.0, num_classes=5,
        positions=positions, drop_first_token=True,
    )  # fmt: skip
    network = randomised(SpectralGPTClassifier(config))
    inside: dict[str, Tensor] = {}
    network.blocks[-1].register_forward_hook(lambda m, args, out: inside.update(last_block=out.detach()))
    pixels = torch.rand(3, bands, 24, 24)
    logits = network(pixels[:, None])
    logits.square().sum().backward()
    arrays = {**params(network), **grads(network), "input": pixels, "logits": logits.detach(), **inside}
    ctor = {
        "img_size": 24, "patch_size": 8, "in_chans": 1, "num_classes": 5, "embed_dim": 48, "depth": 3,
        "num_heads": 3, "mlp_ratio": 2.0, "num_frames": bands, "t_patch_size": 3,
        "sep_pos_embed": positions == "separable", "cls_embed": False, "drop_path_rate": 0.2,
    }  # fmt: skip
    path = tmp_path / "cls_b.safetensors"
    save_file(arrays, path, {"ctor": json.dumps(ctor)})
    assert understands(path)
    rows = check(path)
    assert not red(rows), [r for r in rows if not r.passed]


def copy_with(path: Path, out: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    arrays, metadata = arrays_of(path)
    change(arrays)
    save_file({k: v.contiguous() for k, v in arrays.items()}, out, metadata)
    return out


def test_every_expected_number_counts(tmp_path: Path) -> None:
    for name in SMALL[:2]:
        arrays, _ = arrays_of(GOLDEN / name)
        keys = [k for k in arrays if not k.startswith(("param.", "grad.")) and k not in ("input", "noise")]
        for key in [*keys, "grad.patch_embed.proj.bias"]:

            def shift(a: dict[str, Tensor], key: str = key) -> None:
                flat = a[key].flatten()
                flat[-1] += 1 if not flat.is_floating_point() else 1e-2 if "f64" not in key else 1e-6
                a[key] = flat.reshape(a[key].shape)

            # One array at a time: the others stay green.
            assert red(check(copy_with(GOLDEN / name, tmp_path / name, shift))) == [key]


@pytest.mark.parametrize("key", ["param.stranger", "stranger", "grad.stranger"])
def test_what_is_not_understood_is_red(tmp_path: Path, key: str) -> None:
    path = copy_with(GOLDEN / SMALL[1], tmp_path / "x.safetensors", lambda a: a.update({key: torch.zeros(1)}))
    assert red(check(path)) == [key if not key.startswith("param") else "weights"]


def test_a_missing_weight_is_red(tmp_path: Path) -> None:
    def drop(a: dict[str, Tensor]) -> None:
        del a["param.blocks.1.attn.q.bias"]

    rows = check(copy_with(GOLDEN / SMALL[1], tmp_path / "x.safetensors", drop))
    assert red(rows) == ["weights"] and "blocks.1.attn.q.bias" in rows[0].note


def test_weights_alone_prove_nothing(tmp_path: Path) -> None:
    def without_outputs(a: dict[str, Tensor]) -> None:
        for key in [k for k in a if not k.startswith("param.") and k not in ("input", "noise")]:
            del a[key]

    path = copy_with(GOLDEN / SMALL[0], tmp_path / "x.safetensors", without_outputs)
    assert red(check(path)) == ["file"]


def test_files_of_other_kinds_are_said(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    save_file({"a": torch.zeros(1)}, tmp_path / "y.safetensors")
    (tmp_path / "z.json").write_text("[1]")
    (tmp_path / "spectralgpt_keys_x.json").write_text('{"a": [1]}')
    for name in ("x.safetensors", "y.safetensors", "z.json"):
        assert not understands(tmp_path / name)
    for name in ("x.safetensors", "y.safetensors", "z.json", "spectralgpt_keys_x.json", "none.json"):
        assert red(check(tmp_path / name)), name


def test_losses_without_their_vectors_are_sums_only(tmp_path: Path) -> None:
    values = json.loads((GOLDEN / "losses.json").read_text())
    path = tmp_path / "losses.json"
    path.write_text(json.dumps(values))
    rows = check(path)
    assert not red(rows) and any("not beside it" in row.note for row in rows)
    path.write_text(json.dumps({"x": {"token": 1.0}}))
    assert red(check(path)) == ["x"]  # neither a sum nor a vector: nothing was checked
    path.write_text(json.dumps(values))
    shutil.copy(GOLDEN / SMALL[0], tmp_path)
    values["mae_a_12b32"]["spectral_mean"] += 0.1
    path.write_text(json.dumps(values))
    assert red(check(path)) == ["mae_a_12b32: three_target_total as a sum", "mae_a_12b32: spectral_mean"]


def _no_positions(patch: pytest.MonkeyPatch) -> None:
    original = SpectralGPTEncoder.positions
    patch.setattr(SpectralGPTEncoder, "positions", lambda *a, **k: original(*a, **k) * 0)


def _no_spatial_term(patch: pytest.MonkeyPatch) -> None:
    original = SpectralGPTObjective._aggregate

    def none(self: SpectralGPTObjective, *args: Any, **kwargs: Any) -> Any:
        part = original(self, *args, **kwargs)
        return replace(part, weight=0.0)

    patch.setattr(SpectralGPTObjective, "_aggregate", none)


def _q_as_k(patch: pytest.MonkeyPatch) -> None:
    from swath.models.vit import Attention

    original = Attention.forward

    def exchanged(self: Attention, x: Tensor, key_valid: Tensor | None = None) -> Tensor:
        d = x.shape[-1]
        swapped = torch.cat([self.qkv.weight[d : 2 * d], self.qkv.weight[:d], self.qkv.weight[2 * d :]])
        with patch.context() as inner:
            inner.setattr(self.qkv.weight, "data", swapped.detach())
            return original(self, x, key_valid)

    patch.setattr(Attention, "forward", exchanged)


@pytest.mark.parametrize(
    ("mutation", "name"),
    [
        (_no_positions, SMALL[0]),
        (_no_positions, SMALL[1]),
        (_no_spatial_term, SMALL[0]),
        (_no_spatial_term, "losses.json"),
        (_q_as_k, SMALL[1]),
    ],
)
def test_a_broken_model_is_red(
    monkeypatch: pytest.MonkeyPatch, mutation: Callable[[pytest.MonkeyPatch], None], name: str
) -> None:
    mutation(monkeypatch)
    assert red(check(GOLDEN / name))
