"""OTBTF patches: six classes of land from 16 x 16 pixels of four bands; pretrained here, from scratch, and plain.

Only set A is read: set B is left for others to score on. Set A says no places, but its order is one: patches were
written as the image was scanned, row by row, so that patches of the 20 m set that overlap are never more than 42 apart
in the file. Runs of 300 in that order are bands of the ground; two of every five select and score. Beside
a part that selects or scores, `BUFFER` patches are left out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swath.bench.transfer_table import Cell, Experiment, fit_and_score
from swath.files import atomic
from swath.verbs.run_many import Run

FOLDER = "otbtf-s2patches"
PATCHES = 3000
BAND = 300
"""Patches of one band of the ground."""
BUFFER = 80
"""Patches between two parts: twice what overlapping ones of the 20 m set are apart."""
_CYCLE = ("train", "train", "train", "validation", "test")
_YIELDS = {"test": 0, "validation": 1, "train": 2}
"""Which of two neighbours gives up the patches between them: the one with the larger number."""
SCORED = "scored on 600 patches in two bands of the ground (runs of the file's order), 80 patches from any that teach"
Words = tuple[str, ...]

_VIT = {"patch_size": 2, "embed_dim": 96, "depth": 4, "heads": 3}
_DECODER = {"decoder_embed_dim": 64, "decoder_depth": 1, "decoder_heads": 2}
MODEL: Words = ("--model.system", "mae", "--model.options", json.dumps(_VIT))
MODEL_DROPPED: Words = ("--model.system", "mae", "--model.options", json.dumps({**_VIT, "drop_path": 0.1}))
PRETRAIN: Words = (
    "--model.system", "mae", "--model.options", json.dumps({**_VIT, **_DECODER}), "--mask.ratio", "0.75",
    "--training.steps", "400", "--training.learning_rate", "2.0e-3", "--training.warmup_steps", "40",
    "--training.batch_size", "32", "--training.clip_norm", "1.0", "--training.checkpoint_every", "400",
)  # fmt: skip
TRAINING: Words = (
    "--training.steps", "600", "--training.learning_rate", "1.0e-3", "--training.warmup_steps", "60",
    "--training.batch_size", "32", "--training.betas", "[0.9, 0.999]", "--training.clip_norm", "1.0",
    "--training.ema_decay", "0.98", "--training.validate_every", "100", "--training.checkpoint_every", "600",
    "--training.augment.radiometry", "0.1", "--training.monitor", "overall_accuracy",
)  # fmt: skip

LONGER: Words = (
    "--training.steps", "1200", "--training.learning_rate", "1.0e-3", "--training.warmup_steps", "120",
    "--training.batch_size", "64", "--training.betas", "[0.9, 0.999]", "--training.clip_norm", "1.0",
    "--training.ema_decay", "0.99", "--training.validate_every", "200", "--training.checkpoint_every", "1200",
    "--training.augment.radiometry", "0.1", "--training.monitor", "overall_accuracy", "--loss.mixup", "0.4",
)  # fmt: skip
"""Four times as many patches, mixed by twos."""
CONVOLUTIONAL: Words = ("--model.system", "resnet", "--model.preset", "resnet_32", "--head.dropout", "0.2")
UNMIXED: Words = (*LONGER, "--training.learning_rate", "2.0e-3", "--loss.mixup", "0")
"""As the validation part chose among three for the residual network: mixed or not, and a rate of 5e-3."""


def otbtf(data: Path, work: Path, seeds: int) -> Experiment:
    """Probed and fine-tuned, against scratch, fresh numbers and a forest; writes the list of parts into `work`."""
    layout: Words = ("--data.layout.name", "otbtf", "--data.layout.root", str(data / FOLDER))
    listed = write_parts(work)
    labelled = (
        *layout,
        "--data.parts",
        json.dumps({"by": "list", "file": str(listed)}),
        "--data.window",
        "16",
    )
    runs: list[Run] = []
    names: dict[str, list[str]] = {}

    def add(row: str, *new: Run) -> None:
        """The last one scores."""
        runs.extend(new)
        names.setdefault(row, []).append(new[-1].name)

    for seed in range(seeds):
        start = Run(f"pretrain-{seed}", (
            "pretrain", "--run.folder", str(work / f"pretrain-{seed}"), "--run.overwrite", "true", *PRETRAIN, *layout,
            "--data.split", "A", "--data.hold_out", json.dumps(not_taught()), "--data.window", "16",
            "--data.normalise.scope", "fixed", "--training.seed", str(seed),
        ))  # fmt: skip
        runs.append(start)
        weights = ("--weights", str(work / f"pretrain-{seed}" / "weights.safetensors"))
        probe: Words = (
            "probe",
            *weights,
            *labelled,
            "--methods",
            "[linear]",
            "--score_test",
            "true",
            "--cache",
            "none",
        )
        add("linear_probe.pretrained", Run(f"probe-pretrained-{seed}", probe, (start.name,)))
        fresh = (*probe, "--untrained", str(seed))
        add("linear_probe.random", Run(f"probe-random-{seed}", fresh, (start.name,)))
        add("finetuned.pretrained", *_trained("pretrained", weights, (start.name,), seed, work, labelled))
        add("finetuned.scratch", *_trained("scratch", (), (), seed, work, labelled))
        longer = (MODEL_DROPPED, LONGER)
        add(
            "mixed.pretrained",
            *_trained("mixed-pretrained", weights, (start.name,), seed, work, labelled, *longer),
        )
        mixed = _trained("mixed-scratch", (), (), seed, work, labelled, *longer)
        plain = _trained("resnet-scratch", (), (), seed, work, labelled, CONVOLUTIONAL, UNMIXED)
        for row, (fit, score) in (("mixed.scratch", mixed), ("resnet.scratch", plain)):
            add(row, fit, score)
            name = score.name.replace("-scratch-", "-scratch-turned-")
            add(f"{row}.turned", Run(name, (*score.words, "--turns", "true"), score.after))
        grow: Words = ("baseline", "forest", *labelled, "--seed", str(seed))
        add("forest", Run(f"forest-{seed}", grow))
    cells = [
        Cell(
            f"otbtf.accuracy.{row}",
            "overall accuracy",
            tuple(names[row]),
            probed if row.startswith("linear_probe") else scored,
            f"{what}; {SCORED}",
            baseline=f"otbtf.accuracy.{base}",
        )
        for row, (what, base) in _ROWS.items()
    ]
    return Experiment(tuple(runs), tuple(cells))


_ROWS: dict[str, tuple[str, str]] = {
    "forest": ("a random forest on each band's mean, deviation and percentiles over a patch", "forest"),
    "linear_probe.random": (
        "logistic regression on the mean token of a ViT with fresh numbers, its strength chosen on 440 other patches",
        "forest",
    ),
    "linear_probe.pretrained": (
        "logistic regression on the mean token of the ViT, frozen after 400 steps of MAE on the patches that teach",
        "linear_probe.random",
    ),
    "finetuned.scratch": ("a ViT of 0.45 million numbers, 600 steps of 32 patches from scratch", "forest"),
    "finetuned.pretrained": (
        "the same 600 steps, from 400 steps of MAE on the patches that teach",
        "finetuned.scratch",
    ),
    "mixed.scratch": (
        "the same ViT from scratch, 1,200 steps of 64 patches mixed by twos (mixup 0.4), a tenth of the layers dropped",
        "finetuned.scratch",
    ),
    "mixed.scratch.turned": (
        "the networks of mixed.scratch, their answers averaged over the eight ways to turn and flip a patch",
        "mixed.scratch",
    ),
    "mixed.pretrained": (
        "the same 1,200 steps of 64 patches mixed by twos, from 400 steps of MAE on the patches that teach",
        "mixed.scratch",
    ),
    "resnet.scratch": (
        "a small residual network of 0.3 million numbers from scratch, 1,200 steps of 64 patches, none mixed",
        "forest",
    ),
    "resnet.scratch.turned": (
        "the networks of resnet.scratch, their answers averaged over the eight ways to turn and flip a patch",
        "resnet.scratch",
    ),
}
"""Row -> what it is, and the row that it is compared with."""


def _trained(
    row: str,
    weights: Words,
    after: Words,
    seed: int,
    work: Path,
    data: Words,
    model: Words = MODEL,
    training: Words = TRAINING,
) -> tuple[Run, Run]:
    """A fine-tuning and its score."""
    names = (f"finetune-{row}-{seed}", f"score-{row}-{seed}")
    words = (*model, *weights, *data, *training, "--training.seed", str(seed))
    return fit_and_score(names, work / names[0], words, data, after)


def part_of(patch: int) -> str:
    """Train, validation or test; empty: left out, between two of them."""
    band = patch // BAND
    own = _CYCLE[band % len(_CYCLE)]
    for near in (patch - BUFFER, patch + BUFFER):
        if not 0 <= near < PATCHES:
            continue
        other = _CYCLE[near // BAND % len(_CYCLE)]
        if _YIELDS[own] > _YIELDS[other]:
            return ""
    return own


def not_taught() -> list[str]:
    """Ids of set A that pretraining may not see."""
    return [_id(i) for i in range(PATCHES) if part_of(i) != "train"]


def write_parts(work: Path) -> Path:
    """The list that `data.parts` reads."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("id", "part"))
    rows.writerows((_id(i), part_of(i)) for i in range(PATCHES) if part_of(i))
    path = work / "parts.csv"
    work.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(text.getvalue(), "utf-8")
    return path


def _id(patch: int) -> str:
    return f"A/{patch:05d}"


def scored(result: Mapping[str, Any]) -> float:
    """Overall accuracy of `swath evaluate` and `swath baseline`."""
    return float(result["scores"]["overall_accuracy"])


def probed(result: Mapping[str, Any]) -> float:
    """The same, of the only probe."""
    (probe,) = result["probes"]
    return float(probe["test"]["scores"]["overall_accuracy"])
