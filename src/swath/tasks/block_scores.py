"""Scores whose parts are kept per spatial block, so that blocks can be drawn again without the pixels.

Neighbouring pixels (records) are alike, so what a score would be elsewhere is learned from whole blocks. Each
collector keeps what its scores follow from, block by block: a confusion matrix, six sums, or the probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from swath.errors import InputError
from swath.tasks.base import Scorer, ScoreTable, class_axis
from swath.tasks.config import IGNORE
from swath.tasks.metrics import ClassScorer, rates, scores
from swath.tasks.metrics_multilabel import MultilabelScorer, multilabel_scores
from swath.tasks.metrics_regression import RegressionScorer, errors, moments, regression_scores
from swath.tasks.regression_shape import known_pairs
from swath.words import counted

# Numbers that are held at once while sets of drawn blocks are scored.
_AT_ONCE = 1 << 22


class BlockScores(Protocol):
    """Collects outputs over a set, block by block."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """Those that hold something to score, in the order they came."""
        ...

    def update(self, output: Tensor, target: Tensor, blocks: Sequence[str]) -> None:
        """Adds a batch: the network's output, its target, and the block of each of the B records."""
        ...

    def compute(self) -> ScoreTable:
        """The scores of everything so far, as the task's scorer gives them.

        Raises:
            InputError: nothing was scored.
        """
        ...

    def resampled(self, times: Tensor) -> dict[str, Tensor]:
        """The numbers of sets in which block number n stands `times` [R,n] times.

        Returns:
            The headline numbers by name, and those of each class or output as "iou.water"; each [R] float64, NaN
            where a set leaves a number without a meaning.
        """
        ...


def by_block(scorer: Scorer) -> BlockScores:
    """The collector that gives the numbers of a task's scorer, with its blocks kept."""
    if isinstance(scorer, ClassScorer):
        return ClassBlocks(scorer.classes)
    if isinstance(scorer, MultilabelScorer):
        return MultilabelBlocks(scorer.classes)
    if isinstance(scorer, RegressionScorer):
        return RegressionBlocks(scorer.names)
    raise InputError(f"{type(scorer).__name__} keeps no blocks", mend="add its form to tasks/block_scores.py")


class _Sums:
    """Something to add per block, by name."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def _add(self, block: str, part: Tensor) -> None:
        before = self._sums.get(block)
        self._sums[block] = part if before is None else before + part

    def _held(self) -> dict[str, Tensor]:
        # A block without a label says nothing, and drawing it would only make sets smaller.
        return {name: s for name, s in self._sums.items() if float(s.abs().sum()) > 0}

    @property
    def blocks(self) -> tuple[str, ...]:
        return tuple(self._held())

    def _drawn(self, times: Tensor) -> Tensor:
        parts = torch.stack(list(self._held().values())).double()
        return torch.einsum("rn,n...->r...", times.double(), parts)

    def _total(self) -> Tensor:
        if not self._sums:
            raise InputError("nothing was scored", mend="check that there are labels")
        return torch.stack(list(self._sums.values())).sum(0)


class ClassBlocks(_Sums):
    """A confusion matrix per block.

    Args:
        classes: names, in the order of the class numbers.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(classes)

    def update(self, output: Tensor, target: Tensor, blocks: Sequence[str]) -> None:
        """Logits [B,K], [B,K,H,W] or [B,T,K,H,W] and class numbers without that axis."""
        self.update_classes(output.argmax(class_axis(output)), target, blocks)

    def update_classes(self, predicted: Tensor, target: Tensor, blocks: Sequence[str]) -> None:
        """As `update`, with class numbers [B,…] for both."""
        if predicted.shape != target.shape or len(target) != len(blocks):
            raise InputError(
                f"predictions are {tuple(predicted.shape)}, labels {tuple(target.shape)}, "
                f"of {counted(len(blocks), 'block')}"
            )
        k = len(self.classes)
        for guess, truth, block in zip(predicted.cpu(), target.cpu(), blocks, strict=True):
            known = truth != IGNORE
            pairs = truth[known].flatten() * k + guess[known].flatten()
            self._add(block, torch.bincount(pairs, minlength=k * k).reshape(k, k))

    def compute(self) -> ScoreTable:
        return scores(self._total(), self.classes)

    def resampled(self, times: Tensor) -> dict[str, Tensor]:
        return _named(rates(self._drawn(times)), self.classes)


class RegressionBlocks(_Sums):
    """Sums of errors per block.

    Args:
        names: of the outputs.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)

    def update(self, output: Tensor, target: Tensor, blocks: Sequence[str]) -> None:
        """Outputs [B,K,H,W] or [B,K] and their targets; what is NaN does not count."""
        for b, block in enumerate(blocks):
            one, truth = output[b : b + 1].cpu(), target[b : b + 1].cpu()
            rows = [moments(*known_pairs(one, truth, k)) for k in range(len(self.names))]
            self._add(block, torch.stack(rows))

    def compute(self) -> ScoreTable:
        return regression_scores(self._total(), self.names)

    def resampled(self, times: Tensor) -> dict[str, Tensor]:
        return _named(errors(self._drawn(times)), self.names)


class MultilabelBlocks:
    """All probabilities and labels, with each record's block: average precision follows from no smaller sums.

    Args:
        classes: names, in the order of the labels.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []
        self._numbers: dict[str, int] = {}

    @property
    def blocks(self) -> tuple[str, ...]:
        return tuple(self._numbers)

    def update(self, output: Tensor, target: Tensor, blocks: Sequence[str]) -> None:
        """Logits [B,K] and zeros and ones [B,K]; records that are IGNORE do not count."""
        if output.shape != target.shape or len(target) != len(blocks):
            raise InputError(
                f"predictions are {tuple(output.shape)}, labels {tuple(target.shape)}, "
                f"of {counted(len(blocks), 'block')}"
            )
        known = (target != IGNORE).all(1).cpu()
        kept = [name for name, k in zip(blocks, known.tolist(), strict=True) if k]
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in kept]
        probabilities = output.detach().float().cpu().sigmoid()[known]
        self._rows.append(
            (probabilities, target.cpu()[known].bool(), torch.tensor(numbers, dtype=torch.long))
        )

    def _all(self) -> tuple[Tensor, Tensor, Tensor]:
        if not self._numbers:
            raise InputError("nothing was scored", mend="check that the records hold labels")
        first, second, third = zip(*self._rows, strict=True)
        return torch.cat(first), torch.cat(second), torch.cat(third)

    def compute(self) -> ScoreTable:
        probabilities, truth, _ = self._all()
        return multilabel_scores(probabilities, truth, self.classes)

    def resampled(self, times: Tensor) -> dict[str, Tensor]:
        probabilities, truth, number = self._all()
        k = len(self.classes)
        weights = times.double()[:, number]
        each = [_precision(probabilities[:, i], truth[:, i], weights) for i in range(k)]
        guess = probabilities > 0.5
        hit, wrong = weights @ (guess & truth).double(), weights @ (guess ^ truth).double()
        support = weights @ truth.double()
        f1 = torch.where(support > 0, 2 * hit / (2 * hit + wrong), torch.nan)
        pairs = number.repeat_interleave(k)
        return _named(
            {
                "map_macro": torch.stack(each, 1).nanmean(1),
                "map_micro": _precision(probabilities.flatten(), truth.flatten(), times.double(), pairs),
                "f1_macro": f1.nanmean(1),
                "f1_micro": 2 * hit.sum(1) / (2 * hit.sum(1) + wrong.sum(1)).clamp(min=1),
                "average_precision": torch.stack(each, 1),
                "f1": f1,
            },
            self.classes,
        )


def _precision(scores: Tensor, truth: Tensor, weights: Tensor, number: Tensor | None = None) -> Tensor:
    """Average precision [R] of entries [N] that stand `weights` times: [R,N], or [R,n] by their block number [N].

    As `average_precision` of that many copies: ties are one step.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked, right = scores[order], truth[order].double()
    last = torch.ones_like(ranked, dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]
    place = order if number is None else number[order]
    out = []
    at_once = max(1, _AT_ONCE // max(1, len(ranked)))
    for first in range(0, len(weights), at_once):
        times = weights[first : first + at_once, place]
        seen, found = times.cumsum(1)[:, last], (times * right).cumsum(1)[:, last]
        steps = torch.diff(found, prepend=found.new_zeros(len(found), 1), dim=1)
        # What was not drawn yet has neither steps nor a precision.
        out.append((steps * found / seen.clamp(min=1)).sum(1) / found[:, -1])
    return torch.cat(out)


def _named(found: dict[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """One entry per number [R]: those of classes [R,K] become "key.class"."""
    out: dict[str, Tensor] = {}
    for key, values in found.items():
        if values.ndim == 1:
            out[key] = values
        else:
            out.update({f"{key.removesuffix('_each')}.{name}": values[:, k] for k, name in enumerate(names)})
    return out
