"""A second head that helps to learn, and is no part of what has learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.heads_auxiliary import AuxiliaryHead
from swath.models.st_swin import STSwinUNet, STSwinUNetConfig
from swath.models.swin_config import STSwinConfig, Swin3DConfig
from swath.models.task_network import TaskNetwork, TaskNetworkConfig
from swath.tasks.config import TaskConfig
from swath.tasks.segmentation import SegmentationTask

NAMES = ("water", "forest", "field")
SWIN: dict[str, Any] = {
    "bands": 2, "patch_size": (1, 2, 2), "embed_dim": 8, "depths": (1, 1), "heads": (1, 2), "window": (2, 4, 4),
}  # fmt: skip


def unet(**options: Any) -> STSwinUNet:
    torch.manual_seed(0)
    return STSwinUNet(STSwinUNetConfig(STSwinConfig(decoder_depths=(1,), **SWIN), classes=3, **options))


def encoder_and_head(head: Any = "uper", **options: Any) -> TaskNetwork:
    torch.manual_seed(0)
    config = TaskNetworkConfig(
        "swin3d", Swin3DConfig(**SWIN), 3, per_pixel=True, head=head, width=16, **options
    )
    return TaskNetwork(config)


def data(dates: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(4)
    pixels = torch.randn(3, dates, 2, 13, 10, generator=draw)
    valid = torch.rand(pixels.shape, generator=draw) < 0.9
    return pixels, valid, torch.randint(-1, 3, (3, 13, 10), generator=draw)


@pytest.mark.parametrize("network", [unet, encoder_and_head, lambda: encoder_and_head("linear")])
def test_the_second_head_adds_its_terms_and_changes_nothing_else(network: Any) -> None:
    pixels, valid, target = data()
    plain = SegmentationTask(network(), TaskConfig(NAMES, dice=0.5)).eval()
    both = SegmentationTask(network(), TaskConfig(NAMES, dice=0.5, auxiliary=0.4)).eval()
    assert list(plain.network.state_dict()) == list(both.network.state_dict())
    a, b = (task(pixels, valid, target=target) for task in (plain, both))
    assert list(b.parts) == ["cross_entropy", "dice", "auxiliary_cross_entropy", "auxiliary_dice"]
    for name in ("cross_entropy", "dice"):
        assert torch.equal(a.parts[name].numerator, b.parts[name].numerator)
        assert torch.equal(b.parts[name].count, b.parts[f"auxiliary_{name}"].count)
        assert b.parts[f"auxiliary_{name}"].weight == pytest.approx(0.4 * b.parts[name].weight)
    added = sum(0.4 * w * b.parts[f"auxiliary_{n}"].mean for n, w in (("cross_entropy", 1.0), ("dice", 0.5)))
    assert torch.allclose(b.loss, a.loss + added)
    counts = both.counts(valid, target)
    assert {n: float(c) for n, c in counts.items()} == {n: float(p.count) for n, p in b.parts.items()}
    assert torch.equal(plain.output(pixels, valid), both.output(pixels, valid))


def test_its_loss_reaches_the_encoder_and_no_decoder() -> None:
    pixels, valid, target = data()
    task = SegmentationTask(unet(), TaskConfig(NAMES, auxiliary=1.0))
    task(pixels, valid, target=target).parts["auxiliary_cross_entropy"].numerator.backward()
    reached = {name for name, p in task.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert {n.partition(".")[0] for n in reached} == {"network", "auxiliary"}
    assert (
        any(n.startswith("network.layers.1.") for n in reached)
        and "network.patch_embed.proj.weight" in reached
    )
    assert not any(n.startswith(("network.layers_up", "network.head")) for n in reached)


def test_the_deepest_map_is_the_mean_over_the_dates_that_hold_data() -> None:
    network = unet().eval()
    pixels, valid, _ = data(3)
    valid[:] = True
    valid[1, 2] = False  # one record has a date less
    found: list[Tensor] = []
    logits = network(pixels, valid, deepest=found)
    (deep,) = found
    assert deep.shape == (3, *(network.deepest[0],), 4, 3) and network.deepest == (16, 4)
    alone: list[Tensor] = []
    network(pixels[1:2, :2], valid[1:2, :2], deepest=alone)
    assert torch.allclose(deep[1:2], alone[0], atol=1e-6)
    assert torch.equal(logits, network(pixels, valid))


def test_the_head_keeps_cells_where_their_pixels_are() -> None:
    torch.manual_seed(1)
    head = AuxiliaryHead(4, 4, 3, width=8).eval()
    maps = torch.randn(1, 4, 9, 9)
    other = maps.clone()
    other[..., 4, 4] += 50.0
    with torch.no_grad():
        moved = (head(maps, (34, 36)) != head(other, (34, 36))).any(1)[0]
    assert moved.shape == (34, 36)
    # Two convolutions reach two cells each way, the enlargement half of one more: pixels 8 to 27, and two.
    outside = torch.ones_like(moved)
    outside[6:30, 6:30] = False
    assert not (moved & outside).any() and moved[8:28, 8:28].float().mean() > 0.9


def test_what_has_no_deepest_map_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss\.auxiliary: the Linear hands out no deepest map"):
        SegmentationTask(nn.Linear(2, 3), TaskConfig(NAMES, auxiliary=1.0))
    with pytest.raises(ConfigError, match="draws a map for each date"):
        SegmentationTask(unet(collapse="none"), TaskConfig(NAMES, auxiliary=1.0))
    with pytest.raises(ConfigError, match="auxiliary"):
        TaskConfig(NAMES, auxiliary=-1.0)
