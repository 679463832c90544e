"""Cells of a table over seeds, and the records that are made of them."""

from __future__ import annotations

import fnmatch
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swath.bench.record import about
from swath.errors import ConfigError
from swath.verbs.run_many import Answer, Run


@dataclass(frozen=True)
class Cell:
    """One number of the table: over seeds.

    Attributes:
        measure: its name in the results.
        unit: of the number.
        runs: names of the runs that give it, one a seed.
        score: reads it from an answer.
        note: what must be known to read it.
        baseline: measure of the cell that it is compared with; empty: none.
        found: what the answers of all seeds say beside the score, in words; None: nothing.
    """

    measure: str
    unit: str
    runs: tuple[str, ...]
    score: Callable[[Mapping[str, Any]], float]
    note: str
    baseline: str = ""
    found: Callable[[Sequence[Mapping[str, Any]]], str] | None = None


@dataclass(frozen=True)
class Experiment:
    """Runs, and what is made of their answers."""

    runs: tuple[Run, ...]
    cells: tuple[Cell, ...]


def fit_and_score(
    names: tuple[str, str],
    folder: Path,
    words: Sequence[str],
    data: Sequence[str],
    after: tuple[str, ...] = (),
) -> tuple[Run, Run]:
    """A fine-tuning and its score.

    Args:
        names: of the two runs.
        folder: of the fine-tuning.
        words: its options.
        data: options of the scoring.
        after: names of runs that the fine-tuning waits for.
    """
    fit = ("finetune", "--run.folder", str(folder), "--run.overwrite", "true", *words)
    score = ("evaluate", "--weights", str(folder / "weights.safetensors"), *data)
    return Run(names[0], fit, after), Run(names[1], score, (names[0],))


def rows_like(experiment: Experiment, patterns: Sequence[str]) -> Experiment:
    """The cells whose measure matches one of the patterns, those that they are compared with, and the runs of both.

    Args:
        experiment: all of it.
        patterns: with `*` for anything.

    Raises:
        ConfigError: a pattern that no measure matches.
    """
    measures = [cell.measure for cell in experiment.cells]
    for pattern in patterns:
        if not fnmatch.filter(measures, pattern):
            raise ConfigError(f"no row is like {pattern!r}; there are {', '.join(measures)}")
    wanted = {name for pattern in patterns for name in fnmatch.filter(measures, pattern)}
    wanted |= {cell.baseline for cell in experiment.cells if cell.measure in wanted}
    cells = tuple(cell for cell in experiment.cells if cell.measure in wanted)
    after = {run.name: run.after for run in experiment.runs}
    needed: set[str] = set()
    left = [name for cell in cells for name in cell.runs]
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += after[name]
    return Experiment(tuple(run for run in experiment.runs if run.name in needed), cells)


def whole(cells: Sequence[Cell], answers: Mapping[str, Answer]) -> list[Cell]:
    """Cells of which every answer is there, and of those that they are compared with too."""
    there = {cell.measure: all(name in answers for name in cell.runs) for cell in cells}
    return [cell for cell in cells if there[cell.measure] and there.get(cell.baseline, True)]


def records_of(
    cells: Sequence[Cell], answers: Mapping[str, Answer], command: str, threads: int
) -> list[dict[str, Any]]:
    """Records of design §5: the mean over seeds, each seed's number, and the seeds' standard deviation in the note."""
    common = {**about(command), "threads": threads}
    found: dict[str, list[float]] = {
        cell.measure: [cell.score(answers[name].result) for name in cell.runs] for cell in cells
    }
    records = []
    for cell in cells:
        values = found[cell.measure]
        mean = statistics.fmean(values)
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        record = {"measure": cell.measure, "value": round(mean, 4), "unit": cell.unit, **common}
        if cell.baseline:
            base = statistics.fmean(found[cell.baseline])
            record |= {"baseline": round(base, 4), "ratio": round(mean / base, 4) if base else None}
        record["runs"] = [round(v, 4) for v in values]
        seeds = (
            f"mean of {len(values)} seeds, standard deviation {spread:.4f}" if len(values) > 1 else "one seed"
        )
        seconds = statistics.fmean(answers[name].seconds for name in cell.runs)
        notes = [cell.note, seeds, f"{seconds:.0f} s a run"]
        if cell.found is not None:
            notes.insert(1, cell.found([answers[name].result for name in cell.runs]))
        record["note"] = "; ".join(notes)
        records.append(record)
    return records
