"""Between a decoder and a map: many dates become one, and detail at full resolution is kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from swath.errors import ContractError
from swath.models.swin_config import Collapse


class CollapseDates(nn.Module):
    """Many dates become one: [B,D,h,w,C] -> [B,1,h,w,C] ("none" leaves them).

    Places without data at a date count at no place of the result, unless a place has no data at any date.
    """

    def __init__(self, kind: Collapse, dim: int, dates: int | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.dates = dates
        self.mix = nn.Linear(dates * dim, dim) if kind == "concat" and dates is not None else None

    def forward(self, x: Tensor, valid: Tensor | None, at: Tensor | None = None) -> Tensor:
        """Collapses the dates.

        Args:
            x: [B,D,h,w,C].
            valid: bool [B,D,h,w], places with data, or None for all.
            at: long [B,D], which of the fixed dates of "concat" these are; None for all of them.
        """
        if self.mix is not None:
            return self._concat(self.mix, x, valid, at)
        if self.kind == "none" or x.shape[1] == 1:
            return x
        if self.kind == "last":
            if valid is None:
                return x[:, -1:]
            time = torch.arange(1, x.shape[1] + 1, device=x.device).view(1, -1, 1, 1)
            last = (valid * time).argmax(dim=1, keepdim=True)
            last = torch.where(valid.any(dim=1, keepdim=True), last, x.shape[1] - 1)
            return x.gather(1, last[..., None].expand(-1, -1, -1, -1, x.shape[-1]))
        if valid is None:
            return x.mean(dim=1, keepdim=True)
        weight = (valid | ~valid.any(dim=1, keepdim=True))[..., None].to(x.dtype)
        return (x * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True)

    def _concat(self, mix: nn.Linear, x: Tensor, valid: Tensor | None, at: Tensor | None) -> Tensor:
        if valid is not None:
            x = x.masked_fill(~valid[..., None], 0.0)
        if at is not None:
            rows = torch.arange(len(x), device=x.device)[:, None]
            whole = x.new_zeros(len(x), self.dates or 0, *x.shape[2:])
            x = whole.index_put((rows, at), x)
        if x.shape[1] != self.dates:
            raise ContractError(
                f"{x.shape[1]} dates, but the network joins exactly {self.dates}",
                mend="give that many, or use collapse: mean",
            )
        out: Tensor = mix(x.permute(0, 2, 3, 1, 4).flatten(3))
        return out[:, None]


class DetailStem(nn.Module):
    """Full-resolution detail beside an expansion that draws blocks: x + f(x, pixels).

    Three 3 x 3 convolutions: two over the pixels of each date, one over the stem and the expanded tokens.
    Normalised per pixel. What an invalid pixel holds has no say anywhere; where data end has, within three pixels,
    as the border of an image has.
    """

    def __init__(self, bands: int, width: int, dim: int, collapse: Collapse) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(bands, width, 3, padding=1)
        self.norm = nn.LayerNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        # Joining dates by a linear layer is the work of the tokens; detail of several dates is averaged.
        self.collapse = CollapseDates("mean" if collapse == "concat" else collapse, width)
        self.fuse = nn.Conv2d(dim + width, width, 3, padding=1)
        self.out = nn.Linear(width, dim)
        self.act = nn.GELU()

    def forward(self, x: Tensor, pixels: Tensor, valid: Tensor | None) -> Tensor:
        """x [B,1 or T,H,W,C] with pixels [B,T,bands,H,W] and their validity -> the shape of x."""
        held = None if valid is None else valid.any(dim=2)  # [B,T,H,W]
        if valid is not None:
            pixels = torch.where(valid, pixels, torch.zeros((), dtype=pixels.dtype, device=pixels.device))
        b, t = pixels.shape[:2]
        stem = self.norm(self.conv1(pixels.flatten(0, 1)).permute(0, 2, 3, 1))
        stem = self.act(stem)
        if held is not None:
            # As beyond the border of the image: the second convolution meets 0.
            stem = stem.masked_fill(~held.flatten(0, 1)[..., None], 0.0)
        stem = self.conv2(stem.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).unflatten(0, (b, t))
        stem = self.collapse(stem, held)
        joined = torch.cat([x, stem.to(x.dtype)], dim=-1).flatten(0, 1).permute(0, 3, 1, 2)
        detail = self.act(self.fuse(joined)).permute(0, 2, 3, 1)
        out: Tensor = x + self.out(detail).unflatten(0, x.shape[:2])
        return out
