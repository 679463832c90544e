"""The Swin family equals the published codes on their own vectors (tests/golden/swin)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from swath.models import swin3d, windows
from swath.models.st_swin import STSwinConfig, STSwinMAE, STSwinUNet, STSwinUNetConfig
from swath.models.swin3d import PatchExpanding, Stage, Swin3D
from swath.models.swin_config import SWIN_MAE_PRESETS, Swin3DConfig
from swath.models.windows import plan_windows
from swath.pretraining.st_swin_mae import STSwinMAEObjective
from swath.pretraining.window_masks import hide_windows
from swath.weights.convert.swin import from_swin_mae, from_swin_unet, from_video_swin

GOLDEN = Path(__file__).parents[1] / "golden" / "swin"
VIDEO_SWIN: dict[str, Any] = {"mask_padding": False, "bias_slice": "flat"}
SWIN_MAE: dict[str, Any] = {"norm_eps": 1e-6, "shift_when_full": True}


class Vector:
    def __init__(self, name: str) -> None:
        with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
            meta = file.metadata()
            self.arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.meta = json.loads(meta["meta"]) if meta else {}

    def __getitem__(self, key: str) -> Tensor:
        return self.arrays[key]

    @property
    def state(self) -> dict[str, Tensor]:
        return {k.removeprefix("param."): v for k, v in self.arrays.items() if k.startswith("param.")}


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-4)


def last(x: Tensor) -> Tensor:
    """[B,C,D,H,W] -> [B,D,H,W,C]"""
    return x.permute(0, 2, 3, 4, 1)


def run_layer(name: str) -> None:
    vector = Vector(name)
    meta = vector.meta
    config = Swin3DConfig(
        embed_dim=meta["dim"],
        depths=(meta["depth"],),
        heads=(meta["num_heads"],),
        window=tuple(meta["window_size"]),
        mlp_ratio=meta["mlp_ratio"],
        **VIDEO_SWIN,
    )
    stage = Stage(config, 0, [0.0] * meta["depth"], "down").eval()
    stage.load_state_dict(from_video_swin(vector.state))
    x = last(vector["x"])
    size = (x.shape[1], x.shape[2], x.shape[3])
    plans = tuple(plan_windows(size, config.rule(0), shifted=s, device=x.device) for s in (False, True))
    assert list(plans[1].window) == meta["effective_window"]
    assert list(plans[1].shift) == meta["effective_shift"]
    assert list(plans[1].padded) == meta["padded_D_H_W"]
    assert plans[1].allowed is not None
    assert torch.equal(plans[1].allowed[0, :, 0], vector["attn_mask"] == 0)
    with torch.no_grad():
        for i, block in enumerate(stage.blocks):
            x = block(x, plans[i % 2])
            close(x, vector[f"out_block{i}"])
        assert stage.downsample is not None
        close(stage.downsample(x, None)[0], last(vector["out"]))


LAYERS = ("vsw3d_layer_even", "vsw3d_layer_pad", "vsw3d_layer_small_time")


@pytest.mark.parametrize("name", LAYERS)
def test_video_swin_layer(name: str) -> None:
    run_layer(name)


def test_video_swin_backbone() -> None:
    vector = Vector("vsw3d_backbone_p144")
    meta = vector.meta
    config = Swin3DConfig(
        bands=meta["in_chans"],
        patch_size=tuple(meta["patch_size"]),
        embed_dim=meta["embed_dim"],
        depths=tuple(meta["depths"]),
        heads=tuple(meta["num_heads"]),
        window=tuple(meta["window_size"]),
        mlp_ratio=meta["mlp_ratio"],
        patch_norm=meta["patch_norm"],
        final_norm=True,
        **VIDEO_SWIN,
    )
    model = Swin3D(config).eval()
    model.load_state_dict(from_video_swin(vector.state))
    pixels = vector["x"].transpose(1, 2)
    with torch.no_grad():
        encoded = model.encode(pixels)
        close(encoded.inputs[0], last(vector["patch_embed"]))
        close(encoded.inputs[1], last(vector["out_layer0"]))
        close(encoded.outputs[1], last(vector["out"]))
        features = model.features(pixels)
    close(features.maps[-1][:, :, 0], vector["out"].transpose(1, 2))
    assert features.strides == (4, 8)


def swin_mae_config(meta: dict[str, Any]) -> STSwinConfig:
    return STSwinConfig(
        bands=meta["in_chans"],
        patch_size=(1, meta["patch_size"], meta["patch_size"]),
        embed_dim=meta["embed_dim"],
        depths=tuple(meta["depths"]),
        heads=tuple(meta["num_heads"]),
        window=(1, meta["window_size"], meta["window_size"]),
        mlp_ratio=meta["mlp_ratio"],
        **SWIN_MAE,
    )


def test_the_preset_is_swin_mae_up_to_its_sizes() -> None:
    meta = Vector("swinmae_tiny").meta
    sizes = {name: getattr(swin_mae_config(meta), name) for name in
             ("bands", "patch_size", "embed_dim", "depths", "heads", "window", "mlp_ratio")}  # fmt: skip
    assert replace(SWIN_MAE_PRESETS["swin_mae"], **sizes) == swin_mae_config(meta)


def run_swin_mae() -> None:
    vector = Vector("swinmae_tiny")
    model = STSwinMAE(swin_mae_config(vector.meta)).eval()
    model.load_state_dict(from_swin_mae(vector.state))
    objective = STSwinMAEObjective(model, vector.meta["mask_ratio"], vector.meta["r"])
    pixels = vector["imgs"][:, None]
    assert objective.noise_length(pixels.shape) == vector["noise"].shape[1]
    with torch.no_grad():
        out = objective(pixels, noise=vector["noise"])
        hidden = hide_windows(vector["noise"], (1, 16, 16))
        close(hidden.flatten(1).float(), vector["mask"])
        embedded, _ = model.patch_embed(pixels, None)
        close(embedded[:, 0], vector["patch_embed"])
        masked = torch.where(hidden[..., None], model.mask_token, embedded)
        close(masked[:, 0], vector["x_masked"])
        encoded = model.encode_tokens(masked, None)
        for i in range(3):
            close(encoded.inputs[i + 1][:, 0], vector[f"enc_layer{i}"])
        close(encoded.outputs[3][:, 0], vector["latent"])
        x = model.first_patch_expanding(encoded.outputs[3], 4, 4)
        close(x[:, 0], vector["first_patch_expanding"])
        for i, stage in enumerate(model.layers_up):
            x = stage(x, encoded.levels[2 - i].plans)
            if stage.upsample is not None:
                x = stage.upsample(x, *encoded.inputs[1 - i].shape[2:4])
            close(x[:, 0], vector[f"dec_layer{i}"])
        close(model.decoder_pred(model.decode(encoded)).flatten(1, 3), vector["pred"])
    close(out.loss, vector["loss"][0])
    assert out.reconstruction is not None and out.mask is not None
    close(out.reconstruction[:, 0], vector["unpatchified_pred"])
    assert out.mask.shape == pixels.shape
    assert torch.equal(out.mask[:, 0, 0, ::4, ::4].flatten(1).float(), vector["mask"])


def test_swin_mae() -> None:
    run_swin_mae()


def test_swin_mae_window_masking() -> None:
    vector = Vector("swinmae_window_masking")
    for key in sorted(vector.arrays):
        if key.endswith(".mask"):
            name = key.removesuffix(".mask")
            found = re.fullmatch(r"grid(\d+)_r(\d+)_ratio([\d.]+)", name)
            assert found
            side, window, ratio = int(found[1]), int(found[2]), float(found[3])
            noise = vector[f"{name}.noise"]
            hidden = hide_windows(noise, (1, side, side), window=window, ratio=ratio)
            assert torch.equal(hidden[:, 0].float(), vector[key]), name


def test_swin_mae_unet() -> None:
    vector = Vector("swinmae_swinunet_tiny")
    config = STSwinUNetConfig(swin_mae_config(vector.meta), classes=vector.meta["num_classes"])
    model = STSwinUNet(config).eval()
    model.load_state_dict(from_swin_mae(vector.state))
    with torch.no_grad():
        encoded = model.encode(vector["x"][:, None])
        joined = [
            model.join(i, vector[f"skip_in{i}"].chunk(2, dim=-1)[0], encoded.inputs[2 - i][:, 0])
            for i in range(3)
        ]
        for i, x in enumerate(joined):
            close(x, vector[f"skip_out{i}"])
        x = model.final_patch_expanding(model.decode(encoded), 64, 64)
        close(x[:, 0], vector["final_patch_expanding"])
        close(model(vector["x"][:, None]), vector["out"])


def test_swin_unet_expanding_layers() -> None:
    vector = Vector("swinunet_patch_expand")
    state = vector.state
    for name, dim, out, factor in (("pe", 8, 4, 2), ("fe", 6, 6, 4)):
        layer = PatchExpanding(dim, out, (factor, factor), 1e-5)
        layer.load_state_dict(
            {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}
        )
        x = vector[f"{name}_in"].view(1, 1, 3, 5, dim)
        with torch.no_grad():
            close(layer(x, 3 * factor, 5 * factor).flatten(1, 3), vector[f"{name}_out"])


def test_every_published_name_is_known() -> None:
    """Names of the published networks convert to exactly the parameters of ours, nothing left or invented."""
    sizes: dict[str, Any] = {"embed_dim": 12, "depths": (2, 2, 2, 2), "heads": (2, 2, 4, 4), "bands": 3}
    small = STSwinConfig(window=(1, 2, 2), **sizes)
    cases = {
        "keys_swinmae.json": (
            {"SwinMAE": STSwinMAE(small), "SwinUnet": STSwinUNet(STSwinUNetConfig(small))},
            from_swin_mae,
        ),
        "keys_swinunet_hucao.json": (
            {"SwinTransformerSys": STSwinUNet(STSwinUNetConfig(STSwinConfig(final_norm=True, **sizes)))},
            from_swin_unet,
        ),
        "keys_videoswin.json": (
            {
                "SwinTransformer3D": Swin3D(
                    Swin3DConfig(depths=(2, 2), heads=(2, 4), embed_dim=12, final_norm=True)
                )
            },
            from_video_swin,
        ),
    }
    for file, (models, convert) in cases.items():
        listed = json.loads((GOLDEN / file).read_text())
        assert set(listed) == set(models)
        for name, model in models.items():
            known = {k: torch.zeros(1, 1, 1) for k in listed[name]}
            assert set(convert(known)) == set(model.state_dict()), name


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("part", ["bias", "shift mask", "shift"])
def test_a_dropped_part_is_noticed(name: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    break_part(part, monkeypatch)
    with pytest.raises(AssertionError):
        run_layer(name)


@pytest.mark.parametrize("part", ["bias", "shift mask", "shift"])
def test_a_dropped_part_of_swin_mae_is_noticed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    break_part(part, monkeypatch)
    with pytest.raises(AssertionError):
        run_swin_mae()


def break_part(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if part == "bias":
        plain = swin3d.WindowAttention.bias
        monkeypatch.setattr(swin3d.WindowAttention, "bias", lambda *a: torch.zeros_like(plain(*a)))
    elif part == "shift mask":
        # Applied in the kernel only, so that the comparison of numbers is what notices it.
        plain_attend = swin3d.attend
        monkeypatch.setattr(
            swin3d,
            "attend",
            lambda q, k, v, bias, *, key_valid, allowed: plain_attend(q, k, v, bias, key_valid=key_valid),
        )
    else:
        plain_effective = windows.effective
        monkeypatch.setattr(
            windows, "effective", lambda size, rule, shifted: plain_effective(size, rule, False)
        )
