"""A plain U-Net (Ronneberger et al., 2015), the network that any pretrained one has to beat.

Dates are encoded one by one with the same weights and averaged at each resolution over the dates that hold
data; then one decoder draws the map, or each date's own by the same decoder. Any number of dates, any height and
width: sizes halve rounding up, and the decoder crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.config import ModelConfig
from swath.models.layers import check_bands, group_norm

UNetNorm = Literal["group", "batch"]
UNetDates = Literal["mean", "none"]


@dataclass(frozen=True)
class UNetConfig(ModelConfig):
    """The plain U-Net.

    Attributes:
        bands: of the input.
        classes: of the map; 1 for a regression.
        width: channels at full resolution; they double with each halving.
        levels: resolutions, the full one included.
        norm: "group" works at any batch size; "batch" is the textbook's.
        dropout: of whole channels, at the coarsest resolution.
        dates: what becomes of several dates: their "mean", or "none", a map for each, which sees that date alone.
    """

    bands: int = 6
    classes: int = 2
    width: int = 32
    levels: int = 5
    norm: UNetNorm = "group"
    dropout: float = 0.0
    dates: UNetDates = "mean"

    def __post_init__(self) -> None:
        if self.norm not in get_args(UNetNorm):
            raise ConfigError(f"{self.norm!r} is neither group nor batch", where="norm")
        if self.dates not in get_args(UNetDates):
            raise ConfigError(f"{self.dates!r} is neither mean nor none", where="dates")
        if min(self.bands, self.classes, self.width, self.levels) < 1:
            raise ConfigError("bands, classes, width and levels must be 1 or more", where="UNetConfig")


# About 2 and 8 million parameters.
PRESETS: dict[str, UNetConfig] = {"unet_16": UNetConfig(width=16), "unet_32": UNetConfig(width=32)}


class UNet(nn.Module):
    """Logits [B,K,H,W] of pixels [B,T,C,H,W], or with dates "none" [B,T,K,H,W]."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width << i for i in range(config.levels)]
        ins = [config.bands, *widths[:-1]]
        self.down = nn.ModuleList(_block(i, o, config.norm) for i, o in zip(ins, widths, strict=True))
        self.dropout = nn.Dropout2d(config.dropout)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.expand = nn.ModuleList(nn.ConvTranspose2d(deep, thin, 2, stride=2) for deep, thin in pairs)
        self.up = nn.ModuleList(_block(2 * thin, thin, config.norm) for _, thin in pairs)
        self.head = nn.Conv2d(config.width, config.classes, 1)

    @property
    def each_date(self) -> bool:
        """Whether it draws a map for each date."""
        return self.config.dates == "none"

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        """Logits [B,K,H,W]; with dates "none" [B,T,K,H,W], which are 0 at dates without data.

        Args:
            pixels: normalised, [B,T,C,H,W].
            valid: bool [B,T,C,H,W] or None; invalid pixels count as 0, dates without data not at all.
            days: not used.
            wavelengths: not used.
        """
        check_bands(pixels, self.config.bands)
        b, t = pixels.shape[:2]
        each = self.config.dates == "none"
        x, sample, kept = pixels.flatten(0, 1), None, None
        if valid is not None:
            x = torch.where(valid, pixels, torch.zeros((), dtype=pixels.dtype, device=pixels.device)).flatten(
                0, 1
            )
            if t > 1:
                held = valid.flatten(2).any(dim=-1)
                held[:, 0] |= ~held.any(dim=1)  # a sample without any data keeps one date of zeros
                kept = held.flatten().nonzero()[:, 0]
                x, sample = x[kept], kept // t
        elif t > 1:
            sample = torch.arange(b * t, device=x.device) // t
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else F.max_pool2d(x, 2, ceil_mode=True))
            skips.append(x if sample is None or each else _mean_by(x, sample, b))
        x = self.dropout(skips.pop())
        for expand, block in zip(self.expand, self.up, strict=True):
            skip = skips.pop()
            x = expand(x)[..., : skip.shape[-2], : skip.shape[-1]]
            x = block(torch.cat([x, skip], dim=1))
        logits: Tensor = self.head(x)
        if not each:
            return logits
        if kept is not None:
            logits = logits.new_zeros(b * t, *logits.shape[1:]).index_copy(0, kept, logits)
        return logits.reshape(b, t, *logits.shape[1:])


def _mean_by(x: Tensor, sample: Tensor, samples: int) -> Tensor:
    """The mean of the rows of each sample: [n,...] with sample numbers [n] -> [samples,...]."""
    total = x.new_zeros(samples, *x.shape[1:]).index_add(0, sample, x)
    count = x.new_zeros(samples).index_add(0, sample, torch.ones_like(sample, dtype=x.dtype))
    return total / count.view(-1, 1, 1, 1)


def _block(ins: int, outs: int, norm: UNetNorm) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in (ins, outs):
        layers += [nn.Conv2d(i, outs, 3, padding=1, bias=False), _norm(outs, norm), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _norm(channels: int, norm: UNetNorm) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return group_norm(channels)
