"""Measures transfer on real data: pretrained against from scratch, frozen and fine-tuned, over shares of the labels.

    python -m swath.bench.transfer --data FOLDER [--only water,otbtf] [--seeds N] [--work FOLDER] [--results PATH]

`make bench-transfer DATA=FOLDER` runs it. FOLDER holds the data sets as they were published, each in the folder that
its experiment names. Every cell is a command of swath in a process of its own; the answers are kept in the work
folder, so that an interrupted comparison goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swath.bench.record import about
from swath.verbs.run_many import Answer, Run, run_all

log = logging.getLogger(__name__)
RESULTS = Path("bench/results/transfer.json")
WORK = Path("runs/bench-transfer")


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
    """

    measure: str
    unit: str
    runs: tuple[str, ...]
    score: Callable[[Mapping[str, Any]], float]
    note: str
    baseline: str = ""


@dataclass(frozen=True)
class Experiment:
    """Runs, and what is made of their answers."""

    runs: tuple[Run, ...]
    cells: tuple[Cell, ...]


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
        record["note"] = f"{cell.note}; {seeds}; {seconds:.0f} s a run"
        records.append(record)
    return records


def experiments() -> dict[str, Callable[[Path, Path, int], Experiment]]:
    """By name: from the folder of data, that of the work, and the number of seeds."""
    from swath.bench.transfer_water import water

    return {"water": water}


def main() -> None:
    """Runs the experiments and writes their records; those of others stay in the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = experiments()
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", default=",".join(known), help="experiments, with commas between")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each command")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def told(done: int, of: int, run: Run, answer: Answer) -> None:
        log.info("%d/%d %s: %.0f s", done, of, run.name, answer.seconds)

    for name in options.only.split(","):
        experiment = known[name](options.data, options.work / name, options.seeds)
        answers = run_all(
            experiment.runs,
            options.work / name / "answers",
            jobs=options.jobs,
            threads=options.threads,
            progress=told,
        )
        command = f"make bench-transfer DATA=FOLDER ARGS='--only {name} --seeds {options.seeds}'"
        write(options.results, records_of(experiment.cells, answers, command, options.threads))


def write(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """Replaces the records of these measures, and leaves the others."""
    old = json.loads(path.read_text("utf-8")) if path.exists() else []
    new = {r["measure"] for r in found}
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [r for r in old if r["measure"] not in new]
    path.write_text(json.dumps([*kept, *found], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
