"""`swath evaluate`: scores of trained weights on data, or of a map against labels."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swath.data.legend import LandClass
from swath.errors import ConfigError
from swath.verbs.labelled_options import OptionalData
from swath.verbs.options import AskOptions, check_columns
from swath.verbs.registry import RECIPE
from swath.verbs.score_units import IntervalOptions
from swath.words import counted

if TYPE_CHECKING:
    from swath.verbs.evaluate_weights import WeightsScores

POSITIONAL = ("weights", "data", RECIPE)


@dataclass(frozen=True)
class EvaluateConfig(AskOptions):
    """Score trained weights on the test part of a data set or scene, or a map against labels.

    Attributes:
        weights: that were trained for a task.
        data: as they were trained on: a layout, shards, or a scene with labels. Of a scene the part that training
            never saw is scored, from `data.east_start` on.
        part: of the data; nothing but this verb opens "test".
        map: in place of weights and data: as `swath predict` writes it.
        labels: of a map: a raster of class values on its grid, or "demo:landclass".
        classes: of a map: value, name and colour of each class of the labels; left out: the map's own.
        ignore: of a map: values of the label raster that mean "no label".
        columns: of a map: score these columns (start, stop) only; empty: all.
        min_coverage: of a map: percent of valid input that a scored pixel must have had; 100: all dates and bands.
        date: of a map for each of several dates: which, such as 2023-05-12.
        turns: of weights: average their answers over the eight ways to turn and flip a window, four where it is not
            square, as `swath predict` does with it; takes eight times as long.
        intervals: how confidence intervals are made; those of a map by squares.
        output: write the scores as JSON here; empty: do not.
        overwrite: replace an earlier file.
    """

    weights: str = ""
    data: OptionalData = field(default_factory=OptionalData)
    part: Literal["test", "validation"] = "test"
    map: str = ""
    labels: str = ""
    classes: tuple[LandClass, ...] = ()
    ignore: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    min_coverage: int = 100
    date: str = ""
    turns: bool = False
    intervals: IntervalOptions = field(default_factory=IntervalOptions)
    output: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns, "columns")
        if not 1 <= self.min_coverage <= 100:
            raise ConfigError(
                f"is {self.min_coverage}", where="min_coverage", mend="give a percentage of 1 to 100"
            )
        if bool(self.map) == bool(self.weights):
            raise ConfigError(
                "both weights and a map are given" if self.map else "there is nothing to score",
                where="evaluate",
                mend="give weights with data, or map with labels",
            )
        if self.weights and not self.data.given:
            raise ConfigError(
                "are to be scored on nothing",
                where="weights",
                mend="name a folder, or give data.layout, data.shards, or data.scene with data.labels, as in training",
            )
        if self.map and (not self.labels or self.data.given):
            raise ConfigError(
                "a map is scored against labels", where="labels", mend="name a raster of classes"
            )
        if self.map and self.intervals.unit not in ("auto", "square"):
            raise ConfigError("a map has squares alone", where="intervals.unit", mend="leave it out")
        if self.map and self.turns:
            raise ConfigError("is for weights", where="turns", mend="give it to `swath predict`")
        for name in ("labels", "classes", "ignore", "columns", "date"):
            if self.weights and getattr(self, name):
                raise ConfigError("is for maps", where=name, mend=f"use data.{name}, if it is there")


@dataclass(frozen=True)
class EvaluateResult:
    """Scores of a map over all scored pixels together; `scores` has them per class, and their intervals, too."""

    overall_accuracy: float
    macro_f1: float
    miou: float
    pixels: int
    scores: dict[str, Any]

    def summary(self) -> str:
        """A table for a terminal."""
        ends = self.scores["intervals"]["intervals"]
        level = self.scores["intervals"]["level"]
        names = {"overall_accuracy": "overall accuracy", "macro_f1": "macro F1", "miou": "mIoU"}
        said = []
        for key, name in names.items():
            between = "" if ends[key] is None else f" ({ends[key][0]:.4f} to {ends[key][1]:.4f})"
            said.append(f"{name} {getattr(self, key):.4f}{between}")
        lines = [
            f"{counted(self.pixels, 'pixel')}: {', '.join(said)}",
            f"in brackets {level:.0%} intervals by {counted(self.scores['intervals']['units'], 'block')}, each a "
            f"{self.scores['intervals']['unit']}",
            f"{'class':24}{'pixels':>9}{'mapped':>9}{'precision':>11}{'recall':>9}{'F1':>9}{'IoU':>9}",
        ]
        for row in self.scores["classes"]:
            shown = "".join(
                f"{'-' if row[name] is None else format(row[name], '.3f'):>{width}}"
                for name, width in (("precision", 11), ("recall", 9), ("f1", 9), ("iou", 9))
            )
            lines.append(f"{row['name']:24}{row['support']:>9}{row['predicted']:>9}{shown}")
        if self.scores["note"]:
            lines.append(self.scores["note"])
        return "\n".join(lines)


def run(config: EvaluateConfig) -> EvaluateResult | WeightsScores:
    """Scores weights or a map.

    Raises:
        SwathError: in one line, if what is scored and its labels do not fit each other.
    """
    from swath.errors import OutputError
    from swath.files import refuse_own_input

    if config.output and Path(config.output).exists() and not config.overwrite:
        raise OutputError("exists", where=config.output, mend="give another name, or --overwrite true")
    if config.output:
        refuse_own_input(config.output, [p for p in (config.map, config.labels, config.weights) if p])
    return _weights(config) if config.weights else _map(config)


def _weights(config: EvaluateConfig) -> WeightsScores:
    from dataclasses import asdict, replace

    import torch

    from swath.scenes.worker import torch_threads
    from swath.verbs.answerer import Answerer, per_pixel
    from swath.verbs.evaluate_weights import score_weights
    from swath.verbs.labelled_parts import open_labelled
    from swath.verbs.score_units import units_of
    from swath.weights.file import load

    data = config.data
    loaded = load(config.weights)
    answerer = Answerer(
        loaded,
        precision=config.precision,
        device=config.device,
        batch_size=config.batch_size,
        turns=config.turns,
    )
    part = open_labelled(data, config.part)
    units = units_of(part, config.intervals, per_pixel(part))
    with torch_threads(config.threads or torch.get_num_threads()):
        found = score_weights(answerer, part, data, units, config.intervals)
    seen = loaded.meta.provenance.get("east_start")
    if data.by_columns and config.part == "test" and isinstance(seen, int):
        first = int(part.ids[0].split()[1])
        if first < seen:
            note = f"includes pixels that training saw: it never saw columns from {seen} on"
            found = replace(found, notes=(*found.notes, note))
    if config.turns:
        found = replace(found, notes=(*found.notes, "answers are means over turned and flipped views"))
    _write(config.output, {"weights": loaded.sha256, **asdict(found)})
    return found


def _map(config: EvaluateConfig) -> EvaluateResult:
    from swath.data.labels import read_labels, to_indices
    from swath.verbs.map_scores import read_map, read_tags, score, score_intervals, scored_pixels
    from swath.verbs.scene_labels import legend

    values, known, coverage, grid = read_map(config.map, config.date)
    own, never_seen = read_tags(config.map)
    classes = legend(config.labels, config.classes or own, "classes")
    labels = read_labels(config.labels, grid, classes, ignore=config.ignore, scene=config.map)
    predicted = to_indices(values, known, classes, where=config.map)
    names = tuple(c.name for c in classes)
    where = coverage >= config.min_coverage
    scores = score(predicted, labels, where, config.columns, names)
    chosen = scored_pixels(predicted, labels, where, config.columns)
    intervals = score_intervals(predicted, labels, chosen, names, config.intervals)
    data = {**scores.to_dict(), "intervals": intervals.to_dict()}
    if never_seen is not None and (not config.columns or config.columns[0] < never_seen):
        # A score on what was learned from says little of the map elsewhere.
        seen = f"includes pixels that training saw: it never saw columns from {never_seen} on"
        data["note"] = "; ".join(filter(None, [data["note"], seen]))
    _write(config.output, data)
    return EvaluateResult(scores.overall_accuracy, scores.macro_f1, scores.miou, scores.count, data)


def _write(output: str, data: dict[str, Any]) -> None:
    from swath.files import atomic

    if output:
        with atomic(output) as temporary:
            temporary.write_text(json.dumps(data, indent=2) + "\n", "utf-8")
