"""Water on HLS chips: every family pretrained against itself from scratch, beside a U-Net, over shares of the labels.

Inputs are the six reflectance bands. The chips of elevation band 0 teach; of the other bands, each whole, the odd
ones select and the even ones score. Pretraining sees the chips that teach, without labels, and nothing else. Seeds
vary which labels are there and how networks begin; the same labels serve every row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swath.bench.transfer import Cell, Experiment
from swath.verbs.run_many import Run

FOLDER = "hls-water-306"
FRACTIONS = (0.1, 0.25, 1.0)
TEACHES = "elevation-0"
Words = tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A network, pretrained in its own way.

    Attributes:
        pretrain: its model and masks, as options of `swath pretrain`.
        finetune: its model and head, as options of `swath finetune`.
    """

    pretrain: Words
    finetune: Words


_SWIN = json.dumps({"patch_size": [1, 4, 4], "window": [1, 4, 4]})
_TOKENS = {"embed_dim": 128, "depth": 4, "heads": 4}
_DECODER = {"decoder_embed_dim": 96, "decoder_depth": 2, "decoder_heads": 4}
FAMILIES: dict[str, Family] = {
    "st_swin": Family(
        ("--model.system", "st_swin_mae", "--model.preset", "tiny", "--model.options", _SWIN,
         "--mask.ratio", "0.6", "--mask.window", "2"),
        ("--model.system", "st_swin_unet", "--model.preset", "tiny", "--model.options",
         json.dumps({**json.loads(_SWIN), "stem_skip": True})),
    ),
    "spectralgpt": Family(
        ("--model.system", "spectralgpt", "--model.options", json.dumps({**_TOKENS, **_DECODER}),
         "--mask.ratio", "0.9", "--mask.loss", "three_target"),
        ("--model.system", "spectralgpt", "--model.options", json.dumps(_TOKENS), "--head.kind", "conv"),
    ),
    "mae": Family(
        ("--model.system", "mae", "--model.options", json.dumps({**_TOKENS, **_DECODER, "patch_size": 8}),
         "--mask.ratio", "0.75"),
        ("--model.system", "mae", "--model.options", json.dumps({**_TOKENS, "patch_size": 8}), "--head.kind", "conv"),
    ),
}  # fmt: skip
UNET = ("--model.system", "unet", "--model.preset", "unet_16", "--model.options", json.dumps({"levels": 3}))
TRAINING = (
    "--training.steps", "200", "--training.batch_size", "16", "--training.learning_rate", "2.0e-3",
    "--training.warmup_steps", "20", "--training.betas", "[0.9, 0.999]", "--training.clip_norm", "1.0",
    "--training.ema_decay", "0.98", "--training.validate_every", "50", "--training.checkpoint_every", "200",
    "--training.augment.radiometry", "0.1",
)  # fmt: skip


def water(data: Path, work: Path, seeds: int) -> Experiment:
    """Pretrained and from scratch, fine-tuned and probed, at 10, 25 and 100 % of the labels."""
    root = data / FOLDER
    layout = ("--data.layout.name", "hls-water", "--data.layout.root", str(root))
    labelled = (*layout, "--data.parts", json.dumps(parts(root)), "--data.window", "64")
    runs: list[Run] = []
    cells: list[Cell] = []
    for name, family in FAMILIES.items():
        folder = work / f"pretrain-{name}"
        runs.append(Run(f"pretrain-{name}", (
            "pretrain", "--run.folder", str(folder), "--run.overwrite", "true", *family.pretrain, *layout,
            "--data.hold_out", json.dumps(others(root)), "--data.window", "64", "--data.normalise.scope", "fixed",
            "--training.steps", "800", "--training.batch_size", "16", "--training.learning_rate", "2.0e-3",
            "--training.warmup_steps", "80", "--training.clip_norm", "1.0", "--training.checkpoint_every", "800",
        )))  # fmt: skip
    rows: dict[str, tuple[Words, str]] = {"unet.scratch": (UNET, "")}
    for name, family in FAMILIES.items():
        rows[f"{name}.scratch"] = (family.finetune, "")
        rows[f"{name}.pretrained"] = (family.finetune, name)
    for fraction in FRACTIONS:
        share = f"{round(100 * fraction)}"
        subset = ("--data.label_fraction", str(fraction))
        for row, (model, pretrained) in rows.items():
            names = []
            for seed in range(seeds):
                names.append(f"score-{row}-{share}-{seed}")
                runs += _trained(
                    row, model, pretrained, share, seed, work, (*labelled, *subset), labelled, names[-1]
                )
            cells.append(Cell(
                f"water.iou.{row}.{share}", "IoU of water", tuple(names), water_iou,
                f"{share} % of the labels, fine-tuned whole, 200 steps of 16 crops of 64 px; scored on whole chips of "
                "the even elevation bands",
                baseline=f"water.iou.unet.scratch.{share}",
            ))  # fmt: skip
    return Experiment(tuple(runs), tuple(cells))


def _trained(
    row: str,
    model: Words,
    pretrained: str,
    share: str,
    seed: int,
    work: Path,
    data: Words,
    scored: Words,
    name: str,
) -> list[Run]:
    """A fine-tuning and its score."""
    folder = work / f"finetune-{row}-{share}-{seed}"
    weights = (
        ("--weights", str(work / f"pretrain-{pretrained}" / "weights.safetensors")) if pretrained else ()
    )
    train = Run(f"finetune-{row}-{share}-{seed}", (
        "finetune", "--run.folder", str(folder), "--run.overwrite", "true", *model, *weights, *data,
        "--data.label_seed", str(seed), *TRAINING, "--training.seed", str(seed), "--training.monitor", "miou",
    ), (f"pretrain-{pretrained}",) if pretrained else ())  # fmt: skip
    score = Run(
        name, ("evaluate", "--weights", str(folder / "weights.safetensors"), *scored), after=(train.name,)
    )
    return [train, score]


def parts(root: Path) -> dict[str, Any]:
    """Band 0 teaches, odd bands select, even ones score."""
    bands = sorted({int(row["elevation_band"]) for row in _table(root)})
    return {
        "by": "groups",
        "train": [TEACHES],
        "validation": [f"elevation-{b}" for b in bands if b % 2],
        "test": [f"elevation-{b}" for b in bands if b and not b % 2],
    }


def others(root: Path) -> list[str]:
    """Chips that do not teach."""
    return [row["chip"] for row in _table(root) if row["elevation_band"] != "0"]


def _table(root: Path) -> list[dict[str, str]]:
    """Of the chips whose images are there."""
    with (root / "chips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if (root / "data" / "images" / f"{row['chip']}.tif").exists()]


def water_iou(result: Mapping[str, Any]) -> float:
    """Over all scored pixels together."""
    (iou,) = [row["iou"] for row in result["scores"]["classes"] if row["name"] == "water"]
    return float(iou)
