"""A small residual network (He et al., 2016) for one answer per image, which any larger one has to beat.

It keeps full resolution in its first stage, where the textbook's first layers keep a quarter of it: patches of imagery
are often 8 to 64 pixels wide. Dates are encoded one by one with the same weights; the answer is from the mean over all
places and dates that hold data. Any number of dates, any height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.config import ModelConfig
from swath.models.heads_linear import LinearHead
from swath.models.layers import check_bands, group_norm


@dataclass(frozen=True)
class ResNetConfig(ModelConfig):
    """The small residual network.

    Attributes:
        bands: of the input.
        outputs: K: classes or quantities.
        width: channels of the first stage; they double with each halving.
        blocks: residual blocks of each stage; the first is at full resolution, each other at half of the one before.
        dropout: of the mean features.
    """

    bands: int = 6
    outputs: int = 2
    width: int = 32
    blocks: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        where = type(self).__name__
        if min(self.bands, self.outputs, self.width) < 1:
            raise ConfigError("bands, outputs and width must be 1 or more", where=where)
        if not self.blocks or min(self.blocks) < 1:
            raise ConfigError(f"blocks {list(self.blocks)} are not one or more in each stage", where=where)
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout {self.dropout} is not in [0, 1)", where=where)


# About 0.3 and 2.8 million parameters.
PRESETS: dict[str, ResNetConfig] = {
    "resnet_32": ResNetConfig(),
    "resnet_64": ResNetConfig(width=64, blocks=(2, 2, 2)),
}


class ResNet(nn.Module):
    """Answers [B,K] of pixels [B,T,C,H,W]."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width << i for i in range(len(config.blocks))]
        self.stem = nn.Conv2d(config.bands, config.width, 3, padding=1, bias=False)
        self.norm = group_norm(config.width)
        self.stages = nn.ModuleList()
        thin = config.width
        for i, (wide, count) in enumerate(zip(widths, config.blocks, strict=True)):
            steps = [2 if i and not j else 1 for j in range(count)]
            ins = [thin, *[wide] * (count - 1)]
            self.stages.append(nn.Sequential(*(_Block(n, wide, s) for n, s in zip(ins, steps, strict=True))))
            thin = wide
        self.head = LinearHead(thin, config.outputs, config.dropout)

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        """Answers [B,K].

        Args:
            pixels: normalised, [B,T,C,H,W].
            valid: bool [B,T,C,H,W] or None; invalid pixels count as 0, cells and dates without data not at all.
            days: not used.
            wavelengths: not used.

        Raises:
            ContractError: the pixels are of another number of bands.
        """
        check_bands(pixels, self.config.bands)
        b, t = pixels.shape[:2]
        clean = pixels if valid is None else torch.where(valid, pixels, pixels.new_zeros(()))
        x = F.relu(self.norm(self.stem(clean.flatten(0, 1))))
        for stage in self.stages:
            x = stage(x)
        features = x.reshape(b, t, *x.shape[1:]).movedim(2, -1).flatten(1, 3)  # [B, T·h·w, D]
        if valid is None:
            mean = features.mean(dim=1)
        else:
            held = _halved(valid.any(dim=2), len(self.stages) - 1).flatten(1)[..., None]
            mean = features.masked_fill(~held, 0.0).sum(dim=1) / held.sum(dim=1).clamp_min(1)
        out: Tensor = self.head(mean)
        return out


class _Block(nn.Module):
    """Two convolutions beside a short way; [B,ins,H,W] -> [B,outs,⌈H/step⌉,⌈W/step⌉]."""

    def __init__(self, ins: int, outs: int, step: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(ins, outs, 3, stride=step, padding=1, bias=False)
        self.first_norm = group_norm(outs)
        self.second = nn.Conv2d(outs, outs, 3, padding=1, bias=False)
        self.second_norm = group_norm(outs)
        self.short = nn.Identity() if ins == outs and step == 1 else nn.Conv2d(ins, outs, 1, stride=step)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(self.short(x) + y)


def _halved(held: Tensor, times: int) -> Tensor:
    """Which cells [B,T,h,w] hold a valid pixel of [B,T,H,W], after so many halvings that round up."""
    if not times:
        return held
    side = 2**times
    found = F.max_pool2d(held.float(), side, ceil_mode=True)
    return found > 0
