"""Rows of a comparison on a set of few images: a forest, networks from scratch, and one that was pretrained first.

Every row learns from the same squares (or groups) of the same records and is scored on others of them. Seeds vary how
networks begin, what they draw, and which pixels a forest takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swath.bench.transfer_table import Cell, Experiment, fit_and_score
from swath.bench.transfer_water import UNET, Words
from swath.verbs.run_many import Run

Rows = Sequence[tuple[list[Run], Cell]]
WITHIN = "divided by squares within each image, neighbours of those that taught: it flatters"


@dataclass(frozen=True)
class Setting:
    """What all rows of a comparison share.

    Attributes:
        name: begins the measures and the names of the runs.
        data: what is learned from and scored, as options.
        training: of every network.
        work: folder for runs.
        seeds: how many.
        note: how the data are divided, and what else must be known.
        score: a headline score of the task.
        unit: of it.
        evaluate: options of scoring alone, such as the blocks of the intervals.
    """

    name: str
    data: Words
    training: Words
    work: Path
    seeds: int
    note: str
    score: str = "miou"
    unit: str = "mIoU"
    evaluate: Words = ()

    def measure(self, row: str) -> str:
        """Name of a row's number in the results: SET.SCORE.ROW, no dot within the set's name."""
        return f"{self.name.replace('.', '_')}.{self.score}.{row}"


def forest(at: Setting) -> tuple[list[Run], Cell]:
    """A random forest on single pixels."""
    runs = [
        Run(
            f"{at.name}-forest-{seed}",
            ("baseline", "forest", *at.data, *at.evaluate, "--seed", str(seed)),
        )
        for seed in range(at.seeds)
    ]
    note = f"random forest on single pixels; {at.note}"
    return runs, Cell(at.measure("forest"), at.unit, tuple(r.name for r in runs), headline(at.score), note)


def network(
    at: Setting, row: str, model: Words, words: str, *, start: Run | None = None, data: Words = ()
) -> tuple[list[Run], Cell]:
    """A network, fine-tuned and scored.

    Args:
        at: the setting.
        row: its name.
        model: its form, as options.
        words: what it is, for the note.
        start: the pretraining whose weights it begins with.
        data: options over those of the setting.
    """
    runs: list[Run] = []
    scores: list[str] = []
    given = (*at.data, *data)
    weights = () if start is None else ("--weights", str(at.work / start.name / "weights.safetensors"))
    for seed in range(at.seeds):
        name = f"{at.name}-{row}-{seed}"
        options = (
            *model, *weights, *given, *at.training, "--training.seed", str(seed), "--training.monitor", "auto",
        )  # fmt: skip
        after = () if start is None else (start.name,)
        runs += fit_and_score((name, f"{name}-score"), at.work / name, options, (*given, *at.evaluate), after)
        scores.append(f"{name}-score")
    cell = Cell(
        at.measure(row), at.unit, tuple(scores), headline(at.score), f"{words}; {at.note}",
        baseline=at.measure("forest"),
    )  # fmt: skip
    return runs, cell


def unet(at: Setting) -> tuple[list[Run], Cell]:
    """The U-Net of the other comparisons."""
    return network(at, "unet.scratch", UNET, "U-Net from scratch")


def pretraining(at: Setting, name: str, model: Words, data: Words, training: Words) -> Run:
    """A short pretraining."""
    folder = at.work / f"{at.name}-{name}"
    words = ("pretrain", "--run.folder", str(folder), "--run.overwrite", "true", *model, *data, *training)
    return Run(f"{at.name}-{name}", words)


def swin_rows(
    at: Setting, seen: Words, batch: int, saw: str, *, patch: int, dates: int = 1
) -> tuple[Run, Rows]:
    """A forest, a U-Net, and a small ST-SwinUNet from scratch and after 150 steps of ST-SwinMAE; first the pretraining.

    Args:
        at: the setting.
        seen: what pretraining sees, as options.
        batch: its samples per step.
        saw: the same in words, for the note.
        patch: side of its patches, pixels.
        dates: of its windows.
    """
    form = {
        "patch_size": [1, patch, patch],
        "window": [dates, 4, 4],
        "depths": [2, 2],
        "heads": [2, 4],
        "decoder_depths": [2],
    }
    mae = (
        "--model.system", "st_swin_mae", "--model.preset", "tiny", "--model.options", json.dumps(form),
        "--mask.ratio", "0.6", "--mask.window", "2",
    )  # fmt: skip
    swin = (
        "--model.system", "st_swin_unet", "--model.preset", "tiny",
        "--model.options", json.dumps({**form, "stem_skip": True}),
    )  # fmt: skip
    first = pretraining(
        at, "pretrain", mae, (*seen, "--data.normalise.scope", "fixed"), steps(150, batch, "2.0e-3", every=0)
    )
    after = f"ST-SwinUNet after 150 steps of ST-SwinMAE on {saw}"
    return first, [
        forest(at),
        unet(at),
        network(at, "st_swin.scratch", swin, "ST-SwinUNet from scratch"),
        network(at, "st_swin.pretrained", swin, after, start=first),
    ]


def experiment(rows: Rows, *, first: Sequence[Run] = (), then: Sequence[Run] = ()) -> Experiment:
    """Of rows, and of what is run before and after them."""
    return Experiment(
        (*first, *(run for runs, _ in rows for run in runs), *then), tuple(cell for _, cell in rows)
    )


def mapped(at: Setting, row: str, scene: Words, place: str) -> Run:
    """A map of a scene by the first seed's weights, with its quick look; scored by nothing, to be looked at."""
    name = f"{at.name}-{row}-0"
    words = (
        "predict", "--weights", str(at.work / name / "weights.safetensors"), *scene,
        "--output", str(at.work / f"{at.name}-{row}-{place}.tif"), "--quicklook", "true", "--overwrite", "true",
    )  # fmt: skip
    return Run(f"{at.name}-{row}-{place}-map", words, (name,))


def headline(name: str) -> Callable[[Mapping[str, Any]], float]:
    """Reads a headline score from the answer of `swath evaluate` or `swath baseline`."""

    def read(result: Mapping[str, Any]) -> float:
        return float(result["scores"][name])

    return read


def steps(count: int, batch: int, rate: str, *, every: int, augment: Sequence[str] = ()) -> Words:
    """Options of a short training."""
    return (
        "--training.steps", str(count), "--training.batch_size", str(batch), "--training.learning_rate", rate,
        "--training.warmup_steps", str(max(1, count // 10)), "--training.clip_norm", "1.0",
        "--training.checkpoint_every", str(count), *(("--training.validate_every", str(every)) if every else ()),
        *augment,
    )  # fmt: skip
