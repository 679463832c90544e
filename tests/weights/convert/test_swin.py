"""Published Swin names; the networks behind them are compared in tests/models/test_swin_golden.py."""

from __future__ import annotations

import torch

from swath.weights.convert.swin import from_swin_mae, from_swin_unet, from_video_swin


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
