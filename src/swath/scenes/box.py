"""A rectangle of pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels of the scene: first row and column, height and width. It may reach beyond the
    edges.
    """

    row: int
    col: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width} at ({self.row}, {self.col})"
