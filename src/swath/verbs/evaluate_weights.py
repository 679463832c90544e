"""Scores of trained weights on a part of a data set: the table, its intervals by block, and how far to believe it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from swath.errors import InputError
from swath.feed.config import IGNORE
from swath.tasks.block_scores import BlockScores, ClassBlocks, MultilabelBlocks, RegressionBlocks
from swath.tasks.bootstrap import Intervals, bootstrap
from swath.tasks.calibration import Reliability
from swath.tasks.conformal import (
    Coverage,
    Threshold,
    class_sets,
    possible_labels,
    sure_labels,
    value_scores,
)
from swath.verbs.answerer import Answer, Answerer
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_records import Part
from swath.verbs.score_units import IntervalOptions, Units
from swath.verbs.worst_records import Worst
from swath.words import counted

POSSIBLE, SURE = "possible labels", "sure labels"
"""The two sets of several labels at once."""
_WIDE = 12
"""Confusion matrices of more classes are not shown on a terminal."""


@dataclass(frozen=True)
class WeightsScores:
    """What weights score on a part.

    Attributes:
        task: of the weights.
        part: that was scored.
        records: of it.
        scores: headline numbers by name.
        table: those of `swath.tasks`, as plain values: per class or output, confusion, what is absent.
        intervals: of all numbers, with the blocks they come from.
        reliability: surprise and calibration error, of tasks with one class each; coverage of conformal sets or
            intervals, if the weights hold any.
        notes: what must be said with them.
        worst: records that are answered worst, and how far off each is (see `Worst`).
        dates: of maps of each date, the headline numbers of the records' first dates, of their second, ….
    """

    task: str
    part: str
    records: int
    scores: dict[str, float]
    table: dict[str, Any]
    intervals: dict[str, Any]
    reliability: dict[str, Any]
    notes: tuple[str, ...] = ()
    worst: tuple[tuple[str, float], ...] = ()
    dates: tuple[dict[str, float | None], ...] = ()

    def summary(self) -> str:
        """A table for a terminal."""
        unit, units = self.intervals["unit"], self.intervals["units"]
        records, blocks = counted(self.records, "record"), counted(units, "block")
        lines = [f"{self.task}, {self.part}: {records}, {blocks} (each a {unit})"]
        for name, value in self.scores.items():
            lines.append(f"{name.replace('_', ' '):24}{value:>9.4f}{self._between(name)}")
        rows = self.table.get("classes") or self.table.get("outputs") or []
        if rows:
            names = [k for k, v in rows[0].items() if k != "name" and not isinstance(v, str)]
            lines.append(" " * 24 + "".join(f"{n.replace('_', ' '):>18}" for n in names))
        for row in rows:
            lines.append(f"{row['name'][:23]:24}" + "".join(f"{_shown(row[n]):>18}" for n in names))
        confusion = self.table.get("confusion")
        if confusion and len(confusion) <= _WIDE:
            lines.append("reference down, predicted across")
            width = max(8, *(len(str(n)) + 2 for row in confusion for n in row))
            for row, counts in zip(rows, confusion, strict=True):
                lines.append(f"{row['name'][:23]:24}" + "".join(f"{n:>{width}}" for n in counts))
        for place, row in enumerate(self.dates, 1):
            shown = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in row.items())
            lines.append(f"{f'date {place}':24}{shown}")
        for name, value in self.reliability.items():
            if isinstance(value, float):
                lines.append(f"{name.replace('_', ' '):24}{value:>9.4f}")
        for name, held in self.reliability.get("conformal", {}).items():
            size = "without end" if held["mean_size"] is None else format(held["mean_size"], ".3g")
            between = "" if held["low"] is None else f" ({held['low']:.3f} to {held['high']:.3f})"
            lines.append(
                f"sets of {name} promise {held['level']:.0%} and hold {held['coverage']:.3f}{between}, "
                f"mean size {size}"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _between(self, name: str) -> str:
        ends = self.intervals["intervals"].get(name)
        return "" if ends is None else f"   {ends[0]:.4f} to {ends[1]:.4f} ({self.intervals['level']:.0%})"


def score_weights(
    answerer: Answerer, part: Part, data: RecordData, units: Units, options: IntervalOptions
) -> WeightsScores:
    """Scores weights on a part.

    Raises:
        InputError: nothing in it is labelled.
        ConfigError, ContractError: the data do not fit the weights.
    """
    answerer.check(part.meaning)
    reliability = Reliability() if answerer.activation == "softmax" else None
    conformal = _Conformal(answerer)
    dates = ByDate(answerer.task, answerer.names)

    def look(answer: Answer) -> None:
        if reliability is not None:
            reliability.update(*labelled(answer))
        conformal.add(answer)
        if answerer.each_date:
            dates.add(answer)

    answers, before = answerer.answers(part, data, units), answerer.unseen
    found = score_answers(answerer.task, answerer.names, part, answers, units, options, look)
    said: dict[str, Any] = {} if reliability is None else dict(reliability.compute())
    if reliability is not None:
        said["temperature"] = answerer.temperature
    if conformal.thresholds:
        said["conformal"] = conformal.compute(options)
    unseen = answerer.unseen - before
    blind = f"{unseen} labelled values have no valid input; they are scored all the same, and the answers say nothing"
    notes = (*found.notes, blind) if unseen else found.notes
    return replace(found, reliability=said, notes=notes, dates=dates.compute())


def score_answers(
    task: str,
    names: Sequence[str],
    part: Part,
    answers: Iterable[Answer],
    units: Units,
    options: IntervalOptions,
    look: Callable[[Answer], None] | None = None,
) -> WeightsScores:
    """Scores what anything says of a part.

    Args:
        task: of the part.
        names: of its classes or quantities.
        part: that was asked about.
        answers: to all of it.
        units: the blocks that the answers name.
        options: of the intervals.
        look: is shown each answer.

    Raises:
        InputError: nothing in the part is labelled.
    """
    scored, worst = _collector(task, names), Worst(task)
    for answer in answers:
        _collect(scored, answer)
        worst.add(answer)
        if look is not None:
            look(answer)
    if not scored.blocks:
        raise InputError(f"nothing in part {part.name} is labelled", mend="check the labels")
    table = scored.compute()
    intervals: Intervals = bootstrap(scored, options.draw, units.words)
    plain = table.to_dict()
    note = str(plain.pop("note", ""))
    return WeightsScores(
        task=task,
        part=part.name,
        records=len(part),
        scores=dict(table.summary()),
        table=plain,
        intervals=intervals.to_dict(),
        reliability={},
        notes=tuple(filter(None, [note, *intervals.notes])),
        worst=worst.compute(),
    )


def labelled(answer: Answer) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities [N,K] and classes [N] of what is labelled in an answer."""
    known = answer.target != IGNORE
    return answer.values.movedim(0, -1)[known], answer.target[known]


def _collector(task: str, names: Sequence[str]) -> BlockScores:
    if task == "regression":
        return RegressionBlocks(names)
    return MultilabelBlocks(names) if task == "multilabel" else ClassBlocks(names)


def _collect(scored: BlockScores, answer: Answer) -> None:
    values, target, block = answer.values[None], answer.target[None], [answer.block]
    if isinstance(scored, ClassBlocks):
        scored.update_classes(values.argmax(1), target, block)
    elif isinstance(scored, MultilabelBlocks):
        # It takes logits, as networks give them.
        scored.update(values.double().clamp(1e-12, 1 - 1e-12).logit(), target, block)
    else:
        scored.update(values, target, block)


class ByDate:
    """Headline numbers of maps of each date, by the place of a date in its record."""

    def __init__(self, task: str, names: Sequence[str]) -> None:
        self.task, self.names = task, names
        self._scored: list[BlockScores] = []

    def add(self, answer: Answer) -> None:
        """One answer, whose dates are one below the other."""
        for place in range(answer.dates):
            if place == len(self._scored):
                self._scored.append(_collector(self.task, self.names))
            values, target = (x.chunk(answer.dates, -2)[place] for x in (answer.values, answer.target))
            _collect(self._scored[place], replace(answer, values=values, target=target, dates=1))

    def compute(self) -> tuple[dict[str, float | None], ...]:
        """A row for each place; null where nothing was labelled, or a number has no meaning."""
        rows: list[dict[str, float | None]] = []
        for scored in self._scored:
            found = dict(scored.compute().summary()) if scored.blocks else {}
            rows.append({name: None if math.isnan(v) else v for name, v in found.items()})
        return tuple(rows)


class _Conformal:
    """Coverage of what the weights promise, by name: "classes", the two sets of labels, or that of each quantity."""

    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer
        given = answerer.loaded.meta.calibration
        about = {} if given is None else dict(given.about.get("conformal") or {})
        self.thresholds = {
            str(name): Threshold(
                float(row["level"]),
                math.inf if row["threshold"] is None else float(row["threshold"]),
                int(row["blocks"]),
            )
            for name, row in about.items()
        }
        self.found = {name: Coverage() for name in self.thresholds}

    def add(self, answer: Answer) -> None:
        cover(answer, self.answerer.names, self.thresholds, self.found)

    def compute(self, options: IntervalOptions) -> dict[str, Any]:
        return {
            name: {"level": self.thresholds[name].level, **found.compute(options.draw)}
            for name, found in self.found.items()
        }


def cover(
    answer: Answer, names: Sequence[str], thresholds: Mapping[str, Threshold], found: Mapping[str, Coverage]
) -> None:
    """Adds to `found` whether the sets of an answer, or its intervals, hold the truth, and how large they are."""
    if "classes" in thresholds:
        probabilities, truth = labelled(answer)
        sets = class_sets(probabilities, thresholds["classes"])
        found["classes"].add(answer.block, sets.gather(1, truth[:, None])[:, 0], sets.sum(1))
        return
    if POSSIBLE in thresholds:
        _cover_labels(answer, thresholds, found)
        return
    for name, off in errors_of(answer, names):
        if name in thresholds:
            limit = thresholds[name].value
            found[name].add(answer.block, off <= limit, torch.full_like(off, 2 * limit))


def _cover_labels(answer: Answer, thresholds: Mapping[str, Threshold], found: Mapping[str, Coverage]) -> None:
    values, truth = answer.values[None], answer.target[None]
    possible = possible_labels(values, thresholds[POSSIBLE])
    sure = sure_labels(values, thresholds[SURE])
    found[POSSIBLE].add(answer.block, (possible | (truth != 1)).all(1), possible.sum(1))
    found[SURE].add(answer.block, (~sure | (truth != 0)).all(1), sure.sum(1))


def errors_of(answer: Answer, names: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """How far off each quantity is, where it is known."""
    several = answer.target.ndim == answer.values.ndim
    for k, name in enumerate(names):
        target = answer.target[k] if several else answer.target
        known = torch.isfinite(target)
        yield name, value_scores(answer.values[k][known], target[known])


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
