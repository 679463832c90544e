"""What a frozen encoder sees of a batch: the vectors and maps that probes learn from."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from swath.cube import CubeBatch
from swath.errors import InputError, WeightsError
from swath.feed.normalise import normalise
from swath.models.features import Features
from swath.training.precision import Precision


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """Features of B records (or of B dates of records), on the CPU in float32, without gradients.

    Attributes:
        pooled: [B,D].
        maps: [B,D_i,h_i,w_i], fine to coarse; dates and spectral groups that hold data are averaged. Empty where only
            vectors are wanted.
        strides: pixels per cell of each map.
    """

    pooled: Tensor
    maps: tuple[Tensor, ...] = ()
    strides: tuple[int, ...] = ()


class Frozen:
    """An encoder that learns nothing.

    Args:
        network: with `features(pixels, valid, days, wavelengths)`; its mode is set to evaluation.
        maps: give maps too.
        change: give the difference, without its sign, of the first and the last date, each seen alone.
        each_date: give the features of each date, T rows for each record, in the order of its dates.
        alone: with `each_date`, the encoder sees a date without the others.
        precision: None: float32.

    Raises:
        WeightsError: the network has no encoder.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        maps: bool = False,
        change: bool = False,
        each_date: bool = False,
        alone: bool = False,
        precision: Precision | None = None,
    ) -> None:
        if not callable(getattr(network, "features", None)):
            raise WeightsError(
                f"{type(network).__name__} has no encoder whose features could be taken",
                mend="use weights of an encoder, such as swath pretrain writes",
            )
        self.network: Any = network.eval()
        self.maps, self.change, self.precision = maps, change, precision
        self.each_date, self.alone = each_date, alone

    def __call__(self, batch: CubeBatch) -> FrozenFeatures:
        """Features of a batch.

        Raises:
            InputError: one date, where two are to be compared.
        """
        parameter = next(self.network.parameters())
        on = batch.to(parameter.device)
        pixels, days = normalise(on), on.days
        around = contextlib.nullcontext() if self.precision is None else self.precision.autocast()
        with torch.no_grad(), around:
            if self.each_date and self.alone:
                pixels, valid, days = (x.flatten(0, 1)[:, None] for x in (pixels, on.valid, days))
                return self._plain(self.network.features(pixels, valid, days, on.wavelengths))
            if self.each_date:
                given = self.network.features(pixels, on.valid, days, on.wavelengths)
                return self._plain(_of_dates(given, pixels.shape[1]))
            if not self.change:
                return self._plain(self.network.features(pixels, on.valid, days, on.wavelengths))
            if pixels.shape[1] < 2:
                raise InputError("has one date, and change is between two", where=batch.ids[0])
            ends = [
                self._plain(
                    self.network.features(
                        pixels[:, t : t + 1],
                        on.valid[:, t : t + 1],
                        days[:, t : t + 1],
                        on.wavelengths,
                    )
                )
                for t in (0, pixels.shape[1] - 1)
            ]
        first, last = ends
        maps = tuple((a - b).abs() for a, b in zip(first.maps, last.maps, strict=True))
        return FrozenFeatures((first.pooled - last.pooled).abs(), maps, first.strides)

    def _plain(self, given: Features) -> FrozenFeatures:
        pooled = given.pooled.float().cpu()
        if not self.maps:
            return FrozenFeatures(pooled)
        return FrozenFeatures(pooled, tuple(held_mean(m).cpu() for m in given.maps), given.strides)


def _of_dates(given: Features, dates: int) -> Features:
    """Features of records as those of their dates, which share what a token of several holds: B -> B * T rows."""
    maps = []
    for m in given.maps:
        tube = -(-dates // m.shape[1])
        maps.append(m.repeat_interleave(tube, dim=1)[:, :dates].flatten(0, 1)[:, None])
    return Features(tuple(maps), given.strides, given.pooled.repeat_interleave(dates, dim=0))


def held_mean(maps: Tensor) -> Tensor:
    """[B,T,G,D,h,w] -> [B,D,h,w] float32: the mean over the dates and spectral groups that hold data, else 0."""
    tokens = maps.float()
    # Encoders leave exact zeros where a token holds no valid pixel.
    held = (tokens != 0).any(dim=3, keepdim=True)
    return tokens.sum(dim=(1, 2)) / held.sum(dim=(1, 2)).clamp_min(1)
