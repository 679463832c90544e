"""What all tasks share: a network, its loss as sums and counts, and who scores its output over a whole set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.tasks.config import IGNORE, TaskConfig


class ScoreTable(Protocol):
    """Scores of a whole set."""

    def summary(self) -> Mapping[str, float]:
        """The headline numbers by name."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; scores without a meaning are null."""
        ...


class Scorer(Protocol):
    """Collects outputs over a set; never means over batches.

    Whatever is labelled is scored, seen or not, so that all methods are scored on the same pixels and records.
    """

    def update(self, output: Tensor, target: Tensor) -> None:
        """Adds a batch: the network's output and its target."""
        ...

    def compute(self) -> ScoreTable:
        """The scores over everything so far, of all processes together.

        Raises:
            InputError: nothing was scored.
        """
        ...


class Task(nn.Module):
    """A network with what it is trained for.

    Args:
        network: called with (pixels, valid=, days=, wavelengths=).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def output(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        """What the network says, checked against the task."""
        raise NotImplementedError

    def counts(self, valid: Tensor | None, target: Tensor) -> dict[str, Tensor]:
        """The counts of the parts that `forward` would give, without running the network."""
        raise NotImplementedError

    def scorer(self) -> Scorer:
        """A fresh collector of scores."""
        raise NotImplementedError


class ClassTask(Task):
    """A task whose network gives logits of K classes on axis 1, or 2 behind dates."""

    weights: Tensor | None

    def __init__(self, network: nn.Module, config: TaskConfig) -> None:
        super().__init__(network)
        self.config = config
        weights = None if config.class_weights is None else torch.tensor(config.class_weights)
        # Not persistent: it belongs to the training, not to the weights.
        self.register_buffer("weights", weights, persistent=False)

    def output(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        """The network's logits, of K classes."""
        return self._checked(self.network(pixels, valid=valid, days=days, wavelengths=wavelengths))

    def _checked(self, out: Tensor) -> Tensor:
        axis = class_axis(out)
        if out.shape[axis] != len(self.config.classes):
            raise ConfigError(
                f"the network gives {out.shape[axis]} classes, the task names {len(self.config.classes)}",
                where="classes",
                mend="build the network with as many classes",
            )
        return out

    def _check_target(self, target: Tensor) -> None:
        # A class number outside 0..K-1 would be an index error far below, or worse, an assert on the GPU.
        if target.is_cuda:
            return
        low, high = (int(target.min()), int(target.max())) if target.numel() else (0, 0)
        if low < IGNORE or high >= len(self.config.classes):
            wrong = low if low < IGNORE else high
            raise ConfigError(
                f"label {wrong} is none of the {len(self.config.classes)} classes",
                where="labels",
                mend=f"number classes 0 to {len(self.config.classes) - 1} and unknown pixels {IGNORE}",
            )


def class_axis(logits: Tensor) -> int:
    """Where the classes are: [B,K] and [B,K,H,W] on axis 1, [B,T,K] and [B,T,K,H,W] on axis 2."""
    return 1 if logits.ndim in (2, 4) else 2


def seen_records(valid: Tensor) -> Tensor:
    """[B] bool: whether a record has any valid pixel."""
    return valid.flatten(1).any(1)


def seen_pixels(valid: Tensor, per_date: bool = False) -> Tensor:
    """[B,H,W] bool (or [B,T,H,W]): where a band of any date (or of that date) is valid."""
    return valid.any(2) if per_date else valid.flatten(1, 2).any(1)
