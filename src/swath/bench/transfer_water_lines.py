"""Lines under the water table: a threshold on a spectral index, and a random forest on single pixels.

The same chips teach and score as for the networks, and the same labels are there; neither selects anything, so that
the odd elevation bands are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swath.bench.transfer_table import Cell, Experiment
from swath.bench.transfer_water import FOLDER, SCORED, finetuned_iou, parts
from swath.verbs.run_many import Run

_POOLED = (
    "the 0.59 in the description of the data is another number: one threshold, chosen on all chips and scored on all of "
    "them together, of which the chips of band 0 are most"
)
METHODS: dict[str, str] = {
    "index": "NDWI, MNDWI or NDVI and its threshold, whichever have the best mean IoU on the labels that teach",
    "forest": "a random forest of 200 trees on the six bands of single pixels, grown on 20,000 of them",
}
"""Of `swath baseline`, and what each does."""


def water_lines(data: Path, work: Path, seeds: int, share: int = 100) -> Experiment:
    """What a network has to beat with `share` percent of the labels; nothing is left in `work`."""
    root = data / FOLDER
    runs: list[Run] = []
    cells: list[Cell] = []
    for method, what in METHODS.items():
        names = []
        for seed in range(seeds):
            names.append(f"line-{method}-{share}-{seed}")
            runs.append(Run(names[-1], (
                "baseline", method, "--data.layout.name", "hls-water", "--data.layout.root", str(root),
                "--data.parts", json.dumps(parts(root)), "--data.label_fraction", str(share / 100),
                "--data.label_seed", str(seed), "--seed", str(seed),
            )))  # fmt: skip
        cells.append(Cell(
            f"water.iou.line.{method}.{share}",
            "IoU of water",
            tuple(names),
            finetuned_iou,
            f"{share} % of the labels, {what}; {SCORED}; {_POOLED}",
            baseline=f"water.iou.line.index.{share}",
            found=chosen_index if method == "index" else None,
        ))  # fmt: skip
    return Experiment(tuple(runs), tuple(cells))


def chosen_index(results: Sequence[Mapping[str, Any]]) -> str:
    """Which index was best for how many seeds, from the first note of each answer ("MNDWI above -0.3 …")."""
    names = [str(result["notes"][0]).partition(" ")[0] for result in results]
    return "chosen: " + ", ".join(
        f"{name} {names.count(name)} of {len(names)}" for name in sorted(set(names))
    )
