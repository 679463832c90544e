"""Scores of a task over a whole set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import torch

from swath.cube import CubeBatch
from swath.errors import InputError
from swath.feed.normalise import normalise
from swath.tasks.base import Task
from swath.tasks.metrics import Confusion, Scores
from swath.training.precision import Precision


def evaluate(task: Task, batches: Iterable[CubeBatch], precision: Precision | None = None) -> Scores:
    """Runs a task over batches with targets (such as a GridFeed) and scores them all together.

    Args:
        task: segmentation or classification; its mode is put back afterwards.
        batches: with targets.
        precision: None: as around the call (inside `fit`: the run's).
    """
    device = next(task.parameters()).device
    confusion = Confusion(task.config.classes)
    training = task.training
    task.eval()
    try:
        with torch.no_grad(), contextlib.nullcontext() if precision is None else precision.autocast():
            for batch in batches:
                if batch.target is None:
                    raise InputError("there are no labels to score against", mend="give the feed labels")
                on = batch.to(device)
                days = on.days if bool(torch.isfinite(batch.days).all()) else None
                logits = task.logits(normalise(on), on.valid, days, on.wavelengths)
                axis = 1 if logits.ndim in (2, 4) else 2
                confusion.update(logits.argmax(axis), batch.target)
    finally:
        task.train(training)
    return confusion.compute()
