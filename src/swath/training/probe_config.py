"""Options of probes. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from swath.errors import ConfigError

Method = Literal["knn", "linear", "conv"]
STRENGTHS = tuple(10.0**e for e in range(-6, 3))
"""From almost free to almost held."""
NEIGHBOURS = (1, 5, 10, 20, 50)


@dataclass(frozen=True)
class ProbeHeadOptions:
    """How the small convolutional head is trained.

    Attributes:
        epochs: passes over the train part.
        learning_rate: at its highest; it rises for a tenth of the steps and falls to nothing as a cosine.
        weight_decay: of AdamW.
        width: channels of the head.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    width: int = 64

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.width < 1 or self.learning_rate <= 0 or self.weight_decay < 0:
            raise ConfigError("epochs, width and learning_rate must be above 0", where="head")


@dataclass(frozen=True)
class ProbeOptions:
    """What is tried.

    Attributes:
        strengths: of the linear probe's regularisation.
        neighbours: numbers of them.
        max_cells: cells of maps that a linear probe learns from; of more, so many are drawn.
        head: how the small convolutional head is trained.
        seed: of the draw of cells, and of the head.
    """

    strengths: tuple[float, ...] = STRENGTHS
    neighbours: tuple[int, ...] = NEIGHBOURS
    max_cells: int = 100_000
    head: ProbeHeadOptions = field(default_factory=ProbeHeadOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.strengths or min(self.strengths) <= 0:
            raise ConfigError("must be above 0", where="strengths", mend="give some, such as [0.001, 0.1]")
        if not self.neighbours or min(self.neighbours) < 1:
            raise ConfigError("must be 1 or more", where="neighbours", mend="give some, such as [5, 20]")
        if self.max_cells < 1:
            raise ConfigError(f"is {self.max_cells}", where="max_cells", mend="give a number of cells")
