"""What a plain method is to answer, and what it is once it has learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from swath.cube import Cube

Values = npt.NDArray[np.float32]
Known = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Goal:
    """What is asked for.

    Attributes:
        kind: "classes" (one of K, or none: below 0), "labels" (any of K) or "numbers" (K of them, NaN: unknown).
        outputs: K.
        per_pixel: whether a target is a map.
    """

    kind: Literal["classes", "labels", "numbers"]
    outputs: int
    per_pixel: bool

    def known(self, target: npt.NDArray[Any]) -> Known:
        """Where a target says something: its shape for classes, without the axis of K else."""
        if self.kind == "classes":
            found: Known = np.asarray(target >= 0)
            return found
        rows = self.rows(target)
        good = np.isfinite(rows) if self.kind == "numbers" else rows >= 0
        every: Known = np.logical_and.reduce(good, axis=0)
        return every

    def rows(self, target: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels and numbers with their axis of K before all others."""
        plain = self.kind == "numbers" and target.ndim == (2 if self.per_pixel else 0)
        return target[None] if plain else target


class Learned(Protocol):
    """A method after it has learned."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found, in words."""
        ...

    def answer(self, cube: Cube) -> Values:
        """[K,H,W] or [K]: probabilities that sum to one over classes, of each label by itself, or numbers."""
        ...
