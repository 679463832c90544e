"""`swath probe`: what a frozen encoder knows already, for any task, without training it."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError
from swath.training.probe_config import Method, ProbeOptions
from swath.verbs.labelled_options import LabelledData
from swath.verbs.options import AskOptions
from swath.verbs.registry import RECIPE
from swath.verbs.score_units import IntervalOptions

if TYPE_CHECKING:
    from swath.contract import InputContract
    from swath.tasks.base import Scorer
    from swath.training.feature_set import FeatureSet
    from swath.training.features import Frozen
    from swath.training.features_cache import FeatureCache
    from swath.training.probing import ProbeTask
    from swath.verbs.labelled_records import Part
    from swath.weights.file import Loaded

POSITIONAL = (RECIPE,)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeConfig(AskOptions):
    """Probe the features of a frozen encoder on labelled data.

    Attributes:
        weights: of a network with an encoder: pretrained, or fine-tuned.
        data: a layout, shards, or a scene with labels. The train part teaches and the validation part chooses.
        methods: "knn" and "linear" for one label per record; "linear" and "conv", a small convolutional head, for
            labels per pixel; empty: all that the task has.
        probe: what is tried.
        score_test: also score what was chosen on the test part; without it, that part is not opened.
        untrained: seed; the encoder's numbers are drawn anew from it, so that what is probed is its form alone.
        cache: folder in which features are kept, to be computed once; empty: swath's folder in the user's cache;
            "none": they are kept in memory.
        intervals: how confidence intervals of the test part are made; "square" takes each window as a block.
        output: write the scores as JSON here; empty: do not.
        overwrite: replace an earlier file.
    """

    weights: str
    data: LabelledData
    methods: tuple[Method, ...] = ()
    probe: ProbeOptions = field(default_factory=ProbeOptions)
    score_test: bool = False
    untrained: int | None = None
    cache: str = ""
    intervals: IntervalOptions = field(default_factory=IntervalOptions)
    output: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError("a method is named twice", where="methods")


@dataclass(frozen=True)
class Probed:
    """What one method came to.

    Attributes:
        method: "knn", "linear" or "conv".
        setting: that was chosen: neighbours, strength of the regularisation, or epoch.
        monitor: the score that chose.
        validation: scores of the validation part.
        test: scores of the test part; empty if it was not opened.
        intervals: of the test part's scores, by block.
        tried: (setting, monitor) of all.
        notes: what must be said with them.
    """

    method: Method
    setting: float
    monitor: str
    validation: dict[str, float]
    test: dict[str, Any]
    intervals: dict[str, Any]
    tried: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ProbeResult:
    """What all methods came to.

    Attributes:
        task: of the data.
        records: of each part that was opened.
        features: D, numbers that a vector, or a cell of maps, has.
        computed, kept: batches whose features were computed, and that were on the disk.
        probes: one per method.
    """

    task: str
    records: dict[str, int]
    features: int
    computed: int
    kept: int
    probes: tuple[Probed, ...]

    def summary(self) -> str:
        """A table for a terminal."""
        parts = ", ".join(f"{n} {name}" for name, n in self.records.items())
        lines = [f"{self.task} on {self.features} frozen features; records: {parts}"]
        for probe in self.probes:
            name = {"knn": "neighbours", "linear": "strength", "conv": "epoch"}[probe.method]
            lines.append(f"{probe.method} ({name} {probe.setting:g}, chosen by {probe.monitor})")
            lines.append("  validation  " + _scores(probe.validation))
            if probe.test:
                lines.append("  test        " + _scores(probe.test["scores"], probe.intervals["intervals"]))
            lines += [f"  note: {note}" for note in probe.notes]
        return "\n".join(lines)


def _scores(values: dict[str, float], ends: dict[str, Any] | None = None) -> str:
    said = []
    for name, value in values.items():
        between = (ends or {}).get(name)
        said.append(
            f"{name.replace('_', ' ')} {value:.4f}"
            + ("" if between is None else f" ({between[0]:.4f} to {between[1]:.4f})")
        )
    return ", ".join(said)


def run(config: ProbeConfig) -> ProbeResult:
    """Probes an encoder.

    Raises:
        SwathError: in one line, if weights, data and options do not fit each other.
    """
    import torch

    from swath.errors import OutputError
    from swath.files import atomic, refuse_own_input
    from swath.scenes.worker import torch_threads

    if config.output:
        if Path(config.output).exists() and not config.overwrite:
            raise OutputError("exists", where=config.output, mend="give another name, or --overwrite true")
        refuse_own_input(config.output, [config.weights])
    with torch_threads(config.threads or torch.get_num_threads()):
        result = _probe(config)
    if config.output:
        with atomic(config.output) as temporary:
            temporary.write_text(json.dumps(asdict(result), indent=2) + "\n", "utf-8")
    return result


def _probe(config: ProbeConfig) -> ProbeResult:
    from swath.tasks.block_scores import by_block
    from swath.tasks.bootstrap import bootstrap
    from swath.training.features import Frozen
    from swath.training.features_cache import FeatureCache
    from swath.training.precision import choose_device, choose_precision
    from swath.training.probing import methods, probe
    from swath.verbs.answerer import per_pixel
    from swath.verbs.labelled_parts import open_labelled
    from swath.weights.build import build_loaded
    from swath.weights.file import load

    loaded = load(config.weights)
    if config.untrained is not None:
        loaded = _untrained(loaded, config.untrained)
    train = open_labelled(config.data, "train", crop=True)
    task: ProbeTask = train.task
    maps = per_pixel(train)
    known = methods(task, maps)
    for method in config.methods:
        if method not in known:
            raise ConfigError(
                f"'{method}' is not for {task} of {'pixels' if maps else 'records'}",
                where="methods",
                mend=f"use {', '.join(known)}",
            )
    contract = frozen_contract(config.data, train, loaded)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    frozen = Frozen(build_loaded(loaded).to(device), maps=maps, change=task == "change", precision=precision)
    what = {"maps": maps, "change": task == "change", "precision": precision.name}
    cache = None
    if config.cache != "none":
        cache = FeatureCache(config.cache or default_cache(), loaded.sha256, contract, what)
    sets = {"train": _features(config, train, contract, frozen, cache)}
    validation = open_labelled(config.data, "validation", crop=True)
    sets["validation"] = _features(config, validation, contract, frozen, cache)
    records = {"train": len(train), "validation": len(validation)}
    unit = ""
    if config.score_test:
        test = open_labelled(config.data, "test", crop=True)
        records["test"] = len(test)
        unit = _units(config, test).words
        sets["test"] = _features(config, test, contract, frozen, cache)
    outputs, probes = train.meaning.outputs, []

    def scorer() -> Scorer:
        return scorer_of(train)

    for method in config.methods or known:
        answer, chosen = probe(method, task, sets["train"], sets["validation"], scorer, outputs, config.probe)
        log.info("%s: %s %.4f at %g", method, chosen.monitor, chosen.score, chosen.setting)
        selected = sets["validation"].score(answer, by_block(scorer())).compute()
        notes, scored, intervals = [chosen.note], {}, {}
        if "test" in sets:
            found = sets["test"].score(answer, by_block(scorer()))
            said = bootstrap(found, config.intervals.draw, unit)
            table = found.compute()
            scored = {"scores": dict(table.summary()), **table.to_dict()}
            intervals = said.to_dict()
            notes += [str(scored.get("note", "")), *said.notes]
        probes.append(
            Probed(
                method, chosen.setting, chosen.monitor, dict(selected.summary()), scored, intervals,
                chosen.tried, tuple(filter(None, notes)),
            )
        )  # fmt: skip
    first = sets["train"][0].features
    width = sum(m.shape[1] for m in first.maps) if maps else first.pooled.shape[1]
    computed, kept = (0, 0) if cache is None else (cache.computed, cache.kept)
    return ProbeResult(task, records, width, computed, kept, tuple(probes))


def _untrained(loaded: Loaded, seed: int) -> Loaded:
    """The same network with fresh numbers."""
    from dataclasses import replace

    import torch

    from swath.rng import derive
    from swath.weights.build import build

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
    from swath.verbs.labelled_feeds import records_contract

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


def _units(config: ProbeConfig, part: Part) -> Any:
    from swath.verbs.answerer import per_pixel
    from swath.verbs.score_units import units_of

    return units_of(part, config.intervals, per_pixel(part))


def _features(
    config: ProbeConfig, part: Part, contract: InputContract, frozen: Frozen, cache: FeatureCache | None
) -> FeatureSet:
    from swath.training.feature_set import FeatureSet
    from swath.verbs.labelled_feeds import score_feed

    units = _units(config, part)
    feed = score_feed(config.data, part, contract, batch_size=config.batch_size)
    # Windows of a record are the squares of a probe, whose features come window by window.
    return FeatureSet(feed, frozen, cache, units.of, apart=units.kind == "square")


def scorer_of(part: Part) -> Scorer:
    """A fresh collector of the scores of a part's task."""
    from swath.tasks.metrics import ClassScorer
    from swath.tasks.metrics_multilabel import MultilabelScorer
    from swath.tasks.metrics_regression import RegressionScorer

    if part.task == "regression":
        return RegressionScorer(tuple(part.meaning.quantities))
    names = tuple(c.name for c in part.classes)
    return MultilabelScorer(names) if part.task == "multilabel" else ClassScorer(names)
