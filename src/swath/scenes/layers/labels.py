"""Maps of several labels at once: a probability for each, which need not sum to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swath.data.legend import LandClass, check_legend
from swath.errors import ContractError
from swath.scenes.layers.base import (
    NODATA,
    Activation,
    Array,
    BlockMap,
    Layer,
    band_tags,
    calibration_tags,
    check_min_coverage,
    check_temperature,
    probability,
)


@dataclass(frozen=True, eq=False)
class LabelLayers:
    """One 8-bit band of percent per label, and coverage.

    Attributes:
        labels: in the order of the network's logits; their colours are not used.
        min_coverage: percent; pixels with less valid input are no-data.
        temperature: logits are divided by it before the sigmoid; None: probabilities are as the network says them.
    """

    labels: tuple[LandClass, ...]
    min_coverage: int = 1
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_legend(self.labels)
        check_min_coverage(self.min_coverage)
        check_temperature(self.temperature)

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
        return "uint8"

    @property
    def nodata(self) -> float:
        return NODATA

    @property
    def bands(self) -> tuple[Layer, ...]:
        """The labels in order, then coverage."""
        said = probability(self.temperature)
        each = [Layer(f"p({c.name})", f"{said} of {c.name}", "average", "percent") for c in self.labels]
        meaning = "share of (date, band) pairs with valid input"
        return (*each, Layer("coverage", meaning, "average", "percent"))

    def encode(self, block: BlockMap) -> Array:
        """[bands,h,w] uint8 of one block."""
        k = len(self.labels)
        out = np.full((k + 1, block.box.height, block.box.width), NODATA, np.uint8)
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
            np.copyto(out[i], np.rint(np.clip(p, 0, 1) * 100).astype(np.uint8), where=known)
        return out

    def tags(self) -> dict[str, str]:
        """What the bands mean."""
        return {**band_tags(self), **calibration_tags(self.temperature)}
