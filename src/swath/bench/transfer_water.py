"""Water on HLS chips: every family pretrained against itself from scratch, beside a U-Net, over shares of the labels.

Inputs are the six reflectance bands. The chips of elevation band 0 teach; of the other bands, each whole, the odd
ones select and the even ones score. Pretraining sees the chips that teach, without labels, and nothing else. Seeds
vary which labels are there and how networks begin; the same labels serve every row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swath.bench.transfer_table import Cell, Experiment, fit_and_score
from swath.verbs.run_many import Run

FOLDER = "hls-water-306"
SHARES = (100, 25, 10)
"""Of the labels, percent."""
STEPS, RATE = 800, "2.0e-3"
"""Of pretraining; of fine-tuning too, the rate."""
TAUGHT, TAUGHT_LONGER = 200, 800
"""Steps of fine-tuning; and of the U-Net once more, which may need more of them than 200 to be a fair line."""
UNLEARNED = "1e-12"
"""The rate of one step that leaves a network as it was drawn."""
TEACHES = "elevation-0"
SCORED = "scored on whole chips of the even elevation bands"
Words = tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A network, pretrained in its own way.

    Attributes:
        pretrain: its model and masks, as options of `swath pretrain`.
        finetune: its model and head, as options of `swath finetune`.
        like: the family whose network this one fine-tunes; from scratch, or with random numbers, they are the same
            and are trained once. "": a network of its own.
    """

    pretrain: Words
    finetune: Words
    like: str = ""


_SWIN = json.dumps({"patch_size": [1, 4, 4], "window": [1, 4, 4]})
_TOKENS = {"embed_dim": 128, "depth": 4, "heads": 4}
_DECODER = {"decoder_embed_dim": 96, "decoder_depth": 2, "decoder_heads": 4}
_VIT = {**_TOKENS, "patch_size": 8}
_GROUPED = {"patch_size": 8, "group_dim": 32, "groups": [["B02", "B03", "B04", "B05"], ["B06", "B07"]]}
"""SatMAE's: visible and near infrared, and short-wave infrared."""
_AGREE = ("--contrast.hidden", "512", "--contrast.embedding", "128")
"""Heads of a width that becomes encoders this small."""
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
        ("--model.system", "mae", "--model.options", json.dumps(_VIT), "--head.kind", "conv"),
    ),
    "satmae": Family(
        ("--model.system", "satmae", "--model.options",
         json.dumps({**_TOKENS, **_DECODER, **_GROUPED, "decoder_group_dim": 24}),
         "--mask.ratio", "0.75", "--mask.scope", "joint", "--mask.norm_pix", "true"),
        ("--model.system", "satmae", "--model.options", json.dumps({**_TOKENS, **_GROUPED}), "--head.kind", "conv"),
    ),
    "swin_mae": Family(
        ("--model.system", "swin_mae", "--model.preset", "swin_mae_tiny", "--model.options", _SWIN,
         "--mask.ratio", "0.75", "--mask.window", "2"),
        ("--model.system", "swin_mae", "--model.preset", "swin_mae_tiny", "--model.options", _SWIN),
    ),
    "beit": Family(
        ("--model.system", "beit", "--model.options", json.dumps({**_VIT, "codes": 512}),
         "--mask.ratio", "0.4", "--mask.min_block", "4"),
        ("--model.system", "beit", "--model.options", json.dumps(_VIT), "--head.kind", "conv"),
        like="mae",
    ),
    "simclr": Family(
        ("--model.system", "simclr", "--model.options", json.dumps(_VIT), *_AGREE),
        ("--model.system", "simclr", "--model.options", json.dumps(_VIT), "--head.kind", "conv"),
        like="mae",
    ),
    "moco": Family(
        ("--model.system", "moco", "--model.options", json.dumps(_VIT), *_AGREE, "--contrast.version", "v3"),
        ("--model.system", "moco", "--model.options", json.dumps(_VIT), "--head.kind", "conv"),
        like="mae",
    ),
}  # fmt: skip
UNET = ("--model.system", "unet", "--model.preset", "unet_16", "--model.options", json.dumps({"levels": 3}))


def finetuning(rate: str, steps: int = TAUGHT) -> Words:
    """Options of fine-tuning at a rate of learning."""
    return (
        "--training.steps", str(steps), "--training.batch_size", "16", "--training.learning_rate", rate,
        "--training.warmup_steps", str(steps // 10), "--training.betas", "[0.9, 0.999]", "--training.clip_norm", "1.0",
        "--training.ema_decay", "0.98", "--training.validate_every", "50", "--training.checkpoint_every", str(steps),
        "--training.augment.radiometry", "0.1",
    )  # fmt: skip


TRAINING = finetuning(RATE)


def water(data: Path, work: Path, seeds: int, share: int = 100) -> Experiment:
    """Pretrained and from scratch, probed and fine-tuned, with `share` percent of the labels."""
    root = data / FOLDER
    labelled = labelled_data(root)
    runs: list[Run] = []
    for name, family in FAMILIES.items():
        runs.append(pretraining(f"pretrain-{name}", family, STEPS, RATE, work, root))
        if not family.like:
            runs.append(pretraining(f"random-{name}", family, 1, UNLEARNED, work, root))
    rows: dict[str, tuple[Words, str, int]] = {
        "unet.scratch": (UNET, "", TAUGHT),
        "unet.scratch.longer": (UNET, "", TAUGHT_LONGER),
    }
    for name, family in FAMILIES.items():
        if not family.like:
            rows[f"{name}.scratch"] = (family.finetune, "", TAUGHT)
        rows[f"{name}.pretrained"] = (family.finetune, f"pretrain-{name}", TAUGHT)
    cells: list[Cell] = []
    for row, (model, start, steps) in rows.items():
        cells.append(Cell(
            f"water.iou.finetuned.{row}.{share}",
            "IoU of water",
            tuple(f"score-{row}-{share}-{seed}" for seed in range(seeds)),
            finetuned_iou,
            f"{share} % of the labels, all of the network trained, {steps} steps of 16 crops of 64 px; {SCORED}",
            baseline=f"water.iou.finetuned.unet.scratch.{share}",
        ))  # fmt: skip
        for seed in range(seeds):
            runs += trained(row, model, start, share, seed, work, labelled, finetuning(RATE, steps))
    for name, family in FAMILIES.items():
        for kind in ("pretrain",) if family.like else ("pretrain", "random"):
            probes = [probed(f"{kind}-{name}", share, seed, work, labelled) for seed in range(seeds)]
            runs += probes
            cells.append(Cell(
                f"water.iou.linear_probe.{name}.{'pretrained' if kind == 'pretrain' else 'random'}.{share}",
                "IoU of water",
                tuple(run.name for run in probes),
                probed_iou,
                f"{share} % of the labels, the encoder frozen; {SCORED}",
                baseline=f"water.iou.linear_probe.{family.like or name}.random.{share}",
            ))  # fmt: skip
    return Experiment(tuple(runs), tuple(cells))


def labelled_data(root: Path) -> Words:
    """What every row learns from and is scored on."""
    return (*_layout(root), "--data.parts", json.dumps(parts(root)), "--data.window", "64")


def pretraining(
    name: str,
    family: Family,
    steps: int,
    rate: str,
    work: Path,
    root: Path,
    *,
    unseen: Sequence[str] | None = None,
    more: Words = (),
) -> Run:
    """A pretraining of that name.

    Args:
        name: of the run and of its folder.
        family: what is pretrained.
        steps: of 16 crops of 64 px.
        rate: of learning.
        work: folder for runs.
        root: of the chips.
        unseen: chips that it never sees; None: all that do not teach.
        more: options beside these.
    """
    unseen = others(root) if unseen is None else unseen
    return Run(name, (
        "pretrain", "--run.folder", str(work / name), "--run.overwrite", "true",
        *family.pretrain, *_layout(root), "--data.hold_out", json.dumps(unseen), "--data.window", "64",
        "--data.normalise.scope", "fixed", "--training.steps", str(steps), "--training.batch_size", "16",
        "--training.learning_rate", rate, "--training.warmup_steps", str(steps // 10),
        "--training.clip_norm", "1.0", "--training.checkpoint_every", str(steps), *more,
    ))  # fmt: skip


def trained(
    row: str,
    model: Words,
    start: str,
    share: int,
    seed: int,
    work: Path,
    data: Words,
    training: Words = TRAINING,
) -> tuple[Run, Run]:
    """A fine-tuning and its score."""
    name = f"{row}-{share}-{seed}"
    weights = ("--weights", str(work / start / "weights.safetensors")) if start else ()
    words = (
        *model, *weights, *data, "--data.label_fraction", str(share / 100), "--data.label_seed", str(seed),
        *training, "--training.seed", str(seed), "--training.monitor", "miou",
    )  # fmt: skip
    names = (f"finetune-{name}", f"score-{name}")
    return fit_and_score(names, work / f"finetune-{name}", words, data, (start,) if start else ())


def probed(start: str, share: int, seed: int, work: Path, data: Words) -> Run:
    """A linear probe per pixel on frozen features."""
    return Run(f"probe-{start}-{share}-{seed}", (
        "probe", "--weights", str(work / start / "weights.safetensors"), *data,
        "--data.label_fraction", str(share / 100), "--data.label_seed", str(seed), "--methods", "[linear]",
        "--score_test", "true", "--cache", str(work / "features"),
    ), after=(start,))  # fmt: skip


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


def scoring(root: Path) -> list[str]:
    """Those of them that score."""
    test = parts(root)["test"]
    return [row["chip"] for row in _table(root) if f"elevation-{row['elevation_band']}" in test]


def _layout(root: Path) -> Words:
    return ("--data.layout.name", "hls-water", "--data.layout.root", str(root))


def _table(root: Path) -> list[dict[str, str]]:
    """Of the chips whose images are there."""
    with (root / "chips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if (root / "data" / "images" / f"{row['chip']}.tif").exists()]


def finetuned_iou(result: Mapping[str, Any]) -> float:
    """Over all scored pixels together."""
    return _iou(result["table"])


def probed_iou(result: Mapping[str, Any]) -> float:
    """The same, of the only probe."""
    (probe,) = result["probes"]
    return _iou(probe["test"])


def _iou(table: Mapping[str, Any]) -> float:
    (iou,) = [row["iou"] for row in table["classes"] if row["name"] == "water"]
    return float(iou)
