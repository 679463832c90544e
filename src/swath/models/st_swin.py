"""ST-SwinMAE and ST-SwinUNet (Nakayama & Su, 2024): an encoder and a decoder, joined by skips later.

The masked autoencoder sees the full grid with a learned token in place of what is hidden, since a windowed
network cannot drop tokens. Its decoder mirrors the encoder with expanding layers. The U-net keeps both, adds
skip connections between them and draws a map. No size is configured: any dates, height and width go in.

The paper names no sizes and no code is public; the layout is that of Swin-MAE (Xu et al., 2022) with the 3D
windows of Video Swin, which the paper says it extends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

import torch
from torch import Tensor, nn

from swath.errors import WeightsError
from swath.models.dates import DateGroup, group_by_dates
from swath.models.drop_path import path_rows
from swath.models.map_parts import CollapseDates, DetailStem
from swath.models.swin3d import (
    Encoded,
    PatchExpanding,
    Stage,
    Swin3D,
    init_weights,
    join_patches,
    zero_invalid,
)
from swath.models.swin_config import PRESETS, STSwinConfig, STSwinUNetConfig
from swath.models.visible_swin import encode_visible, fill

__all__ = [
    "MAE_TO_UNET_DROPPED",
    "MAE_TO_UNET_KEPT",
    "MAE_TO_UNET_NEW",
    "PRESETS",
    "STSwinConfig",
    "STSwinMAE",
    "STSwinUNet",
    "STSwinUNetConfig",
    "TransferPartition",
    "from_mae",
]


class STSwinPyramid(Swin3D):
    """Encoder and decoder: what pretraining trains and the U-net keeps."""

    config: STSwinConfig

    def __init__(self, config: STSwinConfig) -> None:
        super().__init__(config)
        top = config.width(config.stages - 1)
        self.first_patch_expanding = PatchExpanding(top, top // 2, (2, 2), config.norm_eps)
        depths = config.decoder_blocks
        # Mirrors the encoder: the deepest blocks are dropped most.
        rates = iter(torch.linspace(config.drop_path, 0, sum(depths), device="cpu").tolist())
        self.layers_up = nn.ModuleList(
            Stage(config, config.stages - 2 - i, [next(rates) for _ in range(depth)], "up" if last else None)
            for i, depth in enumerate(depths)
            for last in [i < len(depths) - 1]
        )
        self.norm_up = nn.LayerNorm(config.embed_dim, config.norm_eps)
        self.apply(init_weights)

    def join(self, stage: int, x: Tensor, skip: Tensor) -> Tensor:
        """What a decoder stage makes of its input and the encoder's map: the autoencoder has no skips."""
        return x

    def decode(self, encoded: Encoded) -> Tensor:
        """[B,D,h,w,embed_dim] at the resolution of the patches, after the last norm."""
        x = encoded.outputs[-1]
        level = len(encoded.inputs) - 2
        x = self.first_patch_expanding(x, *encoded.inputs[level].shape[2:4])
        for i, layer in enumerate(self.layers_up):
            stage = cast(Stage, layer)
            x = stage(self.join(i, x, encoded.inputs[level]), encoded.levels[level].plans)
            level -= 1
            if stage.upsample is not None:
                x = stage.upsample(x, *encoded.inputs[level].shape[2:4])
        out: Tensor = self.norm_up(x)
        return out


class STSwinMAE(STSwinPyramid):
    """The masked autoencoder."""

    def __init__(self, config: STSwinConfig) -> None:
        super().__init__(config)
        pt, ph, pw = config.patch_size
        # It stands where hidden tokens enter: in front of the encoder, or between it and the decoder.
        apart = config.encoder_sees == "visible"
        width = config.width(config.stages - 1) if apart else config.embed_dim
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.decoder_pred = nn.Linear(config.embed_dim, pt * ph * pw * config.bands)
        init_weights(self.decoder_pred)

    def predict_patches(self, pixels: Tensor, valid: Tensor | None, hidden: Tensor | None) -> Tensor:
        """Every patch of an input whose dates all hold data (see `group_by_dates`).

        Args:
            pixels: normalised, [B,T,C,H,W].
            valid: bool [B,T,C,H,W] or None.
            hidden: bool [B,D,h,w], tokens replaced by the mask token, or None.

        Returns:
            [B, D, h, w, patch dates, patch rows, patch columns, C].
        """
        x, held = self.patch_embed(pixels, valid)
        if hidden is not None and self.config.encoder_sees == "visible":
            shown = ~hidden if held is None else held & ~hidden
            top, shown = encode_visible(self, x, shown)
            encoded = fill(self, top, shown, self.mask_token, x, held)
        else:
            if hidden is not None:
                x = torch.where(hidden[..., None], self.mask_token.to(x.dtype), x)
            encoded = self.encode_tokens(x, held)
        patches = self.decoder_pred(self.decode(encoded))
        out: Tensor = patches.unflatten(-1, (*self.config.patch_size, self.config.bands))
        return out

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        hidden: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        """The reconstruction [B,T,C,H,W]; 0 at dates without data.

        Args:
            pixels: normalised, [B,T,C,H,W].
            valid: bool [B,T,C,H,W] or None.
            hidden: bool [B,T',h,w], tokens to hide, or None.
            days: not used.
            wavelengths: not used.
        """
        self.check_input(pixels)
        t, h, w = pixels.shape[1], pixels.shape[3], pixels.shape[4]
        groups = group_by_dates(valid)
        if valid is None or groups is None:
            return join_patches(self.predict_patches(pixels, valid, hidden), (t, h, w))
        whole: Tensor | None = None
        for group in groups:
            at = group.tubes(self.config.patch_size[0])
            hide = None if hidden is None else hidden[group.rows[:, None], at]
            with path_rows(group.rows):
                patches = self.predict_patches(group.take(pixels), group.take(valid), hide)
            part = join_patches(patches, (group.dates.shape[1], h, w))
            whole = part.new_zeros(pixels.shape) if whole is None else whole
            whole = group.put(whole, part, group.dates)
        assert whole is not None
        return whole


class STSwinUNet(STSwinPyramid):
    """The U-net: logits [B,K,H,W], or [B,T,K,H,W] with collapse "none"."""

    def __init__(self, config: STSwinUNetConfig) -> None:
        backbone = config.backbone
        super().__init__(backbone)
        self.map_config = config
        dim = backbone.embed_dim
        pt, ph, pw = backbone.patch_size
        widths = [backbone.width(i) for i in reversed(range(backbone.stages - 1))]
        self.skip_connection_layers = nn.ModuleList(nn.Linear(2 * d, d) for d in widths)
        tubes = None if config.dates is None else -(-config.dates // pt)
        self.collapse = CollapseDates(config.collapse, dim, tubes)
        self.final_patch_expanding = PatchExpanding(dim, dim, (ph, pw), backbone.norm_eps)
        stem = DetailStem(backbone.bands, config.stem_width, dim, config.collapse)
        self.stem = stem if config.stem_skip else None
        self.head = nn.Linear(dim, config.classes, bias=False)
        for module in (self.skip_connection_layers, self.collapse, self.final_patch_expanding, self.head):
            module.apply(init_weights)
        if config.skip_init == "identity":
            for layer in self.skip_connection_layers:
                skip = cast(nn.Linear, layer)
                with torch.no_grad():
                    skip.weight.copy_(torch.eye(*skip.weight.shape))

    @property
    def deepest(self) -> tuple[int, int]:
        """Channels of the encoder's deepest map, and pixels per cell of it."""
        last = self.config.stages - 1
        return self.config.width(last), self.config.patch_size[1] * 2**last

    @property
    def each_date(self) -> bool:
        """Whether it draws a map for each date."""
        return self.map_config.collapse == "none"

    @property
    def dates_alike(self) -> int:
        """How many dates that follow one another share a token, and so all of their answer but the stem's part."""
        return self.config.patch_size[0]

    def join(self, stage: int, x: Tensor, skip: Tensor) -> Tensor:
        """The decoder's map and the encoder's, by a linear layer: [..., d] twice -> [..., d]."""
        out: Tensor = self.skip_connection_layers[stage](torch.cat([x, skip], dim=-1))
        return out

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
        deepest: list[Tensor] | None = None,
    ) -> Tensor:
        """Logits [B,K,H,W]; with collapse "none" [B,T,K,H,W], which are 0 at dates without data.

        Args:
            pixels: normalised, [B,T,C,H,W], dates in their order.
            valid: bool [B,T,C,H,W] or None.
            days: not used.
            wavelengths: not used.
            deepest: given, it takes the encoder's deepest map [B,D,h,w], the mean over dates that hold data.
        """
        self.check_input(pixels)
        each = self.map_config.collapse == "none"
        groups = group_by_dates(valid)
        if valid is None or groups is None:
            logits = self._draw(pixels, valid, None, deepest)
            return logits if each else logits[:, 0]
        whole: Tensor | None = None
        deep: Tensor | None = None
        for group in groups:
            found: list[Tensor] | None = None if deepest is None else []
            with path_rows(group.rows):
                part = self._draw(group.take(pixels), group.take(valid), group, found)
            for one in found or ():
                deep = group.put(one.new_zeros(len(pixels), *one.shape[1:]) if deep is None else deep, one)
            if whole is None:
                dates = pixels.shape[1] if each else 1
                whole = part.new_zeros(len(pixels), dates, *part.shape[2:])
            whole = group.put(whole, part, group.dates if each else None)
        assert whole is not None
        if deepest is not None and deep is not None:
            deepest.append(deep)
        return whole if each else whole[:, 0]

    def _draw(
        self, pixels: Tensor, valid: Tensor | None, group: DateGroup | None, deepest: list[Tensor] | None
    ) -> Tensor:
        """Logits [B, 1 or T, K, H, W] of an input whose dates all hold data; `deepest` as of `forward`."""
        t, _, rows, columns = pixels.shape[1:]
        pt = self.config.patch_size[0]
        encoded = self.encode(pixels, valid)
        if deepest is not None:
            deepest.append(_over_dates(encoded.outputs[-1], encoded.levels[-1].valid))
        at = None if group is None else group.tubes(pt)
        x = self.collapse(self.decode(encoded), encoded.levels[0].valid, at)
        if self.map_config.collapse == "none" and pt > 1:
            # Expansion is in space only: the dates of one token share its features.
            x = x.repeat_interleave(pt, dim=1)[:, :t]
        x = self.final_patch_expanding(x, rows, columns)
        if self.stem is not None:
            x = self.stem(x, pixels, valid)
        out: Tensor = self.head(x)
        return out.permute(0, 1, 4, 2, 3)


def _over_dates(x: Tensor, valid: Tensor | None) -> Tensor:
    """Tokens [B,D,h,w,C], of which those in `valid` [B,D,h,w] hold data -> their mean over time, [B,C,h,w]; else 0."""
    if valid is None:
        mean = x.mean(dim=1)
    else:
        mean = zero_invalid(x, valid).sum(dim=1) / valid.sum(dim=1).clamp_min(1)[..., None]
    return mean.movedim(-1, 1)


# What passes from a pretrained ST-SwinMAE to an ST-SwinUNet, as patterns of parameter names.
MAE_TO_UNET_KEPT = (
    "patch_embed.*",
    "layers.*",
    "norm.*",
    "first_patch_expanding.*",
    "layers_up.*",
    "norm_up.*",
)
MAE_TO_UNET_NEW = ("skip_connection_layers.*", "collapse.*", "final_patch_expanding.*", "stem.*", "head.*")
MAE_TO_UNET_DROPPED = ("mask_token", "decoder_pred.*")


@dataclass(frozen=True)
class TransferPartition:
    """Names of parameters, sorted: taken over, starting new, and left behind."""

    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]


def from_mae(mae_names: Iterable[str], unet_names: Iterable[str]) -> TransferPartition:
    """How the parameters of a pretrained autoencoder and of a U-net fall into kept, new and dropped.

    Raises:
        WeightsError: a name on either side is where the three lists of patterns do not expect it.
    """
    mae, unet = set(mae_names), set(unet_names)
    parts = (sorted(mae & unet), sorted(unet - mae), sorted(mae - unet))
    rules = (MAE_TO_UNET_KEPT, MAE_TO_UNET_NEW, MAE_TO_UNET_DROPPED)
    for names, patterns, fate in zip(parts, rules, ("kept", "new", "dropped"), strict=True):
        for name in names:
            if not any(fnmatchcase(name, pattern) for pattern in patterns):
                raise WeightsError(
                    f"parameter would be {fate}, which is not expected",
                    where=name,
                    mend="build the ST-SwinUNet with the backbone config of the pretrained weights",
                )
    kept, new, dropped = (tuple(names) for names in parts)
    return TransferPartition(kept, new, dropped)
