"""Scores of a task, and losses of an objective, over a whole set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import torch
from torch import nn

from swath.cube import CubeBatch
from swath.errors import InputError
from swath.feed.normalise import normalise
from swath.tasks.base import ScoreTable, Task
from swath.training.module import run_objective
from swath.training.precision import Precision


def evaluate_objective(
    objective: nn.Module,
    batches: Iterable[CubeBatch],
    *,
    seed: int = 0,
    first: int = 0,
    precision: Precision | None = None,
) -> dict[str, float]:
    """The loss and its parts over batches (places held out of pretraining); a sample has a mask of its own,
    the same at every call.

    Args:
        objective: from `swath.pretraining`, or a task; its mode is put back afterwards.
        batches: such as a GridFeed.
        seed: of the masks.
        first: number of the first sample, which its mask is drawn by.
        precision: None: as around the call (inside `fit`: the run's).
    """
    device = next(objective.parameters()).device
    sums: dict[str, list[float]] = {}
    training = objective.training
    objective.eval()
    try:
        # The forward pass seeds the generator of its device: a caller's draws must not notice.
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            torch.no_grad(),
            contextlib.nullcontext() if precision is None else precision.autocast(),
        ):
            for batch in batches:
                out = run_objective(objective, batch.to(device), seed=seed, first=first)
                first += len(batch.ids)
                for name, part in out.parts.items():
                    row = sums.setdefault(name, [0.0, 0.0, part.weight])
                    row[0] += float(part.numerator)
                    row[1] += float(part.count)
    finally:
        objective.train(training)
    means = {name: n / c if c > 0 else 0.0 for name, (n, c, _) in sums.items()}
    return {"loss": sum(sums[name][2] * mean for name, mean in means.items()), **means}


def evaluate(task: Task, batches: Iterable[CubeBatch], precision: Precision | None = None) -> ScoreTable:
    """Runs a task over batches with targets (such as a GridFeed) and scores them all together.

    Under several processes each gives its own part of the set, and all get the scores of the whole: no record
    is padded or counted twice.

    Args:
        task: its mode is put back afterwards.
        batches: with targets.
        precision: None: as around the call (inside `fit`: the run's).
    """
    device = next(task.parameters()).device
    scorer = task.scorer()
    training = task.training
    task.eval()
    try:
        with torch.no_grad(), contextlib.nullcontext() if precision is None else precision.autocast():
            for batch in batches:
                if batch.target is None:
                    raise InputError("there are no labels to score against", mend="give the feed labels")
                on = batch.to(device)
                output = task.output(normalise(on), on.valid, on.days, on.wavelengths)
                scorer.update(output.cpu(), batch.target.cpu())
    finally:
        task.train(training)
    return scorer.compute()
