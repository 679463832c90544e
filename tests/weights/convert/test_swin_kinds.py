"""Published Swin checkpoints become networks of swath and come back bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from swath.errors import WeightsError
from swath.models.config import ModelConfig
from swath.models.swin3d import Swin3D
from swath.models.swin_config import STSwinConfig, STSwinUNetConfig, Swin3DConfig
from swath.weights.build import build_loaded
from swath.weights.convert.kinds import Plan, convert, convert_back, convert_state, envelope, network_of
from swath.weights.convert.reader import read_foreign, write_foreign
from swath.weights.convert.registry import KINDS, likely_kinds
from swath.weights.convert.swin_kinds import RULES
from swath.weights.file import load, same_state, save
from swath.weights.meta import WeightsMeta, describe

GOLDEN = Path(__file__).parents[2] / "golden" / "swin"


def config_of(kind: str, full: bool) -> tuple[str, ModelConfig]:
    """A network of the published sizes, or a small one."""
    depths = (2, 2) if kind == "video-swin" else (2, 2, 2, 2)
    sizes: dict[str, Any] = {
        "bands": 3,
        "embed_dim": 96 if full else 8,
        "heads": tuple((3 if full else 1) << i for i in range(len(depths))),
        "depths": depths,
        "mlp_ratio": 4.0 if full else 2.5,
        **RULES[kind],
    }
    if kind == "video-swin":
        window = (8, 7, 7) if full else (2, 3, 3)
        return "swin3d", Swin3DConfig(patch_size=(2, 4, 4), window=window, **sizes)
    backbone = STSwinConfig(window=(1, 7, 7) if full else (1, 2, 2), **sizes)
    if kind == "swin-mae":
        return "st_swin_mae", backbone
    return "st_swin_unet", STSwinUNetConfig(backbone, classes=5)


def foreign_state(
    kind: str, full: bool = False, *, layout: dict[str, Any] | None = None
) -> dict[str, Tensor]:
    """Random weights under the published names, with the buffers that the sizes give."""
    architecture, config = config_of(kind, full)
    plan = Plan(architecture, config, layout or {})
    rng = torch.Generator().manual_seed(0)
    ours = {n: torch.rand(t.shape, generator=rng) for n, t in network_of(plan).state_dict().items()}
    back = KINDS[kind].from_swath
    assert back is not None
    return back(ours, plan)


def there_and_back(state: dict[str, Tensor], kind: str, **hints: Any) -> tuple[Plan, dict[str, Tensor]]:
    plan, converted = convert_state(state, KINDS[kind], hints)
    about = {"converted_from": kind, "layout": json.loads(json.dumps(dict(plan.layout)))}
    meta = WeightsMeta(plan.architecture, plan.config.to_dict(), provenance=about)
    report = converted.report
    assert {*report.kept, *report.dropped, *(n for n, _, _ in report.resized)} == set(state)
    assert not report.new
    return plan, convert_back(converted.state, meta, KINDS[kind])


LISTS = {
    "swin-mae": ("keys_swinmae.json", "SwinMAE"),
    "swin-mae-unet": ("keys_swinmae.json", "SwinUnet"),
    "swin-unet": ("keys_swinunet_hucao.json", "SwinTransformerSys"),
    "video-swin": ("keys_videoswin.json", "SwinTransformer3D"),
}


@pytest.mark.parametrize("full", [False, True], ids=["small", "full"])
@pytest.mark.parametrize("kind", list(LISTS))
def test_published_names_convert_whole_and_come_back(kind: str, full: bool) -> None:
    file, title = LISTS[kind]
    state = foreign_state(kind, full)
    assert set(state) == set(json.loads((GOLDEN / file).read_text())[title])
    assert likely_kinds(state) == (kind,)
    plan, back = there_and_back(state, kind)
    assert (plan.architecture, plan.config) == config_of(kind, full)
    assert "carried" not in plan.layout
    assert same_state(state, back)


@pytest.mark.parametrize("kind", list(LISTS))
def test_buffers_with_other_values_are_not_used_but_come_back(kind: str) -> None:
    clean = foreign_state(kind)
    state = {n: torch.randn(t.shape) for n, t in clean.items()}
    plan, back = there_and_back(state, kind)
    assert same_state(state, back)
    assert any("only keeps them" in note for note in plan.notes)
    ours = convert_state(state, KINDS[kind])[1].state
    assert not any(n.endswith(("index", "attn_mask", "pos_embed")) for n in ours)


@pytest.mark.parametrize("kind", list(LISTS))
def test_files_without_buffers(kind: str) -> None:
    state = foreign_state(kind, layout={"indices": False, "grid": None})
    assert not any(n.endswith(("index", "attn_mask", "pos_embed")) for n in state)
    assert same_state(state, there_and_back(state, kind)[1])


def test_other_image_sizes_of_swin_unet() -> None:
    for grid in (8, 16, 64):
        state = foreign_state("swin-unet", layout={"grid": grid})
        assert sum(n.endswith("attn_mask") for n in state) == {8: 4, 16: 6, 64: 7}[grid]
        plan, back = there_and_back(state, "swin-unet")
        assert plan.layout["grid"] == grid and "carried" not in plan.layout
        assert same_state(state, back)


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [("swin-unet", "module.swin_unet."), ("swin-unet", "swin_unet."), ("video-swin", "backbone.")],
)
def test_prefixes_come_back(kind: str, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in foreign_state(kind).items()}
    plan, back = there_and_back(state, kind)
    assert plan.layout["prefix"] == prefix
    assert same_state(state, back)


def test_a_file_of_swin_unet_there_and_back(tmp_path: Path) -> None:
    source, out = tmp_path / "epoch_149.pth", tmp_path / "weights.safetensors"
    kind = KINDS["swin-unet"]
    state = foreign_state("swin-unet")
    write_foreign(source, state, prefix="module.swin_unet.")
    conversion = convert(read_foreign(source), kind)
    save(out, conversion.state, conversion.meta)
    loaded = load(out)
    assert sum(p.numel() for p in build_loaded(loaded).parameters()) == loaded.parameters
    container, prefix = envelope(loaded.meta, kind)
    again = tmp_path / "again.pth"
    write_foreign(again, convert_back(loaded.state, loaded.meta, kind), container=container, prefix=prefix)
    assert same_state(torch.load(source, weights_only=True), torch.load(again, weights_only=True))


def test_the_head_of_a_recogniser_is_left_out_and_said() -> None:
    state = {f"backbone.{n}": t for n, t in foreign_state("video-swin").items()}
    state["cls_head.fc_cls.weight"] = torch.rand(10, 16)
    plan, back = there_and_back(state, "video-swin")
    assert "cls_head.fc_cls.weight" in " ".join(plan.notes)
    del state["cls_head.fc_cls.weight"]
    assert same_state(state, back)


def test_what_is_unexpected_is_named() -> None:
    for kind in LISTS:
        for change, told in (
            (lambda s: s.pop("layers.1.blocks.1.mlp.fc2.bias"), "layers.1.blocks.1.mlp.fc2.bias.*missing"),
            (lambda s: s.update(extra=torch.zeros(1)), "extra"),
            (lambda s: s.update({"layers.0.blocks.1.norm1.bias": torch.zeros(3)}), "norm1.bias.*shape"),
            (
                lambda s: s.update({"layers.0.blocks.0.attn.relative_position_index": torch.zeros(3, 3)}),
                "index|table",
            ),
            (lambda s: s.pop("layers.0.blocks.0.attn.relative_position_bias_table"), "bias_table"),
            (lambda s: s.pop("patch_embed.proj.weight"), "patch_embed.proj.weight"),
        ):
            state = foreign_state(kind)
            change(state)
            with pytest.raises(WeightsError, match=told):
                convert_state(state, KINDS[kind])


def test_networks_that_the_publication_cannot_be_are_refused() -> None:
    cases: list[tuple[str, Any, str]] = [
        ("swin-mae", {"shift_when_full": False}, "shift_when_full"),
        ("swin-mae", {"window": (2, 2, 2)}, "one date"),
        ("swin-mae", {"decoder_depths": (1, 1, 1)}, "decoder"),
        ("video-swin", {"mask_padding": True}, "mask_padding"),
    ]
    for kind, change, told in cases:
        architecture, config = config_of(kind, False)
        assert isinstance(config, Swin3DConfig)
        plan = Plan(architecture, replace(config, **change))
        back = KINDS[kind].from_swath
        assert back is not None
        with pytest.raises(WeightsError, match=told):
            back(dict(network_of(plan).state_dict()), plan)
    architecture, unet = config_of("swin-unet", False)
    assert isinstance(unet, STSwinUNetConfig)
    plan = Plan(architecture, replace(unet, stem_skip=True))
    back = KINDS["swin-unet"].from_swath
    assert back is not None
    with pytest.raises(WeightsError, match="stem"):
        back(dict(network_of(plan).state_dict()), plan)


def inflated(window: tuple[int, int, int], patch_dates: int) -> Swin3D:
    arrays = load_file(GOLDEN / "vsw3d_inflate2d.safetensors")
    planar = {n.removeprefix("in2d."): t for n, t in arrays.items() if n.startswith("in2d.")}
    planar |= {"head.weight": torch.rand(3, 16), "layers.0.blocks.1.attn_mask": torch.zeros(1)}
    assert likely_kinds(planar) == ("swin-2d",)
    plan, converted = convert_state(planar, KINDS["swin-2d"], {"window": window, "patch_dates": patch_dates})
    assert "head.weight" in converted.report.dropped and "head.weight" in " ".join(plan.notes)
    assert isinstance(plan.config, Swin3DConfig)
    network = Swin3D(plan.config).eval()
    network.load_state_dict(converted.state)
    return network


def test_inflated_weights_see_in_equal_dates_what_they_saw_in_one() -> None:
    image = torch.randn(1, 1, 3, 32, 32)
    with torch.no_grad():
        one = inflated((1, 3, 3), 1).features(image)
        many = inflated((2, 3, 3), 2).features(image.expand(-1, 6, -1, -1, -1))
    for a, b in zip(one.maps, many.maps, strict=True):
        torch.testing.assert_close(b, a.expand_as(b), atol=1e-4, rtol=1e-4)


def test_inflation_says_what_it_resized() -> None:
    arrays = load_file(GOLDEN / "vsw3d_inflate2d.safetensors")
    planar = {n.removeprefix("in2d."): t for n, t in arrays.items() if n.startswith("in2d.")}
    plan, converted = convert_state(planar, KINDS["swin-2d"])
    assert isinstance(plan.config, Swin3DConfig)
    assert plan.config.window == (2, 3, 3) and plan.config.patch_size == (1, 4, 4)
    resized = {name: after for name, _, after in converted.report.resized}
    assert resized["patch_embed.proj.weight"] == (8, 3, 1, 4, 4)
    assert resized["layers.0.blocks.0.attn.relative_position_bias_table"] == (75, 2)
    assert len(converted.report.kept) + len(resized) == len(planar)
    with pytest.raises(WeightsError, match="no way back"):
        convert_back(converted.state, WeightsMeta(plan.architecture, plan.config.to_dict()), KINDS["swin-2d"])


def test_an_epsilon_that_is_none_is_refused() -> None:
    for eps in (-1, 0, float("nan")):
        with pytest.raises(WeightsError, match="norm_eps"):
            convert_state(foreign_state("swin-mae"), KINDS["swin-mae"], {"norm_eps": eps})


def test_a_carried_tensor_does_not_flood_the_description() -> None:
    state = foreign_state("swin-mae")
    state["pos_embed"] = torch.randn_like(state["pos_embed"])
    plan, _ = convert_state(state, KINDS["swin-mae"])
    meta = WeightsMeta(
        plan.architecture, plan.config.to_dict(), provenance={"layout": json.dumps(dict(plan.layout))}
    )
    assert max(len(value) for what, value in describe(meta, 1, "") if what.startswith("provenance")) < 400
