"""The objective of SpectralGPT: predict the pixels of hidden tokens, and their sums over bands and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.config import ModelConfig
from swath.models.flops import flops
from swath.models.spectralgpt import SpectralGPT
from swath.models.tokens import Tokens
from swath.pretraining.masks import random_tokens
from swath.pretraining.objective import ObjectiveOutput, Part, total
from swath.pretraining.place_sample import PlaceSample, draw_places
from swath.pretraining.targets import squared_error, token_statistics


@dataclass(frozen=True)
class SpectralGPTObjectiveConfig(ModelConfig):
    """The loss: token + w_spatial * spatial + w_spectral * spectral.

    Attributes:
        mask_ratio: part of the valid tokens that is hidden.
        w_spatial: weight of the term that compares images summed or averaged over the spectral groups.
        w_spectral: weight of the term that compares spectra summed or averaged over space.
        reduction: "sum" or "mean", how groups and places are combined in these two terms.
        norm_pix_loss: whether the token term's targets are standardised per token (unbiased variance).
        aggregate_targets: what the other two terms compare with when norm_pix_loss is on: "raw" pixels, as
            the published code does, although predictions are then in standardised units and none brings all
            terms to 0; or "token", the token term's own targets.
        decode_part: part of the places that is decoded in training, drawn for each sample, all bands and dates of a
            place together; every term is then an unbiased estimate of itself. Needs a decoder with decoder_keys
            "visible". 1: everything.
    """

    mask_ratio: float = 0.9
    w_spatial: float = 1.0
    w_spectral: float = 0.0
    reduction: str = "sum"
    norm_pix_loss: bool = False
    aggregate_targets: str = "raw"
    decode_part: float = 1.0

    def __post_init__(self) -> None:
        where = type(self).__name__
        if not 0.0 <= self.mask_ratio < 1.0:
            raise ConfigError(f"mask_ratio {self.mask_ratio} is not in [0, 1)", where=where)
        if not 0.0 < self.decode_part <= 1.0:
            raise ConfigError(
                f"decode_part {self.decode_part} is not in (0, 1]", where=where, mend="try 0.25"
            )
        if self.reduction not in ("sum", "mean"):
            raise ConfigError(f"unknown reduction {self.reduction!r}", where=where, mend="take sum or mean")
        if self.aggregate_targets not in ("raw", "token"):
            mend = "take raw or token"
            raise ConfigError(f"unknown aggregate_targets {self.aggregate_targets!r}", where=where, mend=mend)


# The paper names a spectral target, the published code has none, and another state of the authors' code has
# all three; which of them made the published weights is not known.
LOSSES: dict[str, SpectralGPTObjectiveConfig] = {
    "released": SpectralGPTObjectiveConfig(),
    "three_target": SpectralGPTObjectiveConfig(w_spatial=0.5, w_spectral=0.5, reduction="mean"),
    "token_only": SpectralGPTObjectiveConfig(w_spatial=0.0),
}


class SpectralGPTObjective(nn.Module):
    """Masks, encodes, decodes and compares."""

    def __init__(self, network: SpectralGPT, config: SpectralGPTObjectiveConfig = LOSSES["released"]) -> None:
        super().__init__()
        if config.decode_part < 1 and network.config.decoder_keys != "visible":
            raise ConfigError(
                f"decode_part {config.decode_part} needs a decoder whose hidden tokens do not see each other",
                where="mask.decode_part",
                mend='set model.options.decoder_keys to "visible"',
            )
        self.network = network
        self.config = config

    def noise_length(self, pixels_shape: Sequence[int]) -> int:
        """How many uniform numbers a sample of the shape [B,T,C,H,W] (or [T,C,H,W]) needs."""
        t, c, height, width = pixels_shape[-4:]
        net = self.network.config
        places = -(-height // net.patch_size) * -(-width // net.patch_size)
        return (t * self._groups(c) + (self.config.decode_part < 1)) * places

    def _groups(self, bands: int) -> int:
        # One number per token of the model's groups, even where the input has fewer: so a missing group draws
        # its numbers too, and the other tokens keep theirs.
        net = self.network.config
        return max(len(net.anchors), -(-bands // net.group_size))

    def flops(self, pixels_shape: Sequence[int]) -> float:
        """Operations of one sample's forward and backward pass, for pixels of shape [T,C,H,W]."""
        hidden, decoded = self.config.mask_ratio, self.config.decode_part
        return 3.0 * flops(self.network.config, pixels_shape[-4:], mask_ratio=hidden, decode_part=decoded)

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
            noise: [B, noise_length] in [0, 1), the mask's draw, laid out as (date, group, row, column); with a
                decode_part below 1, one more per place behind it.
            days: [B,T,2] day of year and year, or None.
            wavelengths: nm per band, or None for the model's bands.
        """
        net = self.network
        tokens = net.tokenize(pixels, valid, wavelengths)
        t, g, h, w = tokens.shape
        drawn = t * self._groups(pixels.shape[2]) * h * w
        sample = (
            self._sample(noise[:, drawn:], t * g) if self.training and self.config.decode_part < 1 else None
        )
        noise = noise[:, :drawn].reshape(len(noise), t, -1, h, w)[:, :, :g].flatten(1)
        mask = random_tokens(noise, tokens.valid, self.config.mask_ratio)
        latent = net.encode(tokens, days, mask.keep, mask.keep_valid)
        asked = None if sample is None else sample.tokens
        prediction = net.decode(latent, tokens, mask.keep, mask.keep_valid, days, asked)
        # Sums over thousands of pixels in half precision would lose the small errors of a good prediction.
        prediction = prediction.to(torch.promote_types(prediction.dtype, tokens.patches.dtype))
        parts = self.parts(prediction, tokens, mask.hidden, sample)
        hidden = tokens.to_pixels(mask.hidden[..., None].expand_as(tokens.patches))
        with torch.no_grad():
            image = prediction.detach()
            if self.config.norm_pix_loss:
                mean, std = token_statistics(tokens)
                image = image * std + mean
        return ObjectiveOutput(total(parts), parts, tokens.to_pixels(image), hidden)

    def _sample(self, noise: Tensor, parts: int) -> PlaceSample | None:
        """The places to decode; None where the share comes to all of them."""
        places = noise.shape[1]
        # Two at least: pairs of places are what estimates the square of a sum.
        return draw_places(noise, min(places, max(2, round(places * self.config.decode_part))), parts)

    def parts(
        self, prediction: Tensor, tokens: Tokens, hidden: Tensor, sample: PlaceSample | None = None
    ) -> dict[str, Part]:
        """The terms of the loss; only valid pixels enter any of them.

        Args:
            prediction: [B,N,K].
            tokens: with the targets in `patches`.
            hidden: bool [B,N].
            sample: the places that were decoded; the terms are then estimates from these.
        """
        config, raw, valid = self.config, tokens.patches, tokens.pixel_valid
        target = raw
        if config.norm_pix_loss:
            mean, std = token_statistics(tokens)
            target = (raw - mean) / std
        counted = hidden[..., None].expand_as(raw) if valid is None else hidden[..., None] & valid
        parts = {"token": squared_error(prediction - target, counted)}
        if sample is not None:
            inside = sample.inside[:, None].expand(-1, tokens.dates * tokens.grouping.groups, -1).flatten(1)
            some = squared_error(prediction - target, counted & inside[..., None])
            parts["token"] = Part(some.numerator / sample.single, parts["token"].count)
        error = prediction - (raw if config.aggregate_targets == "raw" else target)
        if valid is not None:
            error = error.masked_fill(~valid, 0.0)
        t, g, h, w = tokens.shape
        error = error.reshape(-1, t, g, h * w, raw.shape[-1])
        here = torch.ones_like(error, dtype=torch.bool) if valid is None else valid.reshape(error.shape)
        if config.w_spatial:
            parts["spatial"] = self._aggregate(error, here, dim=2, weight=config.w_spatial, sample=sample)
        if config.w_spectral:
            parts["spectral"] = self._aggregate(error, here, dim=3, weight=config.w_spectral, sample=sample)
        return parts

    def _aggregate(
        self, error: Tensor, here: Tensor, dim: int, weight: float, sample: PlaceSample | None
    ) -> Part:
        """Squared differences of the sums (or means) over one dimension of [B,T,G,h*w,K]."""
        n = here.sum(dim=dim)
        scale = n.clamp_min(1) if self.config.reduction == "mean" else torch.ones_like(n)
        if sample is None:
            return replace(squared_error(error.sum(dim=dim) / scale, n > 0), weight=weight)
        error = error.masked_fill(~sample.inside[:, None, None, :, None], 0.0)
        if dim == 2:
            squares = (error.sum(dim=2) / scale).square() / sample.single
        else:
            squares = sample.square_of_sum(error, dim=3) / scale.square()
        numerator = squares.masked_fill(n == 0, 0.0).sum()
        return Part(numerator, (n > 0).sum().to(numerator.dtype), weight)
