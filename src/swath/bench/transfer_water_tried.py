"""What was tried to find a gain from pretraining on the water chips, where there was none.

ST-SwinUNet alone, with a tenth of the labels: the chips, parts, labels, steps and scoring are those of the table of
water. Pretraining is longer, sees more images, or is forgotten less while fine-tuning. The lower rate is tried from
scratch too, so that it is not taken for a gain of pretraining. A rate that falls from layer to layer is for layers that
have learned something: it is compared with the usual rate from scratch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from swath.bench import transfer_scenes, transfer_series
from swath.bench.transfer_table import Cell, Experiment
from swath.bench.transfer_water import (
    FAMILIES,
    FOLDER,
    RATE,
    SCORED,
    STEPS,
    TRAINING,
    UNLEARNED,
    Words,
    finetuned_iou,
    finetuning,
    labelled_data,
    pretraining,
    probed,
    probed_iou,
    scoring,
    trained,
)
from swath.verbs.run_many import Run

SHARE = 10
LONGER = 2500
SENSORS_STEPS = 1000
"""Of those, on images of Sentinel-2, where pretraining sees some."""
LOW_RATE = "5.0e-4"
LAYER_DECAY = 0.75
SSL4EO = "rico-hdl-samples/integration_tests/tiffs/SSL4EO-S12"
S2_BANDS = ("B02", "B03", "B04", "B8A", "B11", "B12")
"""Of Sentinel-2, where the six of HLS are."""
WIDER = (
    f"after {LONGER} steps on more images: {SENSORS_STEPS} on the same six bands of Sentinel-2 (five TerraMind tiles, "
    f"an SSL4EO-S12 place and a WorldCereal site, at 10 m), then {LONGER - SENSORS_STEPS} on the chips that teach and "
    "those of the odd elevation bands, which select, without labels; never on those that score"
)


@dataclass(frozen=True)
class Row:
    """A way to fine-tune.

    Attributes:
        words: what it is, for the note.
        start: the pretraining whose weights it begins with; empty: from scratch.
        training: options of fine-tuning.
        against: the row that it is compared with.
    """

    words: str
    start: str = ""
    training: Words = TRAINING
    against: str = "scratch"


_ON_TEACHING = f"after {LONGER} steps on the chips that teach"
_LOW = f"fine-tuned at a rate of {LOW_RATE} in place of {RATE}"
ROWS: dict[str, Row] = {
    "longer": Row(_ON_TEACHING, "longer"),
    "scratch": Row("from scratch"),
    "longer.low_rate": Row(f"{_ON_TEACHING}, {_LOW}", "longer", finetuning(LOW_RATE), "scratch.low_rate"),
    "scratch.low_rate": Row(f"from scratch, {_LOW}", "", finetuning(LOW_RATE), "scratch.low_rate"),
    "longer.layer_decay": Row(
        f"{_ON_TEACHING}, fine-tuned with a rate that falls by {LAYER_DECAY} from each layer to the one below",
        "longer",
        (*TRAINING, "--training.layer_decay", str(LAYER_DECAY)),
    ),
    "wider": Row(WIDER, "wider"),
    "pretrained": Row(f"after {STEPS} steps on the chips that teach", "pretrain"),
}
"""The most promising first, which are run first."""
PROBED = {
    "random": "as it was drawn",
    "pretrained": ROWS["pretrained"].words,
    "longer": ROWS["longer"].words,
    "wider": WIDER,
}
"""Encoders under a linear layer."""


def water_tried(data: Path, work: Path, seeds: int) -> Experiment:
    """Longer and wider pretraining, and fine-tuning that forgets less."""
    root, family = data / FOLDER, FAMILIES["st_swin"]
    labelled = labelled_data(root)
    begun = {
        kind: pretraining(f"{kind}-st_swin", family, steps, rate, work, root)
        for kind, steps, rate in (
            ("longer", LONGER, RATE),
            ("pretrain", STEPS, RATE),
            ("random", 1, UNLEARNED),
        )
    }
    begun["wider"] = pretraining(
        "wider-st_swin", family, LONGER, RATE, work, root,
        unseen=scoring(root), more=("--stages", json.dumps(_stages(data))),
    )  # fmt: skip
    runs: list[Run] = []
    cells: list[Cell] = []
    for name, row in ROWS.items():
        if row.start and begun[row.start] not in runs:
            runs.append(begun[row.start])
        start = begun[row.start].name if row.start else ""
        for seed in range(seeds):
            runs += trained(
                f"st_swin.{name}", family.finetune, start, SHARE, seed, work, labelled, row.training
            )
        cells.append(Cell(
            _measure("finetuned", name),
            "IoU of water",
            tuple(f"score-st_swin.{name}-{SHARE}-{seed}" for seed in range(seeds)),
            finetuned_iou,
            f"ST-SwinUNet {row.words}; {SHARE} % of the labels, all of the network trained, 200 steps of 16 crops of "
            f"64 px; {SCORED}",
            baseline=_measure("finetuned", row.against),
        ))  # fmt: skip
    runs.append(begun["random"])
    for name, words in PROBED.items():
        start = begun["pretrain" if name == "pretrained" else name].name
        probes = [probed(start, SHARE, seed, work, labelled) for seed in range(seeds)]
        runs += probes
        cells.append(Cell(
            _measure("linear_probe", name),
            "IoU of water",
            tuple(run.name for run in probes),
            probed_iou,
            f"a linear layer on the frozen encoder {words}; {SHARE} % of the labels; {SCORED}",
            baseline=_measure("linear_probe", "random"),
        ))  # fmt: skip
    return Experiment(tuple(runs), tuple(cells))


def _measure(how: str, row: str) -> str:
    return f"water_tried.iou.{how}.{row}.{SHARE}"


def _stages(data: Path) -> list[dict[str, object]]:
    """Sentinel-2 first, then the chips: bands of two sensors are never one batch.

    Sets of several scales are each normalised by record; the chips by fixed statistics, as in every other row.
    """
    tiles = {
        "sensor": "sentinel2", "images": "S2L2A/{place}.tif", "bands": list(transfer_scenes.S2_BANDS),
        "unit": "reflectance", "scale": 1e-4, "offset": 0.0, "level": "L2A",
    }  # fmt: skip

    def layout(name: str, root: Path, options: dict[str, object]) -> dict[str, object]:
        return {"layout": {"name": name, "root": str(root), "options": options}}

    first = layout("folder", data / transfer_scenes.TERRAMIND, {"spec": tiles})
    seasons = layout("ssl4eo-s12", data / SSL4EO, {"modalities": ["s2a"], "missing_dates": "invalid"})
    site = layout("worldcereal", data / transfer_series.FOLDER / transfer_series.SITE, {})
    common: dict[str, object] = {
        "bands": list(S2_BANDS), "hold_out": [], "dates": 1, "min_valid": 0.5, "normalise": {"scope": "record"},
    }  # fmt: skip
    return [
        {
            "name": "sentinel2", "data": {**first, **common}, "steps": SENSORS_STEPS,
            "training": {"warmup_steps": SENSORS_STEPS // 10},
            "weight": 2.0, "mix": [{"data": seasons, "weight": 1.0}, {"data": site, "weight": 1.0}],
        },
        {
            "name": "chips", "steps": LONGER - SENSORS_STEPS,
            "training": {"warmup_steps": (LONGER - SENSORS_STEPS) // 10},
        },
    ]  # fmt: skip
