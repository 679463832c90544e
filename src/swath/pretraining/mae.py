"""The objective of MAE and SatMAE: predict the pixels of hidden tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.flops import flops
from swath.models.mae import MAE
from swath.models.tokens import Tokens
from swath.pretraining.masks import TokenMask, random_tokens, tokens_of_each, tokens_of_places
from swath.pretraining.objective import ObjectiveOutput, Part, total
from swath.pretraining.targets import squared_error, token_statistics

Scope = Literal["joint", "each", "shared"]


@dataclass(frozen=True)
class MAEObjectiveConfig:
    """What is hidden and how errors are measured.

    Attributes:
        mask_ratio: part of the valid tokens that is hidden.
        scope: "joint", over all tokens of a sample together (MAE; the independent masking of SatMAE's code); "each",
            the same share of each date and group, drawn apart; "shared", the same places in all dates and groups
            (SatMAE's consistent masking).
        norm_pix: targets are standardised per token, over its valid pixels (unbiased variance).
    """

    mask_ratio: float = 0.75
    scope: Scope = "joint"
    norm_pix: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.mask_ratio < 1.0:
            raise ConfigError(f"{self.mask_ratio} is not in [0, 1)", where="mask.ratio", mend="try 0.75")
        if self.scope not in get_args(Scope):
            raise ConfigError(
                f"unknown scope {self.scope!r}", where="mask.scope", mend=f"take {', '.join(get_args(Scope))}"
            )


class MAEObjective(nn.Module):
    """Masks, encodes, decodes and compares."""

    def __init__(self, network: MAE, config: MAEObjectiveConfig = MAEObjectiveConfig()) -> None:
        super().__init__()
        self.network = network
        self.config = config

    def noise_length(self, pixels_shape: Sequence[int]) -> int:
        """How many uniform numbers a sample of the shape [B,T,C,H,W] (or [T,C,H,W]) needs."""
        t, _, height, width = pixels_shape[-4:]
        net = self.network.config
        places = -(-height // net.patch_size) * -(-width // net.patch_size)
        return places if self.config.scope == "shared" else t * len(net.band_groups) * places

    def flops(self, pixels_shape: Sequence[int]) -> float:
        """Operations of one sample's forward and backward pass, for pixels of shape [T,C,H,W]."""
        return 3.0 * flops(self.network.config, pixels_shape[-4:], mask_ratio=self.config.mask_ratio)

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        noise: Tensor,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> ObjectiveOutput:
        """The loss of a batch.

        Args:
            pixels: [B,T,C,H,W], normalised.
            valid: bool [B,T,C,H,W] or None (all valid).
            noise: [B, noise_length] in [0, 1), the mask's draw, laid out as (date, group, row, column).
            days: [B,T,2] day of year and year, or None.
            wavelengths: nm per band, or None for the model's bands.
        """
        net = self.network
        tokens = net.tokenize(pixels, valid, wavelengths)
        mask = self.mask(noise, tokens)
        latent = net.encode(tokens, days, mask.keep, mask.keep_valid)
        prediction = net.decode(latent, tokens, mask.keep, mask.keep_valid, days)
        # Sums over thousands of pixels in half precision would lose the small errors of a good prediction.
        prediction = prediction.to(torch.promote_types(prediction.dtype, tokens.patches.dtype))
        target = tokens.patches
        image = prediction.detach()
        if self.config.norm_pix:
            mean, std = token_statistics(tokens)
            target = (target - mean) / std
            image = image * std + mean
        counted = mask.hidden[..., None].expand_as(target)
        if tokens.pixel_valid is not None:
            counted = counted & tokens.pixel_valid
        parts: dict[str, Part] = {"token": squared_error(prediction - target, counted)}
        hidden = tokens.to_pixels(mask.hidden[..., None].expand_as(target))
        return ObjectiveOutput(total(parts), parts, tokens.to_pixels(image), hidden)

    def mask(self, noise: Tensor, tokens: Tokens) -> TokenMask:
        """What is seen and what is hidden."""
        ratio, scope = self.config.mask_ratio, self.config.scope
        if scope == "joint":
            return random_tokens(noise, tokens.valid, ratio)
        parts = tokens.dates * tokens.grouping.groups
        rule = tokens_of_each if scope == "each" else tokens_of_places
        return rule(noise, tokens.valid, ratio, parts)
