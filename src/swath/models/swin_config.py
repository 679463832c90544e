"""Configurations of the Swin family, free of torch so that the command line reads them fast.

One set of options says ST-SwinMAE, ST-SwinUNet and the systems they grew from (Swin-MAE, Swin-Unet, Video
Swin): the defaults are the clean behaviour, and each quirk of an original is one named option.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from swath.errors import ConfigError
from swath.models.config import ModelConfig

Size = tuple[int, int, int]  # (dates, rows, columns)
BiasSlice = Literal["exact", "flat"]
Collapse = Literal["mean", "concat", "last", "none"]
SkipInit = Literal["identity", "random"]


def _size(name: str, value: Any) -> Size:
    size = tuple(value)
    _require(len(size) == 3 and min(size) > 0, name, "needs (dates, rows, columns), each 1 or more")
    return (size[0], size[1], size[2])


def _require(fits: bool, where: str, what: str) -> None:
    if not fits:
        raise ConfigError(what, where=where)


@dataclass(frozen=True)
class WindowRule:
    """How a stage cuts its map into windows.

    Attributes:
        window: tokens per window over (dates, rows, columns).
        mask_padding: padded places are never attended. False keeps them as keys, as Video Swin does, whose
            weights were trained with those extra keys.
        bias_slice: "exact" looks a shrunk window's bias up by the true offsets; "flat" cuts the full
            window's index as index[:N, :N], which Video Swin does and which pairs wrong offsets once rows
            or columns shrink.
        shift_when_full: keep shifting where the map is exactly one window, as Swin-MAE does: its deepest
            odd blocks then attend inside pieces of the map.
    """

    window: Size
    mask_padding: bool = True
    bias_slice: BiasSlice = "exact"
    shift_when_full: bool = False


@dataclass(frozen=True)
class Swin3DConfig(ModelConfig):
    """The Swin encoder.

    Attributes:
        bands: of the input.
        patch_size: (dates, rows, columns) of a token.
        embed_dim: width C of the first stage; stage i has C * 2**i.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: tokens per attention window over (dates, rows, columns).
        stage_windows: a window for each stage in place of `window` (Swin-Unet shrinks its windows once, when
            it is built, for the image size it is built for).
        mlp_ratio: hidden over outer width of the MLPs.
        qkv_bias: biases in the query, key and value projection.
        drop_path: stochastic depth at the last block, rising linearly from 0.
        patch_norm: LayerNorm after the patch embedding.
        norm_eps: of every LayerNorm; Swin-MAE was trained with 1e-6.
        final_norm: LayerNorm at the end of the encoder; Video Swin and Swin-Unet have it, Swin-MAE has not.
        mask_padding: see `WindowRule`.
        bias_slice: see `WindowRule`.
        shift_when_full: see `WindowRule`.
    """

    bands: int = 6
    patch_size: Size = (1, 4, 4)
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: Size = (2, 7, 7)
    stage_windows: tuple[Size, ...] | None = None
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    drop_path: float = 0.1
    patch_norm: bool = True
    norm_eps: float = 1e-5
    final_norm: bool = False
    mask_padding: bool = True
    bias_slice: BiasSlice = "exact"
    shift_when_full: bool = False

    def __post_init__(self) -> None:
        # YAML and JSON give lists; tuples keep a config hashable and equal to itself after a round trip.
        for name in ("patch_size", "window"):
            object.__setattr__(self, name, _size(name, getattr(self, name)))
        for name in ("depths", "heads"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.stage_windows is not None:
            windows = tuple(_size("stage_windows", w) for w in self.stage_windows)
            object.__setattr__(self, "stage_windows", windows)
            _require(
                len(windows) == self.stages,
                "stage_windows",
                f"needs one window for each of {self.stages} stages",
            )
        _require(
            len(self.heads) == self.stages, "heads", f"needs one number for each of {self.stages} stages"
        )
        for i, heads in enumerate(self.heads):
            fits = heads > 0 and self.width(i) % heads == 0
            _require(fits, "heads", f"{heads} does not divide the width {self.width(i)} of stage {i}")
        _require(self.bias_slice in get_args(BiasSlice), "bias_slice", "is one of exact, flat")
        _require(min(self.bands, *self.depths) > 0, "bands, depths", "must be 1 or more")

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.depths)

    def width(self, stage: int) -> int:
        """Channels of a stage."""
        return self.embed_dim << stage

    def rule(self, stage: int) -> WindowRule:
        """How a stage cuts its map."""
        window = self.window if self.stage_windows is None else self.stage_windows[stage]
        return WindowRule(window, self.mask_padding, self.bias_slice, self.shift_when_full)


@dataclass(frozen=True)
class STSwinConfig(Swin3DConfig):
    """Encoder and decoder of ST-SwinMAE.

    Attributes:
        decoder_depths: blocks of the decoder's stages, coarse to fine, one less than the encoder's stages;
            None mirrors the encoder.
        encoder_sees: in pretraining, "all" tokens, hidden ones as a learned token, as published; or the "visible" ones
            alone, which costs less (see `swath.models.visible_swin`).
    """

    decoder_depths: tuple[int, ...] | None = None
    encoder_sees: Literal["all", "visible"] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.stages >= 2, "depths", "needs two stages or more: the decoder starts by expanding")
        _require(self.encoder_sees in ("all", "visible"), "encoder_sees", "is one of all, visible")
        _require(
            self.encoder_sees == "all" or self.mask_padding,
            "encoder_sees",
            "of visible tokens alone needs mask_padding: unmasked padding is a key that is not visible",
        )
        if self.decoder_depths is not None:
            object.__setattr__(self, "decoder_depths", tuple(self.decoder_depths))
            fits = len(self.decoder_depths) == self.stages - 1
            _require(fits, "decoder_depths", f"needs {self.stages - 1} numbers, coarse to fine")

    @property
    def decoder_blocks(self) -> tuple[int, ...]:
        """Blocks of the decoder's stages, coarse to fine."""
        return self.depths[-2::-1] if self.decoder_depths is None else self.decoder_depths


@dataclass(frozen=True)
class STSwinUNetConfig(ModelConfig):
    """ST-SwinUNet: the pretrained encoder and decoder, joined by skip connections, and a head.

    Attributes:
        backbone: the ST-SwinMAE it continues.
        classes: of the map; 1 for a regression.
        collapse: what becomes of the dates before the map is drawn: "mean" over the dates that hold data,
            "last" of them, "concat" (a linear layer over a fixed number of dates), or "none", a map per date.
        dates: the fixed number of dates of "concat".
        skip_init: "identity" starts each skip layer as [I|0], so that the network starts as the pretrained
            decoder; "random" is what the ancestors do, which scrambles the decoder at the first step.
        stem_skip: adds a small convolution at full resolution beside the last expansion. That expansion
            draws each 4 x 4 pixels from one token by one linear layer, which gives block-shaped borders;
            the stem keeps the detail. Off by default, as in the ancestors.
        stem_width: channels of the stem.
    """

    backbone: STSwinConfig = field(default_factory=STSwinConfig)
    classes: int = 2
    collapse: Collapse = "mean"
    dates: int | None = None
    skip_init: SkipInit = "identity"
    stem_skip: bool = False
    stem_width: int = 32

    def __post_init__(self) -> None:
        _require(self.classes > 0, "classes", "must be 1 or more")
        _require(
            self.collapse in get_args(Collapse), "collapse", f"is one of {', '.join(get_args(Collapse))}"
        )
        _require(
            self.skip_init in get_args(SkipInit), "skip_init", f"is one of {', '.join(get_args(SkipInit))}"
        )
        _require(
            self.collapse != "concat" or self.dates is not None, "dates", "is needed by collapse: concat"
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; unknown names are a ConfigError."""
        backbone = values.get("backbone")
        if isinstance(backbone, Mapping):
            values = {**values, "backbone": STSwinConfig.from_dict(backbone)}
        return super().from_dict(values)


def _light(embed_dim: int, depths: tuple[int, ...], heads: int) -> STSwinConfig:
    return STSwinConfig(
        embed_dim=embed_dim,
        depths=depths,
        heads=tuple(heads << i for i in range(len(depths))),
        decoder_depths=(2,) * (len(depths) - 1),
    )


def _backbone(embed_dim: int, depths: tuple[int, ...], heads: int) -> Swin3DConfig:
    return Swin3DConfig(
        embed_dim=embed_dim,
        depths=depths,
        heads=tuple(heads << i for i in range(len(depths))),
        final_norm=True,
    )


# Encoders alone, to be learned by agreement (SimCLR, MoCo).
BACKBONES: dict[str, Swin3DConfig] = {
    "swin_t": _backbone(96, (2, 2, 6, 2), 3),
    "swin_s": _backbone(96, (2, 2, 18, 2), 3),
    "swin_b": _backbone(128, (2, 2, 18, 2), 4),
}
# The encoders are those of Swin; a decoder of two blocks a stage keeps pretraining cheap. The paper's sizes
# are not public: `swin_b_light_decoder` has 98.0 M parameters and claims no more than that.
PRESETS: dict[str, STSwinConfig] = {
    "tiny": _light(32, (2, 2, 2), 2),
    "small": _light(48, (2, 2, 6, 2), 3),
    "swin_t_light_decoder": _light(96, (2, 2, 6, 2), 3),
    "swin_s_light_decoder": _light(96, (2, 2, 18, 2), 3),
    "swin_b_light_decoder": _light(128, (2, 2, 18, 2), 4),
    "swin_l_light_decoder": _light(192, (2, 2, 18, 2), 6),
}


def _swin_mae(embed_dim: int, depths: tuple[int, ...], heads: int) -> STSwinConfig:
    return STSwinConfig(
        embed_dim=embed_dim,
        depths=depths,
        heads=tuple(heads << i for i in range(len(depths))),
        window=(1, 7, 7),
        norm_eps=1e-6,
        shift_when_full=True,
    )


# Swin-MAE is ST-SwinMAE with one date, a decoder that mirrors the encoder, and two ways of its own. The first has the
# published sizes.
SWIN_MAE_PRESETS: dict[str, STSwinConfig] = {
    "swin_mae": _swin_mae(96, (2, 2, 2, 2), 3),
    "swin_mae_t": _swin_mae(96, (2, 2, 6, 2), 3),
    "swin_mae_tiny": _swin_mae(32, (2, 2, 2), 2),
}
