from __future__ import annotations

import pytest
from torch import nn

from swath.errors import ConfigError
from swath.models.depth import depths
from swath.models.spectralgpt import EncoderConfig
from swath.models.spectralgpt_dense import SpectralGPTSegmentation, SpectralGPTSegmentationConfig
from swath.models.st_swin import STSwinUNet
from swath.models.swin_config import STSwinConfig, STSwinUNetConfig, Swin3DConfig
from swath.models.task_network import TaskNetwork, TaskNetworkConfig
from swath.models.unet import UNet, UNetConfig
from swath.models.vit_encoder import ViTConfig
from swath.tasks.config import TaskConfig
from swath.tasks.segmentation import SegmentationTask

SMALL = {"embed_dim": 8, "depth": 3, "heads": 2}
SWIN = STSwinConfig(2, embed_dim=8, depths=(2, 1), heads=(1, 2), decoder_depths=(2,), final_norm=True)
NETWORKS: dict[str, nn.Module] = {
    "spectralgpt": TaskNetwork(
        TaskNetworkConfig("spectralgpt", EncoderConfig((500.0, 600.0), 16, temporal=True, **SMALL))
    ),
    "vit": TaskNetwork(TaskNetworkConfig("vit", ViTConfig((500.0, 600.0), (), 16, 8, **SMALL), head="conv")),
    "swin": TaskNetwork(
        TaskNetworkConfig("swin3d", Swin3DConfig(2, embed_dim=8, depths=(2, 1), heads=(1, 2)))
    ),
    "dense": SpectralGPTSegmentation(
        SpectralGPTSegmentationConfig(
            (500.0,), 16, branch_widths=(32,) * 4, branch_outputs=(8,) * 3, decoder_width=16, **SMALL
        )
    ),
    "unet": STSwinUNet(STSwinUNetConfig(SWIN, stem_skip=True)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_counted_from_the_pixels_to_the_head(name: str) -> None:
    task = SegmentationTask(NETWORKS[name], TaskConfig(("a", "b")))
    deep = depths(task)
    assert deep.of.keys() == dict(task.named_parameters()).keys()
    assert set(deep.of.values()) == set(range(deep.top + 1))  # none is skipped
    first = [n for n, d in deep.of.items() if d == 0]
    assert all("patch_embed" in n or "pos_embed" in n or "date_embed" in n for n in first)
    assert deep.encoder == 3 and deep.top == (6 if name == "unet" else 4)
    assert all(".encoder." not in n for n, d in deep.of.items() if d == deep.top)
    assert [d for n, d in deep.of.items() if "head" in n or "classify" in n] != []
    assert {d for n, d in deep.of.items() if "head" in n or "classify" in n} == {deep.top}


def test_the_depths_of_a_unet_and_of_a_swin_in_words() -> None:
    of = depths(NETWORKS["unet"]).of
    assert of["patch_embed.proj.weight"] == 0
    assert (of["layers.0.blocks.0.norm1.weight"], of["layers.0.blocks.1.norm1.weight"]) == (1, 2)
    assert of["layers.0.downsample.norm.weight"] == 2 and of["layers.1.blocks.0.mlp.fc1.bias"] == 3
    assert of["norm.weight"] == of["first_patch_expanding.expand.weight"] == 3
    assert of["layers_up.0.blocks.1.attn.qkv.weight"] == of["norm_up.weight"] == 5
    new = (
        "skip_connection_layers.0.weight",
        "final_patch_expanding.norm.bias",
        "stem.conv1.weight",
        "head.weight",
    )
    assert [of[n] for n in new] == [6] * 4
    of = depths(NETWORKS["vit"]).of
    assert (of["encoder.blocks.2.mlp.fc2.bias"], of["encoder.norm.weight"]) == (3, 3)


def test_a_network_without_an_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="UNet has no encoder"):
        depths(UNet(UNetConfig(levels=2)))
