"""What the systems of `swath pretrain` may be told, by what the options are about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swath.errors import ConfigError


@dataclass(frozen=True)
class MaskOptions:
    """What is hidden, and what is asked of the hidden.

    Attributes:
        ratio: part of the tokens or, for ST-SwinMAE and Swin-MAE, windows to hide.
        window: side of ST-SwinMAE's mask windows, tokens.
        share_over_time: ST-SwinMAE: one mask for all dates in place of one for each.
        scope: MAE, SatMAE: "joint", over all tokens together; "each", the same share of each date and band group;
            "shared", the same places in all of them.
        min_block: BEiT: tokens of the smallest block.
        norm_pix: targets are normalised per token.
        decode_part: SpectralGPT: part of the places decoded in a step, an unbiased estimate of the same loss; needs
            model.options.decoder_keys "visible".
        loss: SpectralGPT: "released", "three_target" or "token_only".
    """

    ratio: float = 0.75
    window: int = 4
    share_over_time: bool = False
    scope: Literal["joint", "each", "shared"] = "joint"
    min_block: int = 16
    norm_pix: bool = False
    decode_part: float = 1.0
    loss: Literal["released", "three_target", "token_only"] = "released"

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio < 1.0:
            raise ConfigError(
                f"{self.ratio:g} is not above 0 and below 1", where="mask.ratio", mend="try 0.75"
            )
        if not 0.0 < self.decode_part <= 1.0:
            raise ConfigError(
                f"{self.decode_part:g} is not above 0 and up to 1", where="mask.decode_part", mend="try 0.25"
            )
        for name in ("window", "min_block"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{getattr(self, name)} is below 1", where=f"mask.{name}", mend="give a number of tokens"
                )


@dataclass(frozen=True)
class ContrastOptions:
    """How SimCLR and MoCo compare views; null: as published.

    Attributes:
        version: of MoCo: "v2" with a queue, "v3" without (v3).
        temperature: of the similarities (0.1; MoCo 0.2).
        momentum: of MoCo's copy of the encoder (v2 0.999; v3 from 0.99 to 1).
        hidden: width of the heads' hidden layers.
        embedding: width in which views are compared.
        queue: keys that MoCo v2 keeps (65536).
        freeze_patch_embed: MoCo: the first layer stays as it starts (v3: true).
    """

    version: Literal["v2", "v3"] | None = None
    temperature: float | None = None
    momentum: float | None = None
    hidden: int | None = None
    embedding: int | None = None
    queue: int | None = None
    freeze_patch_embed: bool | None = None

    def __post_init__(self) -> None:
        for name in ("hidden", "embedding", "queue"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{value} is below 1", where=f"contrast.{name}")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ConfigError(
                f"{self.temperature} is not above 0 and finite", where="contrast.temperature", mend="try 0.1"
            )
        if self.momentum is not None and not 0 <= self.momentum <= 1:
            raise ConfigError(f"{self.momentum} is not within 0 and 1", where="contrast.momentum")


@dataclass(frozen=True)
class TokenizerOptions:
    """The codebook of BEiT, fitted to the images before training.

    Attributes:
        tokens: how many tokens to look at.
        iterations: of k-means.
    """

    tokens: int = 65536
    iterations: int = 20

    def __post_init__(self) -> None:
        for name in ("tokens", "iterations"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{getattr(self, name)} is below 1", where=f"tokenizer.{name}")
