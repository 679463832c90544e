"""Probes of a frozen encoder, for every task: which methods there are, how each is chosen, what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.errors import ConfigError, InputError
from swath.rng import numpy_generator
from swath.tasks.base import Scorer
from swath.tasks.block_scores import by_block
from swath.tasks.config import IGNORE
from swath.tasks.probe_cells import cells, class_counts, enlarged, value_means
from swath.tasks.probe_choice import Chosen, choose
from swath.tasks.probe_knn import Neighbours, neighbours
from swath.tasks.probe_linear import LinearProbe, class_probes, label_probes, value_probes
from swath.training.feature_set import FeatureBatch, FeatureSet
from swath.training.probe_config import Method, ProbeOptions
from swath.training.probe_head import train_head

ProbeTask = Literal["classification", "multilabel", "segmentation", "regression", "change"]
Answer = Callable[[FeatureBatch], Tensor]
MONITORS: dict[ProbeTask, str] = {
    "classification": "overall_accuracy",
    "multilabel": "map_macro",
    "segmentation": "miou",
    "change": "miou",
    "regression": "rmse",
}
"""By what the validation part chooses."""


def methods(task: ProbeTask, per_pixel: bool) -> tuple[Method, ...]:
    """The probes that a task has."""
    return ("linear", "conv") if per_pixel else ("knn", "linear")


def probe(
    method: Method,
    task: ProbeTask,
    train: FeatureSet,
    validation: FeatureSet,
    scorer: Callable[[], Scorer],
    outputs: int,
    options: ProbeOptions | None = None,
) -> tuple[Answer, Chosen]:
    """Learns from the train part and chooses on the validation part.

    Args:
        method: one of `methods`.
        task: what the targets are for.
        train: with maps, if targets are per pixel.
        validation: the same.
        scorer: a fresh collector of the task's scores.
        outputs: K, of classes or quantities.
        options: what is tried.

    Returns:
        What to answer for a batch, in the form that the scorer takes; and how it was chosen.

    Raises:
        ConfigError: the method is not for these targets.
    """
    options = ProbeOptions() if options is None else options
    per_pixel = train[0].target.ndim >= 3
    if method not in methods(task, per_pixel):
        known = ", ".join(methods(task, per_pixel))
        what = "targets per pixel" if per_pixel else "one target per record"
        raise ConfigError(f"{method} is not for {what}", where="methods", mend=f"use {known}")
    monitor = MONITORS[task]

    def score(answer: Answer) -> float:
        return dict(validation.score(answer, by_block(scorer())).compute().summary())[monitor]

    if method == "conv":
        chosen = train_head(
            train,
            outputs,
            score,
            monitor,
            classes=task != "regression",
            options=options.head,
            seed=options.seed,
        )
    elif per_pixel:
        tried = ((p.strength, _map_answer(p)) for p in _map_probes(task, train, outputs, options))
        chosen = choose(tried, score, monitor)
    elif method == "linear":
        tried = ((p.strength, _record_answer(p)) for p in _record_probes(task, train, outputs, options))
        chosen = choose(tried, score, monitor)
    else:
        near = neighbours(*_labelled(task, train, outputs), options.neighbours)
        chosen = choose(((float(p.count), _near_answer(p, task)) for p in near), score, monitor)
    return chosen.answer, chosen


def _labelled(task: ProbeTask, train: FeatureSet, outputs: int) -> tuple[Tensor, Tensor]:
    """Features [N,D] and answers [N,K] of the records that have a label."""
    target = train.targets
    if task == "regression":
        values = target.reshape(len(target), -1)
        known = torch.isfinite(values).any(1)
        answers = values.double()
    elif task == "multilabel":
        known = (target != IGNORE).all(1)
        answers = target.double()
    else:
        known = target != IGNORE
        answers = F.one_hot(target.clamp(min=0), outputs).double()
    if not bool(known.any()):
        raise InputError("no record has a label", mend="check the train part")
    return train.pooled[known], answers[known]


def _record_probes(
    task: ProbeTask, train: FeatureSet, outputs: int, options: ProbeOptions
) -> Iterator[LinearProbe]:
    features, answers = _labelled(task, train, outputs)
    if task == "regression":
        return value_probes(features, answers, options.strengths)
    if task == "multilabel":
        return label_probes(features, answers, options.strengths)
    return class_probes(features, answers, options.strengths)


def _record_answer(found: LinearProbe) -> Answer:
    return lambda batch: found(batch.features.pooled)


def _near_answer(found: Neighbours, task: ProbeTask) -> Answer:
    def answer(batch: FeatureBatch) -> Tensor:
        said = found(batch.features.pooled)
        # Scorers of labels take logits.
        return said.clamp(1e-6, 1 - 1e-6).logit() if task == "multilabel" else said

    return answer


def _map_probes(
    task: ProbeTask, train: FeatureSet, outputs: int, options: ProbeOptions
) -> Iterator[LinearProbe]:
    """From the labelled cells of the train part, or so many of them as are allowed."""
    stride = train[0].features.strides[0]
    regression = task == "regression"

    def rows(target: Tensor) -> tuple[Tensor, Tensor]:
        """What stands in each cell and how often [n,K]."""
        if regression:
            shaped = target if target.ndim == 4 else target[:, None]
            means, known = value_means(shaped, stride)
            return means.flatten(0, 2), known.flatten(0, 2)
        counts = class_counts(target, outputs, stride).flatten(0, 2)
        return counts, counts

    held = [rows(batch.target) for batch in train]
    labelled = [counts.sum(1) > 0 for _, counts in held]
    total = sum(int(mask.sum()) for mask in labelled)
    if not total:
        raise InputError("no pixel has a label", mend="check the train part")
    chosen = torch.ones(total, dtype=torch.bool)
    if total > options.max_cells:
        draw = numpy_generator(options.seed, "probe cells").permutation(total)
        chosen[torch.from_numpy(draw[options.max_cells :])] = False
    features, first = [], 0
    for i, (batch, mask) in enumerate(zip(train, labelled, strict=True)):
        count = int(mask.sum())
        mask[mask.clone()] = chosen[first : first + count]
        first += count
        grid = cells(batch.features.maps, batch.features.strides).flatten(0, 2)
        features.append(grid[mask])
        held[i] = held[i][0][mask], held[i][1][mask]
    x = torch.cat(features)
    answers, counts = torch.cat([h[0] for h in held]), torch.cat([h[1] for h in held])
    if regression:
        return value_probes(x, answers, options.strengths, counts)
    return class_probes(x, answers, options.strengths)


def _map_answer(found: LinearProbe) -> Answer:
    """Linear per cell, then enlarged: both are linear, so this is a linear layer on enlarged features."""

    def answer(batch: FeatureBatch) -> Tensor:
        maps, strides = batch.features.maps, batch.features.strides
        logits = found(cells(maps, strides)).movedim(-1, 1)
        return enlarged(logits, strides[0], (batch.target.shape[-2], batch.target.shape[-1]))

    return answer
