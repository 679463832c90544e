"""SimCLR (Chen et al., ICML 2020): two views of a sample agree, and differ from those of all other samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.pretraining.config import ViewConfig
from swath.pretraining.contrast import Head, info_nce, pass_flops, pooled, unit
from swath.pretraining.objective import ObjectiveOutput, Part, total
from swath.pretraining.ranks import all_ranks, rank
from swath.pretraining.views import DEFAULT_VIEWS, noise_length, two_views


@dataclass(frozen=True)
class SimCLRConfig:
    """The loss and the head.

    Attributes:
        temperature: of the similarities.
        hidden: width of the head's hidden layer.
        embedding: width in which views are compared.
    """

    temperature: float = 0.1
    hidden: int = 2048
    embedding: int = 128

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ConfigError(f"{self.temperature} is not above 0", where="contrast.temperature")


class SimCLRObjective(nn.Module):
    """Projects two views and compares them over all ranks.

    Args:
        network: an encoder with `features`; alone of all this goes into the weights.
        width: of its pooled vector, D.
        config: of the loss.
        views: how views differ.
    """

    def __init__(
        self,
        network: nn.Module,
        width: int,
        config: SimCLRConfig = SimCLRConfig(),
        views: ViewConfig = DEFAULT_VIEWS,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.views = views
        self.head = Head((width, config.hidden, config.embedding), norm=True, last_norm=True)

    def noise_length(self, pixels_shape: Sequence[int]) -> int:
        """How many uniform numbers a sample of the shape [B,T,C,H,W] needs."""
        return noise_length(pixels_shape)

    def flops(self, pixels_shape: Sequence[int]) -> float:
        """Operations of one sample's two views, forward and backward, for pixels of shape [T,C,H,W]; without heads."""
        one = pass_flops(self.network, pixels_shape, self.views)
        return 6.0 * one

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        noise: Tensor,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> ObjectiveOutput:
        """The loss of a batch; samples of which a view holds nothing count neither as pairs nor as negatives.

        Args:
            pixels: [B,T,C,H,W], normalised.
            valid: bool [B,T,C,H,W] or None (all valid).
            noise: [B, noise_length] in [0, 1), see `two_views`.
            days: [B,T,2] day of year and year, or None.
            wavelengths: nm per band, or None for the model's bands.
        """
        views = two_views(pixels, valid, days, noise, self.views)
        holds = views[0].holds & views[1].holds
        first, second = (unit(self.head(pooled(self.network, v, wavelengths), holds)) for v in views)
        parts: dict[str, Part] = {"contrast": nt_xent(first, second, holds, self.config.temperature)}
        return ObjectiveOutput(total(parts), parts)


def nt_xent(first: Tensor, second: Tensor, holds: Tensor, temperature: float) -> Part:
    """Each view of this rank against its partner and all other views of all ranks.

    Args:
        first: unit vectors [B,D] of one view.
        second: of the other.
        holds: bool [B], which samples count.
        temperature: of the similarities.
    """
    with torch.autocast(first.device.type, enabled=False):
        every = torch.cat([all_ranks(first), all_ranks(second)])  # [2 R B, D]
        held = all_ranks(holds).repeat(2)
        own = rank() * len(first) + torch.arange(len(first), device=first.device)
        count = len(every) // 2
        mine = torch.cat([own, own + count])
        partner = torch.cat([own + count, own])
        scores = torch.cat([first, second]) @ every.T
        column = torch.arange(len(every), device=first.device)
        allowed = held & (column != mine[:, None]) & (column != partner[:, None])
        positive = scores.gather(1, partner[:, None])[:, 0]
        return info_nce(positive, scores, allowed, holds.repeat(2), temperature)
