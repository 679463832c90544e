"""From the answers of a card's commands to its numbers, its table and its one line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from swath.verbs.card_plan import ENCODERS, PLAIN, Cell, Look
from swath.verbs.run_many import Answer
from swath.words import counted

if TYPE_CHECKING:
    from swath.report.table import Table

HEADLINE = {
    "classification": "overall_accuracy",
    "segmentation": "miou",
    "change": "macro_f1",
    "multilabel": "map_macro",
    "regression": "r2",
}
"""What each task is compared by; more is better."""
SCORE_WORDS = {
    "overall_accuracy": "overall accuracy", "miou": "mean IoU", "macro_f1": "macro F1",
    "map_macro": "mean average precision", "r2": "R²",
}  # fmt: skip
_TITLES = {
    "majority": "majority", "index": "spectral index", "forest": "random forest", "random": "untrained encoder, linear",
    "probe": "frozen, linear", "lora": "LoRA", "full": "fine-tuned",
}  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """An answered cell.

    Attributes:
        cell: that it is.
        score: on the test part; NaN where it has no meaning.
        low, high: its interval by block, or None.
        validation: the same number on the part that selects, or None where nothing selects.
        seconds: of all its commands.
        peak_bytes: the most memory that one of them held.
        worst: records that are answered worst, and how far off.
        blocks: how many the interval comes from, and what they are, in words.
        device_bytes: the most memory that one of them held on GPUs; 0 without any.
    """

    cell: Cell
    score: float
    low: float | None
    high: float | None
    validation: float | None
    seconds: float
    peak_bytes: int
    worst: tuple[tuple[str, float], ...] = ()
    blocks: str = ""
    device_bytes: int = 0

    @property
    def row(self) -> tuple[str, str]:
        """(method, encoder)."""
        return self.cell.method, self.cell.encoder

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; what has no value is null."""
        plain = asdict(self)
        plain.pop("cell")
        return {
            "method": self.cell.method,
            "encoder": self.cell.encoder,
            "fraction": self.cell.fraction,
            "seed": self.cell.seed,
            **{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in plain.items()},
            "commands": [run.command for run in self.cell.runs],
        }


@dataclass(frozen=True)
class Card:
    """All of a card.

    Attributes:
        scored: the cells, those of the random split left out.
        mixed: those of the random split.
        seen: of the data.
        split: in words.
        answer: in one line.
        better: yes, no, or nothing can be said.
        best: (method, encoder) of the encoder that the validation part likes best with the most labels.
        leak: by how much a random split flatters each plain method, if it was asked for.
        notes: what must be said with the scores.
    """

    scored: tuple[Scored, ...]
    seen: Look
    split: str
    answer: str
    better: bool | None
    best: tuple[str, str] | None
    leak: dict[str, float] | None
    notes: tuple[str, ...] = ()
    mixed: tuple[Scored, ...] = ()

    @property
    def score_name(self) -> str:
        """What is compared."""
        return HEADLINE[self.seen.task]

    @property
    def most(self) -> float:
        """The largest share of labels that was answered."""
        return max(s.cell.fraction for s in self.scored)

    def rows(self) -> list[tuple[str, str]]:
        """(method, encoder), in the order of the plan."""
        return list(dict.fromkeys(s.row for s in self.scored))

    def title(self, row: tuple[str, str]) -> str:
        """As a person reads it."""
        return title_of(row, self.seen)

    def of(self, row: tuple[str, str], fraction: float) -> list[Scored]:
        """The seeds of a row at a share of labels."""
        return [s for s in self.scored if s.row == row and s.cell.fraction == fraction]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "answer": self.answer, "better": self.better, "task": self.seen.task, "score": self.score_name,
            "split": self.split, "notes": list(self.notes), "leak": self.leak,
            "cells": [s.to_dict() for s in self.scored], "random_split": [s.to_dict() for s in self.mixed],
            "table": score_table(self).to_dict(),
        }  # fmt: skip


def title_of(row: tuple[str, str], seen: Look) -> str:
    """As a person reads it."""
    method, encoder = row
    if method == "scratch":
        return "U-Net from scratch" if seen.per_pixel else "small Swin from scratch"
    return f"{encoder}: {_TITLES[method]}" if encoder else _TITLES[method]


def collect(cells: Sequence[Cell], answers: Mapping[str, Answer], task: str) -> list[Scored]:
    """The cells whose commands were all answered."""
    return [
        _scored(cell, [answers[r.name] for r in cell.runs], HEADLINE[task])
        for cell in cells
        if all(r.name in answers for r in cell.runs)
    ]


def _scored(cell: Cell, found: Sequence[Answer], name: str) -> Scored:
    last = found[-1].result
    validation: Any = None
    if cell.method in ("probe", "random"):
        probe = last["probes"][0]
        scores, intervals, validation = probe["test"]["scores"], probe["intervals"], probe["validation"][name]
        worst = probe.get("worst", ())  # answers that an older version kept name none
    else:
        scores, intervals, worst = last["scores"], last["intervals"], last.get("worst", ())
        if len(found) > 1:
            validation = found[0].result["validation"][name]
    ends = intervals["intervals"].get(name)
    low, high = ends or (None, None)
    value = scores[name]
    return Scored(
        cell,
        math.nan if value is None else float(value),
        low,
        high,
        None if validation is None else float(validation),
        sum(a.seconds for a in found),
        max(a.peak_bytes for a in found),
        tuple((str(record), float(off)) for record, off in worst),
        f"{counted(intervals['units'], 'block')}, each a {intervals['unit']}",
        max(a.device_bytes for a in found),
    )


def finite(rows: Iterable[Scored]) -> list[float]:
    """The scores that have a value: the others have no meaning, such as an R² where all truth is the same."""
    return [s.score for s in rows if math.isfinite(s.score)]


def said(scored: Sequence[Scored], seen: Look, split: str, notes: Sequence[str] = ()) -> Card:
    """The card with its line."""
    own = tuple(s for s in scored if not s.cell.leak)
    best = best_encoder(own)
    better, line = verdict(own, seen, best)
    mixed = tuple(s for s in scored if s.cell.leak)
    return Card(own, seen, split, line, better, best, flattered(scored, seen), tuple(notes), mixed)


def flattered(scored: Sequence[Scored], seen: Look) -> dict[str, float] | None:
    """Title of each plain method -> its score under the random split less that under the card's own."""
    mixed = [s for s in scored if s.cell.leak]
    found = {}
    for s in mixed:
        here = finite(o for o in scored if not o.cell.leak and o.row == s.row and o.cell.fraction == 1)
        if here and math.isfinite(s.score):
            found[title_of(s.row, seen)] = s.score - mean(here)
    return found if mixed else None


def best_encoder(scored: Sequence[Scored]) -> tuple[str, str] | None:
    """The (method, encoder) that the validation part likes best, with the most labels; the test part has no say."""
    rows: dict[tuple[str, str], list[float]] = {}
    ours = [s for s in scored if s.cell.method in ENCODERS]
    for s in ours:
        if s.validation is None or not math.isfinite(s.validation):
            continue
        if s.cell.fraction == max(o.cell.fraction for o in ours):
            rows.setdefault(s.row, []).append(s.validation)
    return max(rows, key=lambda row: mean(rows[row])) if rows else None


def verdict(scored: Sequence[Scored], seen: Look, best: tuple[str, str] | None) -> tuple[bool | None, str]:
    """Whether the best encoder beats the network from scratch, and the line that says so.

    It does if the difference of the means is above the spread between seeds: the root of the sum of both variances.
    """
    rival = ("scratch", "")
    known = [s for s in scored if math.isfinite(s.score)]
    shares = [{s.cell.fraction for s in known if s.row == row} for row in (rival, best)]
    rival_name = title_of(rival, seen)
    if best is None or not (shares[0] & shares[1]):
        lines = [_at(scored, row, seen) for row in dict.fromkeys(s.row for s in scored)]
        why = "no encoder was scored" if best is None else f"the {rival_name} was not scored beside it"
        return None, f"no answer: {why}; {', '.join(lines)}"
    share = max(shares[0] & shares[1])
    ours, theirs = ([s for s in scored if s.row == row and s.cell.fraction == share] for row in (best, rival))
    a, b = finite(ours), finite(theirs)
    with_labels = "" if share == 1 else f" with {share:.3g} of the labels"
    encoder = f"the best encoder ({title_of(best, seen)}) at {_spread(ours)}{with_labels}"
    both = f"the {rival_name} is at {_spread(theirs)}, {encoder}"
    difference = mean(a) - mean(b)
    plain = _plain_above(scored, share, max(mean(a), mean(b)), seen)
    if min(len(a), len(b)) < 2:
        return None, f"no answer: {both}; one seed says nothing of the spread{plain}"
    spread = math.hypot(stdev(a), stdev(b))
    if difference > spread:
        apart = _interval(ours)[0] > _interval(theirs)[1]
        also = "" if apart else ", though the intervals over places overlap"
        return True, f"yes: {both}; the difference is above the spread between seeds{also}{plain}"
    how = (
        "the difference is within the spread"
        if difference >= -spread
        else "the encoder is worse by more than the spread"
    )
    return False, f"no: {both}; {how}{plain}"


def _plain_above(scored: Sequence[Scored], share: float, score: float, seen: Look) -> str:
    """What must be said if a method that learns next to nothing is as good as both."""
    rows = {s.row for s in scored if s.cell.method in (*PLAIN, "random")}
    found = {row: finite(s for s in scored if s.row == row and s.cell.fraction == share) for row in rows}
    means = {row: mean(values) for row, values in found.items() if values}
    above = max(means, key=lambda row: means[row], default=None)
    if above is None or not means[above] >= score:
        return ""
    return f"; and the {title_of(above, seen)} is at {means[above]:.2f}, above both"


def _at(scored: Sequence[Scored], row: tuple[str, str], seen: Look) -> str:
    share = max(s.cell.fraction for s in scored if s.row == row)
    return (
        f"{title_of(row, seen)} {_spread([s for s in scored if s.row == row and s.cell.fraction == share])}"
    )


def _spread(rows: Sequence[Scored]) -> str:
    """Mean and standard deviation of the scores that have a value, and how many they are if not all have."""
    values = finite(rows)
    if not values:
        return "no score"
    few = f" ({len(values)} of {counted(len(rows), 'seed')})" if len(values) < len(rows) else ""
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "") + few


def _interval(rows: Sequence[Scored]) -> tuple[float, float]:
    """Means of the ends; without an interval, everything."""
    lows, highs = [s.low for s in rows if s.low is not None], [s.high for s in rows if s.high is not None]
    return (mean(lows), mean(highs)) if lows and highs else (-math.inf, math.inf)


def score_table(card: Card) -> Table:
    """Methods down, shares of labels across."""
    from swath.report.table import Metric, Row
    from swath.report.table import Table as Made

    shares = sorted({s.cell.fraction for s in card.scored})
    metrics = tuple(Metric(f"at_{f:g}", f"{f * 100:.3g} % of labels") for f in shares)
    rows = tuple(
        Row(card.title(row), {f"at_{f:g}": [s.score for s in card.of(row, f)] for f in shares})
        for row in card.rows()
    )
    name = SCORE_WORDS[card.score_name]
    notes = (f"{name} on the test part; mean and standard deviation over seeds.", f"Data {card.split}.")
    return Made(f"{name} by share of labels", metrics, rows, notes)


def cost_table(card: Card) -> Table:
    """Intervals over places and cost, with the most labels."""
    from swath.report.table import Metric, Row, Value
    from swath.report.table import Table as Made

    on_device = any(s.device_bytes for s in card.scored)
    metrics = (
        Metric("score", SCORE_WORDS[card.score_name]),
        Metric("low", "from", "neither"),
        Metric("high", "to", "neither"),
        Metric("seconds", "seconds", "neither", ".0f"),
        Metric("memory", "memory, MB", "neither", ".0f"),
        *([Metric("device", "on the GPU, MB", "neither", ".0f")] if on_device else []),
    )
    rows = []
    for row in card.rows():
        found = card.of(row, card.most)
        low, high = _interval(found) if found else (math.nan, math.nan)
        values: dict[str, Value] = {
            "score": [s.score for s in found],
            "low": low,
            "high": high,
            "seconds": mean(s.seconds for s in found) if found else None,
            "memory": max(s.peak_bytes for s in found) / 1e6 if found else None,
        }
        if on_device:
            values["device"] = max(s.device_bytes for s in found) / 1e6 if found else None
        rows.append(Row(card.title(row), values))
    blocks = next((s.blocks for s in card.scored), "")
    notes = (
        f"From and to: interval by {blocks}, mean of the seeds' ends.",
        "Seconds and the most memory of a cell's processes, their start and the scoring included; features of a "
        "frozen encoder are computed once and kept.",
    )
    return Made(f"With {card.most * 100:.3g} % of the labels", metrics, tuple(rows), notes)
