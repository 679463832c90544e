"""Between any encoder and any head: spectral groups become one, and dates become what the head is to answer for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from swath.models.encoders import EncoderShape, held
from swath.models.map_parts import CollapseDates

Dates = Literal["mean", "last", "concat", "none", "difference"]


class GroupSum(nn.Module):
    """A learned weight for each spectral group: [B,T,G,D,h,w] -> [B,T,D,h,w].

    It starts as the mean. Groups without a valid pixel have no say, and the others weigh the more.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((groups,), 1.0 / groups))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """`seen` is bool [B,T,G,h,w]; what is not seen is 0 in `x`."""
        out = torch.einsum("btgdhw,g->btdhw", x, self.weight.to(x.dtype))
        return out * (x.shape[2] / seen.sum(dim=2).clamp_min(1))[:, :, None].to(x.dtype)


class Difference(nn.Module):
    """The first date minus the last one that hold data at a place (SpectralGPT's way with two dates).

    0 where fewer than two dates hold data: nothing can be said of change there.
    """

    def forward(self, x: Tensor, valid: Tensor | None, at: Tensor | None = None) -> Tensor:
        """[B,D,h,w,C] and bool [B,D,h,w] -> [B,1,h,w,C]."""
        if valid is None:
            return x[:, :1] - x[:, -1:]
        time = torch.arange(x.shape[1], device=x.device).view(1, -1, 1, 1)
        first = torch.where(valid, time, x.shape[1]).amin(dim=1, keepdim=True).clamp_max(x.shape[1] - 1)
        last = torch.where(valid, time, 0).amax(dim=1, keepdim=True)
        ids = [i[..., None].expand(-1, -1, -1, -1, x.shape[-1]) for i in (first, last)]
        out = x.gather(1, ids[0]) - x.gather(1, ids[1])
        return out.masked_fill(~(valid.sum(dim=1, keepdim=True) >= 2)[..., None], 0.0)


def dates_layer(kind: Dates, dim: int, dates: int | None) -> nn.Module:
    """[B,D,h,w,C] and its validity -> [B,1,h,w,C], or the same with "none"."""
    return Difference() if kind == "difference" else CollapseDates(kind, dim, dates)


class Neck(nn.Module):
    """Maps of an encoder as those of pictures.

    Args:
        shape: of the encoder.
        kind: what becomes of the dates.
        dates: the fixed number of cells over time of "concat".
        norm: of each map; the last one of a ViT comes normed.
    """

    def __init__(self, shape: EncoderShape, kind: Dates, dates: int | None, norm: Sequence[bool]) -> None:
        super().__init__()
        self.groups = nn.ModuleList(GroupSum(shape.groups) for _ in shape.dims if shape.groups > 1)
        self.norms = nn.ModuleList(
            nn.LayerNorm(dim) if wanted else nn.Identity()
            for dim, wanted in zip(shape.dims, norm, strict=True)
        )
        self.dates = nn.ModuleList(dates_layer(kind, dim, dates) for dim in shape.dims)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[B,T',G,D_i,h_i,w_i] each -> [B, 1 or T', D_i, h_i, w_i] each; 0 where nothing is known."""
        out = []
        for i, x in enumerate(maps):
            seen = held(x)
            x = self.groups[i](x, seen) if len(self.groups) else x[:, :, 0]
            places = seen.any(dim=2)  # [B, T', h, w]
            x = self.norms[i](x.movedim(2, -1)).masked_fill(~places[..., None], 0.0)  # [B, T', h, w, D]
            out.append(self.dates[i](x, places).movedim(-1, 2))
        return out
