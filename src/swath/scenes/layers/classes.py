"""Maps of classes: the class, how sure it is, and on request every class' probability, entropy, disagreement.

All bands of a file share one type and one no-data value (a GeoTIFF has one for the whole file): 8-bit with 255,
or 16-bit with 65535 where shares are wanted in hundredths of a percent. Classes can then be numbered from 0, and
0 % stays a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from swath.data.legend import LandClass, check_legend, rgb
from swath.errors import ConfigError, ContractError
from swath.scenes.layers.base import (
    NODATA,
    SHARE_NODATA,
    SHARE_STEPS,
    Activation,
    Array,
    BlockMap,
    Layer,
    band_tags,
    calibration_tags,
    check_bits,
    check_min_coverage,
    check_temperature,
    percent,
    probability,
)

COVERAGE = 2  # index of that band: it is known everywhere, and so never no-data
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClassLayers:
    """Class, confidence and coverage, and more on request. Also for change (a class for "changed").

    Attributes:
        classes: in the order of the network's logits.
        min_coverage: percent; pixels with less valid input are no-data. The default of 1 maps every pixel
            with any valid input: how much it had stands beside it, and a reader can always ask for more
            later.
        probabilities: also write every class' probability.
        entropy: also write the entropy of the probabilities: 0 % where one class is sure, 100 % where all are equal.
        disagreement: also write by how much turned views and overlapping windows contradict each other: the
            entropy of their mean less the mean of their entropies, in percent of the largest entropy. It is 0 where
            all say the same, however unsure they are.
        bits: 8, or 16 to write shares in hundredths of a percent.
        title: name of the first band.
        temperature: logits are divided by it before the softmax, so that probabilities are calibrated; None: they are
            as the network says them.
    """

    classes: tuple[LandClass, ...]
    min_coverage: int = 1
    probabilities: bool = False
    entropy: bool = False
    disagreement: bool = False
    bits: Literal[8, 16] = 8
    title: str = "class"
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_legend(self.classes)
        check_bits(self.bits)
        if any(not 0 <= c.value < NODATA for c in self.classes):
            raise ConfigError(
                f"class values must be 0 to {NODATA - 1} ({NODATA} is no-data)", where="classes"
            )
        check_min_coverage(self.min_coverage)
        check_temperature(self.temperature)

    @property
    def activation(self) -> Activation:
        return "softmax"

    @property
    def spread(self) -> bool:
        return self.disagreement

    @property
    def dtype(self) -> str:
        return f"uint{self.bits}"

    @property
    def nodata(self) -> float:
        return SHARE_NODATA[self.bits]

    @property
    def bands(self) -> tuple[Layer, ...]:
        """The file's bands in order; the first one is the class."""
        scale = 1 / SHARE_STEPS[self.bits]
        said = probability(self.temperature)

        def share(name: str, meaning: str) -> Layer:
            return Layer(name, meaning, "average", "percent", scale)

        found = [
            Layer(self.title, "class with the highest probability", "mode"),
            share("confidence", f"{said} of that class"),
            Layer("coverage", "share of (date, band) pairs with valid input", "average", "percent"),
        ]
        if self.probabilities:
            found += [share(f"p({c.name})", f"{said} of {c.name}") for c in self.classes]
        if self.entropy:
            found.append(share("entropy", "entropy of the probabilities; 100 where all classes are equal"))
        if self.disagreement:
            found.append(share("disagreement", "how far turned views and windows contradict each other"))
        return tuple(found)

    def encode(self, block: BlockMap) -> Array:
        """[bands,h,w] of one block."""
        h, w = block.box.height, block.box.width
        out = np.full((len(self.bands), h, w), self.nodata, self.dtype)
        out[COVERAGE] = block.coverage
        if block.values is None:
            return out
        k, given = len(self.classes), len(block.values) - self.disagreement
        if given != k:
            raise ContractError(
                f"the network tells {given} classes apart, the legend names {k}",
                where="classes",
                mend="give the legend the network was trained with",
            )
        p = block.values[:k]
        values = np.array([c.value for c in self.classes], self.dtype)
        # A tie goes to the first class.
        shares = [p.max(axis=0)]
        if self.probabilities:
            shares.extend(p)
        if self.entropy or self.disagreement:
            entropy = _entropy(p)
            if self.entropy:
                shares.append(entropy)
            if self.disagreement:
                shares.append(entropy - block.values[k])
        known = block.coverage >= self.min_coverage
        out[0][known] = values[p.argmax(axis=0)][known]
        places = [i for i in range(1, len(out)) if i != COVERAGE]
        for i, share in zip(places, shares, strict=True):
            np.copyto(out[i], percent(share, self.bits), where=known)
        return out

    def tags(self) -> dict[str, str]:
        """The legend and what the bands mean, as text for the file's metadata."""
        names = {f"CLASS_{c.value}": c.name for c in self.classes}
        colors = {f"COLOR_{c.value}": c.hex for c in self.classes}
        return {**band_tags(self), **calibration_tags(self.temperature), **names, **colors}


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


def _entropy(p: _Floats) -> _Floats:
    """[h,w] of [K,h,w], as a share of the largest."""
    if len(p) < 2:
        return np.zeros(p.shape[1:], np.float32)
    total = np.zeros(p.shape[1:], np.float32)
    for row in p:
        total -= row * np.log(np.maximum(row, np.float32(1e-30)))
    return total / np.float32(np.log(len(p)))
