"""SpectralGPT (Hong et al., IEEE TPAMI 46(8), 2024): a masked autoencoder over spectral tokens.

A token covers three neighbouring bands x 8 x 8 pixels; one kernel embeds all of them, and only the position
tells which bands and which place it holds. The encoder is a plain ViT that, in pretraining, sees the visible
tenth of the tokens; a light decoder predicts the pixels of all of them. Attention runs over all tokens of all
places, bands and dates together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.bands import sensor
from swath.errors import ConfigError, ContractError
from swath.models.config import ModelConfig
from swath.models.features import Features
from swath.models.positions import DateEncoding, interpolate_spectrum, per_date, resize_grid
from swath.models.token_encoder import TokenEncoder, mean_tokens, take
from swath.models.tokens import Tokens, sorted_groups, tokenize
from swath.models.vit import Block, init_linear

# The order of the published weights, also that of wavelengths: all of Sentinel-2 but the cirrus band.
SENTINEL2_12 = tuple(band.center_nm for band in sensor("sentinel2").bands if band.name != "B10")


@dataclass(frozen=True)
class EncoderConfig(ModelConfig):
    """The encoder.

    Attributes:
        wavelengths: centre of each band in nm, in the order of the channels.
        image_size: edge in pixels of the images whose grid the learned positions have; others work too.
        patch_size: edge of a token in pixels.
        group_size: bands per token (t_patch_size in the publication).
        embed_dim: width D.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over D.
        drop_path: stochastic depth of the last block; grows linearly from 0.
        positions: "separable" (space + spectrum), or "joint" (one per token), the published classifier's way
            and an option of the pretraining model.
        temporal: whether dates are encoded; needed for more than one date.
    """

    wavelengths: tuple[float, ...] = SENTINEL2_12
    image_size: int = 96
    patch_size: int = 8
    group_size: int = 3
    embed_dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    positions: str = "separable"
    temporal: bool = False

    def __post_init__(self) -> None:
        where = type(self).__name__
        if not self.wavelengths:
            raise ConfigError("no wavelengths", where=where, mend="give one per band")
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}",
                where=where,
                mend=f"take {-(-self.image_size // self.patch_size) * self.patch_size}",
            )
        if self.embed_dim % self.heads:
            raise ConfigError(
                f"embed_dim {self.embed_dim} does not divide into {self.heads} heads", where=where
            )
        if self.positions not in ("separable", "joint"):
            raise ConfigError(
                f"unknown positions {self.positions!r}", where=where, mend="take separable or joint"
            )

    @property
    def grid(self) -> int:
        """Edge of the learned positions' grid, in tokens."""
        return self.image_size // self.patch_size

    @property
    def token_values(self) -> int:
        """Values in one token."""
        return self.group_size * self.patch_size**2

    @property
    def anchors(self) -> tuple[float, ...]:
        """Mean wavelength of each spectral group, nm."""
        groups = sorted_groups(self.wavelengths, self.group_size)
        return tuple(sum(self.wavelengths[c] for c in g) / len(g) for g in groups)


@dataclass(frozen=True)
class SpectralGPTConfig(EncoderConfig):
    """The pretraining model: the encoder and a decoder, which is the same for all published sizes.

    Attributes:
        decoder_embed_dim: width D' of the decoder.
        decoder_depth: its blocks.
        decoder_heads: its attention heads.
        decoder_keys: what its tokens attend to: "all", as published, or "visible": a hidden token then looks at what
            was seen and not at other hidden ones, so that any part of them can be decoded alone.
    """

    decoder_embed_dim: int = 512
    decoder_depth: int = 4
    decoder_heads: int = 16
    decoder_keys: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder_keys not in ("all", "visible"):
            where = type(self).__name__
            raise ConfigError(
                f"unknown decoder_keys {self.decoder_keys!r}", where=where, mend="take all or visible"
            )


@dataclass(frozen=True)
class SpectralGPTClassifierConfig(EncoderConfig):
    """The classifier.

    Attributes:
        num_classes: K.
        head_dropout: dropout before the head.
        drop_first_token: leave token 0 out of the mean, as the published code does (it takes it for a class
            token, which this model has not).
    """

    num_classes: int = 10
    head_dropout: float = 0.0
    drop_first_token: bool = False


class PatchEmbed(nn.Module):
    """One linear map for all tokens, kept in the shape of the 3D convolution it is in the publication."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        kernel = (config.group_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(1, config.embed_dim, kernel, stride=kernel)
        nn.init.xavier_uniform_(
            self.proj.weight.data.flatten(1)
        )  # the bias keeps the convolution's own start

    def forward(self, patches: Tensor) -> Tensor:
        """[B,N,K] -> [B,N,D]."""
        # Kernel and stride are equal, so the convolution is a product, and only visible tokens need it.
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class SpectralGPTEncoder(TokenEncoder):
    """Tokens to latents; the part that pretraining, classification and dense tasks share."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config.patch_size)
        self.config: EncoderConfig = config
        dim, groups, places = config.embed_dim, len(config.anchors), config.grid**2
        self.patch_embed = PatchEmbed(config)
        if config.positions == "joint":
            self.pos_embed = nn.Parameter(torch.zeros(1, groups * places, dim))  # zero: the published start
        else:
            self.pos_embed_spatial = _normal(1, places, dim)
            self.pos_embed_spectral = _normal(1, groups, dim)
        if config.temporal:
            self.date_embed = DateEncoding(dim)
        self.add_blocks(dim, config.depth, config.heads, config.mlp_ratio, config.drop_path)
        self.apply(init_linear)

    def tokenize(
        self, pixels: Tensor, valid: Tensor | None = None, wavelengths: Sequence[float] | None = None
    ) -> Tokens:
        """Normalised pixels [B,T,C,H,W] as tokens.

        Raises:
            ContractError: bands and wavelengths disagree, or several dates meet a model that encodes none.
        """
        if pixels.ndim == 5 and pixels.shape[1] > 1 and not self.config.temporal:
            raise ContractError(
                f"{pixels.shape[1]} dates, but this model encodes no dates",
                mend="give one date, or build the model with temporal=True",
            )
        return tokenize(
            pixels,
            valid,
            known=self.config.wavelengths,
            wavelengths=wavelengths,
            group_size=self.config.group_size,
            patch=self.config.patch_size,
        )

    def positions(self, tokens: Tokens, days: Tensor | None = None) -> Tensor:
        """The encoder's positions for these tokens, [B or 1, N, D]."""
        dates = self.date_embed(days) if days is not None and self.config.temporal else None
        if self.config.positions == "joint":
            return self._joint(self.pos_embed, dates, tokens)
        return self._separable(self.pos_embed_spatial, self.pos_embed_spectral, dates, tokens)

    def _joint(self, positions: Tensor, dates: Tensor | None, tokens: Tokens) -> Tensor:
        grid = self.config.grid
        joint = positions.reshape(-1, grid, grid, positions.shape[-1])  # [G, h, w, D]
        places = resize_grid(joint, (tokens.rows, tokens.cols)).flatten(1, 2)  # [G, h*w, D]
        return per_date(self._at_wavelengths(places, tokens), dates, tokens.dates)

    def _separable(self, spatial: Tensor, spectral: Tensor, dates: Tensor | None, tokens: Tokens) -> Tensor:
        grid = spatial.reshape(1, self.config.grid, self.config.grid, -1)
        places = resize_grid(grid, (tokens.rows, tokens.cols)).flatten(1, 2)  # [1, h*w, D]
        return per_date(
            places[:, None] + self._at_wavelengths(spectral[0], tokens)[:, :, None], dates, tokens.dates
        )

    def _at_wavelengths(self, x: Tensor, tokens: Tokens) -> Tensor:
        """[G,...] of the model's groups -> [B or 1, G', ...] of the input's groups."""
        nm = tokens.grouping.wavelengths
        return x[None] if nm is None else interpolate_spectrum(x, self.config.anchors, nm)

    def embed(self, tokens: Tokens, days: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Tokens with their positions, [B,k,D]."""
        patches, positions = tokens.patches, self.positions(tokens, days)
        if keep is not None:
            patches, positions = take(patches, keep), take(positions, keep)
        out: Tensor = self.patch_embed(patches) + positions
        return out


class SpectralGPT(SpectralGPTEncoder):
    """The pretraining model: encodes visible tokens, decodes all.

    The mask and the loss are in `swath.pretraining.spectralgpt`.
    """

    config: SpectralGPTConfig

    def __init__(self, config: SpectralGPTConfig) -> None:
        super().__init__(config)
        dim, groups, places = config.decoder_embed_dim, len(config.anchors), config.grid**2
        self.decoder_embed = nn.Linear(config.embed_dim, dim)
        self.mask_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        if config.positions == "joint":
            # Unlike a classifier's, these are learned from nothing else: zeros would be a slow start.
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
            self.decoder_pos_embed = _normal(1, groups * places, dim)
        else:
            self.decoder_pos_embed_spatial = _normal(1, places, dim)
            self.decoder_pos_embed_spectral = _normal(1, groups, dim)
        if config.temporal:
            self.decoder_date_embed = DateEncoding(dim)
        self.decoder_blocks = nn.ModuleList(
            Block(dim, config.decoder_heads, config.mlp_ratio) for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(dim, eps=1e-6)
        self.decoder_pred = nn.Linear(dim, config.token_values)
        for name, module in self.named_children():
            if name.startswith("decoder_"):
                module.apply(init_linear)

    def decoder_positions(self, tokens: Tokens, days: Tensor | None = None) -> Tensor:
        """The decoder's positions for these tokens, [B or 1, N, D']."""
        dates = self.decoder_date_embed(days) if days is not None and self.config.temporal else None
        if self.config.positions == "joint":
            return self._joint(self.decoder_pos_embed, dates, tokens)
        return self._separable(self.decoder_pos_embed_spatial, self.decoder_pos_embed_spectral, dates, tokens)

    def decode(
        self,
        latent: Tensor,
        tokens: Tokens,
        keep: Tensor,
        keep_valid: Tensor | None = None,
        days: Tensor | None = None,
        asked: Tensor | None = None,
    ) -> Tensor:
        """Predicted values of all tokens, or of some.

        Args:
            latent: [B,k,D] of `encode`.
            tokens: the same as there.
            keep: long [B,k], where the latents belong.
            keep_valid: bool [B,k], which of them count.
            days: [B,T,2] or None.
            asked: long [B,n], the tokens to predict besides the visible ones, with decoder_keys "visible"; None: all.

        Returns:
            [B,N,K]; 0 where a token was not asked for.
        """
        seen = self.decoder_embed(latent)  # [B, k, D']
        mask_token = self.mask_token.to(seen.dtype)
        if self.config.decoder_keys == "visible":
            return self._decode_apart(seen, mask_token, tokens, keep, keep_valid, days, asked)
        assert asked is None
        if keep_valid is not None:
            seen = torch.where(keep_valid[..., None], seen, mask_token)
        b, n, d = seen.shape[0], tokens.patches.shape[1], seen.shape[2]
        x = mask_token.expand(b, n, d).scatter(1, keep[..., None].expand(-1, -1, d), seen)
        x = x + self.decoder_positions(tokens, days)
        for block in self.decoder_blocks:
            x = block(x, tokens.valid)
        out: Tensor = self.decoder_pred(self.decoder_norm(x))
        return out

    def _decode_apart(
        self,
        seen: Tensor,
        mask_token: Tensor,
        tokens: Tokens,
        keep: Tensor,
        keep_valid: Tensor | None,
        days: Tensor | None,
        asked: Tensor | None,
    ) -> Tensor:
        """As `decode`; every hidden token looks at the visible ones alone."""
        b, n, k = len(seen), tokens.patches.shape[1], keep.shape[1]
        positions = self.decoder_positions(tokens, days)
        if asked is None:
            asked = torch.arange(n, device=seen.device).expand(b, -1)
        x = torch.cat([seen + take(positions, keep), mask_token + take(positions, asked)], dim=1)
        for block in self.decoder_blocks:
            x = block(x, keep_valid, keys=k)
        out: Tensor = self.decoder_pred(self.decoder_norm(x))  # [B, k + n, K]
        # Visible tokens answer for themselves; those that do not count go to a place behind the last one.
        at = keep if keep_valid is None else torch.where(keep_valid, keep, n)
        whole = out.new_zeros(b, n + 1, out.shape[2])
        whole = whole.scatter(1, asked[..., None].expand(-1, -1, out.shape[2]), out[:, k:])
        return whole.scatter(1, at[..., None].expand(-1, -1, out.shape[2]), out[:, :k])[:, :n]

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> Features:
        """The encoder's features of everything that is valid; see `features`."""
        return self.features(pixels, valid, days, wavelengths)


class SpectralGPTClassifier(SpectralGPTEncoder):
    """The encoder, the mean over valid tokens, a norm, dropout and a linear head.

    From scratch it starts like the pretraining encoder; the published one leaves PyTorch's defaults in place.
    """

    config: SpectralGPTClassifierConfig

    def __init__(self, config: SpectralGPTClassifierConfig) -> None:
        super().__init__(config)
        self.head_drop = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(config.embed_dim, config.num_classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> Tensor:
        """Logits [B,K] of normalised pixels [B,T,C,H,W]."""
        tokens = self.tokenize(pixels, valid, wavelengths)
        x, counted = self.outputs(tokens, days)[-1], tokens.valid
        if self.config.drop_first_token:
            x, counted = x[:, 1:], None if counted is None else counted[:, 1:]
        out: Tensor = self.head(self.head_drop(self.norm(mean_tokens(x, counted))))
        return out


def _normal(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(*shape), std=0.02))


_BASE = SpectralGPTConfig()
_LARGE = replace(_BASE, embed_dim=1024, depth=24, heads=16)
_HUGE = replace(_BASE, embed_dim=1280, depth=32, heads=16)
PRESETS: dict[str, SpectralGPTConfig] = {
    f"spectralgpt_{name}_{size}": replace(config, image_size=size)
    for name, config in (("base", _BASE), ("large", _LARGE), ("huge", _HUGE))
    for size in (96, 128)
}
