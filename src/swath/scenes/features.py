"""An encoder as the engine's network: one vector per cell, or per window, instead of one value per pixel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from swath.contract import InputContract
from swath.errors import ConfigError, WeightsError
from swath.models.features import Features


class FeatureMap(nn.Module):
    """One level of an encoder's features, the mean over the dates and spectral groups that hold data; or the vector
    that stands for a whole window.

    Args:
        network: with `features(pixels, valid, days, wavelengths)`, or with an `encoder` that has it.
        level: of its maps, fine to coarse; negative from the coarsest.
        pooled: give the encoder's own vector of a window instead, as a map of one cell.

    Raises:
        WeightsError: the network has no such encoder.
    """

    def __init__(self, network: nn.Module, level: int = -1, pooled: bool = False) -> None:
        super().__init__()
        found = next((n for n in (network, getattr(network, "encoder", None)) if _encodes(n)), None)
        if found is None:
            raise WeightsError(
                f"{type(network).__name__} has no encoder whose features could be taken",
                mend="use weights of an encoder, such as swath pretrain writes",
            )
        self.network: Any = found
        self.level, self.pooled = level, pooled

    def forward(
        self, pixels: Tensor, valid: Tensor, days: Tensor | None, wavelengths: tuple[float, ...]
    ) -> Tensor:
        """[B,D,h,w] of normalised windows [B,T,C,H,W], or [B,D,1,1] pooled; 0 where no pixel is valid."""
        given: Features = self.network.features(pixels, valid, days, wavelengths)
        if self.pooled:
            return given.pooled.float()[:, :, None, None]
        tokens = self._maps(given)[0].float()
        # Encoders leave exact zeros where a token holds no valid pixel.
        held = (tokens != 0).any(dim=3, keepdim=True)
        return tokens.sum(dim=(1, 2)) / held.sum(dim=(1, 2)).clamp_min(1)

    def shape(self, dates: int, contract: InputContract) -> tuple[int, int]:
        """(D, pixels per cell) for windows of a contract; runs the network once.

        Raises:
            ConfigError: there is no such level, or pooled cells would not be square.
            ContractError: the network does not eat so many dates.
        """
        assert contract.size is not None
        height, width = contract.size
        pixels = torch.zeros(1, dates, len(contract.bands), height, width)
        with torch.inference_mode():
            given = self.network.features(pixels, torch.ones_like(pixels, dtype=torch.bool), None,
                                          contract.wavelengths)  # fmt: skip
        if self.pooled:
            if height != width:
                raise ConfigError(
                    f"windows of {height}x{width} pixels make no square cells",
                    where="pooled",
                    mend="leave it out",
                )
            return given.pooled.shape[1], height
        maps, stride = self._maps(given)
        return maps.shape[3], stride

    def _maps(self, given: Features) -> tuple[Tensor, int]:
        n = len(given.maps)
        if not n:
            raise ConfigError(
                "the network resizes its windows, and its cells are no whole pixels of them",
                where="level",
                mend="embed whole windows: --pooled true",
            )
        if not -n <= self.level < n:
            raise ConfigError(
                f"there is no level {self.level}, the encoder has {n}",
                where="level",
                mend=f"use 0 to {n - 1}",
            )
        return given.maps[self.level], given.strides[self.level]


def _encodes(network: object) -> bool:
    return callable(getattr(network, "features", None))
