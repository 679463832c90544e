"""Frozen encoders, gradual unfreezing, and learning rates by layer."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from swath.bands import sensor
from swath.errors import ConfigError
from swath.models.depth import depths
from swath.models.lora import add_lora, merge_lora
from swath.models.lora_config import LoRAConfig
from swath.models.spectralgpt import EncoderConfig
from swath.models.st_swin import STSwinUNet
from swath.models.swin_config import STSwinConfig, STSwinUNetConfig, Swin3DConfig
from swath.models.task_network import TaskNetwork, TaskNetworkConfig
from swath.models.vit_encoder import ViTConfig
from swath.tasks.config import TaskConfig
from swath.tasks.segmentation import SegmentationTask
from swath.training.config import TrainConfig
from swath.training.freezing import trainable_depth
from swath.training.optim import make_optimizer, parameter_groups
from swath.training.run import fit

NM = tuple(b.center_nm for b in sensor("landsat7").select(("B2", "B3", "B4")))
SWIN: dict[str, Any] = {"embed_dim": 8, "depths": (1, 1), "heads": (1, 2)}


def tasks() -> dict[str, SegmentationTask]:
    torch.manual_seed(0)
    vit: dict[str, Any] = {"image_size": 16, "embed_dim": 8, "depth": 2, "heads": 2}
    networks: dict[str, nn.Module] = {
        "spectralgpt": TaskNetwork(TaskNetworkConfig("spectralgpt", EncoderConfig(NM, **vit), 3)),
        "vit": TaskNetwork(TaskNetworkConfig("vit", ViTConfig(NM, patch_size=8, **vit), 3)),
        "swin": TaskNetwork(TaskNetworkConfig("swin3d", Swin3DConfig(3, **SWIN), 3)),
        "unet": STSwinUNet(STSwinUNetConfig(STSwinConfig(3, **SWIN), classes=3)),
    }
    return {name: SegmentationTask(net, TaskConfig(("a", "b", "c"))) for name, net in networks.items()}


NAMES = tuple(tasks())


@pytest.mark.parametrize("name", NAMES)
def test_learning_rates_fall_from_the_head_to_the_pixels(name: str) -> None:
    task = tasks()[name]
    deep = depths(task)
    groups = make_optimizer(task, TrainConfig(layer_decay=0.5, decay_rule="finetune")).param_groups
    scale = {id(p): g["lr_scale"] for g in groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    plain = {
        id(p): g["weight_decay"]
        for g in parameter_groups(task, TrainConfig(decay_rule="finetune"))
        for p in g["params"]
    }
    assert decay == plain and len(scale) == len(dict(task.named_parameters()))
    for n, p in task.named_parameters():
        assert scale[id(p)] == 0.5 ** (deep.top - deep.of[n])
    assert max(scale.values()) == 1.0 and min(scale.values()) == 0.5**deep.top
    assert "lr_scale" not in make_optimizer(task, TrainConfig()).param_groups[0]


@given(st.integers(1, 30), st.integers(0, 50), st.integers(1, 20))
def test_an_encoder_thaws_from_its_last_block_down(encoder: int, start: int, every: int) -> None:
    config = TrainConfig(freeze="encoder", unfreeze_start=start, unfreeze_every=every)
    least = [trainable_depth(step, encoder, config) for step in range(start + every * (encoder + 3))]
    assert all(d == encoder + 1 for d in least[:start])
    assert least[start] == encoder and least[-1] == 0
    assert all(0 <= a - b <= 1 for a, b in pairwise(least))
    if encoder > 1:
        assert least[start + every - 1] == encoder and least[start + every] == encoder - 1


def test_frozen_or_not_at_all() -> None:
    assert trainable_depth(5, 12, TrainConfig()) == 0
    assert [trainable_depth(s, 12, TrainConfig(freeze="encoder")) for s in (0, 999)] == [13, 13]


def run(task: SegmentationTask, feed: Any, folder: Path, config: TrainConfig) -> set[str]:
    """Names of the parameters that training changed."""
    before = {n: p.detach().clone() for n, p in task.named_parameters()}
    fit(task, feed, config, folder)
    return {n for n, p in task.named_parameters() if not torch.equal(p, before[n])}


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_encoder_stays_bit_for_bit(name: str, tmp_path: Path, feed: Any, small: Any) -> None:
    task = tasks()[name]
    deep = depths(task)
    moved = run(task, feed, tmp_path / "run", small(steps=3, freeze="encoder", warmup_steps=0, ema_decay=0.5))
    assert moved and all(deep.of[n] > deep.encoder for n in moved)
    assert {n.split(".")[1] for n in moved} >= {"head"}
    assert all(p.grad is None for n, p in task.named_parameters() if deep.of[n] <= deep.encoder)


@pytest.mark.parametrize("name", ["vit", "unet"])
def test_blocks_begin_to_train_at_their_step(name: str, tmp_path: Path, feed: Any, small: Any) -> None:
    for steps, least in ((2, None), (3, 0), (5, 1)):
        task = tasks()[name]
        deep = depths(task)
        config = small(steps=steps, freeze="encoder", unfreeze_start=2, unfreeze_every=2, warmup_steps=0)
        moved = run(task, feed, tmp_path / str(steps), config)
        lowest = min(deep.of[n] for n in moved)
        assert lowest == deep.encoder + 1 if least is None else lowest == deep.encoder - least


def test_a_thawing_run_that_is_stopped_goes_on_with_the_same_bits(
    tmp_path: Path, feed: Any, small: Any
) -> None:
    options = {
        "freeze": "encoder",
        "unfreeze_start": 2,
        "unfreeze_every": 3,
        "layer_decay": 0.7,
        "ema_decay": 0.9,
    }
    whole, parts, again = (tasks()["swin"] for _ in range(3))
    config = small(steps=8, checkpoint_every=3, **options)
    fit(whole, feed, config, tmp_path / "whole")

    def kill(record: dict[str, object]) -> None:
        if record["step"] == 4:  # behind the checkpoint of step 3, where one block has begun to train
            raise KeyError("killed")

    with pytest.raises(KeyError):
        fit(parts, feed, config, tmp_path / "parts", callbacks=[kill])
    fit(again, feed, config, tmp_path / "parts", resume=True)
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_adapters_train_and_end_plain(tmp_path: Path, feed: Any, small: Any) -> None:
    task = tasks()["vit"]
    names = set(task.state_dict())
    add_lora(task, LoRAConfig(rank=2))
    moved = run(task, feed, tmp_path / "run", small(steps=4, warmup_steps=0, layer_decay=0.9))
    assert {n.rpartition(".")[2] for n in moved if ".encoder." in n} == {"lora_a", "lora_b"}
    assert any(".head." in n for n in moved)
    merge_lora(task)
    assert set(task.state_dict()) == names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0.0}, "layer_decay"),
        ({"layer_decay": 1.1}, "layer_decay"),
        ({"unfreeze_every": 3}, "nothing is frozen"),
        ({"freeze": "encoder", "unfreeze_start": 3}, "nothing is unfrozen"),
        ({"freeze": "encoder", "unfreeze_every": -1}, "negative"),
    ],
)
def test_options_that_say_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**options)
