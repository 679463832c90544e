"""The page about a run: its curve, what it reconstructs or scores, and the command that repeats it."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from swath.errors import InputError
from swath.report import figures
from swath.report.html import Page
from swath.training.module import run_objective
from swath.words import counted

if TYPE_CHECKING:
    from torch import nn

    from swath.cube import CubeBatch
    from swath.training.run import FitResult
    from swath.verbs.finetune import FinetuneConfig
    from swath.verbs.pretrain import PretrainConfig
    from swath.verbs.scene_labels import Labelled
    from swath.weights.transfer import TransferReport

EXAMPLES = "reconstructions.npz"
PICTURED = 8
"""Places that are drawn, of more that are held out: drawing a thousand takes longer than training does."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Reconstructions of places held out, in what the network eats.

    Attributes:
        original, reconstructed: [B,T,C,H,W].
        hidden, valid: bool [B,T,C,H,W].
        dates: [B,T] days since 1970-01-01, NaT where unknown.
        bands: C names.
        places: B names.
    """

    original: npt.NDArray[np.float32]
    reconstructed: npt.NDArray[np.float32]
    hidden: npt.NDArray[np.bool_]
    valid: npt.NDArray[np.bool_]
    dates: npt.NDArray[np.datetime64]
    bands: tuple[str, ...]
    places: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Keeps them beside the run's weights."""
        from swath.files import atomic

        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Examples:
        """Back from the disk."""
        try:
            with np.load(path) as data:
                arrays: dict[str, Any] = {name: data[name] for name in data.files}
        except (OSError, ValueError) as err:
            raise InputError(f"cannot be read ({err})", where=path, mend="run the pretraining again") from err
        for key in ("bands", "places"):
            arrays[key] = tuple(str(x) for x in arrays[key])
        return cls(**arrays)

    def figure(self, place: int, bands: Sequence[str] = (), date: int = 0) -> bytes:
        """Seen, reconstructed and original of some bands (all, if none is named) of one date."""
        chosen = [self.bands.index(b) for b in bands] or list(range(len(self.bands)))
        return figures.reconstruction(
            self.original[place, date][chosen],
            self.reconstructed[place, date][chosen],
            self.hidden[place, date][chosen],
            [self.bands[i] for i in chosen],
            self.valid[place, date][chosen],
        )

    def series(self, place: int, bands: Sequence[str] = ()) -> bytes:
        """Seen, reconstructed and original of all dates: three bands as red, green and blue, or one in grey.

        If none is named: the last three, the last as red.
        """
        names = tuple(bands) or (self.bands[:-4:-1] if len(self.bands) >= 3 else self.bands[:1])
        chosen = [self.bands.index(b) for b in names]
        return figures.series(
            self.original[place][:, chosen],
            self.reconstructed[place][:, chosen],
            self.hidden[place][:, chosen],
            [date_words(d, i) for i, d in enumerate(self.dates[place])],
            self.valid[place][:, chosen],
        )


def date_words(date: np.datetime64, number: int) -> str:
    """A date as a person writes it, or its number in the series."""
    day = date.item()  # None for NaT
    return f"{day.day} {day:%b %Y}" if isinstance(day, dt.date) else f"date {number + 1}"


def dates_of(days: npt.NDArray[np.float32]) -> npt.NDArray[np.datetime64]:
    """Days since 1970 from day of year and year [...,2] (`swath.cube.date_features`), NaT where unknown."""
    known = np.asarray(np.isfinite(days).all(-1))
    day, year = (np.where(known, days[..., i], 1).astype(np.int64) for i in range(2))
    dates = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]") + (day - 1)
    return np.where(known, dates, np.datetime64("NaT"))


def examples(objective: nn.Module, batch: CubeBatch, seed: int, most: int = 16) -> Examples | None:
    """Runs an objective on some places with the masks of `seed`; None if it reconstructs nothing.

    Args:
        objective: its mode is put back afterwards.
        batch: the places.
        seed: of the masks.
        most: places of a forward pass.
    """
    import torch

    from swath.feed.normalise import normalise

    training, device = objective.training, next(objective.parameters()).device
    objective.eval()
    drawn: list[torch.Tensor] = []
    hidden: list[torch.Tensor] = []
    with torch.no_grad():
        for part in batch.parts(most):
            first = sum(d.shape[0] for d in drawn)
            out = run_objective(objective, part.to(device), seed=seed, first=first)
            if out.reconstruction is None or out.mask is None:
                break
            drawn.append(out.reconstruction.float().cpu())
            hidden.append(out.mask.cpu())
    objective.train(training)
    if not drawn:
        return None
    return Examples(
        normalise(batch).cpu().numpy(),
        torch.cat(drawn).numpy(),
        torch.cat(hidden).numpy(),
        batch.valid.cpu().numpy(),
        dates_of(batch.days.cpu().numpy()),
        tuple(b.name for b in batch.bands),
        tuple(Path(name.split("@")[0]).name for name in batch.ids),
    )


def loss_lines(records: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Training loss, smoothed over ten logged steps, and what the validation measured of it."""
    steps = [(r["step"], r["loss"]) for r in records if r.get("loss") is not None]
    values = [v for _, v in steps]
    smooth = [float(np.mean(values[max(0, i - 9) : i + 1])) for i in range(len(values))]
    lines = {"training": [(float(s), v) for (s, _), v in zip(steps, smooth, strict=True)]}
    held = [
        (float(r["step"]), float(r["validation"]["held_out_loss"]))
        for r in records
        if "held_out_loss" in r.get("validation", {})
    ]
    if held:
        lines["places held out"] = held
    return lines


def score_lines(records: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """What the validation measured, by name."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for r in records:
        for name, value in r.get("validation", {}).items():
            lines.setdefault(name.replace("_", " "), []).append(
                (float(r["step"]), float("nan") if value is None else float(value))
            )
    return lines


def running_facts(records: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """What the log says of the machine: medians over the logged steps."""
    said: dict[str, object] = {}
    names = {"utilisation": "share of the device's peak", "data_wait": "share of time spent waiting for data"}
    for key, words in names.items():
        values = [float(r[key]) for r in records if r.get(key) is not None]
        if values:
            said[words] = f"{np.median(values):.1%}"
    memory = [float(r["memory_gib"]) for r in records if r.get("memory_gib") is not None]
    if memory:
        said["memory, at most"] = f"{max(memory):.2f} GiB"
    said["steps skipped"] = max((int(r.get("skipped", 0)) for r in records), default=0)
    return said


def health_lines(
    records: Iterable[Mapping[str, Any]],
) -> dict[str, tuple[dict[str, list[tuple[float, float]]], str]]:
    """Curves of what was seen of the features: axis -> (lines, caption)."""
    rank: list[tuple[float, float]] = []
    scores: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for r in records:
        seen = r.get("health", {})
        if "feature_rank" in seen:
            rank.append((float(r["step"]), float(seen["feature_rank"])))
        for name, value in seen.items():
            method, _, score = name.partition("_")
            if method in ("knn", "linear"):
                at = float(r["step"]), float("nan") if value is None else float(value)
                scores.setdefault(score, {}).setdefault(method, []).append(at)
    found: dict[str, tuple[dict[str, list[tuple[float, float]]], str]] = {}
    if rank:
        found["effective rank"] = ({"features": rank}, "How many dimensions the pooled features use.")
    for score, lines in scores.items():
        words = "Frozen features asked about the labels of the probe's validation part."
        found[score.replace("_", " ") or "accuracy"] = lines, words
    return found


def warnings(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a page about the run should warn of."""
    said = []
    collapsed = [r["step"] for r in records if r.get("health", {}).get("collapsed")]
    if collapsed:
        said.append(
            f"the features had collapsed at {len(collapsed)} of the looks at them, last at step {collapsed[-1]}: "
            "different places looked alike to them."
        )
    skipped = max((int(r.get("skipped", 0)) for r in records), default=0)
    if skipped:
        said.append(f"{counted(skipped, 'step')} skipped for the loss or gradient; see bad_steps.")
    return said


def command(verb: str, folder: Path) -> str:
    """The command that repeats a run from its own config."""
    config = shlex.quote(str(folder / "config.yaml"))
    return f"swath {verb} {config} --run.folder {shlex.quote(str(folder) + '-again')}"


def pretraining_page(
    folder: Path,
    config: PretrainConfig,
    objective: nn.Module,
    held: CubeBatch | None,
    result: FitResult,
    parameters: int,
) -> Path:
    """Writes report.html, and the reconstructions beside it."""
    page = Page(f"Pretraining of {config.model.system}", f"`{folder}`")
    page.section("The run").facts(
        {
            "parameters": f"{parameters:,}",
            "steps": result.steps,
            "last loss": f"{result.loss:.4f}",
            "samples/s": f"{result.samples_per_second:.0f}",
            "precision": result.precision.name,
        }
    )
    page.figure(figures.curves(loss_lines(result.records)), "Loss, mean of the last ten logged steps.")
    page.section("While it ran").facts(running_facts(result.records))
    for warning in warnings(result.records):
        page.notes(f"Warning: {warning}")
    lines = health_lines(result.records)
    for name, (shown_lines, words) in lines.items():
        page.figure(figures.curves(shown_lines, y=name), words)
    shown = None if held is None else examples(objective, held, config.training.seed)
    if shown is not None:
        shown.save(folder / EXAMPLES)
        drawn = shown.places[:PICTURED]
        few = f" The first {PICTURED} of {len(shown.places)}." if len(drawn) < len(shown.places) else ""
        page.section("Reconstructions", f"Places that training never saw; hidden parts in blue.{few}")
        for i, place in enumerate(drawn):
            page.figure(
                shown.figure(i), f"{place}, band by band, each stretched by the original's own range."
            )
            if shown.original.shape[1] > 1:
                page.figure(
                    shown.series(i),
                    f"{place}, date by date, all stretched alike; hidden parts filled in, invalid is white.",
                )
    page.section("Again").code(command("pretrain", folder))
    return page.write(folder / "report.html")


def finetuning_page(
    folder: Path,
    config: FinetuneConfig,
    data: Labelled,
    result: FitResult,
    parameters: int,
    transferred: TransferReport | None,
) -> Path:
    """Writes report.html."""
    start = "from scratch" if transferred is None else f"from `{config.weights}`"
    page = Page(f"Fine-tuning of {config.model.system}", f"`{folder}`, {start}")
    page.section("The run").facts(
        {
            "parameters": f"{parameters:,}",
            "best step": f"{result.step} of {result.steps}",
            **{name.replace("_", " "): f"{value:.3f}" for name, value in result.metrics.items()},
            "samples/s": f"{result.samples_per_second:.0f}",
        }
    )
    if transferred is not None:
        page.text("What became of the pretrained tensors:").code(str(transferred))
    page.figure(
        figures.curves(loss_lines(result.records)), "Training loss, mean of the last ten logged steps."
    )
    page.figure(
        figures.curves(score_lines(result.records), y="score"),
        "Scores on the validation block; the best step is kept.",
    )
    first, last = data.split.columns["validation"]
    page.notes(
        f"Learned from columns {data.split.columns['west'][0]} to {data.split.columns['west'][1] - 1}, selected on "
        f"{first} to {last - 1}; columns from {data.split.columns['east'][0]} on were never seen."
    )
    page.section("Again").code(command("finetune", folder))
    return page.write(folder / "report.html")
