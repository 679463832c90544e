"""Any encoder with any head: the network of a task on labels.

Two ways to meet several dates. An encoder that knows time sees them together; one that does not, or a comparison of
dates (SpectralGPT's change detection), sees each alone, with shared weights. What becomes of the dates afterwards is
said by `dates`: their mean, the last one, a linear layer over a fixed number, one answer for each, or the first minus
the last.

Validity (design §3): encoders hand on zeros where nothing is valid, means run over what is held, and a date or a
spectral group without data changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from torch import Tensor, nn

from swath.errors import ConfigError, ContractError
from swath.models.config import ModelConfig
from swath.models.encoders import (
    EncoderKind,
    build_encoder,
    encode,
    encoder_config,
    encoder_shape,
    spread_layers,
)
from swath.models.enlarge import resized_windows
from swath.models.features import Features
from swath.models.heads_conv import ConvHead
from swath.models.heads_linear import LinearHead, LinearMapHead
from swath.models.heads_uper import LEVELS, UperHead
from swath.models.neck import Dates, Neck, dates_layer
from swath.models.swin_config import Swin3DConfig

HeadKind = Literal["linear", "conv", "uper"]
WIDTHS: dict[HeadKind, int] = {"linear": 1, "conv": 128, "uper": 256}


@dataclass(frozen=True)
class TaskNetworkConfig(ModelConfig):
    """An encoder and a head.

    Attributes:
        kind: of the encoder: "spectralgpt", "vit" or "swin3d".
        encoder: its config.
        outputs: K: classes or quantities.
        per_pixel: whether the answer is a map.
        head: "linear"; for maps also "conv", a small convolutional decoder, or "uper".
        dates: what becomes of several dates.
        date_count: the fixed number of dates of "concat".
        width: channels of the head; 0: 128 of conv, 256 of uper.
        dropout: in the head.
        resize: side in pixels that windows are brought to before the encoder, for an answer per image; 0: they stay.
    """

    kind: EncoderKind = "swin3d"
    encoder: ModelConfig = field(default_factory=Swin3DConfig)
    outputs: int = 2
    per_pixel: bool = True
    head: HeadKind = "linear"
    dates: Dates = "mean"
    date_count: int | None = None
    width: int = 0
    dropout: float = 0.0
    resize: int = 0

    def __post_init__(self) -> None:
        where = type(self).__name__
        for name, known in (("head", get_args(HeadKind)), ("dates", get_args(Dates))):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"unknown {name} '{getattr(self, name)}'", where=where, mend=f"use {', '.join(known)}"
                )
        if self.outputs < 1 or self.width < 0 or self.resize < 0:
            raise ConfigError("outputs must be 1 or more, width and resize 0 or more", where=where)
        if self.resize and self.per_pixel:
            raise ConfigError(
                f"windows are brought to {self.resize} pixels, and the answer is one per pixel of theirs",
                where=where,
                mend="leave resize 0",
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout {self.dropout} is not in [0, 1)", where=where)
        if self.head != "linear" and not self.per_pixel:
            raise ConfigError(
                f"a {self.head} head draws maps, and the answer is one per image",
                where=where,
                mend="take a linear head",
            )
        if self.dates == "concat" and not self.date_count:
            raise ConfigError("concat needs a fixed number of dates", where=where, mend="give date_count")
        if self.head == "uper" and self.head_width % 16:
            raise ConfigError(f"width {self.width} is no multiple of 16", where=where, mend="take 256")

    @property
    def head_width(self) -> int:
        """Channels of the head."""
        return self.width or WIDTHS[self.head]

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks of a ViT whose maps the head takes."""
        return spread_layers(self.encoder, LEVELS if self.head == "uper" else 1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; unknown names are a ConfigError."""
        encoder = values.get("encoder")
        if isinstance(encoder, Mapping):
            values = {**values, "encoder": encoder_config(values.get("kind", "swin3d"), encoder)}
        return super().from_dict(values)


class TaskNetwork(nn.Module):
    """Logits or values of pixels: [B,K], [B,K,H,W], or one per date, [B,T,K] and [B,T,K,H,W]."""

    def __init__(self, config: TaskNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        shape = encoder_shape(config.encoder, config.layers)
        self.shape = shape
        # An answer for a whole image has no places at which dates could be joined later.
        joined = config.per_pixel or config.dates == "mean"
        self.apart = config.dates == "difference" or not shape.temporal or not joined
        tube = 1 if self.apart else shape.tube
        cells = None if config.date_count is None else -(-config.date_count // tube)
        if not config.per_pixel:
            self.dates = dates_layer(config.dates, shape.pooled, cells)
            self.head: nn.Module = LinearHead(shape.pooled, config.outputs, config.dropout)
            return
        swin = config.kind == "swin3d"
        # The last map of a ViT is behind its own norm; so is that of a Swin that ends with one, and then another
        # changes little.
        self.neck = Neck(
            shape, config.dates, cells, [swin or i + 1 < len(shape.dims) for i in range(len(shape.dims))]
        )
        dims, strides, outputs = shape.dims, shape.strides, config.outputs
        if config.head == "linear":
            self.head = LinearMapHead(dims, strides, outputs, config.dropout)
        else:
            kind = ConvHead if config.head == "conv" else UperHead
            self.head = kind(dims, strides, outputs, config.head_width, config.dropout)

    @property
    def deepest(self) -> tuple[int, int] | None:
        """Channels of the encoder's deepest map, and pixels per cell of it; None: no map is drawn."""
        return (self.shape.dims[-1], self.shape.strides[-1]) if self.config.per_pixel else None

    @property
    def each_date(self) -> bool:
        """Whether it answers for each date."""
        return self.config.dates == "none"

    @property
    def dates_alike(self) -> int:
        """How many dates that follow one another share a cell, and so their answer."""
        return 1 if self.apart else self.shape.tube

    def features(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> Features:
        """The encoder's features: maps [B,T',G,D_i,h_i,w_i] and one vector per image.

        Strides are in pixels of the windows that are given; where those are resized and it makes no whole numbers,
        there are no maps.

        Args:
            pixels: normalised, [B,T,C,H,W].
            valid: bool [B,T,C,H,W] or None.
            days: [B,T,2] or None.
            wavelengths: nm per band, or None for the model's bands.
        """
        given = self._placed(self._encode(pixels, valid, days, wavelengths), pixels.shape[-1])
        if given.pooled.ndim == 2:
            return given
        x, seen = given.pooled, _dates_seen(valid)
        if seen is None:
            return Features(given.maps, given.strides, x.mean(dim=1))
        mean = x.masked_fill(~seen[..., None], 0.0).sum(dim=1) / seen.sum(dim=1, keepdim=True).clamp_min(1)
        return Features(given.maps, given.strides, mean)

    def _encode(
        self,
        pixels: Tensor,
        valid: Tensor | None,
        days: Tensor | None,
        wavelengths: Sequence[float] | None,
    ) -> Features:
        """Features with vectors [B,D], or [B,T,D] where each date is seen alone."""
        layers = self.config.layers
        if self.config.resize:
            pixels, valid = resized_windows(pixels, valid, self.config.resize)
        if not self.apart:
            return encode(self.encoder, layers, pixels, valid, days, wavelengths)
        b, t = pixels.shape[:2]
        alone = encode(
            self.encoder,
            layers,
            pixels.flatten(0, 1)[:, None],
            None if valid is None else valid.flatten(0, 1)[:, None],
            None if days is None else days.flatten(0, 1)[:, None],
            wavelengths,
        )
        maps = tuple(m.reshape(b, t, *m.shape[2:]) for m in alone.maps)
        return Features(maps, alone.strides, alone.pooled.reshape(b, t, -1))

    def _placed(self, given: Features, side: int) -> Features:
        """Features of windows of `side` pixels, whose cells are told in these."""
        size = self.config.resize or side
        if any(stride * side % size for stride in given.strides):
            return Features((), (), given.pooled)
        return Features(given.maps, tuple(s * side // size for s in given.strides), given.pooled)

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
        deepest: list[Tensor] | None = None,
    ) -> Tensor:
        """The answer; arguments as of `features`. `deepest`, given, takes the deepest map [B,D,h,w] of one that draws
        a map for all dates.

        Returns:
            [B,K], or [B,K,H,W] per pixel; [B,T,K] and [B,T,K,H,W] with dates "none".

        Raises:
            ContractError: there is one date where two are compared, or another number than "concat" joins.
        """
        if self.config.dates == "difference" and pixels.shape[1] < 2:
            raise ContractError("one date, but this network compares dates", mend="give two dates or more")
        given = self._encode(pixels, valid, days, wavelengths)
        if not self.config.per_pixel:
            return self._answer(given.pooled, valid)
        joined: list[Tensor] = self.neck(given.maps)
        if deepest is not None:
            deepest.append(joined[-1][:, 0])
        maps = [m.flatten(0, 1) for m in joined]
        size = (pixels.shape[-2], pixels.shape[-1])
        out: Tensor = self.head(maps, size).unflatten(0, joined[0].shape[:2])  # [B, 1 or T', K, H, W]
        if self.config.dates != "none":
            return out[:, 0]
        tube = 1 if self.apart else self.shape.tube
        return out.repeat_interleave(tube, dim=1)[:, : pixels.shape[1]] if tube > 1 else out

    def _answer(self, pooled: Tensor, valid: Tensor | None) -> Tensor:
        if pooled.ndim == 3:
            seen = _dates_seen(valid)
            cells = None if seen is None else seen[..., None, None]
            if cells is not None:
                pooled = pooled.masked_fill(~cells[:, :, 0], 0.0)
            joined = self.dates(pooled[:, :, None, None], cells)[:, :, 0, 0]  # [B, 1 or T, D]
            pooled = joined if self.config.dates == "none" else joined[:, 0]
        out: Tensor = self.head(pooled)
        return out


def _dates_seen(valid: Tensor | None) -> Tensor | None:
    """Bool [B,T]: which dates hold data."""
    return None if valid is None else valid.flatten(2).any(dim=2)
