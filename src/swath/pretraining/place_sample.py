"""Sums over all places from a random part of them, without bias (Horvitz and Thompson, 1952)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PlaceSample:
    """Places drawn without replacement, the same in all dates and groups of a sample.

    Attributes:
        inside: bool [B,places].
        tokens: long [B, T*G*m], the tokens at these places.
        single: probability that a place is drawn, m / places.
        pair: probability that two given places both are.
    """

    inside: Tensor
    tokens: Tensor
    single: float
    pair: float

    def square_of_sum(self, x: Tensor, dim: int) -> Tensor:
        """An unbiased estimate of (sum of x over places)^2, along one dimension.

        Of the square's terms, x_i^2 is in the sample as often as a place, x_i x_j as often as a pair. Single
        estimates may be negative; their mean is the square.

        Args:
            x: 0 at places that were not drawn.
            dim: of the places.
        """
        own = x.square().sum(dim=dim)
        return own / self.single + (x.sum(dim=dim).square() - own) / self.pair


def draw_places(noise: Tensor, count: int, parts: int) -> PlaceSample | None:
    """The places with the smallest noise; None if they are all.

    Args:
        noise: [B,places] in [0, 1).
        count: m, how many, 2 or more.
        parts: T * G.
    """
    places = noise.shape[1]
    if count >= places:
        return None
    chosen = noise.argsort(dim=1, stable=True)[:, :count]
    inside = torch.zeros_like(noise, dtype=torch.bool).scatter(1, chosen, True)
    base = torch.arange(parts, device=noise.device)[:, None] * places
    tokens = (chosen[:, None] + base).flatten(1)
    single = count / places
    return PlaceSample(inside, tokens, single, single * (count - 1) / (places - 1))
