"""Statistics of pixels that are seen piece by piece."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.cube import BandStatistics


@dataclass
class Running:
    """Statistics over pieces: sums of whole numbers are exact, those of floats merged (Chan et al., 1983)."""

    count: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    total: int = 0
    squares: int = 0
    _mean: float = math.nan
    _m2: float = 0.0
    _whole: bool = False

    def add(self, values: npt.NDArray[Any]) -> None:
        """Take in a flat piece."""
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        self.minimum = low if self.count == 0 else min(self.minimum, low)
        self.maximum = high if self.count == 0 else max(self.maximum, high)
        n = values.size
        # Squares of 16-bit numbers summed over 1024 x 1024 pixels fit 64 bits; wider ones may not.
        if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
            self._whole = True
            wide = values.astype(np.int64)
            self.total += int(wide.sum())
            self.squares += int((wide * wide).sum())
            self.count += n
            return
        piece = values.astype(np.float64)
        mean = float(piece.mean())
        m2 = float(((piece - mean) ** 2).sum())
        if self.count == 0:
            self._mean, self._m2 = mean, m2
        else:
            delta, both = mean - self._mean, self.count + n
            self._m2 += m2 + delta * delta * self.count * n / both
            self._mean += delta * n / both
        self.count += n

    @property
    def mean(self) -> float:
        if self._whole:
            return self.total / self.count
        return self._mean

    @property
    def std(self) -> float:
        """Of the population, as numpy's default."""
        if self.count == 0:
            return math.nan
        if self._whole:
            # Whole-number arithmetic: no cancellation, however small the spread.
            return math.sqrt(self.count * self.squares - self.total * self.total) / self.count
        return math.sqrt(max(self._m2 / self.count, 0.0))


def together(sums: Sequence[Running]) -> BandStatistics:
    """One per band, as the statistics of a scene; a band without a pixel has NaN and count 0."""
    return BandStatistics(
        tuple(s.minimum for s in sums),
        tuple(s.maximum for s in sums),
        tuple(s.mean for s in sums),
        tuple(s.std for s in sums),
        tuple(s.count for s in sums),
    )
