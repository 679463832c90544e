"""What the systems of `swath pretrain` may be told, by what the options are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MaskOptions:
    """What is hidden, and what is asked of the hidden.

    Attributes:
        ratio: part of the tokens or, for ST-SwinMAE and Swin-MAE, windows to hide.
        window: side of ST-SwinMAE's mask windows, tokens.
        share_over_time: ST-SwinMAE: one mask for all dates in place of one for each.
        scope: MAE, SatMAE: "joint", over all tokens together; "each", the same share of each date and band group;
            "shared", the same places in all of them.
        norm_pix: targets are normalised per token.
        loss: SpectralGPT: "released", "three_target" or "token_only".
    """

    ratio: float = 0.75
    window: int = 4
    share_over_time: bool = False
    scope: Literal["joint", "each", "shared"] = "joint"
    norm_pix: bool = False
    loss: Literal["released", "three_target", "token_only"] = "released"
