from __future__ import annotations

import torch

from swath.weights.convert.spectralgpt import from_published


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
