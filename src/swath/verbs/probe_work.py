"""A frozen encoder and labelled data, brought together: features of parts, probes that learn from them, their maps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from swath.cube import Cube
from swath.errors import ConfigError
from swath.feed.base import Records
from swath.feed.dates import at_spread_dates
from swath.feed.grid import axis_windows
from swath.rng import derive
from swath.tasks.metrics import ClassScorer
from swath.tasks.metrics_multilabel import MultilabelScorer
from swath.tasks.metrics_regression import RegressionScorer
from swath.training.feature_set import FeatureBatch, FeatureSet
from swath.training.features import Frozen
from swath.training.features_cache import FeatureCache
from swath.training.precision import choose_device, choose_precision
from swath.training.probe_config import Method
from swath.training.probing import Answer, methods, probe
from swath.verbs.answerer import Answer as Said
from swath.verbs.answerer import per_pixel
from swath.verbs.each_date import check_alike
from swath.verbs.labelled_feeds import records_contract, score_feed
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_parts import open_labelled
from swath.verbs.labelled_records import Part
from swath.verbs.probe import ProbeConfig
from swath.verbs.score_units import Units, units_of
from swath.weights.build import build, build_loaded
from swath.weights.file import Loaded, load

if TYPE_CHECKING:
    from swath.contract import InputContract
    from swath.tasks.base import Scorer
    from swath.tasks.probe_choice import Chosen
    from swath.training.probing import ProbeTask


class Probing:
    """The encoder and what it sees of the train and the validation part.

    Args:
        config: of `swath probe`.

    Attributes:
        train: the part that teaches.
        methods: those that are asked for, or else all that the task has.
        cache: where features are kept, or None.
        sets: features of the parts that were opened, by name.
        records: how many of each.

    Raises:
        SwathError: weights, data and options do not fit each other.
    """

    def __init__(self, config: ProbeConfig) -> None:
        self.config = config
        loaded = load(config.weights)
        if config.untrained is not None:
            loaded = _untrained(loaded, config.untrained)
        self.train = open_labelled(config.data, "train", crop=True)
        self.dated = self.train.dated
        self.task: ProbeTask = self.train.task
        self.maps = per_pixel(self.train)
        self.methods = self._methods()
        self.contract = frozen_contract(config.data, self.train, loaded)
        alone = self.dated and loaded.meta.contract is not None and loaded.meta.contract.max_dates == 1
        device = choose_device(config.device)
        precision = choose_precision(config.precision, device)
        change = self.task == "change"
        network = build_loaded(loaded).to(device)
        self.frozen = Frozen(
            network, maps=self.maps, change=change, each_date=self.dated, alone=alone, precision=precision
        )
        self.cache = None
        if config.cache != "none":
            what: dict[str, object] = {"maps": self.maps, "change": change, "precision": precision.name}
            if self.dated:
                what |= {"each_date": True, "alone": alone}
            self.cache = FeatureCache(config.cache or default_cache(), loaded.sha256, self.contract, what)
        self.sets: dict[str, FeatureSet] = {}
        self.records: dict[str, int] = {}
        self.add(self.train)
        self.add(open_labelled(config.data, "validation", crop=True))

    def _methods(self) -> tuple[Method, ...]:
        known = methods(self.task, self.maps)
        for method in self.config.methods:
            if method not in known:
                raise ConfigError(
                    f"'{method}' is not for {self.task} of {'pixels' if self.maps else 'records'}",
                    where="methods",
                    mend=f"use {', '.join(known)}",
                )
        return self.config.methods or known

    def add(self, part: Part) -> FeatureSet:
        """Features of one more part."""
        check_alike(self.train, part)
        units = self.units(part)
        feed = score_feed(self.config.data, part, self.contract, batch_size=self.config.batch_size)
        # Windows of a record are the squares of a probe, whose features come window by window.
        found = FeatureSet(feed, self.frozen, self.cache, units.of, apart=units.kind == "square")
        self.sets[part.name], self.records[part.name] = found, len(part)
        return found

    def units(self, part: Part) -> Units:
        """The blocks of a part."""
        return units_of(part, self.config.intervals, self.maps)

    def scorer(self) -> Scorer:
        """A fresh collector of the task's scores."""
        return scorer_of(self.train)

    def learn(self, method: Method) -> tuple[Answer, Chosen]:
        """A probe that learned from the train part and was chosen by the validation part."""
        return probe(
            method, self.task, self.sets["train"], self.sets["validation"], self.scorer,
            self.train.meaning.outputs, self.config.probe,
        )  # fmt: skip

    def values(self, method: Method, said: Tensor) -> Tensor:
        """[B,K,…] as people read it: probabilities, which sum to one over classes, or quantities."""
        if self.task == "regression":
            return said
        if self.task == "multilabel":
            return said.sigmoid()
        # Neighbours give shares of their say already.
        return said if method == "knn" else said.softmax(1)

    def answers(self, method: Method, answer: Answer, found: FeatureSet) -> Iterator[Said]:
        """What is said of each labelled record, in pieces where windows answer for it; see `swath.verbs.answerer`."""
        for batch in found:
            values = self.values(method, answer(batch))
            for i, block, v, t in zip(batch.ids, batch.blocks, values, batch.target, strict=True):
                yield Said(i, block, v, t)  # dates of one record are pieces of it

    def map(self, method: Method, answer: Answer, cube: Cube) -> npt.NDArray[np.float32]:
        """[K,H,W] of a whole record, window by window as the part is scored; nothing is known where no pixel is valid.

        Where labels are of each date it is [T,K,H,W].

        Args:
            method: of the answer.
            answer: of `learn`.
            cube: as read, before any contract.
        """
        data, side = self.config.data, self.config.data.window
        cube = self.contract.convert(at_spread_dates(cube, data.dates, data.min_valid))
        height, width = cube.shape[2:]
        classes = self.task not in ("regression", "multilabel")
        outputs = self.train.meaning.outputs
        dates = cube.shape[0] if self.dated else 1
        drawn = np.full((dates, outputs, height, width), 1 / outputs if classes else 0, np.float32)
        stride = max(1, side // 2)
        places = [
            (rows, cols)
            for rows in axis_windows(height, side, stride)
            for cols in axis_windows(width, side, stride)
            if cube.valid[..., rows[0] : rows[0] + side, cols[0] : cols[0] + side].any()
        ]
        records = Records([cube], self.contract)
        for first in range(0, len(places), self.config.batch_size):
            some = places[first : first + self.config.batch_size]
            tops, lefts = [rows[0] for rows, _ in some], [cols[0] for _, cols in some]
            names = (cube.source,) * len(some)
            batch = records.batch([0] * len(some), tops, lefts, (side, side), names, None)
            target = torch.zeros(len(some) * dates, side, side, dtype=torch.long)
            said = self.values(method, answer(FeatureBatch(self.frozen(batch), target, names, names)))
            each = said.detach().float().numpy()
            each = each.reshape(len(some), dates, *each.shape[1:])
            for ((row, top, bottom), (col, left, right)), one in zip(some, each, strict=True):
                inside = (..., slice(top - row, bottom - row), slice(left - col, right - col))
                drawn[:, :, top:bottom, left:right] = one[inside]
        return drawn if self.dated else drawn[0]


def _untrained(loaded: Loaded, seed: int) -> Loaded:
    """The same network with fresh numbers."""
    torch.manual_seed(derive(seed, "initialise"))
    state = build(loaded.meta, loaded.path).state_dict()
    # The features that are kept are those of these numbers.
    return replace(loaded, state=state, sha256=f"{loaded.sha256}-untrained-{seed}")


def default_cache() -> Path:
    """Where features are kept unless told otherwise."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "swath" / "features"


def frozen_contract(data: LabelledData, train: Part, loaded: Loaded) -> InputContract:
    """What the frozen encoder eats: the bands that it was trained on.

    Raises:
        ConfigError, ContractError: the options or the data have others.
    """
    contract = records_contract(data, train, loaded)
    own = loaded.meta.contract
    assert own is not None  # records_contract has checked it
    if tuple(s.band for s in contract.bands) != tuple(s.band for s in own.bands):
        raise ConfigError(
            "a frozen encoder eats the bands it was trained on",
            where="data.bands",
            mend=f"leave them out, or name {', '.join(s.band.name for s in own.bands)}",
        )
    return contract


def scorer_of(part: Part) -> Scorer:
    """A fresh collector of the scores of a part's task."""
    if part.task == "regression":
        return RegressionScorer(tuple(part.meaning.quantities))
    names = tuple(c.name for c in part.classes)
    return MultilabelScorer(names) if part.task == "multilabel" else ClassScorer(names)
