"""Learning by agreement: heads, and InfoNCE (van den Oord et al., 2018) over all ranks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.models.config import ModelConfig
from swath.models.features import Features
from swath.models.flops import flops
from swath.pretraining.config import ViewConfig
from swath.pretraining.objective import Part
from swath.pretraining.ranks import all_ranks
from swath.pretraining.views import View


class Backbone(Protocol):
    """An encoder: ViT or Swin3D."""

    def features(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Features:
        """Maps and a pooled vector."""
        ...


def pooled(network: nn.Module, view: View, wavelengths: Sequence[float] | None) -> Tensor:
    """What an encoder makes of a view, [B,D]."""
    nm = None if wavelengths is None else tuple(wavelengths)
    return cast(Backbone, network).features(view.pixels, view.valid, view.days, nm).pooled


def pass_flops(network: nn.Module, pixels_shape: Sequence[int], views: ViewConfig) -> float:
    """Operations of an encoder's forward pass over one view of a sample [T,C,H,W]."""
    t, *rest = pixels_shape[-4:]
    config = network.config
    assert isinstance(config, ModelConfig)
    return flops(config, (1 if views.seasonal else t, *rest))


class BatchNorm(nn.Module):
    """Normalises over the samples of all ranks that hold data, in training and after it alike.

    Heads are dropped when pretraining ends, so there are no running means: a forward pass leaves nothing behind.
    """

    def __init__(self, dim: int, affine: bool) -> None:
        super().__init__()
        self.affine = affine
        if affine:
            self.weight = nn.Parameter(torch.ones(dim))
            self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, holds: Tensor) -> Tensor:
        """[B,D], bool [B] -> [B,D]."""
        # Squares of half-precision numbers overflow early.
        with torch.autocast(x.device.type, enabled=False):
            x = single(x)
            every, counted = all_ranks(x), all_ranks(holds)[:, None]
            count = counted.sum().clamp_min(1)
            mean = every.masked_fill(~counted, 0.0).sum(dim=0) / count
            variance = (every - mean).masked_fill(~counted, 0.0).square().sum(dim=0) / count
            out = (x - mean) * (variance + 1e-5).rsqrt()
            return out * self.weight + self.bias if self.affine else out


class Head(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        widths: of the input, the hidden layers and the output.
        norm: a BatchNorm behind each layer but the last, as in the code of SimCLR and MoCo v3 (v2 has none).
        last_norm: one without weights behind the last.
    """

    def __init__(self, widths: Sequence[int], norm: bool, last_norm: bool) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=not norm) for a, b in pairs)
        between = [BatchNorm(b, affine=True) if norm else nn.Identity() for _, b in pairs[:-1]]
        self.norms = nn.ModuleList(
            [*between, BatchNorm(widths[-1], affine=False) if last_norm else nn.Identity()]
        )

    def forward(self, x: Tensor, holds: Tensor) -> Tensor:
        """[B,D], bool [B] (samples with data) -> [B,D']."""
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = layer(x)
            x = norm(x, holds) if isinstance(norm, BatchNorm) else x
            x = F.relu(x) if i < len(self.layers) - 1 else x
        return x


def unit(x: Tensor) -> Tensor:
    """Vectors of length 1 in single precision or better, [...,D]."""
    return F.normalize(single(x), dim=-1)


def single(x: Tensor) -> Tensor:
    """In single precision, or as precise as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def info_nce(
    positive: Tensor, negative: Tensor, allowed: Tensor, counted: Tensor, temperature: float
) -> Part:
    """-log exp(p / t) / (exp(p / t) + sum over the allowed n of exp(n / t)), summed over the queries that count.

    Args:
        positive: [M] similarities with the positive key.
        negative: [M,K] similarities with other keys.
        allowed: bool, broadcastable to [M,K], which of them are negatives.
        counted: bool [M].
        temperature: t.
    """
    scores = (negative / temperature).masked_fill(~allowed, float("-inf"))
    loss = (
        torch.logsumexp(torch.cat([positive[:, None] / temperature, scores], dim=1), dim=1)
        - positive / temperature
    )
    numerator = loss.masked_fill(~counted, 0.0).sum()
    return Part(numerator, counted.sum().to(numerator.dtype))
