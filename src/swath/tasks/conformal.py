"""Sets of classes and intervals of values that hold the truth as often as they say, in places like those they were
fitted on.

Split conformal prediction with blocks as units: pixels of a block are alike, blocks are drawn alike. Of n blocks, the
scores of block i weigh 1 / ((n + 1) m_i) each, with m_i scores in it, and 1 / (n + 1) stands for the block that is
asked about; the quantile of that is the threshold (Y. Lee, R. Barber and R. Willett, "Distribution-free inference with
hierarchical data", 2023, arXiv:2306.06342). A random pixel of a new block is then covered with at least the level's
probability. Few blocks make that cost much: with n below level / (1 - level), everything must be in the set.

A class is in the set if its probability is at least 1 - threshold; a value's interval is the answer plus and minus
the threshold.

Of several labels at once there are two sets (M. Cauchois, S. Gupta and J. Duchi, "Knowing what you know: valid and
validated confidence sets in multiclass and multilabel prediction", 2021, arXiv:2004.10181): the possible
ones, which hold all that a record bears, and the sure ones, of which it bears all. Each keeps its own promise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swath.errors import ConfigError, InputError
from swath.rng import generator
from swath.tasks.bootstrap import BootstrapOptions, interval
from swath.words import counted

PER_BLOCK = 4096
"""Scores of a block that are kept; of more, so many are drawn, which is a random pixel of it all the same."""


@dataclass(frozen=True)
class Threshold:
    """What a score may be for its answer to be in the set.

    Attributes:
        level: share of random pixels of new blocks whose truth is held.
        value: of the score; infinite where the blocks are too few to say.
        blocks: that it comes from.
    """

    level: float
    value: float
    blocks: int

    @property
    def note(self) -> str:
        """A sentence if there are too few blocks."""
        if math.isfinite(self.value):
            return ""
        need = math.ceil(self.level / (1 - self.level) - 1e-9)
        promised = f"{counted(self.blocks, 'block')} cannot promise {self.level:.0%}"
        return f"{promised}: sets and intervals tell nothing; give {need} or more"


class BlockValues:
    """Numbers of pixels, block by block, at most `PER_BLOCK` of each, drawn by seed.

    Args:
        seed: of the draw.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._parts: dict[str, list[Tensor]] = {}

    def add(self, block: str, values: Tensor) -> None:
        """More rows of a block: [m] or [m,…]."""
        if len(values):
            self._parts.setdefault(block, []).append(values.detach().cpu())

    @property
    def blocks(self) -> tuple[str, ...]:
        """Those that hold something, in order of their names."""
        return tuple(sorted(self._parts))

    def rows(self, block: str) -> Tensor:
        """Rows of a block, or so many of them as are kept."""
        rows = torch.cat(self._parts[block])
        if len(rows) <= PER_BLOCK:
            return rows
        draw = torch.randperm(len(rows), generator=generator(self.seed, "rows of block", block))
        return rows[draw[:PER_BLOCK].sort().values]


def threshold(scores: Sequence[Tensor], level: float) -> Threshold:
    """The threshold of scores [m_i] of n blocks.

    Raises:
        InputError: there is no score.
        ConfigError: the level is not in (0, 1).
    """
    if not 0 < level < 1:
        raise ConfigError(f"is {level}", where="level", mend="give a share such as 0.9")
    held = [s for s in scores if len(s)]
    if not held:
        raise InputError("there is no label to fit on", mend="check the labels")
    n = len(held)
    values = torch.cat(held).double()
    weights = torch.cat([torch.full((len(s),), 1 / ((n + 1) * len(s)), dtype=torch.float64) for s in held])
    order = values.argsort(stable=True)
    reached = weights[order].cumsum(0)
    place = int(torch.searchsorted(reached, torch.tensor(level - 1e-12, dtype=torch.float64)))
    value = float(values[order][place]) if place < len(values) else math.inf
    return Threshold(level, value, n)


def class_scores(probabilities: Tensor, target: Tensor) -> Tensor:
    """1 minus the probability of the true class: [N,K] and [N] -> [N]."""
    return 1 - probabilities.double().gather(1, target[:, None])[:, 0]


def class_sets(probabilities: Tensor, found: Threshold) -> Tensor:
    """Which classes are in the set of each pixel: bool [...,K] of probabilities [...,K]."""
    if not math.isfinite(found.value):
        return torch.ones_like(probabilities, dtype=torch.bool)
    # A hair of slack: the pixel that set the threshold is in its own set whatever rounds.
    return 1 - probabilities.double() <= found.value + 1e-9


def label_scores(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Scores [N] for the possible and the sure labels, of zeros and ones [N,K]; other targets are unknown.

    The first is 1 minus the least probability among a record's labels; the second the largest among those that it
    lacks. Without any, 0: no set could miss one.
    """
    p = probabilities.double()
    off = torch.where(target == 1, 1 - p, 0.0).amax(1)
    return off, torch.where(target == 0, p, 0.0).amax(1)


def possible_labels(probabilities: Tensor, found: Threshold) -> Tensor:
    """Which labels may be there, bool [...,K]: all that a record bears, as often as promised."""
    return class_sets(probabilities, found)


def sure_labels(probabilities: Tensor, found: Threshold) -> Tensor:
    """Which labels are surely there, bool [...,K]: a record bears all of them, as often as promised."""
    if not math.isfinite(found.value):
        return torch.zeros_like(probabilities, dtype=torch.bool)
    return probabilities.double() > found.value + 1e-9


def value_scores(said: Tensor, target: Tensor) -> Tensor:
    """How far off an answer is."""
    return (said.double() - target.double()).abs()


class Coverage:
    """How often sets or intervals held the truth, by block, and how large they were."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[float]] = {}

    def add(self, block: str, held: Tensor, size: Tensor) -> None:
        """More answers of a block: bool [m], whether the truth was in, and how large the sets were [m]."""
        row = self._blocks.setdefault(block, [0.0, 0.0, 0.0])
        row[0] += float(held.sum())
        row[1] += held.numel()
        row[2] += float(size.double().sum())

    def compute(self, draw: BootstrapOptions) -> dict[str, float | int | None]:
        """Mean over blocks of the share held, from where to where that may lie (by drawing blocks again; null for one
        block), the share of all pixels, and the mean size (null: without end).

        Raises:
            InputError: nothing was added.
        """
        rows = torch.tensor([r for r in self._blocks.values() if r[1]], dtype=torch.float64)
        if not len(rows):
            raise InputError("nothing was scored", mend="check that there are labels")
        shares = rows[:, 0] / rows[:, 1]
        found, size = interval(shares, draw), float(rows[:, 2].sum() / rows[:, 1].sum())
        return {
            "coverage": float(shares.mean()),
            "low": None if math.isnan(found.low) else found.low,
            "high": None if math.isnan(found.high) else found.high,
            "coverage_of_pixels": float(rows[:, 0].sum() / rows[:, 1].sum()),
            "mean_size": size if math.isfinite(size) else None,
            "blocks": len(rows),
        }
