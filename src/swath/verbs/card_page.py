"""The page of a card: the answer, curves, maps side by side, where each fails, what it costs, and every command."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from swath.errors import SwathError
from swath.report.fractions import Point, over_labels
from swath.report.html import Page
from swath.report.panels import panels
from swath.verbs.card import METHODS, CardConfig
from swath.verbs.card_maps import Maps, draw_maps, draw_worst
from swath.verbs.card_plan import Look
from swath.verbs.card_scores import SCORE_WORDS, Card, cost_table, finite, score_table
from swath.verbs.labelled_options import LabelledData

_OFF = {
    "classification": "what probability was left for other classes",
    "segmentation": "share of labelled pixels that are wrong",
    "change": "share of labelled pixels that are wrong",
    "multilabel": "share of labels that are wrong",
    "regression": "root of the mean squared error",
}


def write_page(
    path: Path, config: CardConfig, data: LabelledData, seen: Look, card: Card, failed: Mapping[str, str]
) -> Path:
    """Writes card.html; maps are drawn with what the cells left, weights and features."""
    maps: Sequence[Maps] = ()
    worst: Maps | None = None
    note = ""
    try:
        if seen.per_pixel:
            maps = draw_maps(config, data, card)
        else:
            worst = draw_worst(data, card)
    except SwathError as error:
        # Scores are worth their page even where the files of weights are gone.
        note = f"No pictures: {error}"
    return card_page(card, maps, failed, note, str(Path.cwd()), worst).write(path)


def card_page(
    card: Card,
    maps: Sequence[Maps],
    failed: Mapping[str, str],
    note: str = "",
    folder: str = "",
    worst: Maps | None = None,
) -> Page:
    """The page, from numbers and pictures alone.

    Args:
        card: the numbers.
        maps: of data with answers per pixel.
        failed: what commands that failed said.
        note: why there are no pictures.
        folder: where commands were typed.
        worst: of data with one answer a record: what one method answers worst.
    """
    head, _, rest = card.answer.partition(": ")
    rival = "a plain U-Net" if card.seen.per_pixel else "a network from scratch"
    page = Page(f"Does it beat {rival} on these data?", f"**{head.capitalize()}**: {rest}.")
    page.section("Scores").figure(
        over_labels(curve_points(card), score=SCORE_WORDS[card.score_name], looks=_looks(card)),
        "Mean over seeds on the test part; bars are intervals over places.",
    )
    page.table(score_table(card)).table(cost_table(card))
    page.notes(
        "The best encoder is the one that the validation part likes best; the test part chooses nothing.",
        "All networks train for the same steps with rates that were not searched for these data: a longer or better "
        "tuned training may move any of them.",
        *card.notes,
    )
    if card.leak is not None:
        _leak(page, card.leak)
    if maps or (note and card.seen.per_pixel):
        page.section(
            "Maps side by side",
            "Records of the test part, with the most labels and the first seed: those that each method answers worst, "
            "then others. Hatched is unknown.",
        )
        for one in maps:
            page.figure(panels(one.pictures), f"Record {one.id}.{_caption(one, card.seen)}")
        if maps and card.seen.classes:
            page.legend(card.seen.classes)
        if note:
            page.notes(note)
    _fails(page, card, worst, "" if card.seen.per_pixel else note)
    if failed:
        page.section("What failed", "These commands gave no answer; their cells are empty.")
        page.notes(*failed.values())
    where = f" They are typed in `{folder}`." if folder else ""
    page.section("Every command", f"Each cell is what these print; a network is trained, then scored.{where}")
    for row in card.rows():
        page.text(f"**{card.title(row)}**")
        page.code([run.command for s in card.scored if s.row == row for run in s.cell.runs])
    if card.mixed:
        page.text("**under a random split**")
        page.code([run.command for s in card.mixed for run in s.cell.runs])
    return page


def curve_points(card: Card) -> dict[str, list[Point]]:
    """Title -> its points; ends of intervals are means over seeds."""
    lines: dict[str, list[Point]] = {}
    for row in card.rows():
        points: list[Point] = []
        for share in sorted({s.cell.fraction for s in card.scored if s.row == row}):
            found = card.of(row, share)
            lows, highs = (
                [s.low for s in found if s.low is not None],
                [s.high for s in found if s.high is not None],
            )
            ends = (mean(lows), mean(highs)) if lows and highs else (math.nan, math.nan)
            if values := finite(found):
                points.append((share, mean(values), *ends))
        if points:
            lines[card.title(row)] = points
    return lines


def _looks(card: Card) -> dict[str, tuple[int, int]]:
    """Title -> (colour of its method, dashes of its encoder)."""
    encoders = list(dict.fromkeys(encoder for _, encoder in card.rows() if encoder))
    return {
        card.title(row): (METHODS.index(row[0]), encoders.index(row[1]) if row[1] else 0)
        for row in card.rows()
    }


def _leak(page: Page, leak: Mapping[str, float]) -> None:
    page.section(
        "What a random split would have said",
        "The plain methods again, with all labels, on records that are divided at random, so that neighbours stand on "
        "both sides. What is gained there is lost on other places.",
    )
    if not leak:
        page.text("No method has a score under both.")
        return
    shown = {name: round(by, 2) + 0.0 for name, by in leak.items()}  # no minus before a zero
    page.facts({name: f"{by:+.2f}" for name, by in shown.items()})
    learned = [by for name, by in shown.items() if name != "majority"]
    if learned and max(learned) > 0:
        page.text(f"A method that learns is flattered by up to {max(learned):.2f}.")
    elif learned:
        page.text("It flatters no method that learns: here neighbours tell nothing that other places do not.")
    if "majority" in leak:
        page.notes("What the majority gains knows no neighbours: the parts hold other shares of the classes.")


def _fails(page: Page, card: Card, worst: Maps | None, note: str) -> None:
    rows = [(row, found[0]) for row in card.rows() if (found := card.of(row, card.most)) and found[0].worst]
    if not rows:
        return
    page.section(
        "Where each fails", f"The records that are answered worst, and {_OFF[card.seen.task]} (first seed)."
    )
    for row, one in rows:
        listed = ", ".join(f"`{record}` {off:.2f}" for record, off in one.worst[:5])
        page.text(f"**{card.title(row)}**: {listed}")
    if worst is not None:
        page.figure(panels(worst.pictures), f"{worst.id}: the worst in their order, with their truth.")
    if note:
        page.notes(note)


def _caption(one: Maps, seen: Look) -> str:
    told = ", ".join(f"{title} {off:.2f}" for title, off in one.off if math.isfinite(off))
    words = _OFF[seen.task]
    return f" {words[0].upper()}{words[1:]}: {told}." if told else ""
