"""Maps of real numbers: regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swath.data.legend import LandClass
from swath.errors import ConfigError, ContractError
from swath.scenes.layers.base import Activation, Array, BlockMap, Layer, band_tags, check_min_coverage


@dataclass(frozen=True, eq=False)
class ValueLayers:
    """One float32 band per quantity, and coverage; no-data is NaN.

    Attributes:
        names: of the quantities, in the order of the network's outputs.
        min_coverage: percent; pixels with less valid input are no-data.
        disagreement: also write, per quantity, the standard deviation of turned views.
        units: of the quantities; empty: not known.
        gain, bias: the network's outputs times gain plus bias are the quantities; empty: 1 and 0.
    """

    names: tuple[str, ...]
    min_coverage: int = 1
    disagreement: bool = False
    units: tuple[str, ...] = ()
    gain: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ConfigError("quantities need names, each another", where="names")
        for what, given in (("units", self.units), ("gain", self.gain), ("bias", self.bias)):
            if given and len(given) != len(self.names):
                raise ConfigError(f"{len(given)} are given for {len(self.names)} quantities", where=what)
        check_min_coverage(self.min_coverage)

    @property
    def activation(self) -> Activation:
        return "identity"

    @property
    def temperature(self) -> float | None:
        return None

    @property
    def spread(self) -> bool:
        return self.disagreement

    @property
    def classes(self) -> tuple[LandClass, ...]:
        return ()

    @property
    def dtype(self) -> str:
        return "float32"

    @property
    def nodata(self) -> float:
        return float("nan")

    @property
    def bands(self) -> tuple[Layer, ...]:
        """The quantities, coverage, and the disagreement of each."""
        units = self.units or ("",) * len(self.names)
        found = [Layer(n, "predicted value", "average", u) for n, u in zip(self.names, units, strict=True)]
        found.append(Layer("coverage", "share of (date, band) pairs with valid input", "average", "percent"))
        if self.disagreement:
            found += [
                Layer(f"sd({n})", f"standard deviation of {n} over turned views", "average", u)
                for n, u in zip(self.names, units, strict=True)
            ]
        return tuple(found)

    def encode(self, block: BlockMap) -> Array:
        """[bands,h,w] float32 of one block."""
        n = len(self.names)
        out = np.full((len(self.bands), block.box.height, block.box.width), np.nan, np.float32)
        out[n] = block.coverage
        if block.values is None:
            return out
        given = len(block.values) // (2 if self.disagreement else 1)
        if given != n:
            raise ContractError(
                f"the network gives {given} quantities, {n} are named",
                where="names",
                mend="name those the network was trained for",
            )
        known = block.coverage >= self.min_coverage
        for i in range(n):
            gain, bias = (self.gain or (1.0,) * n)[i], (self.bias or (0.0,) * n)[i]
            np.copyto(out[i], block.values[i] * np.float32(gain) + np.float32(bias), where=known)
            if self.disagreement:
                np.copyto(out[n + 1 + i], block.values[n + i] * np.float32(abs(gain)), where=known)
        return out

    def tags(self) -> dict[str, str]:
        """What the bands mean."""
        return band_tags(self)
