"""What a map file holds: which bands, and how a block's probabilities become them.

All bands are 8-bit and share one no-data value, 255, since a GeoTIFF has one for the whole file: classes can
then be numbered from 0, and 0 % stays a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from swath.data.legend import LandClass, check_legend, rgb
from swath.errors import ConfigError, ContractError
from swath.scenes.box import Box

NODATA = 255
COVERAGE = 2  # index of that band: it is known everywhere, and so never no-data
# Tag of a map: the first column of the scene that training never saw.
NEVER_SEEN = "NEVER_SEEN_FROM_COLUMN"
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class BlockMap:
    """What the engine makes of one block.

    Attributes:
        box: where it lies in the scene.
        probabilities: [K,h,w] float32; they sum to one over K wherever there is valid input. None where the
            block has none at all.
        coverage: [h,w] uint8, percent of the (date, band) pairs the model eats that are valid, rounded down
            but at least 1 where any is: 0 means none and 100 means all.
        empty_windows: windows without one valid pixel, which were not run.
    """

    box: Box
    probabilities: npt.NDArray[np.float32] | None
    coverage: Bytes
    empty_windows: int = 0


@dataclass(frozen=True)
class Layer:
    """One band of the file: its name, what it means, and how overviews are made of it."""

    name: str
    meaning: str
    overview: Literal["mode", "average"]
    unit: str = ""


@dataclass(frozen=True)
class ClassLayers:
    """A class map: class, confidence and coverage, and one probability per class on request.

    Attributes:
        classes: in the order of the network's logits.
        min_coverage: percent; pixels with less valid input are no-data. The default of 1 maps every pixel
            with any valid input: how much it had stands beside it, and a reader can always ask for more
                later.
        probabilities: also write every class' probability, in percent.
    """

    classes: tuple[LandClass, ...]
    min_coverage: int = 1
    probabilities: bool = False

    def __post_init__(self) -> None:
        check_legend(self.classes)
        if any(not 0 <= c.value < NODATA for c in self.classes):
            raise ConfigError(
                f"class values must be 0 to {NODATA - 1} ({NODATA} is no-data)", where="classes"
            )
        if not 1 <= self.min_coverage <= 100:
            raise ConfigError(
                f"{self.min_coverage} is not a percentage of 1 to 100",
                where="min_coverage",
                mend="use 1 to map every pixel that has any valid input",
            )

    @property
    def bands(self) -> tuple[Layer, ...]:
        """The file's bands in order; the first one is the class."""
        known = (
            Layer("class", "land class with the highest probability", "mode"),
            Layer("confidence", "probability of that class", "average", "percent"),
            Layer("coverage", "share of (date, band) pairs with valid input", "average", "percent"),
        )
        if not self.probabilities:
            return known
        each = (Layer(f"p({c.name})", f"probability of {c.name}", "average", "percent") for c in self.classes)
        return (*known, *each)

    def encode(self, block: BlockMap) -> Bytes:
        """[bands,h,w] uint8 of one block."""
        p = block.probabilities
        if p is None:
            out = np.full((len(self.bands), block.box.height, block.box.width), NODATA, np.uint8)
            out[COVERAGE] = block.coverage
            return out
        if p.shape[0] != len(self.classes):
            raise ContractError(
                f"the network tells {p.shape[0]} classes apart, the legend names {len(self.classes)}",
                where="classes",
                mend="give the legend the network was trained with",
            )
        values = np.array([c.value for c in self.classes], np.uint8)
        # A tie goes to the first class.
        layers = [values[p.argmax(axis=0)], _percent(p.max(axis=0)), block.coverage]
        if self.probabilities:
            layers.extend(_percent(row) for row in p)
        out = np.stack(layers)
        unknown = block.coverage < self.min_coverage
        for i in range(len(out)):
            if i != COVERAGE:
                out[i][unknown] = NODATA
        return out

    def tags(self) -> dict[str, str]:
        """The legend and what the bands mean, as text for the file's metadata."""
        meanings = {f"BAND_{i}": f"{b.name}: {b.meaning}" for i, b in enumerate(self.bands, 1)}
        names = {f"CLASS_{c.value}": c.name for c in self.classes}
        colors = {f"COLOR_{c.value}": c.hex for c in self.classes}
        return {**meanings, **names, **colors, "MIN_COVERAGE_PERCENT": str(self.min_coverage)}


def legend_of(tags: Mapping[str, str]) -> tuple[LandClass, ...]:
    """The classes that a map's tags name; the inverse of `ClassLayers.tags`."""
    found = []
    for key, name in tags.items():
        value = key.removeprefix("CLASS_")
        if value != key and value.isdigit():
            found.append(LandClass(int(value), name, rgb(tags.get(f"COLOR_{value}", "#000000"))))
    return tuple(sorted(found, key=lambda c: c.value))


def palette(classes: Sequence[LandClass]) -> npt.NDArray[np.uint8]:
    """[256,3]: the colour of every value; black where there is no class."""
    table = np.zeros((256, 3), np.uint8)
    for c in classes:
        table[c.value] = c.color
    return table


def _percent(share: npt.NDArray[np.float32]) -> Bytes:
    percent: Bytes = np.rint(np.clip(share, 0.0, 1.0) * 100.0).astype(np.uint8)
    return percent
