"""`swath card`: whether a pretrained encoder beats a plain U-Net on one's own data."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from swath.errors import ConfigError
from swath.verbs.labelled_options import LabelledData
from swath.verbs.registry import RECIPE
from swath.verbs.score_units import IntervalOptions
from swath.words import counted

POSITIONAL = (RECIPE,)
METHODS = ("majority", "index", "forest", "scratch", "random", "probe", "lora", "full")
MethodName = Literal["majority", "index", "forest", "scratch", "random", "probe", "lora", "full"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CardConfig:
    """Compare plain methods, a U-Net from scratch and pretrained encoders on labelled data.

    Every cell of the table is a command of swath in a process of its own, whose answer is kept; a card that was
    stopped goes on where it was.

    Attributes:
        folder: of the card: `card.html`, `table.json`, the answers and the weights of each cell.
        data: a layout, shards, or a scene with labels, as for `swath finetune`; of a scene, windows with labels are
            records (data.window pixels wide).
        weights: files of pretrained encoders; without any, the plain methods and the U-Net are compared alone.
        methods: "majority", "index" (a spectral index and a threshold; maps of two classes), "forest", "scratch" (a
            U-Net; for one label per image a small Swin), "random" (a linear probe on an encoder that was never
            trained), "probe" (linear, on the frozen encoder), "lora" and "full" fine-tuning; empty: all that apply.
        fractions: shares of the train part's records to learn from.
        seeds: runs of each cell; they differ in the labels that are drawn and in how networks begin.
        steps: of each training.
        batch_size: of each training.
        learning_rate: of the U-Net and of LoRA.
        full_learning_rate: of full fine-tuning.
        unet: preset of the U-Net.
        split: "auto": unless data.parts is given, by blocks of the ground where records say where they lie, else by
            whole groups; "data": as data.parts says, whatever it is, the data set's own parts included.
        leak: also score the plain methods, with all labels, under a random split, and say by how much it flatters; null:
            where blocks or groups divide the data, and 1 is among the fractions.
        intervals: how confidence intervals are made.
        resume: go on with a card that is in the folder.
        kept: run nothing: make the page of the answers that are in the folder, of a card that was stopped or still runs.
        jobs: processes at a time.
        threads: of each; 0: as many as torch takes.
        precision: "auto" is bf16 on a GPU and on CPUs with AMX, else fp32.
        device: "auto" is the GPU if there is one.
    """

    folder: str
    data: LabelledData
    weights: tuple[str, ...] = ()
    methods: tuple[MethodName, ...] = ()
    fractions: tuple[float, ...] = (0.01, 0.05, 0.25, 1.0)
    seeds: int = 3
    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 1e-3
    full_learning_rate: float = 3e-4
    unet: str = "unet_16"
    split: Literal["auto", "data"] = "auto"
    leak: bool | None = None
    intervals: IntervalOptions = field(default_factory=IntervalOptions)
    resume: bool = False
    kept: bool = False
    jobs: int = 1
    threads: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    SHORT: ClassVar[Mapping[str, str]] = {"labels": "data.labels", "attribute": "data.attribute"}

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "batch_size", "jobs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"is {getattr(self, name)}", where=name, mend="give 1 or more")
        if self.threads < 0:
            raise ConfigError(f"is {self.threads}", where="threads", mend="give 0 or more")
        if not self.fractions or not all(0 < f <= 1 for f in self.fractions):
            raise ConfigError(
                "must be above 0, up to 1", where="fractions", mend="give some, such as [0.1, 1]"
            )
        if self.leak and 1.0 not in self.fractions:
            raise ConfigError("compares what all labels teach", where="leak", mend="add 1 to fractions")
        for name in ("fractions", "methods", "weights"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ConfigError("one is named twice", where=name, mend="name each once")
        if self.data.label_fraction != 1 or self.data.label_seed:
            raise ConfigError(
                "is what the card varies", where="data.label_fraction", mend="use fractions and seeds"
            )
        if self.data.validation or self.data.east_start:
            raise ConfigError(
                "divides a scene by columns, which leaves no shares of labels to compare",
                where="data.east_start, data.validation",
                mend="leave them out: its windows are divided by blocks of the ground, or give data.parts",
            )
        needed = [m for m in self.methods if m in ("random", "probe", "lora", "full")]
        if needed and not self.weights:
            raise ConfigError(f"{needed[0]} needs an encoder", where="weights", mend="name a file of weights")


@dataclass(frozen=True)
class CardResult:
    """What the card came to.

    Attributes:
        answer: to the question, in one line.
        better: whether an encoder is better than the network from scratch; null: nothing can be said.
        page: the file to open.
        table: the numbers of all cells.
        cells: that were answered.
        failed: cells that were not, and what was said of them.
        leak: by how much a random split flatters each plain method, where that was asked for.
    """

    answer: str
    better: bool | None
    page: str
    table: str
    cells: int
    failed: dict[str, str]
    leak: dict[str, float] | None = None

    def summary(self) -> str:
        """A few lines for a terminal."""
        lines = [self.answer]
        for name, flattered in (self.leak or {}).items():
            # The majority knows no neighbours: what it gains is how the classes fell.
            if name != "majority":
                by = round(flattered, 3) + 0.0  # no minus before a zero
                lines.append(f"a random split flatters the {name} by {by:+.3f}")
        if self.failed:
            lines.append(f"{counted(len(self.failed), 'command')} failed; the page says why")
        return "\n".join([*lines, f"page  {self.page}", f"table {self.table}"])


def run(config: CardConfig) -> CardResult:
    """Runs what is missing of the card, and writes it.

    Raises:
        SwathError: in one line, if the options and the data do not fit each other, or no cell was answered.
    """
    import json

    from swath.errors import InputError, OutputError, SwathError
    from swath.files import atomic
    from swath.verbs.card_page import write_page
    from swath.verbs.card_plan import asked_of, cell_runs, first_of, look_at, plan
    from swath.verbs.card_progress import Pace
    from swath.verbs.card_scores import collect, said
    from swath.verbs.card_split import settle
    from swath.verbs.card_weights import check_weights
    from swath.verbs.run_many import kept_answers, run_all

    folder = Path(config.folder)
    if folder.exists() and any(folder.iterdir()) and not (config.resume or config.kept):
        raise OutputError(
            "holds something already", where=folder, mend="give another folder, or go on with --resume true"
        )
    if config.kept and not folder.is_dir():
        raise InputError("is no folder of a card", where=folder, mend="check the path")
    for file in config.weights:
        if not Path(file).is_file():
            raise InputError("is no file", where=file, mend="name a file of weights")
    data, split = settle(config.data, config.split)
    first = first_of(data)
    seen = look_at(first)
    notes = check_weights(config.weights, asked_of(config, seen), data, first)
    for note in notes:
        log.warning("%s", note)
    cells = plan(config, data, seen, folder)
    runs, kept = cell_runs(cells), folder / "answers"
    log.info("%s, %s; %s", counted(len(cells), "cell"), counted(len(runs), "command"), split)
    failures: dict[str, SwathError] = {}
    answers = kept_answers(runs, kept)
    if not config.kept:
        pace = Pace(cells, answers, config.jobs)
        answers = run_all(
            runs, kept, jobs=config.jobs, threads=config.threads, progress=pace.tell, failures=failures
        )
    scored = collect(cells, answers, seen.task)
    if not scored and config.kept:
        raise InputError("holds no answer to these options", where=kept, mend="leave out --kept")
    if not scored:
        raise next(iter(failures.values()))
    if config.kept and len(scored) < len(cells):
        missing = f"{len(cells) - len(scored)} of {counted(len(cells), 'cell')}"
        notes = (*notes, f"{missing} had no answer yet when this page was made.")
        log.warning("%s", notes[-1])
    card = said(scored, seen, split, notes)
    failed = {name: str(error) for name, error in failures.items()}
    page = write_page(folder / "card.html", config, data, seen, card, failed)
    with atomic(folder / "table.json") as temporary:
        text = json.dumps({**card.to_dict(), "failed": failed}, indent=2)
        temporary.write_text(text + "\n", "utf-8")
    return CardResult(
        card.answer, card.better, str(page), str(folder / "table.json"), len(scored), failed, card.leak
    )
