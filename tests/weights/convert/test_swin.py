"""Published Swin names; the networks behind them are compared in tests/models/test_swin_golden.py."""

from __future__ import annotations

import pytest
import torch

from swath.errors import WeightsError
from swath.weights.convert.swin import (
    from_swin_mae,
    from_swin_unet,
    from_video_swin,
    inflate,
    to_planar,
    to_swin_unet,
)


def test_prefixes_heads_and_buffers_go() -> None:
    x = torch.zeros(2, 3)
    state = {
        "backbone.layers.0.blocks.0.attn.qkv.weight": x,
        "backbone.layers.0.blocks.0.attn.relative_position_index": x,
        "cls_head.fc_cls.weight": x,
    }
    assert list(from_video_swin(state)) == ["layers.0.blocks.0.attn.qkv.weight"]
    state = {"module.swin_unet.layers.0.blocks.1.attn_mask": x, "module.swin_unet.norm.weight": x}
    assert list(from_swin_unet(state)) == ["norm.weight"]


def test_shapes() -> None:
    state = {
        "module.mask_token": torch.randn(1, 1, 8),
        "pos_embed": torch.randn(1, 4, 8),
        "patch_embed.proj.weight": torch.randn(8, 3, 4, 4),
        "head.weight": torch.randn(5, 8, 1, 1),
    }
    out = from_swin_mae(state)
    assert {k: tuple(v.shape) for k, v in out.items()} == {
        "mask_token": (8,),
        "patch_embed.proj.weight": (8, 3, 1, 4, 4),
        "head.weight": (5, 8),
    }


def test_the_decoder_of_swin_unet_starts_elsewhere() -> None:
    names = {
        "layers_up.0.expand.weight": "first_patch_expanding.expand.weight",
        "layers_up.1.blocks.0.norm1.bias": "layers_up.0.blocks.0.norm1.bias",
        "layers_up.2.upsample.norm.bias": "layers_up.1.upsample.norm.bias",
        "concat_back_dim.3.weight": "skip_connection_layers.2.weight",
        "up.expand.weight": "final_patch_expanding.expand.weight",
        "output.weight": "head.weight",
        "norm_up.bias": "norm_up.bias",
    }
    out = from_swin_unet({k: torch.zeros(1) for k in names})
    assert list(out) == list(names.values())


def test_the_ways_back() -> None:
    ours = {
        "mask_token": torch.randn(8),
        "patch_embed.proj.weight": torch.randn(8, 3, 1, 4, 4),
        "head.weight": torch.randn(5, 8),
        "layers_up.1.upsample.norm.bias": torch.randn(4),
    }
    for to, back in ((to_planar, from_swin_mae), (to_swin_unet, from_swin_unet)):
        again = back(to(ours))
        assert list(again) == list(ours)
        assert all(torch.equal(again[n], t) for n, t in ours.items())
    assert to_planar(ours)["mask_token"].shape == (1, 1, 8)
    assert to_swin_unet(ours)["output.weight"].shape == (5, 8, 1, 1)


def test_inflation_keeps_the_sum_over_dates_and_every_offset_in_time() -> None:
    state = {
        "patch_embed.proj.weight": torch.randn(8, 3, 4, 4),
        "layers.0.blocks.0.attn.relative_position_bias_table": torch.randn(9, 2),
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(4, 4),
        "norm.bias": torch.randn(8),
    }
    out = inflate(state, (2, 2, 2), 3)
    kernel, table = list(state.values())[:2]
    torch.testing.assert_close(out["patch_embed.proj.weight"].sum(2), kernel)
    assert torch.equal(out["layers.0.blocks.0.attn.relative_position_bias_table"], torch.cat([table] * 3))
    assert out["norm.bias"] is state["norm.bias"] and len(out) == 3
    wider = inflate(state, (1, 3, 4), 1)["layers.0.blocks.0.attn.relative_position_bias_table"]
    assert wider.shape == (5 * 7, 2)
    state["layers.0.blocks.0.attn.relative_position_bias_table"] = torch.randn(10, 2)
    with pytest.raises(WeightsError, match="no table of a square window"):
        inflate(state, (2, 2, 2), 1)
