"""The Swin encoder on visible tokens alone, for masked pretraining that hides whole windows.

The rule: a hidden token is a token without data. It is no key of any attention, counts as 0 where tokens merge, and a
merged token is visible if any of its parts is; shifted windows are cut as ever. So the plain form is the ordinary
encoder with hidden tokens marked as empty (`encode_plain`), and the fast form here equals it: norms, projections, MLPs
and mergings, nearly all of the work, run on visible tokens only; attention's two small products run on whole windows.

It differs from the published form, where hidden places enter the encoder as mask tokens and are attended to: here they
enter at the decoder, as in MAE.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from swath.models.lean import linear, norm_linear
from swath.models.swin3d import Encoded, Level, PatchMerging, Stage, Swin3D, SwinBlock
from swath.models.windows import WindowPlan, pad_end


def encode_plain(network: Swin3D, x: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """The coarsest map [B,D,h,w,C] and which of it is visible, by the ordinary encoder: the slow twin."""
    encoded = network.encode_tokens(x, shown)
    valid = encoded.levels[-1].valid
    assert valid is not None
    return encoded.outputs[-1], valid


def encode_visible(network: Swin3D, x: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """As `encode_plain`, where visible; 0 elsewhere.

    Args:
        network: the encoder.
        x: embedded tokens [B,D,h,w,C].
        shown: bool [B,D,h,w], visible tokens with data.
    """
    size = shown.shape
    packed = _Packed(shown)
    y = packed.take(x.flatten(1, 3))
    for i, layer in enumerate(network.layers):
        stage = cast(Stage, layer)
        like = x.new_empty(()).expand(*size, 1)
        plans = network.window_plans(i, like, shown)
        for k, block in enumerate(stage.blocks):
            y = _block(cast(SwinBlock, block), y, packed, plans[k % 2])
        if stage.downsample is not None:
            y, shown = _merge(stage.downsample, packed.put(y), shown)
            size, packed = shown.shape, _Packed(shown)
    return packed.put(network.norm(y)), shown


class _Packed:
    """Where the visible tokens of each sample lie: as many places as the fullest sample has."""

    def __init__(self, shown: Tensor) -> None:
        flat = shown.flatten(1)
        self.size = shown.shape
        self.count = max(1, int(flat.sum(dim=1).max()))
        self.ids = (~flat).to(torch.uint8).argsort(dim=1, stable=True)[:, : self.count]
        self.held = flat.gather(1, self.ids)

    def take(self, x: Tensor) -> Tensor:
        """[B, D*h*w, C] -> [B,V,C]."""
        return x.gather(1, self.ids[..., None].expand(-1, -1, x.shape[-1]))

    def put(self, y: Tensor) -> Tensor:
        """[B,V,C] -> [B,D,h,w,C], 0 where hidden."""
        b, d, h, w = self.size
        y = y.masked_fill(~self.held[..., None], 0.0)
        whole = y.new_zeros(b, d * h * w, y.shape[-1])
        return whole.scatter(1, self.ids[..., None].expand(-1, -1, y.shape[-1]), y).reshape(b, d, h, w, -1)


def _block(block: SwinBlock, y: Tensor, packed: _Packed, plan: WindowPlan) -> Tensor:
    attn = block.attn
    windows = plan.cut(packed.put(norm_linear(y, block.norm1, attn.qkv)))  # [B, windows, N, 3C]
    mixed = plan.join(attn.inside(windows, plan))  # [B,D,h,w,C]
    y = y + block.drop_path(linear(packed.take(mixed.flatten(1, 3)), attn.proj))
    result: Tensor = y + block.drop_path(block.mlp(y, block.norm2))
    return result


def _merge(merging: PatchMerging, x: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Packed merged tokens [B,V',2C] and which are visible, bool [B,D,ceil(h/2),ceil(w/2)]."""
    four = merging.gather(x)
    shown = merged(shown)
    return merging.reduction(merging.norm(_Packed(shown).take(four.flatten(1, 3)))), shown


def merged(valid: Tensor) -> Tensor:
    """Bool [B,D,h,w] -> [B,D,ceil(h/2),ceil(w/2)]: whether any of four neighbours is."""
    b, d, h, w = valid.shape
    even = (d, h + h % 2, w + w % 2)
    whole = pad_end(valid[..., None], even)
    return whole.reshape(b, d, even[1] // 2, 2, even[2] // 2, 2).any(dim=5).any(dim=3)


def fill(
    network: Swin3D, top: Tensor, shown: Tensor, token: Tensor, size: Tensor, valid: Tensor | None
) -> Encoded:
    """What the decoder starts from: the visible places, the mask token at the others, and the plans of all levels.

    Args:
        network: the encoder, for its windows.
        top: [B,D,h,w,C] of the coarsest stage.
        shown: bool [B,D,h,w], which of it is visible.
        token: [C].
        size: embedded tokens [B,D,h,w,C] of the finest stage, for their shape.
        valid: bool [B,D,h,w], tokens with data at the finest stage, or None.
    """
    encoded = Encoded([], [], [])
    b, d, h, w, _ = size.shape
    for i in range(len(network.layers)):
        like = top.new_empty(()).expand(b, d, h, w, 1)
        encoded.levels.append(Level(valid, network.window_plans(i, like, valid)))
        encoded.inputs.append(like)
        h, w = -(-h // 2), -(-w // 2)
        valid = None if valid is None else merged(valid)
    encoded.outputs.append(torch.where(shown[..., None], top, token.to(top.dtype)))
    return encoded
