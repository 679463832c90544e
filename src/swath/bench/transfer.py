"""Measures transfer on real data: pretrained against from scratch, frozen and fine-tuned, over shares of the labels.

    python -m swath.bench.transfer --data FOLDER [--only water-100,water-10] [--seeds N] [--work FOLDER] [--results PATH]
        [--rows '*.unet.*,*probe*'] [--kept]

`make bench-transfer DATA=FOLDER` runs it. FOLDER holds the data sets as they were published, each in the folder that
its experiment names. Every cell is a command of swath in a process of its own; the answers are kept in the work
folder, so that an interrupted comparison goes on.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from swath.bench import transfer_floods, transfer_scenes, transfer_series
from swath.bench.record import write
from swath.bench.transfer_otbtf import otbtf
from swath.bench.transfer_table import Cell, Experiment, records_of, rows_like, whole
from swath.bench.transfer_water import SHARES, water
from swath.bench.transfer_water_lines import water_lines
from swath.bench.transfer_water_tried import water_tried
from swath.errors import ConfigError
from swath.verbs.run_many import Answer, Run, kept_answers, run_all

log = logging.getLogger(__name__)
RESULTS = Path("bench/results/transfer.json")
WORK = Path("runs/bench-transfer")
EXPERIMENTS: dict[str, Callable[[Path, Path, int], Experiment]] = {
    **{f"water-{share}": partial(water, share=share) for share in SHARES},
    **{f"water-lines-{share}": partial(water_lines, share=share) for share in SHARES},
    "water-tried": water_tried,
    "otbtf": otbtf,
    "worldcereal-land-cover": transfer_series.land_cover,
    "worldcereal-crops": transfer_series.crops,
    "taizhou": transfer_scenes.taizhou,
    "landsat-clouds": transfer_scenes.clouds,
    "terramind": transfer_scenes.terramind,
    "sen1floods11-s1": transfer_floods.radar,
    "sen1floods11-s2": transfer_floods.optical,
}
"""By name: from the folder of data, that of the work, and the number of seeds."""


def main() -> None:
    """Runs the experiments and writes their records; those of others stay in the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", default=",".join(EXPERIMENTS), help="experiments, with commas between")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each command")
    parser.add_argument(
        "--kept",
        action="store_true",
        help="run nothing; record the rows whose answers are all in the work folder",
    )
    parser.add_argument(
        "--rows",
        default="",
        help="only rows whose measure is like one of these patterns, with commas between, and those that they are "
        "compared with; empty: all",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def told(done: int, of: int, run: Run, answer: Answer) -> None:
        log.info("%d/%d %s: %.0f s", done, of, run.name, answer.seconds)

    for name in options.only.split(","):
        work = options.work / name.partition("-")[0]
        experiment = EXPERIMENTS[name](options.data, work, options.seeds)
        if options.rows:
            try:
                experiment = rows_like(experiment, options.rows.split(","))
            except ConfigError as error:
                parser.error(str(error))
        cells: Sequence[Cell] = experiment.cells
        if options.kept:
            answers = kept_answers(experiment.runs, work / "answers")
            cells = whole(cells, answers)
            log.info("%s: %d of %d rows", name, len(cells), len(experiment.cells))
        else:
            answers = run_all(
                experiment.runs,
                work / "answers",
                jobs=options.jobs,
                threads=options.threads,
                progress=told,
            )
        command = f"make bench-transfer DATA=FOLDER ARGS='--only {name} --seeds {options.seeds}'"
        write(options.results, records_of(cells, answers, command, options.threads))


if __name__ == "__main__":
    main()
