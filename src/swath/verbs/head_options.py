"""Options of the head on an encoder. No torch here: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swath.errors import ConfigError


@dataclass(frozen=True)
class HeadOptions:
    """What answers on top of an encoder.

    Attributes:
        kind: "linear"; for maps also "conv" (a small convolutional decoder), "uper" (UPerNet), "spectralgpt" (the
            publication's network for maps, on SpectralGPT) and "st_swin_unet" (encoder and decoder of ST-SwinMAE
            with skips); "auto": the family's own for maps, or else uper; linear for one answer per image.
        dates: what becomes of several dates: their "mean", the "last", "concat" (a linear layer over a fixed number),
            "none" (a map for each date, learned from labels of each or from one map for all), "difference" (first minus
            last, each seen alone); "auto": the difference for change, "none" where labels are of each date, else the
            mean.
        width: channels of conv (0: 128) and uper, spectralgpt (0: 256).
        dropout: in the head.
    """

    kind: Literal["auto", "linear", "conv", "uper", "spectralgpt", "st_swin_unet"] = "auto"
    dates: Literal["auto", "mean", "last", "concat", "none", "difference"] = "auto"
    width: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ConfigError(f"is {self.width}", where="head.width", mend="give 0 or a number of channels")
        if not 0 <= self.dropout < 1:
            raise ConfigError(
                f"is {self.dropout}", where="head.dropout", mend="give a share from 0 to below 1"
            )
