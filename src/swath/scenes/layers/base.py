"""What a map file holds, whatever the task: its bands, and how a block's blended values become them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from swath.data.legend import LandClass
from swath.errors import ConfigError
from swath.scenes.box import Box

NODATA = 255  # of 8-bit maps; 65535 of 16-bit ones, NaN of those of real numbers
SHARE_NODATA = {8: NODATA, 16: 65535}
SHARE_STEPS = {8: 1, 16: 100}  # per percent
# Tag of a map: the first column of the scene that training never saw.
NEVER_SEEN = "NEVER_SEEN_FROM_COLUMN"
# Tag of a map: its probabilities were calibrated by dividing logits by this.
TEMPERATURE = "CALIBRATION_TEMPERATURE"
Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
Activation = Literal["softmax", "sigmoid", "identity"]


@dataclass(frozen=True, eq=False)
class BlockMap:
    """What the engine makes of one block.

    Attributes:
        box: where it lies in the scene.
        values: [V,h,w] float32, blended: for classes their probabilities, which sum to one wherever there is
            valid input. None where the block has none at all. Of maps of each date [T*V,h,w], date by date.
        coverage: [h,w] uint8, percent of the (date, band) pairs the model eats that are valid, rounded down
            but at least 1 where any is: 0 means none and 100 means all. Of maps of each date [T,h,w].
        windows: that were run.
        empty_windows: windows without one valid pixel, which were not run.
        holes: what of the block could not be read.
    """

    box: Box
    values: npt.NDArray[np.float32] | None
    coverage: Bytes
    windows: int = 0
    empty_windows: int = 0
    holes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Layer:
    """One band of the file.

    Attributes:
        name: of the band.
        meaning: in a few words.
        overview: how overviews are made of it.
        unit: of its values.
        scale, offset: stored numbers times the scale, plus the offset, are in the unit.
    """

    name: str
    meaning: str
    overview: Literal["mode", "average"]
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


class Layers(Protocol):
    """The bands of a map, and what the engine must hand over to make them.

    Attributes:
        min_coverage: percent; pixels with less valid input are no-data.
        activation: what turns the network's output into values that may be averaged.
        temperature: logits are divided by it before the activation; None: as the network gives them.
        spread: whether the disagreement of turned views is wanted, as the last of the blended values.
        classes: of band 1, with their colours; empty where it holds no classes.
    """

    @property
    def min_coverage(self) -> int: ...

    @property
    def activation(self) -> Activation: ...

    @property
    def temperature(self) -> float | None: ...

    @property
    def spread(self) -> bool: ...

    @property
    def classes(self) -> tuple[LandClass, ...]: ...

    @property
    def bands(self) -> tuple[Layer, ...]: ...

    @property
    def dtype(self) -> str: ...

    @property
    def nodata(self) -> float: ...

    def encode(self, block: BlockMap) -> Array:
        """[bands,h,w] of one block, in `dtype`."""
        ...

    def tags(self) -> dict[str, str]:
        """What the bands mean, as text for the file's metadata."""
        ...


def check_min_coverage(percent: int) -> None:
    """Raise ConfigError if it is no percentage above 0."""
    if not 1 <= percent <= 100:
        raise ConfigError(
            f"{percent} is not a percentage of 1 to 100",
            where="min_coverage",
            mend="use 1 to map every pixel that has any valid input",
        )


def check_bits(bits: int) -> None:
    """Raise ConfigError if shares cannot be written with so many."""
    if bits not in SHARE_NODATA:
        raise ConfigError(f"{bits} is neither 8 nor 16", where="bits")


def percent(share: npt.NDArray[np.float32], bits: int) -> Array:
    """Shares of 0 to 1 as whole percent (8 bits) or hundredths of a percent (16), each rounded on its own: those of all
    classes sum to 100 only within half a step for each.
    """
    rounded: Array = np.rint(np.clip(share, 0.0, 1.0) * (100.0 * SHARE_STEPS[bits])).astype(f"uint{bits}")
    return rounded


def check_temperature(temperature: float | None) -> None:
    """Raise ConfigError if logits cannot be divided by it."""
    if temperature is not None and not 0 < temperature < math.inf:
        raise ConfigError(f"{temperature} is not above 0", where="temperature")


def probability(temperature: float | None) -> str:
    """What to call a probability: who reads the map must see whether it was calibrated."""
    return (
        "probability" if temperature is None else f"probability, calibrated by temperature {temperature:.4g},"
    )


def calibration_tags(temperature: float | None) -> dict[str, str]:
    """The exact temperature, if there is one."""
    return {} if temperature is None else {TEMPERATURE: repr(float(temperature))}


def band_tags(layers: Layers) -> dict[str, str]:
    """What every band means, and the threshold of coverage."""
    meanings = {f"BAND_{i}": f"{b.name}: {b.meaning}" for i, b in enumerate(layers.bands, 1)}
    return {**meanings, "MIN_COVERAGE_PERCENT": str(layers.min_coverage)}
