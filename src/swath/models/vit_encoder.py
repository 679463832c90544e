"""A ViT over square tokens that hold all bands or named groups of them: the encoder of MAE, SatMAE and BEiT.

Every group has a kernel of its own, since groups hold different bands; positions are fixed sines and cosines of the
place (MAE, He et al., 2022) and, with several groups, of the group beside it (SatMAE, Cong et al., 2022). There is
no class token: what stands for an image is the mean of its valid tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.bands import SPECTRALGPT_BANDS, sensor
from swath.errors import ConfigError, ContractError
from swath.models.config import ModelConfig
from swath.models.positions import DateEncoding, per_date, resize_grid, sincos_grid, sincos_line
from swath.models.token_encoder import TokenEncoder, take
from swath.models.tokens import Grouping, Tokens, match_bands, tokenize
from swath.models.vit import init_linear


@dataclass(frozen=True)
class ViTConfig(ModelConfig):
    """The encoder.

    Attributes:
        wavelengths: centre of each band in nm, in the order of the channels.
        groups: channels of each group, such as [[0, 1, 2, 6], [3, 4, 5, 7]]; empty: one group of all.
        image_size: edge in pixels of the images whose grid the positions are made for; others resize them.
        patch_size: edge of a token in pixels.
        embed_dim: width D.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over D.
        drop_path: stochastic depth of the last block; grows linearly from 0.
        group_dim: part of the width that says which group a token is of, with several groups.
        temporal: whether dates are encoded; needed for more than one date.
    """

    wavelengths: tuple[float, ...] = tuple(b.center_nm for b in sensor("sentinel2").select(SPECTRALGPT_BANDS))
    groups: tuple[tuple[int, ...], ...] = ()
    image_size: int = 224
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    group_dim: int = 256
    temporal: bool = False

    def __post_init__(self) -> None:
        where = type(self).__name__
        object.__setattr__(self, "groups", tuple(tuple(g) for g in self.groups))
        if not self.wavelengths:
            raise ConfigError("no wavelengths", where=where, mend="give one per band")
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}", where=where
            )
        if self.embed_dim % self.heads:
            raise ConfigError(
                f"embed_dim {self.embed_dim} does not divide into {self.heads} heads", where=where
            )
        check_encoding(self.embed_dim, self.group_dim, len(self.band_groups), where)
        held = sorted(c for group in self.groups for c in group)
        if self.groups and (held != list(range(len(self.wavelengths))) or not all(self.groups)):
            raise ConfigError(
                f"groups name the channels {held}, but there are {len(self.wavelengths)} bands",
                where=where,
                mend="put each band into one group, counting from 0",
            )

    @property
    def grid(self) -> int:
        """Edge of the positions' grid, in tokens."""
        return self.image_size // self.patch_size

    @property
    def band_groups(self) -> tuple[tuple[int, ...], ...]:
        """Channels of each group."""
        return self.groups or (tuple(range(len(self.wavelengths))),)

    @property
    def group_size(self) -> int:
        """Slots of a token: as many as the largest group has bands."""
        return max(len(g) for g in self.band_groups)

    @property
    def token_values(self) -> int:
        """Values in one token, K; in smaller groups some are always invalid."""
        return self.group_size * self.patch_size**2


def check_encoding(dim: int, group_dim: int, groups: int, where: str) -> None:
    """Raises ConfigError if fixed positions do not fit a width."""
    place = dim - (group_dim if groups > 1 else 0)
    if place <= 0 or place % 4 or (groups > 1 and group_dim % 2):
        raise ConfigError(
            f"of a width of {dim}, {place} are left for the place",
            where=where,
            mend="the place needs a multiple of 4, and the group (group_dim) an even number",
        )


class GroupEmbed(nn.Module):
    """One linear map per group, [K] -> [D]."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        groups, values, dim = len(config.band_groups), config.token_values, config.embed_dim
        self.weight = nn.Parameter(torch.empty(groups, dim, values))
        self.bias = nn.Parameter(torch.zeros(groups, dim))
        for weight in self.weight.data:
            nn.init.xavier_uniform_(weight)

    def forward(self, tokens: Tokens, keep: Tensor | None = None) -> Tensor:
        """[B,k,D] of the kept tokens, or of all."""
        patches = tokens.patches
        if len(self.weight) == 1:
            # Only visible tokens need it.
            patches = patches if keep is None else take(patches, keep)
            return F.linear(patches, self.weight[0], self.bias[0])
        t, g, h, w = tokens.shape
        x = torch.einsum("btglk,gdk->btgld", patches.reshape(-1, t, g, h * w, patches.shape[-1]), self.weight)
        x = (x + self.bias[:, None]).flatten(1, 3)
        return x if keep is None else take(x, keep)


class FixedPositions(nn.Module):
    """Sines and cosines of the place and the group; nothing is learned, so nothing is kept in weights."""

    def __init__(self, config: ViTConfig, dim: int, group_dim: int) -> None:
        super().__init__()
        groups = len(config.band_groups)
        group_dim = group_dim if groups > 1 else 0
        self.register_buffer("places", sincos_grid(config.grid, dim - group_dim), persistent=False)
        self.register_buffer("groups", sincos_line(groups, group_dim), persistent=False)

    def forward(self, tokens: Tokens, dates: Tensor | None) -> Tensor:
        """[B or 1, N, D]; dates [B,T,D] or None."""
        places, groups = self.get_buffer("places"), self.get_buffer("groups")
        place = resize_grid(places[None], (tokens.rows, tokens.cols)).flatten(1, 2)  # [1, h*w, D - E]
        count = tokens.rows * tokens.cols
        place = place.expand(len(groups), -1, -1)
        x = torch.cat([place, groups[:, None].expand(-1, count, -1)], dim=-1)
        return per_date(x[None], dates, tokens.dates)


class ViT(TokenEncoder):
    """The encoder."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config.patch_size)
        self.config: ViTConfig = config
        self.patch_embed = GroupEmbed(config)
        self.positions = FixedPositions(config, config.embed_dim, config.group_dim)
        if config.temporal:
            self.date_embed = DateEncoding(config.embed_dim)
        self.add_blocks(config.embed_dim, config.depth, config.heads, config.mlp_ratio, config.drop_path)
        self.apply(init_linear)

    def tokenize(
        self, pixels: Tensor, valid: Tensor | None = None, wavelengths: Sequence[float] | None = None
    ) -> Tokens:
        """Normalised pixels [B,T,C,H,W] as tokens; bands are found by wavelength, missing ones are invalid.

        Raises:
            ContractError: a band is none of the model's, or several dates meet a model that encodes none.
        """
        config = self.config
        if pixels.ndim == 5 and pixels.shape[1] > 1 and not config.temporal:
            raise ContractError(
                f"{pixels.shape[1]} dates, but this model encodes no dates",
                mend="give one date, or build the model with temporal=True",
            )
        nm = config.wavelengths if wavelengths is None else tuple(wavelengths)
        places = match_bands(config.wavelengths, nm)
        if places is None:
            strange = [x for x in nm if match_bands(config.wavelengths, (x,)) is None]
            raise ContractError(
                f"bands at {', '.join(f'{x:g}' for x in strange or nm)} nm are none of the model's",
                mend="select the bands of the model's input contract",
            )
        size = config.group_size
        slots = [
            places[group[i]] if i < len(group) else -1 for group in config.band_groups for i in range(size)
        ]
        grouping = Grouping(len(config.band_groups), size, len(nm), slots=tuple(slots))
        return tokenize(
            pixels,
            valid,
            known=config.wavelengths,
            wavelengths=nm,
            group_size=size,
            patch=config.patch_size,
            grouping=grouping,
        )

    def embed(self, tokens: Tokens, days: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Tokens with their positions, [B,k,D]; of the tokens `keep`, long [B,k], or of all."""
        dates = self.date_embed(days) if days is not None and self.config.temporal else None
        positions = self.positions(tokens, dates)
        if keep is not None:
            positions = take(positions, keep)
        x: Tensor = self.patch_embed(tokens, keep)
        out: Tensor = x + positions.to(x.dtype)
        return out


_BASE = ViTConfig()
PRESETS: dict[str, ViTConfig] = {
    "vit_b": _BASE,
    "vit_s": replace(_BASE, embed_dim=384, heads=6, group_dim=128),
    "vit_l": replace(_BASE, embed_dim=1024, depth=24, heads=16),
}
