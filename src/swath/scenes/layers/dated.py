"""Maps of each date in one file: the bands of the first date, then of the second, …."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from swath.data.legend import LandClass
from swath.errors import ConfigError, ContractError
from swath.scenes.layers.base import Activation, Array, BlockMap, Layer, Layers, band_tags


@dataclass(frozen=True, eq=False)
class DatedLayers:
    """The bands of another kind of map, once for each date, with the date behind their names.

    The first bands are the map of the first date, as if it were alone. A pixel is no-data at the dates on which it has
    less valid input than asked for: what a network says of a date that it did not see was never taught.

    Attributes:
        inner: what there is of each date: classes or values, without disagreement.
        names: of the dates, as `names_of_dates` has them.
    """

    inner: Layers
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ConfigError("dates need names, each another", where="names")
        if self.inner.spread:
            raise ConfigError(
                "is not for maps of each date", where="disagreement", mend="leave disagreement out"
            )

    @property
    def min_coverage(self) -> int:
        return self.inner.min_coverage

    @property
    def activation(self) -> Activation:
        return self.inner.activation

    @property
    def temperature(self) -> float | None:
        return self.inner.temperature

    @property
    def spread(self) -> bool:
        return False

    @property
    def classes(self) -> tuple[LandClass, ...]:
        return self.inner.classes

    @property
    def dtype(self) -> str:
        return self.inner.dtype

    @property
    def nodata(self) -> float:
        return self.inner.nodata

    @property
    def bands(self) -> tuple[Layer, ...]:
        """Those of the first date, then of the second, …."""
        return tuple(
            replace(band, name=f"{band.name} {date}", meaning=f"{band.meaning}, on {date}")
            for date in self.names
            for band in self.inner.bands
        )

    def encode(self, block: BlockMap) -> Array:
        """[dates*bands,h,w] of one block.

        Raises:
            ContractError: it is of another number of dates.
        """
        count = len(self.names)
        values = block.values
        if len(block.coverage) != count or (values is not None and len(values) % count):
            raise ContractError(f"a block of {len(block.coverage)} dates meets a file of {count}")
        parts = [None] * count if values is None else np.split(values, count)
        return np.concatenate(
            [
                self.inner.encode(replace(block, values=part, coverage=coverage))
                for part, coverage in zip(parts, block.coverage, strict=True)
            ]
        )

    def tags(self) -> dict[str, str]:
        """Legend and meanings, and the dates."""
        return {**self.inner.tags(), **band_tags(self), DATES: ",".join(self.names)}


# Tag of a map: its dates, in the order of its bands.
DATES = "DATES"


def names_of_dates(dates: Sequence[dt.date | None]) -> tuple[str, ...]:
    """A name for each date: the day, or its place where that is unknown; "2020-06-01 (2)" for a second of one day."""
    found: list[str] = []
    for place, date in enumerate(dates, 1):
        name = f"date {place}" if date is None else date.isoformat()
        again = sum(1 for d in dates[: place - 1] if d is not None and d == date)
        found.append(f"{name} ({again + 1})" if again else name)
    return tuple(found)
