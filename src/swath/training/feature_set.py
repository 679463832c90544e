"""Features of a whole part, with its targets and blocks: what probes learn from and are scored on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from swath.cube import CubeBatch
from swath.errors import InputError
from swath.tasks.block_scores import BlockScores
from swath.training.features import Frozen, FrozenFeatures
from swath.training.features_cache import FeatureCache, read


@dataclass(frozen=True, eq=False)
class FeatureBatch:
    """Some records, or windows or dates of them: their features, targets [B,…], blocks, and ids of the records."""

    features: FrozenFeatures
    target: Tensor
    blocks: tuple[str, ...]
    ids: tuple[str, ...]


class FeatureSet:
    """Computes (or finds) the features of all batches once; maps are then read as they are needed.

    Args:
        batches: with targets, such as a ScoreFeed.
        frozen: the encoder.
        cache: where features are kept; None: in memory.
        blocks: id of a record -> its block; ids that are not there are blocks of their own.
        apart: take each row of a batch (a window of a record) as a block of its own.

    Raises:
        InputError: there are no targets.
    """

    def __init__(
        self,
        batches: Iterable[CubeBatch],
        frozen: Frozen,
        cache: FeatureCache | None = None,
        blocks: Mapping[str, str] | None = None,
        *,
        apart: bool = False,
    ) -> None:
        self._get: list[Callable[[], FrozenFeatures]] = []
        self._targets: list[Tensor] = []
        self._blocks: list[tuple[str, ...]] = []
        self._ids: list[tuple[str, ...]] = []
        pooled = []
        for batch in batches:
            if batch.target is None:
                raise InputError("there are no labels to learn from", mend="give the feed labels")
            dates = batch.pixels.shape[1] if frozen.each_date else 1
            if cache is None:
                made = frozen(batch)
                self._get.append(partial(_same, made))
            else:
                made, file = cache.get(batch, frozen, dates)
                self._get.append(partial(read, file))
            pooled.append(made.pooled)
            self._targets.append(batch.target.cpu().flatten(0, 1) if frozen.each_date else batch.target.cpu())
            names = tuple((blocks or {}).get(i, i) for i in batch.ids)
            if apart:
                names = tuple(f"{name} #{len(pooled)}.{n}" for n, name in enumerate(names))
            self._blocks.append(_each(names, dates))
            self._ids.append(_each(batch.ids, dates))
        if not pooled:
            raise InputError("no record is left", mend="check the part")
        self.pooled = torch.cat(pooled)

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self._get)

    def __getitem__(self, index: int) -> FeatureBatch:
        return FeatureBatch(self._get[index](), self._targets[index], self._blocks[index], self._ids[index])

    def __iter__(self) -> Iterator[FeatureBatch]:
        return (self[i] for i in range(len(self)))

    @property
    def targets(self) -> Tensor:
        """All targets [N,…], of records that have one each."""
        return torch.cat(self._targets)

    def score(self, answer: Callable[[FeatureBatch], Tensor], scored: BlockScores) -> BlockScores:
        """Collects what `answer` says of all batches."""
        for batch in self:
            scored.update(answer(batch), batch.target, batch.blocks)
        return scored


def _each(names: Sequence[str], times: int) -> tuple[str, ...]:
    """a, b -> a, a, b, b."""
    return tuple(name for name in names for _ in range(times))


def _same(features: FrozenFeatures) -> FrozenFeatures:
    return features
