"""The cells of a card, and the commands that answer each."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swath.files import atomic
from swath.verbs.card import METHODS, CardConfig
from swath.verbs.card_split import SHARES
from swath.verbs.card_weights import LORA_RANK
from swath.verbs.labelled_options import LabelledData
from swath.verbs.run_many import Run

if TYPE_CHECKING:
    from swath.data.legend import LandClass
    from swath.verbs.labelled_records import Part

log = logging.getLogger(__name__)
PLAIN = ("majority", "index", "forest")
ENCODERS = ("probe", "lora", "full")
# What the random-split runs begin with, and one record of train: enough to know what the data are.
_LEAK = "leak-"
FEATURES = "features"
"""The folder in a card's own that keeps the features of frozen encoders."""
_ONE = 1e-9


@dataclass(frozen=True)
class Look:
    """What a card needs to know of the data.

    Attributes:
        task: of the data.
        per_pixel: whether targets are maps.
        classes: of the data; empty for numbers.
        index: whether an index and a threshold apply.
        dated: whether targets are of each date.
    """

    task: str
    per_pixel: bool
    classes: tuple[LandClass, ...] = ()
    index: bool = False
    dated: bool = False


@dataclass(frozen=True)
class Cell:
    """One number of the card.

    Attributes:
        method: see `CardConfig.methods`.
        encoder: a name of its weights; empty without any.
        fraction: of the labels.
        seed: of the cell.
        runs: its commands, in order; the last one scores the test part.
        weights: the file that its training leaves; empty if nothing does.
        leak: whether it is of the random split.
        source: the file of its encoder; empty without any.
    """

    method: str
    encoder: str
    fraction: float
    seed: int
    runs: tuple[Run, ...]
    weights: str = ""
    leak: bool = False
    source: str = ""


def first_of(data: LabelledData) -> Part:
    """One record of the train part."""
    from swath.verbs.labelled_records import open_part

    log.info("looking at one record, whether all fits")
    return open_part(replace(data, label_fraction=_ONE), "train")


def look_at(part: Part) -> Look:
    """What a part says of its data."""
    from swath.baselines.index import indices_of
    from swath.verbs.answerer import per_pixel

    maps = per_pixel(part)
    two = part.task == "segmentation" and len(part.classes) == 2
    index = two and bool(indices_of(part.records[0].cube.bands))
    return Look(part.task, maps, part.classes, index, part.dated)


def asked_of(config: CardConfig, seen: Look) -> tuple[str, ...]:
    """The methods that are named, or else all that apply."""
    return config.methods or tuple(m for m in METHODS if m != "index" or seen.index)


def plan(config: CardConfig, data: LabelledData, seen: Look, folder: Path) -> list[Cell]:
    """All cells; the files of data that their commands read are written."""
    asked = asked_of(config, seen)
    split = _data_file(data, folder)
    cells = []
    for method in asked:
        for encoder, file in _encoders(config, method):
            for fraction in sorted(set(config.fractions)):
                # With all labels nothing is left to be drawn in these.
                once = fraction == 1 and method in ("majority", "index")
                for seed in range(1 if once else config.seeds):
                    made = _Maker(config, seen, folder, split, method, encoder, file, fraction, seed)
                    cells.append(made.cell())
    if measures_leak(config, data):
        shares = data.parts.shares if set(data.parts.shares) == set(SHARES) else SHARES
        random = replace(data.parts, by="random", shares=shares, train=(), validation=(), test=())
        mixed = _data_file(replace(data, parts=random), folder)
        for method in [m for m in asked if m in PLAIN]:
            made = _Maker(config, seen, folder, mixed, method, "", "", 1.0, 0)
            cells.append(replace(made.cell(_LEAK), leak=True))
    return cells


def measures_leak(config: CardConfig, data: LabelledData) -> bool:
    """Whether a random split is tried too: as told, else where this one keeps neighbours apart, so that they compare."""
    if config.leak is not None:
        return config.leak
    return data.parts.by in ("blocks", "groups") and 1.0 in config.fractions


def cell_runs(cells: Sequence[Cell]) -> list[Run]:
    """All commands, each once, in an order in which they can be done: the first seed of every method, then the next.

    So what cannot work fails early, and a card that is stopped has something of each method.
    """
    by_seed = sorted(cells, key=lambda cell: cell.seed)
    return list({run.name: run for cell in by_seed for run in cell.runs}.values())


def _encoders(config: CardConfig, method: str) -> Iterator[tuple[str, str]]:
    """(name, file) of the encoders that a method takes."""
    if method in (*PLAIN, "scratch"):
        yield "", ""
        return
    names = _names(config.weights)
    # An encoder that was never trained is the same whatever the weights were, as long as the form is.
    yield from zip(names, config.weights, strict=True)


def _names(files: Sequence[str]) -> list[str]:
    """Short and different names: of the file, or of its run's folder."""
    short = [Path(f).parent.name if Path(f).stem == "weights" else Path(f).stem for f in files]
    return [n if short.count(n) == 1 else f"{n}-{i + 1}" for i, n in enumerate(short)]


def _data_file(data: LabelledData, folder: Path) -> str:
    """A YAML file of the data, named after what it says: other data are other commands."""
    import yaml

    from swath.verbs.config import to_plain

    text = yaml.safe_dump({"data": to_plain(data)}, sort_keys=False, allow_unicode=True, width=100)
    path = folder / f"data-{_short(text)}.yaml"
    if not path.exists():
        with atomic(path) as temporary:
            temporary.write_text(text, "utf-8")
    return str(path)


def _short(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class _Maker:
    """Makes the commands of a cell."""

    config: CardConfig
    seen: Look
    folder: Path
    data: str
    method: str
    encoder: str
    file: str
    fraction: float
    seed: int

    def cell(self, prefix: str = "") -> Cell:
        named = [self.method, self.encoder, f"{self.fraction:g}", str(self.seed)]
        name = prefix + "-".join(_plain(n) for n in named if n)
        runs, weights = self._baseline(name) if self.method in PLAIN else self._network(name)
        return Cell(self.method, self.encoder, self.fraction, self.seed, runs, weights, source=self.file)

    def _labels(self) -> tuple[str, ...]:
        return ("--data.label_fraction", f"{self.fraction:g}", "--data.label_seed", str(self.seed))

    def _intervals(self) -> tuple[str, ...]:
        from swath.verbs.config import to_plain
        from swath.verbs.score_units import IntervalOptions

        own, usual = to_plain(self.config.intervals), to_plain(IntervalOptions())
        return tuple(w for k, v in own.items() if v != usual[k] for w in (f"--intervals.{k}", str(v)))

    def _device(self, prefix: str = "") -> tuple[str, ...]:
        given = {"precision": self.config.precision, "device": self.config.device}
        words = tuple(w for k, v in given.items() if v != "auto" for w in (f"--{prefix}{k}", v))
        return (*words, *self._threads(prefix))

    def _threads(self, prefix: str = "") -> tuple[str, ...]:
        """Said in the command too, so that whoever types it gets the same bits."""
        return (f"--{prefix}threads", str(self.config.threads)) if self.config.threads else ()

    def _baseline(self, name: str) -> tuple[tuple[Run, ...], str]:
        words = (
            "baseline", self.method, self.data, *self._labels(), "--seed", str(self.seed), *self._intervals(),
            *self._threads(),
        )  # fmt: skip
        return (Run(name, words),), ""

    def _network(self, name: str) -> tuple[tuple[Run, ...], str]:
        if self.method in ("probe", "random"):
            return (self._probe(name),), ""
        c = self.config
        words = [
            self.data, *self._labels(), "--training.steps", str(c.steps), "--training.batch_size", str(c.batch_size),
            "--training.warmup_steps", str(c.steps // 10), "--training.validate_every", str(max(1, c.steps // 5)),
            "--training.checkpoint_every", str(c.steps), "--training.keep", "1", "--training.seed", str(self.seed),
            "--training.learning_rate", f"{self._rate():g}", *self._device("training."),
        ]  # fmt: skip
        if self.method == "scratch":
            maps = self.seen.per_pixel
            words += ["--model.system", "unet" if maps else "st_swin_mae"]
            words += ["--model.preset", c.unet if maps else "tiny"]
        else:
            words += ["--weights", self.file]
        if self.method == "lora":
            words += ["--lora.rank", str(LORA_RANK)]
        # Other words, or other weights under the same name, leave their files elsewhere.
        run = self.folder / "cells" / f"{name}-{_short(*words, _hash(self.file))}"
        weights = str(run / "weights.safetensors")
        fit = Run(f"{name}.fit", ("finetune", *words, "--run.folder", str(run), "--run.overwrite", "true"))
        score = Run(
            f"{name}.score",
            ("evaluate", weights, self.data, *self._intervals(), *self._device()),
            after=(fit.name,),
        )
        return (fit, score), weights

    def _rate(self) -> float:
        return self.config.full_learning_rate if self.method == "full" else self.config.learning_rate

    def _probe(self, name: str) -> Run:
        words = [
            "probe", self.data, *self._labels(), "--weights", self.file, "--methods", json.dumps(["linear"]),
            "--score_test", "true", "--probe.seed", str(self.seed), "--cache", str(self.folder / FEATURES),
            *self._intervals(), *self._device(),
        ]  # fmt: skip
        if self.method == "random":
            words += ["--untrained", str(self.seed)]
        out = self.folder / "cells" / f"{name}-{_short(*words, _hash(self.file))}.json"
        return Run(name, (*words, "--output", str(out), "--overwrite", "true"))


def _plain(text: str) -> str:
    """Fit for the name of a file."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in text)


def _hash(file: str) -> str:
    if not file:
        return ""
    with Path(file).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
