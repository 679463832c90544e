"""`swath probe`: what a frozen encoder knows already, for any task, without training it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from swath.errors import ConfigError
from swath.training.probe_config import Method, ProbeOptions
from swath.verbs.labelled_options import LabelledData
from swath.verbs.options import AskOptions
from swath.verbs.registry import RECIPE
from swath.verbs.score_units import IntervalOptions

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
        worst: records of the test part that are answered worst, and how far off, as `swath evaluate` counts it.
    """

    method: Method
    setting: float
    monitor: str
    validation: dict[str, float]
    test: dict[str, Any]
    intervals: dict[str, Any]
    tried: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]
    worst: tuple[tuple[str, float], ...] = ()


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
    from swath.verbs.labelled_parts import open_labelled
    from swath.verbs.probe_work import Probing
    from swath.verbs.worst_records import Worst

    work = Probing(config)
    unit, probes = "", []
    if config.score_test:
        test = open_labelled(config.data, "test", crop=True)
        unit = work.units(test).words
        work.add(test)
    for method in work.methods:
        answer, chosen = work.learn(method)
        log.info("%s: %s %.4f at %g", method, chosen.monitor, chosen.score, chosen.setting)
        selected = work.sets["validation"].score(answer, by_block(work.scorer())).compute()
        notes, scored, intervals, worst = [chosen.note], {}, {}, Worst(work.task)
        if config.score_test:
            found = work.sets["test"].score(answer, by_block(work.scorer()))
            said = bootstrap(found, config.intervals.draw, unit)
            table = found.compute()
            scored = {"scores": dict(table.summary()), **table.to_dict()}
            intervals = said.to_dict()
            notes += [str(scored.get("note", "")), *said.notes]
            for one in work.answers(method, answer, work.sets["test"]):
                worst.add(one)
        probes.append(
            Probed(
                method, chosen.setting, chosen.monitor, dict(selected.summary()), scored, intervals,
                chosen.tried, tuple(filter(None, notes)), worst.compute(),
            )
        )  # fmt: skip
    first = work.sets["train"][0].features
    width = sum(m.shape[1] for m in first.maps) if work.maps else first.pooled.shape[1]
    computed, kept = (0, 0) if work.cache is None else (work.cache.computed, work.cache.kept)
    return ProbeResult(work.task, work.records, width, computed, kept, tuple(probes))
