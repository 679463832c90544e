"""`swath baseline`: what a plain method scores, on the same parts and by the same scores as trained weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swath.errors import ConfigError
from swath.verbs.labelled_options import LabelledData
from swath.verbs.registry import RECIPE
from swath.verbs.score_units import IntervalOptions

if TYPE_CHECKING:
    from swath.baselines.goal import Goal, Learned, Values
    from swath.cube import Cube
    from swath.verbs.answerer import Answer
    from swath.verbs.evaluate_weights import WeightsScores
    from swath.verbs.labelled_records import Part
    from swath.verbs.score_units import Units

POSITIONAL = ("method", RECIPE)
METHODS = ("majority", "index", "forest")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaselineConfig:
    """Learn a plain method on the train part and score it on the test part.

    Attributes:
        method: "majority", the same answer everywhere: the commonest class, or the mean; "index", the spectral index
            (NDWI, MNDWI, NDVI) and threshold that tell two classes of pixels apart best; "forest", a random forest
            on the bands of each pixel, or on the statistics of each image where it has one label. Where labels are of
            each date, every date is learned from and answered by itself.
        data: a layout, shards, or a scene with labels, as for `swath finetune`; label_fraction and label_seed count
            here too.
        part: that is scored.
        samples: labelled pixels that a forest learns from; all of them, if there are fewer.
        trees: of a forest.
        seed: of the draws.
        intervals: how confidence intervals are made.
        output: write the scores as JSON here; empty: do not.
        overwrite: replace an earlier file.
        threads: of a forest.
    """

    method: Literal["majority", "index", "forest"]
    data: LabelledData
    part: Literal["test", "validation"] = "test"
    samples: int = 20_000
    trees: int = 200
    seed: int = 0
    intervals: IntervalOptions = field(default_factory=IntervalOptions)
    output: str = ""
    overwrite: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("samples", "trees", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"is {getattr(self, name)}", where=name, mend="give 1 or more")


def run(config: BaselineConfig) -> WeightsScores:
    """Learns and scores.

    Raises:
        SwathError: in one line, if the data and the method do not fit each other.
    """
    from swath.errors import OutputError
    from swath.files import atomic
    from swath.verbs.answerer import per_pixel
    from swath.verbs.each_date import check_alike
    from swath.verbs.evaluate_weights import score_answers
    from swath.verbs.labelled_parts import open_labelled
    from swath.verbs.score_units import units_of

    if config.output and Path(config.output).exists() and not config.overwrite:
        raise OutputError("exists", where=config.output, mend="give another name, or --overwrite true")
    train = open_labelled(config.data, "train")
    goal = goal_of(train)
    learned = learn(config, train, goal)
    for note in learned.notes:
        log.info("%s", note)
    part = open_labelled(config.data, config.part)
    check_alike(train, part)
    units = units_of(part, config.intervals, per_pixel(part))
    meaning = part.meaning
    names = tuple(c.name for c in meaning.classes) or tuple(meaning.quantities)
    found = score_answers(
        part.task, names, part, answers(learned, part, config.data, goal, units), units, config.intervals
    )
    found = replace(found, notes=(*learned.notes, *found.notes))
    if config.output:
        with atomic(config.output) as temporary:
            content = {"method": config.method, **asdict(found)}
            temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return found


def goal_of(part: Part) -> Goal:
    """What a part's targets ask for."""
    from swath.baselines.goal import Goal
    from swath.verbs.answerer import per_pixel

    kind: Literal["classes", "labels", "numbers"] = "classes"
    if part.task in ("multilabel", "regression"):
        kind = "labels" if part.task == "multilabel" else "numbers"
    return Goal(kind, part.meaning.outputs, per_pixel(part))


def learn(config: BaselineConfig, train: Part, goal: Goal) -> Learned:
    """The method, after it has learned.

    Raises:
        SwathError: it is not for such data.
    """
    from swath.baselines.forest import ForestOptions
    from swath.baselines.index import fit_index
    from swath.baselines.majority import fit_majority
    from swath.baselines.record_forest import fit_forest
    from swath.verbs.each_date import OfDates

    records = OfDates(train, config.data) if train.dated else train.records
    if config.method == "majority":
        return fit_majority(records, goal)
    if config.method == "index":
        return fit_index(records, goal, config.seed)
    options = ForestOptions((), config.samples, config.trees, config.seed, config.threads)
    return fit_forest(records, goal, options)


def answers(learned: Learned, part: Part, data: LabelledData, goal: Goal, units: Units) -> Iterator[Answer]:
    """Of all labelled records of a part, as `Answerer.answers` gives those of weights."""
    import numpy as np
    import torch

    from swath.feed.windows import known
    from swath.verbs.answerer import Answer, in_blocks
    from swath.verbs.each_date import dates_of

    for record in part.records:
        cube, target = dates_of(record, data) if part.dated else (record.cube, np.asarray(record.target))
        if not known(target).any():
            continue
        values = torch.from_numpy(drawn(learned, cube, each_date=part.dated))
        if goal.per_pixel:
            yield from in_blocks(record.id, values, target, units, each_date=part.dated)
        else:
            yield Answer(record.id, units.name(record.id), values, torch.from_numpy(np.array(target)))


def drawn(learned: Learned, cube: Cube, *, each_date: bool) -> Values:
    """What a method says of a cube: [K,…], or with `each_date` [T,K,H,W], of every date by itself."""
    import numpy as np

    if not each_date:
        return learned.answer(cube)
    return np.stack([learned.answer(cube.at_dates([t])) for t in range(cube.shape[0])])
