"""SpectralGPT for maps: one date to classes per pixel, two dates to change per pixel (the publication's OSCD
and SegMunich networks, which are one network of 109 million parameters).

The last block's tokens, before the norm, are joined over the spectral groups by one linear layer; for change,
the later map is subtracted from the earlier; four branches enlarge the one grid of tokens by 8, 4, 2 and 1,
and a decoder makes one map of them (`swath.models.uper`).

Any height and width: tokens are padded at the end with invalid pixels and the map is cut back. Tokens without
a valid pixel are 0 before the groups are joined, so nothing in an invalid pixel reaches the map; but the norms
and maxima of the decoder look at the whole window, so what a window holds elsewhere has a say in each pixel,
and a large invalid part weakens the map beside it. Train and map at one window size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from swath.errors import ConfigError, ContractError
from swath.models.features import Features
from swath.models.spectralgpt import EncoderConfig, SpectralGPTEncoder
from swath.models.uper import BRANCH_GROUPS, DECODER_GROUPS, Branch, UperDecoder
from swath.words import counted

FACTORS = (8, 4, 2, 1)  # how the branches enlarge the grid of tokens, fine to coarse
_MEANS, _MEAN_STEP_NM = 2, 100.0


@dataclass(frozen=True)
class SpectralGPTSegmentationConfig(EncoderConfig):
    """The network for one date.

    Attributes:
        num_classes: K.
        branch_widths: channels of the four branches before they are enlarged.
        branch_outputs: channels of the three enlarged ones after it.
        decoder_width: channels of the decoder.
        dropout: in branches and decoder (0.5 for SegMunich, none for OSCD).
        log_softmax: give log-probabilities, as the published OSCD network does; a loss over logits is the same
            for both, since log-softmax leaves log-probabilities as they are.
        segmunich_means: append the mean of the bands twice, as the published SegMunich network fills twelve
            slots from ten bands. There the mean is of the raw bands and is then scaled to [0, 1] like a band;
            here it is of the normalised ones, since a network sees no raw pixels. With all twelve slots given,
            they are taken as they are.
    """

    image_size: int = 128
    drop_path: float = 0.5
    num_classes: int = 13
    branch_widths: tuple[int, ...] = (512, 512, 1024, 2048)
    branch_outputs: tuple[int, ...] = (256, 512, 1024)
    decoder_width: int = 256
    dropout: float = 0.0
    log_softmax: bool = False
    segmunich_means: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        where = type(self).__name__
        if self.temporal:
            raise ConfigError("this network encodes no dates", where=where, mend="take temporal: false")
        if len(self.branch_widths) != len(FACTORS) or len(self.branch_outputs) != len(FACTORS) - 1:
            raise ConfigError("there are four branches, three of them enlarged", where=where)
        for name, widths, groups in (
            ("branch_widths", self.branch_widths, BRANCH_GROUPS),
            ("decoder_width", (self.decoder_width,), DECODER_GROUPS),
        ):
            if any(width <= 0 or width % groups for width in widths):
                raise ConfigError(f"{name} {widths} do not divide into {groups} groups", where=where)
        if self.num_classes < 1:
            raise ConfigError(f"num_classes {self.num_classes} is less than 1", where=where)

    @property
    def encoder(self) -> EncoderConfig:
        """The encoder's part, with the slots of the means where they are appended."""
        config = EncoderConfig(**{f.name: getattr(self, f.name) for f in fields(EncoderConfig)})
        if not self.segmunich_means:
            return config
        # The means have no wavelength: behind all bands, so that they fill the last slots in their order.
        last = max(self.wavelengths)
        means = tuple(last + _MEAN_STEP_NM * (i + 1) for i in range(_MEANS))
        return replace(config, wavelengths=(*self.wavelengths, *means))


@dataclass(frozen=True)
class SpectralGPTChangeConfig(SpectralGPTSegmentationConfig):
    """The network for two dates."""

    num_classes: int = 2


class SpectralGPTSegmentation(nn.Module):
    """Normalised pixels of one date to logits per class."""

    DATES = 1

    def __init__(self, config: SpectralGPTSegmentationConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SpectralGPTEncoder(config.encoder)
        groups = len(self.encoder.config.anchors)
        self.fuse = nn.Linear(groups, 1)  # over the spectral groups of a place
        outs = (*config.branch_outputs, config.branch_widths[-1])
        self.branches = nn.ModuleList(
            Branch(config.embed_dim, width, out, factor, config.dropout)
            for width, out, factor in zip(config.branch_widths, outs, FACTORS, strict=True)
        )
        self.decoder = UperDecoder(outs, config.decoder_width, config.dropout)
        self.classify = nn.Conv2d(config.decoder_width, config.num_classes, 3, padding=1)

    def features(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> Features:
        """The encoder's features [B,T,G,D,h,w] of each date for itself, and the mean vector of the dates that hold
        data; `days` are not looked at.
        """
        b, t = pixels.shape[:2]
        pixels, valid, wavelengths = self._slots(pixels, valid, wavelengths)
        alone = None if valid is None else valid.flatten(0, 1)[:, None]
        out = self.encoder.features(pixels.flatten(0, 1)[:, None], alone, None, wavelengths)
        maps = tuple(m.reshape(b, t, *m.shape[2:]) for m in out.maps)
        held = out.pooled.new_ones(b, t, 1)
        if alone is not None:
            held = alone.flatten(1).any(dim=1).reshape(b, t, 1).to(held.dtype)
        pooled = (out.pooled.reshape(b, t, -1) * held).sum(dim=1) / held.sum(dim=1).clamp_min(1)
        return Features(maps, out.strides, pooled)

    def fused(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> Tensor:
        """The one grid of tokens that the branches start from, [B,D,h,w]."""
        maps = self.features(pixels, valid, None, wavelengths).maps[-1]  # [B, T, G, D, h, w]
        if maps.shape[2] != self.fuse.in_features:
            raise ContractError(
                f"the bands make {maps.shape[2]} spectral groups, this network joins {self.fuse.in_features}",
                mend=f"give {len(self.config.wavelengths)} bands",
            )
        joined: Tensor = self.fuse(maps.permute(0, 1, 3, 4, 5, 2))[..., 0]  # [B, T, D, h, w]
        return self.compare(joined)

    def compare(self, maps: Tensor) -> Tensor:
        """[B,T,D,h,w] -> [B,D,h,w]."""
        return maps[:, 0]

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> Tensor:
        """Logits per pixel.

        Args:
            pixels: [B,T,C,H,W], normalised; T is 1 (2 for change).
            valid: bool [B,T,C,H,W] or None (all valid).
            days: not looked at: this network encodes no dates.
            wavelengths: nm per band, or None for the model's bands.

        Returns:
            [B,K,H,W].

        Raises:
            ContractError: another number of dates, or bands that do not fit.
        """
        if pixels.ndim != 5 or pixels.shape[1] != self.DATES:
            raise ContractError(
                f"pixels have the shape {tuple(pixels.shape)}",
                mend=f"give them as [batch, date, band, row, column] with {counted(self.DATES, 'date')}",
            )
        x = self.fused(pixels, valid, wavelengths)
        logits: Tensor = self.classify(self.decoder([branch(x) for branch in self.branches]))
        logits = self._full_size(logits)[..., : pixels.shape[-2], : pixels.shape[-1]]
        return logits.log_softmax(dim=1) if self.config.log_softmax else logits

    def _full_size(self, logits: Tensor) -> Tensor:
        """Tokens of another edge than 8 pixels leave the map smaller or larger than the image."""
        patch = self.config.patch_size
        if patch == FACTORS[0]:
            return logits
        size = tuple(n // FACTORS[0] * patch for n in logits.shape[-2:])
        return nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)

    def _slots(
        self, pixels: Tensor, valid: Tensor | None, wavelengths: Sequence[float] | None
    ) -> tuple[Tensor, Tensor | None, Sequence[float] | None]:
        """Appends the means of the bands where the network wants them."""
        if not self.config.segmunich_means:
            return pixels, valid, wavelengths
        bands = len(self.config.wavelengths)
        if wavelengths is not None and tuple(wavelengths) != self.config.wavelengths:
            raise ContractError(
                "a network that appends means of its bands takes no others",
                mend="give the bands of the contract",
            )
        if pixels.shape[2] == bands + _MEANS:
            return pixels, valid, None
        if pixels.shape[2] != bands:
            raise ContractError(f"{pixels.shape[2]} bands of pixels, the network takes {bands}")
        if valid is None:
            mean = pixels.mean(dim=2, keepdim=True)
        else:
            zero = torch.zeros((), dtype=pixels.dtype, device=pixels.device)
            count = valid.sum(dim=2, keepdim=True).clamp_min(1)
            mean = torch.where(valid, pixels, zero).sum(dim=2, keepdim=True) / count
            valid = torch.cat([valid, *[valid.any(dim=2, keepdim=True)] * _MEANS], dim=2)
        return torch.cat([pixels, *[mean] * _MEANS], dim=2), valid, None


class SpectralGPTChange(SpectralGPTSegmentation):
    """Normalised pixels of two dates, each encoded by the same encoder, to logits of change."""

    DATES = 2
    config: SpectralGPTChangeConfig

    def __init__(self, config: SpectralGPTChangeConfig) -> None:
        super().__init__(config)

    def compare(self, maps: Tensor) -> Tensor:
        """The first date minus the second."""
        return maps[:, 0] - maps[:, 1]


_SEGMENTATION = SpectralGPTSegmentationConfig(dropout=0.5)
_CHANGE = SpectralGPTChangeConfig()
PRESETS: dict[str, SpectralGPTSegmentationConfig] = {
    f"spectralgpt_{task}_{name}": replace(config, embed_dim=width, depth=depth, heads=heads)
    for task, config in (("segmentation", _SEGMENTATION), ("change", _CHANGE))
    for name, width, depth, heads in (("base", 768, 12, 12), ("large", 1024, 24, 16), ("huge", 1280, 32, 16))
}
