"""`swath demo`: the whole chain on the embedded real sample, with an honest table at the end.

It runs the other verbs with the recipes whose names begin with `demo-`; every step can be repeated alone with
the command that the report prints.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError, OutputError
from swath.verbs.config import load_config

if TYPE_CHECKING:
    from swath.cube import BoolArray
    from swath.report.table import Table
    from swath.tasks.metrics import Scores
    from swath.verbs.scene_labels import Labelled

log = logging.getLogger(__name__)

LABELS = "demo:landclass"
SPARSE = "demo:labelled-pixels"


@dataclass(frozen=True)
class DemoConfig:
    """Pretrain, fine-tune, map and report on the embedded sample.

    Attributes:
        output: folder of the demo's results.
        seeds: how many times everything is trained, with other draws.
        full: also train a plain U-Net and pretrain on the western half alone, and pretrain longer.
        quick: a few steps of everything, to see that it runs; the scores mean nothing then.
        overwrite: replace the results of an earlier demo.
        series: a folder with a WorldCereal site: in place of all that, map it from several dates (needs
            h5py: pip install "swath[series]").
    """

    output: str = "runs/demo"
    seeds: int = 1
    full: bool = False
    quick: bool = False
    overwrite: bool = False
    series: str = ""

    def __post_init__(self) -> None:
        if self.series and (self.full or self.seeds != 1):
            raise ConfigError("has one seed and one length", where="series", mend="leave seeds and full out")
        if self.seeds < 1:
            raise ConfigError(f"is {self.seeds}", where="seeds", mend="give 1 or more")


@dataclass(frozen=True)
class DemoResult:
    """Where the results are."""

    map: str
    report: str
    table: str
    seconds: float

    def summary(self) -> str:
        """A few words for a terminal."""
        return (
            f"done in {self.seconds / 60:.1f} minutes\n"
            f"map     {self.map}  (open it in QGIS)\n"
            f"report  {self.report}  (open it in a browser)\n"
            f"table   {self.table}"
        )


@dataclass(frozen=True)
class Row:
    """One line of the table: how its map is made.

    Attributes:
        key: name of its folder.
        title: in the table.
        recipe: of the fine-tuning.
        pretrained: folder of the pretraining to start from; empty: from scratch.
        labels: to learn from.
        note: under the title.
    """

    key: str
    title: str
    recipe: str
    pretrained: str = ""
    labels: str = LABELS
    note: str = ""


ROWS = (
    Row("pretrained", "(a) ST-SwinUNet, pretrained", "demo-finetune", "pretrain-st-swin"),
    Row("scratch", "(b) ST-SwinUNet, from scratch", "demo-finetune", note="same network and budget as (a)"),
)
FULL_ROWS = (
    Row("unet", "(e) U-Net, from scratch", "demo-unet"),
    Row(
        "pretrained-west",
        "(f) ST-SwinUNet, pretrained on the west alone",
        "demo-finetune",
        "pretrain-st-swin-west",
    ),
)
SPARSE_ROWS = (
    Row("sparse-pretrained", "(g) as (a), few labelled pixels", "demo-sparse", "pretrain-st-swin", SPARSE),
    Row("sparse-scratch", "(h) as (b), few labelled pixels", "demo-sparse", labels=SPARSE),
)
FORESTS = (
    ("forest", "(c) random forest, bands of the pixel", (), LABELS),
    ("forest-neighbours", "(d) random forest, and 3×3 and 5×5 means", (3, 5), LABELS),
    ("forest-sparse", "(i) as (d), few labelled pixels", (3, 5), SPARSE),
)
QUICK: Mapping[str, Any] = {
    "training.steps": 4,
    "training.batch_size": 4,
    "training.warmup_steps": 1,
    "training.validate_every": 4,
}
# Times the steps of the short demo. Fine-tuning comes to its best step well before its end: longer gains nothing.
FULL_PRETRAINING = 1.5


def run(config: DemoConfig) -> DemoResult:
    """Runs the demo.

    Raises:
        SwathError: in one line; an earlier demo is left alone unless told otherwise.
    """
    from swath.verbs.demo_page import write_page
    from swath.verbs.labelled_options import LabelledData
    from swath.verbs.scene_labels import read_labelled

    if config.series:
        from swath.verbs.demo_series import run_series

        return run_series(config)
    began = time.monotonic()
    folder = Path(config.output)
    open_folder(folder, config.overwrite)
    finetune_data: LabelledData = load_config(_finetune_config(), ["demo-finetune"]).data
    data = read_labelled(finetune_data)
    scores: dict[str, list[Scores]] = {}
    steps = _Steps(config, folder)
    for seed in range(config.seeds):
        _one_seed(config, folder, seed, data, scores, steps)
    table: Table = make_table(config, scores, data)
    table_path = table.write_json(folder / "table.json")
    report = write_page(folder, config, data, table, scores, steps.commands)
    table.print()
    return DemoResult(str(folder / "map.tif"), str(report), str(table_path), time.monotonic() - began)


def open_folder(folder: Path, overwrite: bool) -> None:
    """Makes the demo's folder, or clears it of an earlier demo's results if told to."""
    if folder.exists() and not folder.is_dir():
        raise OutputError("is a file", where=folder, mend="give another --output")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise OutputError(
                "exists and is not empty", where=folder, mend="give another --output, or --overwrite true"
            )
        # Only what a demo made: a folder named by mistake must not lose anything else.
        made = [p for p in folder.iterdir() if p.name in _MADE or p.name.startswith("seed-")]
        for path in made:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)


_MADE = ("map.tif", "map.tif.aux.xml", "map.qml", "table.json", "report.html", "README.txt")


class _Steps:
    """Runs verbs, one after the other, keeping the command of each."""

    def __init__(self, config: DemoConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.commands: list[str] = []

    def __call__(self, verb: str, sources: list[str], options: dict[str, Any]) -> Any:
        from swath.verbs.registry import find

        loaded = find(verb).load()
        words = " ".join(f"--{name} {_word(value)}" for name, value in options.items())
        self.commands.append(" ".join(filter(None, ["swath", verb, *sources, words])))
        config = load_config(loaded.config, sources, options, verb=verb)
        run_verb: Callable[[Any], Any] = loaded.run
        return run_verb(config)


def _word(value: object) -> str:
    import json
    import shlex

    if isinstance(value, bool):
        return str(value).lower()
    return shlex.quote(value if isinstance(value, str) else json.dumps(value))


def _finetune_config() -> Any:
    from swath.verbs.finetune import FinetuneConfig

    return FinetuneConfig


def _one_seed(
    config: DemoConfig,
    folder: Path,
    seed: int,
    data: Labelled,
    scores: dict[str, list[Scores]],
    step: _Steps,
) -> None:
    home = folder / f"seed-{seed}"
    base = {"training.seed": seed}

    def options(recipe: str, key: str, more: Mapping[str, Any] = {}) -> dict[str, Any]:
        return {"run.folder": str(home / key), **base, **_length(config, recipe), **more}

    step("pretrain", ["demo-pretrain-st-swin"], options("demo-pretrain-st-swin", "pretrain-st-swin"))
    if seed == 0:
        for recipe in ("demo-pretrain-spectralgpt", "demo-pretrain-series"):
            step("pretrain", [recipe], options(recipe, recipe.removeprefix("demo-")))
    if config.full:
        west = {"data.columns": list(data.split.columns["west"]), "data.hold_out": []}
        step(
            "pretrain",
            ["demo-pretrain-st-swin"],
            options("demo-pretrain-st-swin", "pretrain-st-swin-west", west),
        )
    for row in (*ROWS, *(FULL_ROWS if config.full else ()), *SPARSE_ROWS):
        more: dict[str, Any] = {}
        if row.pretrained:
            more["weights"] = str(home / row.pretrained / "weights.safetensors")
        step("finetune", [row.recipe], options(row.recipe, row.key, more))
        first = row.key == "pretrained" and seed == 0
        path = folder / "map.tif" if first else home / row.key / "map.tif"
        weights = home / row.key / "weights.safetensors"
        step(
            "predict",
            ["demo-predict"],
            # Turning takes eight times as long, which is most of a quick demo.
            {"weights": str(weights), "output": str(path), **({"turns": False} if config.quick else {})},
        )
        scores.setdefault(row.key, []).append(_score_map(path, data))
    for key, _, sides, labels in FORESTS:
        scores.setdefault(key, []).append(_score_forest(seed, sides, labels, data))


def _length(config: DemoConfig, recipe: str) -> dict[str, Any]:
    """How long a recipe runs in this demo."""
    if config.quick:
        return dict(QUICK)
    if not config.full or recipe != "demo-pretrain-st-swin":
        return {}
    from swath.verbs.pretrain import PretrainConfig

    steps = load_config(PretrainConfig, [recipe], {"run.folder": "unused"}).training.steps
    return {"training.steps": int(steps * FULL_PRETRAINING)}


def _score_map(path: Path, data: Labelled) -> Scores:
    from swath.data.labels import to_indices
    from swath.verbs.map_scores import read_map, score

    values, known, coverage, _ = read_map(str(path))
    predicted = to_indices(values, known, data.classes, where=str(path))
    return score(predicted, data.labels, coverage == 100, data.split.columns["east"], _names(data))


def _score_forest(seed: int, sides: tuple[int, ...], labels: str, data: Labelled) -> Scores:
    import numpy as np

    from swath.baselines.forest import ForestOptions, forest_map
    from swath.data.labels import read_labels
    from swath.verbs.map_scores import score

    assert data.cube.grid is not None
    known = data.labels if labels == LABELS else read_labels(labels, data.cube.grid, data.classes)
    # The same pixels that the networks learn from and select on: a forest has nothing to select.
    train = data.split.west | data.split.validation
    mapped = forest_map(data.cube, known, train, ForestOptions(sides, seed=seed))
    whole: BoolArray = np.asarray(data.cube.valid.all(axis=(0, 1)))
    return score(mapped, data.labels, whole, data.split.columns["east"], _names(data))


def _names(data: Labelled) -> tuple[str, ...]:
    return tuple(c.name for c in data.classes)


def make_table(config: DemoConfig, scores: Mapping[str, list[Scores]], data: Labelled) -> Table:
    """The demo's table from the scores of each row, one per seed."""
    from swath.report import table as tables

    titles = {row.key: (row.title, row.note) for row in (*ROWS, *FULL_ROWS, *SPARSE_ROWS)}
    titles.update({key: (title, "") for key, title, _, _ in FORESTS})
    rows = [
        tables.Row(
            titles[key][0],
            {
                name: [s.summary()[name] for s in scores[key]]
                for name in ("overall_accuracy", "macro_f1", "miou")
            },
            titles[key][1],
        )
        for key in sorted(scores, key=lambda k: titles[k][0])
    ]
    first = next(iter(scores.values()))[0]
    west, validation, east = (data.split.columns[name] for name in ("west", "validation", "east"))
    support = ", ".join(f"{c.name} {c.support:,}" for c in first.classes)
    notes = [
        f"Scored on {first.count:,} pixels of the eastern half (columns {east[0]} to {east[1] - 1}) with all six bands "
        f"valid: {support}.",
        f"Learned from columns {west[0]} to {west[1] - 1}, selected on {validation[0]} to {validation[1] - 1}; a buffer "
        "as wide as the training window lies between them and the east, which neither normalisation nor training nor "
        "selection saw. "
        "The forests, which select nothing, learn from the validation block too.",
        "The labels are of 1996, the image of 2000: some of the error is real change. The labelled pixels of (g), (h) "
        "and (i) are a part of the same label raster.",
        "(a) pretrains on the pixels of the whole scene, without labels, the east included: it is transductive"
        + (", as against (f)." if config.full else "; `make demo-full` adds pretraining on the west alone."),
    ]
    if config.seeds == 1:
        notes.append("One seed: differences of a few hundredths are within the spread between seeds.")
    if config.quick:
        notes.insert(
            0, "QUICK RUN: a few training steps, to see that everything runs. The scores mean nothing."
        )
    metrics = (
        tables.Metric("overall_accuracy", "overall accuracy"),
        tables.Metric("macro_f1", "macro F1"),
        tables.Metric("miou", "mIoU"),
    )
    return tables.Table("Land classes of the eastern half", metrics, tuple(rows), tuple(notes))
