"""Frozen features asked about labels while a pretraining goes on: of a scene's windows, or of labelled records."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from swath.contract import InputContract
from swath.cube import Cube, CubeBatch
from swath.errors import ConfigError, SwathError
from swath.feed.base import IGNORE
from swath.feed.normalise import normalise
from swath.verbs.probe_pixels import check_part, check_reach

if TYPE_CHECKING:
    from swath.tasks.base import Scorer
    from swath.verbs.labelled_options import LabelledData

log = logging.getLogger(__name__)
# Few strengths of the linear probe's regularisation: it is solved anew at every look.
STRENGTHS = (1e-4, 1e-2, 1.0)


class Probe(Protocol):
    """Asks features about labels that nothing is learned from."""

    def scores(self, objective: nn.Module) -> Mapping[str, float]:
        """Scores of the validation part; NaN where features are not finite.

        Named "knn" and "linear" they are shares of windows told right; others bear their score's name behind, such as
        "linear_miou".
        """
        ...


def make_probe(data: LabelledData, contract: InputContract, neighbours: int, gsd: float = 0.0) -> Probe:
    """What asks.

    Args:
        data: a scene that is divided by columns, or records: their train part teaches, their validation part is asked.
        contract: of the pretraining, which converts them.
        neighbours: of the nearest-neighbour classifier.
        gsd: pixel size that the pretraining brings its images to, m; 0: their own.

    Raises:
        SwathError: the data do not fit, or tell nothing apart.
    """
    kind = WindowProbe if data.by_columns else RecordProbe
    return kind(data, contract, neighbours, gsd)


def pooled(objective: nn.Module, batches: list[CubeBatch]) -> Tensor:
    """Features [N,D] of the objective's network on the CPU, without a mask.

    Raises:
        ConfigError: the network has no features.
    """
    network: Any = featured(objective)
    device = next(objective.parameters()).device
    rows = []
    with torch.no_grad():
        for batch in batches:
            on = batch.to(device)
            rows.append(
                network.features(normalise(on), on.valid, on.days, on.wavelengths).pooled.float().cpu()
            )
    return torch.cat(rows)


def featured(objective: nn.Module) -> nn.Module:
    """The network of an objective, which has features. Raises ConfigError if it has none."""
    network = getattr(objective, "network", None)
    if not isinstance(network, nn.Module) or not hasattr(network, "features"):
        raise ConfigError(
            f"{type(objective).__name__} has no features to look at",
            where="watch.health_every",
            mend="set it to 0",
        )
    return network


class RecordProbe:
    """Nearest neighbours and a linear probe for one answer per record, a linear probe for maps: those of `swath probe`.

    Features of a part are found anew at every look; records of shards are read then, others are kept.

    Args:
        data: a layout, shards, or a scene divided by `parts`.
        contract: of the pretraining, which converts the records.
        neighbours: that have a say.
        gsd: pixel size that the pretraining brings its images to, m; 0: their own. Records with one answer are brought
            there too.

    Raises:
        SwathError: the records do not fit the contract, have no labels, or tell nothing apart.
    """

    def __init__(
        self, data: LabelledData, contract: InputContract, neighbours: int, gsd: float = 0.0
    ) -> None:
        from swath.training.probe_config import ProbeOptions
        from swath.training.probing import MONITORS, methods
        from swath.verbs.answerer import per_pixel
        from swath.verbs.each_date import check_alike
        from swath.verbs.labelled_feeds import score_feed
        from swath.verbs.labelled_parts import SINGLE, open_labelled
        from swath.verbs.probe_work import scorer_of
        from swath.verbs.seen_labels import check_classes, check_seen

        train = open_labelled(data, "train", crop=True)
        self.task, self.outputs = train.task, train.meaning.outputs
        self.maps = per_pixel(train)
        # The convolutional head trains a network of its own: too long, while another one waits.
        self.methods = tuple(m for m in methods(self.task, self.maps) if m != "conv")
        self.monitor = MONITORS[self.task]
        self.scorer: Callable[[], Scorer] = lambda: scorer_of(train)
        self.options = ProbeOptions(STRENGTHS, (neighbours,))
        self._warned = False
        self.dated = train.dated
        parts = (train, open_labelled(data, "validation", crop=True))
        for part in parts:
            check_alike(train, part)
            check_part(part, gsd, per_pixel=self.maps)
        self.feeds = [score_feed(data, part, contract, gsd=gsd) for part in parts]
        # What does not fit, or tells nothing apart, is said before the first step: a run must not end at a look.
        for part, feed in zip(parts, self.feeds, strict=True):
            next(iter(feed))
            if part.packed:
                check_seen(part.name, part.records, dated=part.dated)
        if train.packed and self.task in SINGLE:
            check_classes(train.name, train.records, [c.name for c in train.classes])

    def scores(self, objective: nn.Module) -> dict[str, float]:
        """As `Probe.scores` says, named by the score; NaN, and a warning once, where the labels give none."""
        from swath.training.feature_set import FeatureSet
        from swath.training.features import Frozen
        from swath.training.probing import probe

        change = self.task == "change"
        frozen = Frozen(featured(objective), maps=self.maps, change=change, each_date=self.dated)
        found = {f"{method}_{self.monitor}": float("nan") for method in self.methods}
        with self._passing():
            train, validation = (FeatureSet(feed, frozen) for feed in self.feeds)
            if not (torch.isfinite(train.pooled).all() and torch.isfinite(validation.pooled).all()):
                return found
            for method in self.methods:
                with self._passing():
                    _, chosen = probe(
                        method, self.task, train, validation, self.scorer, self.outputs, self.options
                    )
                    found[f"{method}_{self.monitor}"] = chosen.score
        return found

    @contextlib.contextmanager
    def _passing(self) -> Iterator[None]:
        """Goes on past what records or labels cannot give, with a warning the first time: no run ends at a look."""
        try:
            yield
        except SwathError as err:
            if not self._warned:
                log.warning("watch.probe has no score, and training goes on: %s", err)
            self._warned = True


class WindowProbe:
    """Nearest neighbours and a linear classifier on frozen features of a labelled scene's windows.

    A window's class is that of most of its labelled pixels; windows without labels are left out.

    Args:
        data: the scene; its western part teaches, its validation block is asked.
        contract: of the pretraining, which converts the scene.
        neighbours: of the nearest-neighbour classifier.
        gsd: pixel size that the pretraining brings its images to, m, which must be the scene's; 0: their own.

    Raises:
        SwathError: the scene does not fit, or fewer than two classes are there.
    """

    def __init__(
        self, data: LabelledData, contract: InputContract, neighbours: int, gsd: float = 0.0
    ) -> None:
        from swath.verbs.scene_labels import read_labelled

        labelled = read_labelled(data)
        check_reach(labelled.cube.gsd, gsd, labelled.cube.source, per_pixel=True)
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
            return {"knn": float("nan"), "linear": float("nan")}
        near = KNeighborsClassifier(min(self.neighbours, len(y)), metric="cosine")
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        return {"knn": float(near.fit(a, y).score(b, z)), "linear": float(linear.fit(a, y).score(b, z))}


def _windows(
    cube: Cube, labels: np.ndarray[Any, Any], contract: InputContract, size: int
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
