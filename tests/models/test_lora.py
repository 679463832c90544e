from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.layers import Mlp
from swath.models.lora import LoRALinear, add_lora, merge_lora
from swath.models.lora_config import LoRAConfig
from swath.models.spectralgpt import EncoderConfig
from swath.models.st_swin import MAE_TO_UNET_NEW, STSwinUNet
from swath.models.swin_config import STSwinConfig, STSwinUNetConfig, Swin3DConfig
from swath.models.task_network import TaskNetwork, TaskNetworkConfig
from swath.models.unet import UNet, UNetConfig
from swath.models.vit_encoder import ViTConfig
from swath.weights.build import build_loaded, meta_for
from swath.weights.file import load, save

NM = (500.0, 600.0)


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    swin = {"embed_dim": 8, "depths": (2, 1), "heads": (1, 2), "drop_path": 0.0}
    return {
        "spectralgpt": TaskNetwork(
            TaskNetworkConfig("spectralgpt", EncoderConfig(NM, 16, embed_dim=16, depth=2, heads=2))
        ),
        "vit": TaskNetwork(
            TaskNetworkConfig("vit", ViTConfig(NM, (), 16, 8, 16, 2, 2), head="conv", width=16)
        ),
        "swin": TaskNetwork(TaskNetworkConfig("swin3d", Swin3DConfig(2, **swin), per_pixel=False)),
        "unet": STSwinUNet(STSwinUNetConfig(STSwinConfig(2, **swin))),
    }


NAMES = tuple(networks())


def pixels() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 1, 2, 16, 16)


def tell(network: nn.Module, x: Tensor) -> Tensor:
    """Without gradients: whether a bias of windows learns decides which kernel attends."""
    with torch.no_grad():
        out = network(x)
    assert isinstance(out, Tensor)
    return out


def stir(network: nn.Module) -> None:
    """As after some training."""
    for module in network.modules():
        if isinstance(module, LoRALinear):
            nn.init.normal_(module.lora_b, std=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_begins_as_it_was_and_ends_plain(name: str, tmp_path: Path) -> None:
    # In float64, so that what differs is the form and not the rounding of a deep network.
    network, x = networks()[name].eval().double(), pixels().double()
    plain = {n: p.clone() for n, p in network.state_dict().items()}
    before = tell(network, x)
    adapted = add_lora(network, LoRAConfig(rank=2, alpha=3.0))
    assert torch.equal(tell(network, x), before)
    assert len(adapted.layers) == 4 * {"spectralgpt": 2, "vit": 2, "swin": 3, "unet": 5}[name]
    stir(network)
    unmerged = tell(network, x)
    assert not torch.allclose(unmerged, before, atol=1e-3)
    assert merge_lora(network) == len(adapted.layers)
    torch.testing.assert_close(tell(network, x), unmerged, rtol=1e-6, atol=1e-6)
    assert network.state_dict().keys() == plain.keys()
    assert all(p.requires_grad for p in network.parameters())
    network, x = network.float(), x.float()
    torch.testing.assert_close(tell(network, x), unmerged.float(), rtol=1e-4, atol=1e-5)
    save(tmp_path / "w.safetensors", network, meta_for(network))
    again = build_loaded(load(tmp_path / "w.safetensors")).eval()
    assert torch.equal(tell(again, x), tell(network, x))


@pytest.mark.parametrize("name", NAMES)
def test_only_adapters_and_head_train(name: str) -> None:
    network, x = networks()[name], pixels()
    adapted = add_lora(network, LoRAConfig(rank=2))
    stir(network)
    network(x).square().sum().backward()
    heads = tuple(p.rstrip("*") for p in MAE_TO_UNET_NEW) if name == "unet" else ("neck.", "head.")
    trains = 0
    for n, p in network.named_parameters():
        learns = ".lora_" in n or n.startswith(heads)
        assert p.requires_grad is learns
        assert (p.grad is not None) is learns
        assert not learns or bool((p.grad != 0).any()) or n.endswith("qkv.lora_b")
        trains += p.numel() if learns else 0
    assert adapted.trains == trains
    assert adapted.trains + adapted.frozen == sum(p.numel() for p in network.parameters())


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 8), st.integers(0, 99))
def test_a_merged_layer_differs_by_rounding(ins: int, outs: int, rank: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer = LoRALinear(nn.Linear(ins, outs), LoRAConfig(rank=rank))
    nn.init.normal_(layer.lora_b, std=0.05)
    x = torch.randn(5, ins)
    unmerged = tell(layer, x)
    torch.testing.assert_close(tell(layer.merged(), x), unmerged, rtol=1e-6, atol=1e-6 * (1 + ins**0.5))


def test_one_layer_by_hand() -> None:
    base = nn.Linear(3, 2)
    layer = LoRALinear(base, LoRAConfig(rank=1, alpha=4.0))
    with torch.no_grad():
        layer.lora_a.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        layer.lora_b.copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.tensor([[1.0, 1.0, 1.0]])
    torch.testing.assert_close(layer(x), base(x) + torch.tensor([[24.0, -24.0]]))


def test_adapters_in_an_mlp_learn() -> None:
    mlp = Mlp(4, 8)
    mlp.requires_grad_(False)
    mlp.fc1, mlp.fc2 = (LoRALinear(layer, LoRAConfig(2)) for layer in (mlp.fc1, mlp.fc2))  # type: ignore[assignment]  # as add_lora does
    torch.nn.init.normal_(mlp.fc2.lora_b)
    mlp(torch.randn(3, 4)).square().sum().backward()
    learned = {name for name, p in mlp.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"fc2.lora_a", "fc2.lora_b", "fc1.lora_b"} <= learned


def test_chosen_layers_alone() -> None:
    network = networks()["vit"]
    adapted = add_lora(network, LoRAConfig(targets=("attn.qkv",)))
    assert adapted.layers == ("encoder.blocks.0.attn.qkv", "encoder.blocks.1.attn.qkv")
    with pytest.raises(ConfigError, match="adapters already"):
        add_lora(network, LoRAConfig())
    with pytest.raises(ConfigError, match="no encoder"):
        add_lora(UNet(UNetConfig(levels=2)), LoRAConfig())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "lora.rank"),
        ({"alpha": 0.0}, "lora.alpha"),
        ({"dropout": 1.0}, "lora.dropout"),
        ({"targets": ()}, "lora.targets"),
        ({"targets": ("attn.q",)}, "has no layer attn.q"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoRAConfig(**options)  # type: ignore[arg-type]  # wrong on purpose
