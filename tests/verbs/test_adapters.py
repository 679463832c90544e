"""LoRA, frozen encoders and rates by layer through `swath finetune`, on the small scene with labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import swath
from swath.errors import ConfigError
from swath.weights.file import load


def options(chain: Any, folder: Path, **training: Any) -> dict[str, Any]:
    given: dict[str, Any] = chain.land.finetuning(folder, chain.pretrained.weights, steps=3, **training)
    return given


def test_adapters_are_merged_into_plain_weights(chain: Any, tmp_path: Path) -> None:
    lora = swath.finetune(**options(chain, tmp_path / "lora", ema_decay=None), lora={"rank": 2, "alpha": 8.0})
    made, before, full = (load(w) for w in (lora.weights, chain.pretrained.weights, chain.finetuned.weights))
    assert made.meta.config == full.meta.config
    assert {n: t.shape for n, t in made.state.items()} == {n: t.shape for n, t in full.state.items()}
    moved = {n for n, t in before.state.items() if n in made.state and not torch.equal(t, made.state[n])}
    layers = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")
    assert moved and all(n.endswith(layers) for n in moved)
    network = swath.predict(
        weights=lora.weights, input=chain.land.spec, output=str(tmp_path / "map.tif"), precision="fp32"
    )
    assert network.nodata_pixels == 15


def test_a_frozen_encoder_is_that_of_the_pretrained_weights(chain: Any, tmp_path: Path) -> None:
    frozen = swath.finetune(**options(chain, tmp_path / "run", freeze="encoder", layer_decay=0.8))
    made, before = load(frozen.weights), load(chain.pretrained.weights)
    still = {n for n, t in before.state.items() if n in made.state and torch.equal(t, made.state[n])}
    encoder = {n for n in before.state if n.startswith(("patch_embed.", "layers."))}
    assert encoder <= still
    assert any(n.startswith("layers_up.") for n in made.state.keys() - still)


def test_what_cannot_be_adapted_is_said(chain: Any, tmp_path: Path) -> None:
    fresh = chain.land.finetuning(tmp_path / "a", steps=3)
    with pytest.raises(ConfigError, match="lora: adapts pretrained weights"):
        swath.finetune(**fresh, lora={"rank": 2})
    with pytest.raises(ConfigError, match="choose one"):
        swath.finetune(**options(chain, tmp_path / "b", freeze="encoder"), lora={"rank": 2})
    with pytest.raises(ConfigError, match=r"lora\.rank"):
        swath.finetune(**options(chain, tmp_path / "c"), lora={"rank": 0})
    assert list(tmp_path.iterdir()) == []


def test_the_head_of_a_scene_is_the_one_that_is_asked_for(chain: Any, tmp_path: Path) -> None:
    given = options(chain, tmp_path / "conv")
    given["model"] = {"system": "auto"}
    conv = swath.finetune(**given, head={"kind": "conv", "width": 16})
    assert load(conv.weights).meta.architecture == "task_network"
    with pytest.raises(ConfigError, match="has its own head"):
        swath.finetune(**options(chain, tmp_path / "unet"), head={"kind": "conv"})
