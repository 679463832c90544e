"""What `swath pretrain` looks at now and then: pictures of reconstructions, and the health of the features."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from torch import nn

from swath.contract import InputContract
from swath.cube import CubeBatch
from swath.feed.base import Feed
from swath.training.health import health
from swath.training.keeper import Periodic
from swath.training.ranks import world
from swath.verbs.watch_options import WatchOptions
from swath.verbs.watch_probe import make_probe, pooled

log = logging.getLogger(__name__)

PICTURES = "pictures"
_BATCH = 32
# Samples far beyond those that any run draws: the same ones in every run and whenever they are looked at.
FAR = 1 << 40


def periodic(
    options: WatchOptions,
    folder: Path,
    feed: Feed,
    held: CubeBatch | None,
    contract: InputContract,
    seed: int,
    epoch: Fraction,
    gsd: float = 0.0,
) -> list[Periodic]:
    """What is looked at, and how often; `epoch`: optimiser steps of a pass over the data; `gsd`: `data.gsd`.

    Raises:
        SwathError: the probe's data do not fit.
    """
    looks = []
    unit = 1 if options.unit == "steps" else epoch
    if options.pictures_every and held is not None:
        looks.append(Periodic("pictures", options.pictures_every * unit, _pictures(folder, held, seed)))
    if options.health_every:
        looks.append(Periodic("health", options.health_every * unit, _health(options, feed, contract, gsd)))
    return looks


def _pictures(folder: Path, held: CubeBatch, seed: int) -> Callable[[nn.Module, int], None]:
    """Writes pictures/step-N-K.png for each place held out."""
    from swath.files import atomic
    from swath.verbs.run_report import PICTURED, examples

    def draw(objective: nn.Module, step: int) -> None:
        shown = examples(objective, held, seed)
        if shown is None or not world().leads:
            return
        for place in range(len(shown.places[:PICTURED])):
            path = folder / PICTURES / f"step-{step:08d}-{place}.png"
            with atomic(path) as temporary:
                temporary.write_bytes(shown.figure(place))

    return draw


def _health(
    options: WatchOptions, feed: Feed, contract: InputContract, gsd: float = 0.0
) -> Callable[[nn.Module, int], dict[str, float]]:
    batches = [
        feed.take(FAR + i, min(_BATCH, options.samples - i)) for i in range(0, options.samples, _BATCH)
    ]
    probe = None if options.probe is None else make_probe(options.probe, contract, options.neighbours, gsd)

    def look(objective: nn.Module, step: int) -> dict[str, float]:
        found = health(pooled(objective, batches))
        numbers = {
            "feature_rank": found.rank,
            "feature_variation": found.variation,
            "collapsed": float(found.collapsed),
        }
        if found.collapsed:
            log.warning(
                "step %d: the features collapse (effective rank %.1f; they vary by %.2g of their length): different "
                "places look alike to them; lower the learning rate, warm up longer, or hide less",
                step,
                found.rank,
                found.variation,
            )
        return numbers if probe is None else {**numbers, **probe.scores(objective)}

    return look
