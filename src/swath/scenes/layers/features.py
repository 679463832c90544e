"""Features of an encoder: a band for each and coverage, as real numbers or in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from swath.data.legend import LandClass
from swath.errors import ConfigError, ContractError
from swath.scenes.layers.base import NODATA, Activation, Array, BlockMap, Layer, check_min_coverage

FeatureType = Literal["float32", "float16", "uint8"]
# Of 8 bits, 255 is no-data: 0 to 254 are this many steps.
STEPS = 254
_LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class FeatureLayers:
    """One band per feature, and coverage. No-data is NaN, and 255 in 8 bits.

    In 8 bits, a feature is `offset + scale * stored` with an offset and a scale of its own, and within half a scale
    of what the encoder gave. Values beyond its range are stored as its ends, and counted (`beyond`).

    Attributes:
        features: how many.
        dtype: of the file.
        min_coverage: percent; cells with less valid input are no-data.
        low, high: range of each feature in 8 bits; empty otherwise.

    Raises:
        ConfigError: the ranges do not fit.
    """

    features: int
    dtype: FeatureType = "float32"
    min_coverage: int = 1
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_min_coverage(self.min_coverage)
        wanted = self.features if self.dtype == "uint8" else 0
        for name in ("low", "high"):
            if len(getattr(self, name)) != wanted:
                raise ConfigError(
                    f"{len(getattr(self, name))} ends for {wanted} features in {self.dtype}", where=name
                )
        for a, b in zip(self.low, self.high, strict=True):
            if not -np.inf < a <= b < np.inf:
                raise ConfigError(f"{a} to {b} is no range", where="range", mend="give two ascending numbers")

    @property
    def activation(self) -> Activation:
        return "identity"

    @property
    def temperature(self) -> float | None:
        return None

    @property
    def spread(self) -> bool:
        return False

    @property
    def classes(self) -> tuple[LandClass, ...]:
        return ()

    @property
    def nodata(self) -> float:
        return NODATA if self.dtype == "uint8" else float("nan")

    @property
    def scales(self) -> tuple[float, ...]:
        """What a step of 8 bits is worth, per feature; 1 where all values are one."""
        return tuple((b - a) / STEPS or 1.0 for a, b in zip(self.low, self.high, strict=True))

    @property
    def bands(self) -> tuple[Layer, ...]:
        """The features, then coverage."""
        scales, offsets = self.scales or (1.0,) * self.features, self.low or (0.0,) * self.features
        found = [
            Layer(f"feature {i}", "of the encoder", "average", scale=scale, offset=offset)
            for i, (scale, offset) in enumerate(zip(scales, offsets, strict=True))
        ]
        meaning = "share of (date, band) pairs with valid input"
        return (*found, Layer("coverage", meaning, "average", "percent"))

    def encode(self, block: BlockMap) -> Array:
        """[features+1,h,w] of one block.

        Raises:
            ContractError: the encoder gives another number of features, or a value is too large for float16.
        """
        n = self.features
        out = np.full((n + 1, block.box.height, block.box.width), self.nodata, self.dtype)
        out[n] = block.coverage
        if block.values is None:
            return out
        known = self._known(block, block.values)
        for i, values in enumerate(block.values):
            np.copyto(out[i], self._stored(i, values), where=known)
        return out

    def beyond(self, block: BlockMap) -> int:
        """How many values of a block lie beyond the range of 8 bits, and are stored as its ends."""
        if block.values is None or self.dtype != "uint8":
            return 0
        known = self._known(block, block.values)
        return sum(
            int(np.count_nonzero(known & ((values < np.float32(a)) | (values > np.float32(b)))))
            for values, a, b in zip(block.values, self.low, self.high, strict=True)
        )

    def tags(self) -> dict[str, str]:
        """What the bands are."""
        return {"FEATURES": str(self.features), "MIN_COVERAGE_PERCENT": str(self.min_coverage)}

    def _known(self, block: BlockMap, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        if len(values) != self.features:
            raise ContractError(f"the encoder gives {len(values)} features, {self.features} are expected")
        known: npt.NDArray[np.bool_] = block.coverage >= self.min_coverage
        return known

    def _stored(self, index: int, values: npt.NDArray[np.float32]) -> Array:
        if self.dtype == "uint8":
            low, high = np.float32(self.low[index]), np.float32(self.high[index])
            steps = (np.clip(values, low, high) - low) / np.float32(self.scales[index])
            stored: Array = np.rint(steps).astype(np.uint8)
            return stored
        if self.dtype == "float16" and np.abs(values).max(initial=0) > _LARGEST_HALF:
            raise ContractError(
                f"feature {index} is larger than float16 can hold ({_LARGEST_HALF:g})",
                mend="use dtype float32",
            )
        return values.astype(self.dtype)
