"""What `swath pretrain` looks at now and then: pictures of reconstructions, and the health of the features."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from swath.contract import InputContract
from swath.cube import CubeBatch
from swath.errors import ConfigError
from swath.feed.base import IGNORE, Feed
from swath.feed.normalise import normalise
from swath.training.health import health
from swath.training.keeper import Periodic
from swath.training.ranks import world
from swath.verbs.watch_options import WatchOptions

if TYPE_CHECKING:
    from swath.verbs.labelled_options import LabelledData

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
) -> list[Periodic]:
    """What is looked at, and how often.

    Raises:
        SwathError: the probe's scene does not fit.
    """
    looks = []
    if options.pictures_every and held is not None:
        looks.append(Periodic("pictures", options.pictures_every, _pictures(folder, held, seed)))
    if options.health_every:
        looks.append(Periodic("health", options.health_every, _health(options, feed, contract)))
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
    options: WatchOptions, feed: Feed, contract: InputContract
) -> Callable[[nn.Module, int], dict[str, float]]:
    batches = [
        feed.take(FAR + i, min(_BATCH, options.samples - i)) for i in range(0, options.samples, _BATCH)
    ]
    probe = None if options.probe is None else Probe(options.probe.data(), contract, options.neighbours)

    def look(objective: nn.Module, step: int) -> dict[str, float]:
        found = health(pooled(objective, batches))
        numbers = {
            "feature_rank": found.rank,
            "feature_spread": found.spread,
            "collapsed": float(found.collapsed),
        }
        if found.collapsed:
            log.warning(
                "step %d: the features collapse (effective rank %.1f, spread %.2f): different places look alike to "
                "them; lower the learning rate, warm up longer, or hide less",
                step,
                found.rank,
                found.spread,
            )
        return numbers if probe is None else {**numbers, **probe.scores(objective)}

    return look


def pooled(objective: nn.Module, batches: list[CubeBatch]) -> Tensor:
    """Features [N,D] of the objective's network on the CPU, without a mask.

    Raises:
        ConfigError: the network has no features.
    """
    network: Any = getattr(objective, "network", None)
    if not hasattr(network, "features"):
        raise ConfigError(
            f"{type(objective).__name__} has no features to look at",
            where="watch.health_every",
            mend="set it to 0",
        )
    device = next(objective.parameters()).device
    rows = []
    with torch.no_grad():
        for batch in batches:
            on = batch.to(device)
            days = on.days if bool(torch.isfinite(on.days).all()) else None
            rows.append(network.features(normalise(on), on.valid, days, on.wavelengths).pooled.float().cpu())
    return torch.cat(rows)


class Probe:
    """Nearest neighbours and a linear classifier on frozen features of a labelled scene's windows.

    A window's class is that of most of its labelled pixels; windows without labels are left out.

    Args:
        data: the scene; its western part teaches, its validation block is asked.
        contract: of the pretraining, which converts the scene.
        neighbours: of the nearest-neighbour classifier.

    Raises:
        SwathError: the scene does not fit, or fewer than two classes are there.
    """

    def __init__(self, data: LabelledData, contract: InputContract, neighbours: int) -> None:
        from swath.verbs.scene_labels import read_labelled

        labelled = read_labelled(data)
        cube = replace(contract, exact_size=False).convert(labelled.cube)
        self.neighbours = neighbours
        self.parts: dict[str, tuple[list[CubeBatch], np.ndarray[Any, Any]]] = {}
        for name in ("west", "validation"):
            start, stop = labelled.split.columns[name]
            part = cube.window(0, start, cube.shape[2], stop - start)
            labels = labelled.labels[:, start:stop]
            batches, classes = _windows(part, labels, contract, data.window)
            self.parts[name] = batches, classes
        for name, (_, classes) in self.parts.items():
            if len(np.unique(classes)) < (2 if name == "west" else 1):
                raise ConfigError(
                    f"has too few labelled windows in its {name} part to probe with",
                    where="watch.probe",
                    mend="take smaller windows, or another scene",
                )

    def scores(self, objective: nn.Module) -> dict[str, float]:
        """Share of the validation block's windows that are told right, by each classifier."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        (train, y), (test, z) = self.parts["west"], self.parts["validation"]
        a, b = pooled(objective, train).numpy(), pooled(objective, test).numpy()
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return {"knn": 0.0, "linear": 0.0}
        near = KNeighborsClassifier(min(self.neighbours, len(y)), metric="cosine")
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        return {"knn": float(near.fit(a, y).score(b, z)), "linear": float(linear.fit(a, y).score(b, z))}


def _windows(
    cube: Any, labels: np.ndarray[Any, Any], contract: InputContract, size: int
) -> tuple[list[CubeBatch], np.ndarray[Any, Any]]:
    """Windows side by side with a label, and their classes."""
    from swath.feed.grid import GridFeed

    feed = GridFeed([cube], contract, size, labels=[labels])
    batches, classes = [], []
    for batch in feed:
        assert batch.target is not None
        most = [_most(target) for target in batch.target.numpy()]
        keep = [i for i, m in enumerate(most) if m != IGNORE]
        if keep:
            batches.append(replace(batch.some(keep), target=None))
            classes += [most[i] for i in keep]
    return batches, np.array(classes)


def _most(target: np.ndarray[Any, Any]) -> int:
    known = target[target != IGNORE]
    return int(np.bincount(known).argmax()) if known.size else IGNORE
