"""Published SpectralGPT checkpoints there and back, at full and at reduced size."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from swath.bands import SPECTRALGPT_BANDS
from swath.errors import WeightsError
from swath.models.spectralgpt import SpectralGPTClassifierConfig, SpectralGPTConfig
from swath.models.spectralgpt_dense import SpectralGPTSegmentationConfig
from swath.weights.build import build_loaded
from swath.weights.convert.kinds import convert, convert_back, convert_state, envelope
from swath.weights.convert.reader import read_foreign, write_foreign
from swath.weights.convert.registry import KINDS
from swath.weights.convert.spectralgpt import SEGMUNICH_BANDS
from swath.weights.convert.spectralgpt_names import from_published, joint_positions, to_published
from swath.weights.file import load, same_state, save
from swath.weights.meta import WeightsMeta

GOLDEN = Path(__file__).parents[2] / "golden" / "spectralgpt"
LISTS = {
    "base": "spectralgpt",
    "base96": "spectralgpt",
    "cls": "spectralgpt-classifier",
    "cls_sep": "spectralgpt-classifier",
    "oscd": "spectralgpt-oscd",
    "segmunich": "spectralgpt-segmunich",
}
# The published widths divided, for tests that take no time; heads must then be said.
HINTS = {"heads": 2}


def shapes(name: str) -> dict[str, list[int]]:
    read: dict[str, list[int]] = json.loads((GOLDEN / f"spectralgpt_keys_{name}.json").read_text())
    return read


def reduced(name: str) -> dict[str, Tensor]:
    """Tensors of the published names with two blocks and an eighth of the widths."""
    torch.manual_seed(0)
    keep = (3, 8, 12, 13, 192)  # not widths: bands, pixels, classes, and what one token holds
    out = {}
    for key, shape in shapes(name).items():
        if "blocks." in key and int(key.split("blocks.")[1].split(".")[0]) > 1:
            continue
        small = [n if n < 64 or n in keep else n // 8 for n in shape]
        if "pos_embed" in key:
            small = [1, shape[1] if shape[1] < 64 else (shape[1] // 64 if shape[1] % 9 else 4), shape[2] // 8]
        out[key] = torch.rand(small)
    return out


def kind_hints(name: str) -> dict[str, Any]:
    return {**HINTS, "decoder_heads": 2} if LISTS[name] == "spectralgpt" else dict(HINTS)


def fuse(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Attention as the published code kept it before August 2024."""
    return to_published(from_published(state), fused=True)


def there_and_back(state: dict[str, Tensor], name: str, hints: dict[str, Any]) -> WeightsMeta:
    kind = KINDS[LISTS[name]]
    plan, converted = convert_state(state, kind, hints)
    assert set(converted.report.kept) == set(state)
    assert not (converted.report.new or converted.report.dropped or converted.report.resized)
    about = {"converted_from": kind.name, "layout": dict(plan.layout)}
    meta = WeightsMeta(plan.architecture, plan.config.to_dict(), plan.contract, plan.classes, about)
    back = convert_back(converted.state, meta, kind)
    assert sorted(back) == sorted(state) and same_state(back, state)
    return meta


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("fused", [False, True])
def test_all_names_at_reduced_size(name: str, fused: bool) -> None:
    state = reduced(name)
    there_and_back(fuse(state) if fused else state, name, kind_hints(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTS)
def test_all_names_at_full_size(name: str) -> None:
    state = {key: torch.rand(shape) for key, shape in shapes(name).items()}
    meta = there_and_back(state, name, {})
    assert meta.config["heads"] == 12 and meta.contract is not None


def large(width: int, depth: int) -> dict[str, Tensor]:
    """The tensors of a published pretraining model of another size."""
    out = {}
    for key, shape in shapes("base").items():
        grown = [{768: width, 3072: 4 * width}.get(n, n) for n in shape]
        if key.startswith("blocks."):
            for i in range(depth):
                out[f"blocks.{i}." + key.split(".", 2)[2]] = torch.rand(grown)
        else:
            out[key] = torch.rand(grown)
    return out


@pytest.mark.slow
def test_the_large_model_at_full_size() -> None:
    state = large(1024, 24)
    assert sum(t.numel() for t in state.values()) == 316_142_784
    assert there_and_back(state, "base", {}).config["heads"] == 16


@pytest.mark.parametrize("name", LISTS)
def test_through_files(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind = KINDS[LISTS[name]]
    state = reduced(name)
    write_foreign(tmp_path / "x.pth", state, container=kind.container, prefix=kind.prefix)
    foreign = read_foreign(tmp_path / "x.pth")
    with caplog.at_level(logging.WARNING):
        conversion = convert(foreign, kind, kind_hints(name))
    assert "CC-BY-NC" in caplog.text and "CC-BY-NC" in conversion.meta.licence
    save(tmp_path / "w.safetensors", conversion.state, conversion.meta)
    loaded = load(tmp_path / "w.safetensors")
    build_loaded(loaded)
    container, prefix = envelope(loaded.meta, kind)
    write_foreign(
        tmp_path / "y.pth", convert_back(loaded.state, loaded.meta, kind), container=container, prefix=prefix
    )
    again = read_foreign(tmp_path / "y.pth")
    assert same_state(again.state, state)
    assert (again.container, again.prefix) == (foreign.container, foreign.prefix)


def test_the_contract_is_that_of_the_training() -> None:
    plan, _ = convert_state(reduced("base"), KINDS["spectralgpt"], kind_hints("base"))
    contract = plan.contract
    assert contract is not None and isinstance(plan.config, SpectralGPTConfig)
    assert tuple(s.band.name for s in contract.bands) == SPECTRALGPT_BANDS
    assert contract.wavelengths == plan.config.wavelengths
    assert (contract.normalisation.kind, contract.normalisation.scope) == ("minmax", "record")
    assert contract.normalisation.eps == 1e-10 and contract.encoding.unit == "reflectance"
    assert contract.size == (16, 16) and (contract.min_dates, contract.max_dates) == (1, 1)


def test_the_dense_networks_say_what_they_eat_and_give() -> None:
    plan, _ = convert_state(reduced("oscd"), KINDS["spectralgpt-oscd"], HINTS)
    assert plan.contract is not None
    assert (plan.contract.min_dates, plan.contract.max_dates) == (2, 2)
    assert [c.name for c in plan.classes] == ["no change", "change"]
    plan, _ = convert_state(reduced("segmunich"), KINDS["spectralgpt-segmunich"], HINTS)
    assert plan.contract is not None and len(plan.classes) == 13
    assert tuple(s.band.name for s in plan.contract.bands) == SEGMUNICH_BANDS
    assert isinstance(plan.config, SpectralGPTSegmentationConfig) and plan.config.segmunich_means
    plan, _ = convert_state(reduced("segmunich"), KINDS["spectralgpt-segmunich"], {**HINTS, "means": False})
    assert plan.contract is not None and len(plan.contract.bands) == 12


def test_the_classifier_keeps_its_published_ways() -> None:
    plan, _ = convert_state(reduced("cls"), KINDS["spectralgpt-classifier"], HINTS)
    assert isinstance(plan.config, SpectralGPTClassifierConfig)
    assert plan.config.positions == "joint" and plan.config.drop_first_token and plan.notes


@pytest.mark.parametrize("name", LISTS)
def test_whatever_is_missing_or_too_much_is_named(name: str) -> None:
    state, kind, hints = reduced(name), KINDS[LISTS[name]], kind_hints(name)
    for key in state:
        if key in ("norm.weight", "blocks.1.attn.k.bias", "patch_embed.proj.bias", "pos_embed_temporal"):
            with pytest.raises(WeightsError, match=re.escape(key)):
                convert_state({k: v for k, v in state.items() if k != key}, kind, hints)
            with pytest.raises(WeightsError):
                convert_state({**state, key: torch.zeros(*state[key].shape, 2)}, kind, hints)
    with pytest.raises(WeightsError, match=r"blocks\.2\.norm1\.bias"):
        convert_state({**state, "blocks.2.norm1.weight": torch.zeros(96)}, kind, hints)
    with pytest.raises(WeightsError, match="stranger"):
        convert_state({**state, "stranger": torch.zeros(1)}, kind, hints)


def test_what_shapes_cannot_tell_must_be_said() -> None:
    kind = KINDS["spectralgpt"]
    with pytest.raises(WeightsError, match="hint heads"):
        convert_state(reduced("base"), kind, {})
    with pytest.raises(WeightsError, match="hint decoder_heads"):
        convert_state(reduced("base"), kind, HINTS)
    with pytest.raises(WeightsError, match="divide"):
        convert_state(reduced("base"), kind, {**kind_hints("base"), "heads": 5})
    with pytest.raises(WeightsError, match="4 spectral groups"):
        convert_state(reduced("base"), kind, {**kind_hints("base"), "bands": SPECTRALGPT_BANDS[:9]})
    with pytest.raises(WeightsError, match="do not rise"):
        convert_state(reduced("base"), kind, {**kind_hints("base"), "bands": SPECTRALGPT_BANDS[::-1]})
    with pytest.raises(WeightsError, match="square"):
        convert_state(
            reduced("cls"), KINDS["spectralgpt-classifier"], {**HINTS, "bands": SPECTRALGPT_BANDS[:9]}
        )
    waves = tuple(400.0 + 100 * i for i in range(12))
    plan, _ = convert_state(reduced("base"), kind, {**kind_hints("base"), "wavelengths": waves})
    assert plan.contract is None


def test_attention_half_fused_is_refused() -> None:
    state = reduced("base")
    mixed = {k: v for k, v in fuse(state).items() if not k.startswith("blocks.0.attn")}
    mixed |= {k: v for k, v in state.items() if k.startswith("blocks.0.attn")}
    with pytest.raises(WeightsError, match="some separate"):
        convert_state(mixed, KINDS["spectralgpt"], kind_hints("base"))


def test_joint_positions_are_the_sum_of_separable_ones() -> None:
    spatial, spectral = torch.rand(1, 9, 5), torch.rand(1, 4, 5)
    joint = joint_positions(spatial, spectral)
    assert joint.shape == (1, 36, 5)
    torch.testing.assert_close(joint[0, 2 * 9 + 4], spatial[0, 4] + spectral[0, 2])
    assert joint_positions(spatial, spectral, 6).shape == (1, 144, 5)


def test_separate_and_fused_attention_become_one() -> None:
    q, k, v = torch.randn(3, 4, 4).unbind(0)
    name = "blocks.0.attn."
    separate = {f"{name}{n}.weight": x for n, x in (("v", v), ("k", k), ("q", q))}
    fused = {f"{name}to_qkv.weight": torch.cat([q, k, v])}
    prefixed = {f"module.{key}": x for key, x in separate.items()}
    for state in (separate, fused, prefixed):
        out = from_published(state)
        assert list(out) == [f"{name}qkv.weight"]
        assert torch.equal(out[f"{name}qkv.weight"], torch.cat([q, k, v]))


def test_the_published_temporal_position_is_spectral() -> None:
    state = {
        "pos_embed_temporal": torch.zeros(1),
        "decoder_pos_embed_temporal": torch.ones(1),
        "norm.bias": torch.ones(2),
    }
    assert set(from_published(state)) == {"pos_embed_spectral", "decoder_pos_embed_spectral", "norm.bias"}
