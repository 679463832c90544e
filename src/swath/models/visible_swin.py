"""The Swin encoder on visible tokens alone, for masked pretraining that hides whole windows.

The rule: a hidden token is a token without data. It is no key of any attention, counts as 0 where tokens merge, and a
merged token is visible if any of its parts is; shifted windows are cut as ever. So the plain form is the ordinary
encoder with hidden tokens marked as empty (`encode_plain`), and the fast form here equals it: norms, projections, MLPs
and mergings run on visible tokens only, and attention on windows that hold any, with as many places as the fullest
window has visible tokens.

It differs from the published form, where hidden places enter the encoder as mask tokens and are attended to: here they
enter at the decoder, as in MAE.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import embedding

from swath.models.swin3d import Encoded, Level, PatchMerging, Stage, Swin3D, SwinBlock, WindowAttention
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
        seats = [_Seats(packed, plan) for plan in network.window_plans(i, like, None)]
        for k, block in enumerate(stage.blocks):
            # Through the block itself: what is done to it from outside is done here too.
            y = block(y, seats[k % 2], cast(SwinBlock, block).drop_path.draw(y))
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

    def numbers(self) -> Tensor:
        """Long [B, D*h*w]: which of the B * V packed tokens lies there, counted from 1; 0 where hidden."""
        b, v = self.ids.shape
        count = torch.arange(1, b * v + 1, device=self.ids.device).reshape(b, v)
        whole = count.new_zeros(b, math.prod(self.size[1:]))
        return whole.scatter(1, self.ids, count * self.held)

    def take(self, x: Tensor) -> Tensor:
        """[B, D*h*w, C] -> [B,V,C]."""
        return x.gather(1, self.ids[..., None].expand(-1, -1, x.shape[-1]))

    def put(self, y: Tensor) -> Tensor:
        """[B,V,C] -> [B,D,h,w,C], 0 where hidden."""
        b, d, h, w = self.size
        y = y.masked_fill(~self.held[..., None], 0.0)
        whole = y.new_zeros(b, d * h * w, y.shape[-1])
        return whole.scatter(1, self.ids[..., None].expand(-1, -1, y.shape[-1]), y).reshape(b, d, h, w, -1)


class _Seats:
    """Where packed tokens sit while they attend: a window's visible tokens alone, windows without any left out.

    Attributes:
        tokens: long [windows * M], which of the B * V packed tokens sits there.
        back: long [B * V], where each of them sits.
        rows: long [windows, M, M], of the bias table.
        allowed: bool [1, windows, 1, M, M], which pairs may meet.
    """

    def __init__(self, packed: _Packed, plan: WindowPlan) -> None:
        b, v = packed.ids.shape
        places = plan.cut(packed.numbers().reshape(*packed.size, 1))[..., 0]  # [B, windows, N], 0 where none
        which = (places > 0).any(dim=2).flatten().nonzero()[:, 0]
        if not len(which):  # nothing is visible: one empty seat
            which = which.new_zeros(1)
        places = places.flatten(0, 1)[which]
        sits = places > 0
        most = max(1, int(sits.sum(dim=1).max()))
        chosen = (
            (~sits).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        )  # [windows, M], places of a window
        numbers = places.gather(1, chosen)
        held = numbers > 0
        self.shape = (1, len(which), most)
        self.tokens = (numbers - 1).clamp(min=0).flatten()
        # Packed places without a token read the first seat; nobody reads them.
        self.back = numbers.new_zeros(b * v + 1).scatter(
            0, numbers.flatten(), torch.arange(numbers.numel(), device=numbers.device)
        )[1:]
        n = plan.window[0] * plan.window[1] * plan.window[2]
        pairs = chosen[:, :, None] * n + chosen[:, None, :]
        self.rows = plan.index[pairs]
        # An empty seat is no key. What it asks is never read, and asks anyone, so that no row is without keys.
        allowed = held[:, None, :].expand_as(pairs)
        if plan.allowed is not None:
            whole = plan.allowed[0, :, 0].flatten(1)[which % plan.allowed.shape[1]]  # [windows, N * N]
            meet = whole.gather(1, pairs.flatten(1)).view_as(pairs)
            allowed = allowed & (meet | ~held[:, :, None])
        self.allowed = allowed[None, :, None]

    def mix(self, attn: WindowAttention, qkv: Tensor) -> Tensor:
        """Attention of projected tokens: [B,V,3C] -> [B,V,C]."""
        b, v, width = qkv.shape
        taken = qkv.flatten(0, 1).index_select(0, self.tokens).reshape(*self.shape, width)
        bias = embedding(self.rows, attn.relative_position_bias_table).permute(0, 3, 1, 2)[None]
        mixed = attn.mix(taken, bias, None, self.allowed)
        return mixed.flatten(0, 2).index_select(0, self.back).reshape(b, v, -1)


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
