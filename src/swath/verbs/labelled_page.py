"""The page about a fine-tuning on records: its curves, its scores class by class, and its answers beside the truth."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.report import figures
from swath.report.html import Page
from swath.report.panels import fullest_date, in_colours, in_shades, panels, view
from swath.report.table import Metric, Row, Table
from swath.verbs.answers import Answer
from swath.verbs.dates_page import dates_pictures, dates_words
from swath.verbs.run_report import command, loss_lines, running_facts, score_lines, warnings
from swath.words import counted

if TYPE_CHECKING:
    from swath.training.run import FitResult
    from swath.verbs.finetune import FinetuneConfig
    from swath.verbs.labelled_records import Part
    from swath.verbs.target_meaning import Meaning
    from swath.weights.transfer import TransferReport

_MOST_IN_MATRIX = 25


def records_page(
    folder: Path,
    config: FinetuneConfig,
    parts: Sequence[Part],
    result: FitResult,
    scores: Mapping[str, Any],
    shown: Sequence[Answer],
    parameters: int,
    transferred: TransferReport | None,
) -> Path:
    """Writes report.html.

    Args:
        folder: of the run.
        config: of it.
        parts: train and validation.
        result: what training came to.
        scores: of the validation part with the weights that were kept, as `ScoreTable.to_dict` has them.
        shown: answers about records of the validation part.
        parameters: of the network.
        transferred: what became of pretrained weights.
    """
    train, validation = parts
    start = "from scratch" if transferred is None else f"from `{config.weights}`"
    page = Page(f"Fine-tuning for {train.task}", f"`{folder}`, {config.model.system} {start}")
    page.section("The run").facts(
        {
            "parameters": f"{parameters:,}",
            "best step": f"{result.step} of {result.steps}",
            **{name.replace("_", " "): _number(value) for name, value in result.metrics.items()},
            "samples/s": f"{result.samples_per_second:.0f}",
        }
    )
    page.text(_learned_from(config, train, validation))
    if transferred is not None:
        page.text("What became of the pretrained tensors:").code(str(transferred))
    page.figure(
        figures.curves(loss_lines(result.records)), "Training loss, mean of the last ten logged steps."
    )
    page.figure(
        figures.curves(score_lines(result.records), y="score"),
        "Scores on the validation part; the best step is kept.",
    )
    page.section("Validation", "The whole part, with the weights that were kept.")
    page.table(score_table(scores))
    if "confusion" in scores and len(scores["confusion"]) <= _MOST_IN_MATRIX:
        names = [str(row["name"]) for row in scores["classes"]]
        page.figure(
            figures.confusion(np.asarray(scores["confusion"]), names),
            "Rows are the truth, columns the answers.",
        )
    if shown:
        _answers(page, shown, train.meaning)
    page.section("While it ran").facts(running_facts(result.records))
    for warning in warnings(result.records):
        page.notes(f"Warning: {warning}")
    page.section("Again").code(command("finetune", folder))
    return page.write(folder / "report.html")


def _learned_from(config: FinetuneConfig, train: Part, validation: Part) -> str:
    first = counted(len(train), "record")
    if config.data.parts.by == "within":
        return (
            f"Learned from squares of {first} and selected on others of the same; those of the test part were not "
            "shown. Neighbouring squares look alike, so the scores flatter."
        )
    return f"Learned from {first} and selected on {counted(len(validation), 'other')}; the test part was not opened."


def _number(value: float | None) -> str:
    """The log has null for a score without a meaning, such as the R² of a constant."""
    return "-" if value is None else f"{value:.4g}"


def score_table(scores: Mapping[str, Any]) -> Table:
    """Class by class, or output by output."""
    rows = scores.get("classes") or scores["outputs"]
    counts = ("support", "predicted", "count")
    keys = [key for key in rows[0] if key != "name"]
    metrics = tuple(Metric(k, k.replace("_", " "), "neither", ".0f" if k in counts else ".3f") for k in keys)
    table = tuple(Row(str(row["name"]), {k: row[k] for k in keys}) for row in rows)
    return Table("", metrics, table, tuple(filter(None, [str(scores.get("note") or "")])))


def _answers(page: Page, shown: Sequence[Answer], meaning: Meaning) -> None:
    page.section(
        "Answers",
        "Records of the validation part, evenly over it; of large ones the middle of what is known.",
    )
    for one in shown:
        if one.each_date:
            page.figure(panels(*dates_pictures(one, meaning)), f"{one.id}.{dates_words(one, meaning)}")
            continue
        pictures, words = _seen(one, meaning)
        if one.answer.ndim < 2:
            page.figure(panels(pictures), f"{one.id}: {_words(one, meaning)}{words}")
            continue
        if meaning.task == "regression":
            low, high = _limits(one)
            truth, answer = in_shades(_plane(one.truth), low, high), in_shades(_plane(one.answer), low, high)
            words += f" {next(iter(meaning.quantities))} from {low:.3g} (dark) to {high:.3g} (light)."
        else:
            truth = in_colours(_plane(one.truth), meaning.classes)
            answer = in_colours(_plane(one.answer), meaning.classes)
        answer[~one.valid.any((0, 1))] = 0  # nothing was seen there
        pictures += [("truth", truth), ("answer", answer)]
        page.figure(panels(pictures), f"{one.id}.{words} Hatched is unknown or unseen.")
    if meaning.classes and shown[0].answer.ndim >= 2:
        page.legend(meaning.classes)


def _seen(one: Answer, meaning: Meaning) -> tuple[list[tuple[str, figures.RGBA]], str]:
    """Both ends of a change, or the date of which most is known; and what to say of the dates."""
    count = len(one.pixels)
    if meaning.task == "change" and count > 1:
        chosen, names = [0, count - 1], ["before", "after"]
    else:
        chosen, names = [fullest_date(one.valid, one.bands)], ["seen"]
    pictures = [
        (name, view(one.pixels[t], one.valid[t], one.bands)) for t, name in zip(chosen, names, strict=True)
    ]
    days = [_day(one.dates[t]) for t in chosen]
    if not all(days):
        return pictures, "" if count == 1 or meaning.task == "change" else f" One of {count} dates is shown."
    said = " and ".join(days)
    return pictures, f" {said}, one of {count} dates." if count > len(chosen) else f" {said}."


def _day(date: dt.date | None) -> str:
    return "" if date is None else f"{date.day} {date:%b %Y}"


def _plane(values: Any) -> Any:
    """The last date, or the first output, of a map."""
    return values if values.ndim == 2 else values[0]


def _limits(one: Answer) -> tuple[float, float]:
    both = np.concatenate([_plane(one.truth).ravel(), _plane(one.answer).ravel()])
    known = both[np.isfinite(both)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _words(one: Answer, meaning: Meaning) -> str:
    names = [c.name for c in meaning.classes]
    if meaning.task == "regression":
        truth = ", ".join(f"{v:.3g}" for v in np.atleast_1d(one.truth))
        return f"is {truth}; the answer is {', '.join(f'{v:.3g}' for v in np.atleast_1d(one.answer))}."
    if meaning.task == "multilabel":
        known, said = ([n for n, v in zip(names, x, strict=True) if v > 0] for x in (one.truth, one.answer))
        return f"is {', '.join(known) or 'none'}; the answer is {', '.join(said) or 'none'}."
    truth = names[int(one.truth)] if int(one.truth) >= 0 else "unknown"
    return f"is {truth}; the answer is {names[int(one.answer)]}."
