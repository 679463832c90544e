"""The page of a card: the answer, curves, maps side by side, where each fails, what it costs, and every command."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from swath.errors import SwathError
from swath.report.fractions import Point, over_labels
from swath.report.html import Page
from swath.report.panels import fullest_date, in_colours, in_shades, panels, view
from swath.verbs.card import METHODS, CardConfig
from swath.verbs.card_plan import Cell, Look
from swath.verbs.card_scores import SCORE_WORDS, Card, Scored, cost_table, finite, score_table
from swath.verbs.labelled_options import LabelledData

if TYPE_CHECKING:
    from swath.baselines.goal import Learned
    from swath.cube import Cube, Sample
    from swath.report.figures import RGBA

log = logging.getLogger(__name__)
_MOST_MAPS = 4
_OFF = {
    "classification": "what probability was left for other classes",
    "segmentation": "share of labelled pixels that are wrong",
    "change": "share of labelled pixels that are wrong",
    "multilabel": "share of labels that are wrong",
    "regression": "root of the mean squared error",
}


@dataclass(frozen=True, eq=False)
class Maps:
    """Answers about one record.

    Attributes:
        id: of the record.
        pictures: (word, picture), the truth among them.
        off: (title, how far off) of each method that is shown; see `_OFF`.
    """

    id: str
    pictures: tuple[tuple[str, RGBA], ...]
    off: tuple[tuple[str, float], ...] = ()


def write_page(
    path: Path, config: CardConfig, data: LabelledData, seen: Look, card: Card, failed: Mapping[str, str]
) -> Path:
    """Writes card.html; maps are drawn with the weights that the cells left."""
    maps: Sequence[Maps] = ()
    note = ""
    if seen.per_pixel:
        try:
            maps = draw_maps(config, data, card)
        except SwathError as error:
            # Scores are worth their page even where the files of weights are gone.
            note = f"No maps: {error}"
    return card_page(card, maps, failed, note, str(Path.cwd())).write(path)


def card_page(
    card: Card, maps: Sequence[Maps], failed: Mapping[str, str], note: str = "", folder: str = ""
) -> Page:
    """The page, from numbers and pictures alone; `note` stands with the maps, `folder` is where commands were typed."""
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
    if maps or note:
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
    _fails(page, card)
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
    page.facts({name: f"{by:+.2f}" for name, by in leak.items()})
    learned = [by for name, by in leak.items() if name != "majority"]
    if learned:
        page.text(f"A method that learns is flattered by up to {max(learned):.2f}.")
    if "majority" in leak:
        page.notes("What the majority gains knows no neighbours: the parts hold other shares of the classes.")


def _fails(page: Page, card: Card) -> None:
    rows = [(row, found[0]) for row in card.rows() if (found := card.of(row, card.most)) and found[0].worst]
    if not rows:
        return
    page.section(
        "Where each fails", f"The records that are answered worst, and {_OFF[card.seen.task]} (first seed)."
    )
    for row, one in rows:
        listed = ", ".join(f"`{record}` {off:.2f}" for record, off in one.worst[:5])
        page.text(f"**{card.title(row)}**: {listed}")
    if any(row[0] in ("probe", "random") for row in card.rows()):
        page.notes("Probes are scored all at once and name no records.")


def draw_maps(config: CardConfig, data: LabelledData, card: Card) -> list[Maps]:
    """Truth, a plain method, network from scratch and best fine-tuned encoder, on the records that each of them
    answers worst and on others.

    Raises:
        SwathError: the data or the weights are not there any more.
    """
    from swath.feed.dates import at_spread_dates
    from swath.verbs.answerer import Answerer
    from swath.verbs.labelled_records import open_part
    from swath.weights.file import load

    drawn = _drawn(card)
    part = open_part(data, "test")
    row = _plain_row(card)
    chosen = _chosen(card, part.ids, drawn if row is None else [row, *drawn])
    plain = {} if row is None else {card.title(row): _learned(data, card.of(row, card.most)[0].cell)}
    answerers = {
        card.title(row): Answerer(load(card.of(row, card.most)[0].cell.weights), device=config.device)
        for row in drawn
    }
    found = []
    for i in chosen:
        record = part.records[i]
        cube = at_spread_dates(record.cube, data.dates, data.min_valid)
        said = {title: learned.answer(record.cube) for title, learned in plain.items()}
        said |= {title: one.map(cube, one.temperature) for title, one in answerers.items()}
        off = tuple((title, off_by(values, record, card.seen)) for title, values in said.items())
        found.append(Maps(record.id, tuple(_pictures(record, said, card.seen)), off))
    return found


def off_by(values: npt.NDArray[np.float32], record: Sample, seen: Look) -> float:
    """How far off an answer [K,H,W] is, as `Worst` counts it; NaN where nothing is known."""
    truth = _truth(record)
    known = truth >= 0 if seen.classes else np.isfinite(truth)
    if not known.any():
        return math.nan
    if seen.classes:
        return float((values.argmax(0) != truth)[known].mean())
    return float(np.sqrt(np.mean((values[0] - truth)[known] ** 2)))


def _caption(one: Maps, seen: Look) -> str:
    told = ", ".join(f"{title} {off:.2f}" for title, off in one.off if math.isfinite(off))
    words = _OFF[seen.task]
    return f" {words[0].upper()}{words[1:]}: {told}." if told else ""


def _plain_row(card: Card) -> tuple[str, str] | None:
    """The forest, or else the index, if it was scored with the most labels."""
    scored = {row[0]: row for row in card.rows() if card.of(row, card.most)}
    return scored.get("forest") or scored.get("index")


def _learned(data: LabelledData, cell: Cell) -> Learned:
    """A plain method that has learned what its cell had learned: no file keeps it."""
    from swath.verbs.baseline import BaselineConfig, goal_of, learn
    from swath.verbs.labelled_records import open_part

    labels = replace(data, label_fraction=cell.fraction, label_seed=cell.seed)
    method: Literal["forest", "index"] = "forest" if cell.method == "forest" else "index"
    train = open_part(labels, "train")
    return learn(BaselineConfig(method, labels, seed=cell.seed), train, goal_of(train))


def _drawn(card: Card) -> list[tuple[str, str]]:
    """What draws maps: the network from scratch, and the best of those that were fine-tuned."""
    rows = [r for r in card.rows() if card.of(r, card.most) and card.of(r, card.most)[0].cell.weights]
    tuned = [r for r in rows if r[0] != "scratch"]
    best = card.best if card.best in tuned else None
    if best is None and tuned:
        best = max(tuned, key=lambda r: mean(_liked(s) for s in card.of(r, card.most)))
    return [r for r in rows if r[0] == "scratch" or r == best]


def _liked(one: Scored) -> float:
    """By the validation part; least where it had nothing to say."""
    return one.validation if one.validation is not None and math.isfinite(one.validation) else -math.inf


def _chosen(card: Card, ids: Sequence[str], drawn: Sequence[tuple[str, str]]) -> list[int]:
    """The worst record of each that is drawn, then others evenly over the part."""
    names = [card.of(row, card.most)[0].worst[0][0] for row in drawn if card.of(row, card.most)[0].worst]
    found = [ids.index(name) for name in dict.fromkeys(names) if name in ids]
    even = np.linspace(0, len(ids) - 1, min(_MOST_MAPS, len(ids))).round().astype(int).tolist()
    return list(dict.fromkeys([*found, *even]))[:_MOST_MAPS]


def _pictures(
    record: Sample, said: Mapping[str, npt.NDArray[np.float32]], seen: Look
) -> list[tuple[str, RGBA]]:
    truth = _truth(record)
    pictures = [("seen", _view(record.cube))]
    short = [
        (title.partition(": ")[2] or title.removesuffix(" from scratch"), values)
        for title, values in said.items()
    ]
    if seen.classes:
        pictures.append(("truth", in_colours(truth, seen.classes)))
        return pictures + [(title, in_colours(values.argmax(0), seen.classes)) for title, values in short]
    planes: list[tuple[str, npt.NDArray[Any]]] = [("truth", truth), *((t, v[0]) for t, v in short)]
    known = truth[np.isfinite(truth)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return pictures + [(title, in_shades(plane, low, high)) for title, plane in planes]


def _truth(record: Sample) -> npt.NDArray[Any]:
    """[H,W]; of several planes the last."""
    truth = np.asarray(record.target)
    return truth if truth.ndim == 2 else truth[-1]


def _view(cube: Cube) -> RGBA:
    """The date of which most is known."""
    date = fullest_date(cube.valid, cube.bands)
    return view(cube.pixels[date], cube.valid[date], cube.bands)
