"""Maps of several labels at once: a probability for each, which need not sum to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from swath.data.legend import LandClass, check_legend
from swath.errors import ContractError
from swath.scenes.layers.base import (
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


@dataclass(frozen=True, eq=False)
class LabelLayers:
    """One band of shares per label, and coverage.

    Attributes:
        labels: in the order of the network's logits; their colours are not used.
        min_coverage: percent; pixels with less valid input are no-data.
        temperature: logits are divided by it before the sigmoid; None: probabilities are as the network says them.
        bits: 8 for percent, or 16 for hundredths of a percent.
    """

    labels: tuple[LandClass, ...]
    min_coverage: int = 1
    temperature: float | None = None
    bits: Literal[8, 16] = 8

    def __post_init__(self) -> None:
        check_legend(self.labels)
        check_min_coverage(self.min_coverage)
        check_temperature(self.temperature)
        check_bits(self.bits)

    @property
    def activation(self) -> Activation:
        return "sigmoid"

    @property
    def spread(self) -> bool:
        return False

    @property
    def classes(self) -> tuple[LandClass, ...]:
        return ()

    @property
    def dtype(self) -> str:
        return f"uint{self.bits}"

    @property
    def nodata(self) -> float:
        return SHARE_NODATA[self.bits]

    @property
    def bands(self) -> tuple[Layer, ...]:
        """The labels in order, then coverage."""
        said, scale = probability(self.temperature), 1 / SHARE_STEPS[self.bits]
        each = [
            Layer(f"p({c.name})", f"{said} of {c.name}", "average", "percent", scale) for c in self.labels
        ]
        meaning = "share of (date, band) pairs with valid input"
        return (*each, Layer("coverage", meaning, "average", "percent"))

    def encode(self, block: BlockMap) -> Array:
        """[bands,h,w] of one block."""
        k = len(self.labels)
        out = np.full((k + 1, block.box.height, block.box.width), self.nodata, self.dtype)
        out[k] = block.coverage
        if block.values is None:
            return out
        if len(block.values) != k:
            raise ContractError(
                f"the network gives {len(block.values)} labels, {k} are named",
                where="labels",
                mend="give those the network was trained with",
            )
        known = block.coverage >= self.min_coverage
        for i, p in enumerate(block.values):
            np.copyto(out[i], percent(p, self.bits), where=known)
        return out

    def tags(self) -> dict[str, str]:
        """What the bands mean."""
        return {**band_tags(self), **calibration_tags(self.temperature)}
