"""An encoder as the engine's network: one vector per cell instead of one value per pixel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from swath.errors import ConfigError, WeightsError
from swath.models.features import Features


class FeatureMap(nn.Module):
    """One level of an encoder's features, the mean over the dates and spectral groups that hold data.

    Args:
        network: with `features(pixels, valid, days, wavelengths)`.
        level: of its maps, fine to coarse; negative from the coarsest.
    """

    def __init__(self, network: nn.Module, level: int = -1) -> None:
        super().__init__()
        if not callable(getattr(network, "features", None)):
            raise WeightsError(
                f"{type(network).__name__} has no encoder whose features could be taken",
                mend="use weights of an encoder, such as swath pretrain writes",
            )
        self.network: Any = network
        self.level = level

    def forward(
        self, pixels: Tensor, valid: Tensor, days: Tensor | None, wavelengths: tuple[float, ...]
    ) -> Tensor:
        """[B,D,h,w] of normalised windows [B,T,C,H,W]; 0 where no pixel is valid."""
        tokens = self._maps(self.network.features(pixels, valid, days, wavelengths))[0].float()
        # Encoders leave exact zeros where a token holds no valid pixel.
        held = (tokens != 0).any(dim=3, keepdim=True)
        return tokens.sum(dim=(1, 2)) / held.sum(dim=(1, 2)).clamp_min(1)

    def shape(self, dates: int, contract: Any) -> tuple[int, int]:
        """(D, stride) for windows of a contract; runs the network once."""
        assert contract.size is not None
        pixels = torch.zeros(1, dates, len(contract.bands), *contract.size)
        with torch.inference_mode():
            given = self.network.features(pixels, torch.ones_like(pixels, dtype=torch.bool), None,
                                          contract.wavelengths)  # fmt: skip
        maps, stride = self._maps(given)
        return maps.shape[3], stride

    def _maps(self, given: Features) -> tuple[Tensor, int]:
        try:
            return given.maps[self.level], given.strides[self.level]
        except IndexError:
            n = len(given.maps)
            raise ConfigError(
                f"there is no level {self.level}, the encoder has {n}",
                where="level",
                mend=f"use 0 to {n - 1}",
            ) from None
