"""The maps of a card: what each method that is shown says of the records that one of them answers worst."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from swath.report.panels import fullest_date, in_colours, in_shades, view
from swath.verbs.card import CardConfig
from swath.verbs.card_plan import FEATURES, Cell, Look
from swath.verbs.card_scores import Card, Scored
from swath.verbs.labelled_options import LabelledData
from swath.verbs.seen_labels import seen_where

if TYPE_CHECKING:
    from swath.cube import Cube, Sample
    from swath.report.figures import RGBA

Values = npt.NDArray[np.float32]
Draw = Callable[["Cube"], Values]
"""From a record's cube, as read, to [K,H,W], or [T,K,H,W] where labels are of each date."""
_MOST_MAPS = 4
_MOST_RECORDS = 6
_ROOM = 24  # letters above one of three pictures in a row
_PROBES = ("probe", "random")


@dataclass(frozen=True, eq=False)
class Maps:
    """Answers about one record.

    Attributes:
        id: of the record.
        pictures: (word, picture), the truth among them.
        off: (title, how far off) of each method that is shown.
    """

    id: str
    pictures: tuple[tuple[str, RGBA], ...]
    off: tuple[tuple[str, float], ...] = ()


def draw_maps(config: CardConfig, data: LabelledData, card: Card) -> list[Maps]:
    """Truth, a plain method, network from scratch and best encoder, on the records that each of them answers worst and
    on others.

    Raises:
        SwathError: the data or the weights are not there any more.
    """
    from swath.verbs.each_date import dates_of
    from swath.verbs.labelled_records import open_part

    rows = drawn_rows(card)
    part = open_part(data, "test")
    chosen = _chosen(card, part.ids, rows)
    drawing = {card.title(row): _draw(config, data, card.of(row, card.most)[0].cell) for row in rows}
    found = []
    for i in chosen:
        record = part.records[i]
        if card.seen.dated:
            cube, target = dates_of(record, data)
            record = replace(record, cubes={next(iter(record.cubes)): cube}, target=target)
        said = {title: draw(record.cube) for title, draw in drawing.items()}
        off = tuple((title, off_by(values, record, card.seen)) for title, values in said.items())
        found.append(Maps(record.id, tuple(_pictures(record, said, card.seen)), off))
    return found


def draw_worst(data: LabelledData, card: Card) -> Maps | None:
    """Records that the best encoder answers worst, or else the last method: of data with one answer a record.

    The pictures are of one size, that of the worst; records of another are left to the list. None: nothing is worst.

    Raises:
        SwathError: the data are not there any more.
    """
    from swath.verbs.labelled_records import open_part

    rows = drawn_rows(card)
    row = card.best if card.best in rows else next(iter(rows[::-1]), None)
    if row is None:
        return None
    part = open_part(data, "test")
    at = {name: i for i, name in enumerate(part.ids)}
    names = [name for name, _ in card.of(row, card.most)[0].worst if name in at]
    records = [part.records[at[name]] for name in names[:_MOST_RECORDS]]
    pictures = tuple(
        (_cut(f"{i}. {_known_as(record, card.seen)}"), _view(record.cube))
        for i, record in enumerate(records, 1)
        if record.cube.shape[2:] == records[0].cube.shape[2:]
    )
    return Maps(card.title(row), pictures) if pictures else None


def _cut(word: str) -> str:
    """As much of it as has room above a picture."""
    return word if len(word) <= _ROOM else f"{word[: _ROOM - 1]}…"


def _known_as(record: Sample, seen: Look) -> str:
    """The truth of a record that has one answer, in words."""
    truth = np.asarray(record.target)
    if not seen.classes:
        return ", ".join(f"{value:.3g}" for value in truth.reshape(-1).tolist())
    if truth.ndim == 0:
        return seen.classes[int(truth)].name
    return (
        ", ".join(c.name for c, there in zip(seen.classes, truth.tolist(), strict=True) if there > 0)
        or "none"
    )


def drawn_rows(card: Card) -> list[tuple[str, str]]:
    """What draws maps: a plain method, the network from scratch, and the encoder that the validation part likes best.

    An encoder that was never trained is drawn too where it is liked as much as that one.
    """
    scored = [row for row in card.rows() if card.of(row, card.most)]
    plain = {row[0]: row for row in scored}
    ours = [row for row in scored if row[1] and row[0] != "random"]
    best = card.best if card.best in ours else max(ours, key=lambda row: _liked(card, row), default=None)
    fresh = max(
        (row for row in scored if row[0] == "random"), key=lambda row: _liked(card, row), default=None
    )
    if best is not None and fresh is not None and _liked(card, fresh) < _liked(card, best):
        fresh = None
    found = (plain.get("forest") or plain.get("index"), plain.get("scratch"), best, fresh)
    return [row for row in found if row is not None]


def _draw(config: CardConfig, data: LabelledData, cell: Cell) -> Draw:
    """What answers as the cell's command did."""
    if cell.method in _PROBES:
        return _probe(config, data, cell)
    if cell.method in ("forest", "index"):
        return _learned(data, cell)
    from swath.feed.dates import at_spread_dates
    from swath.verbs.answerer import Answerer
    from swath.weights.file import load

    answerer = Answerer(load(cell.weights), precision=config.precision, device=config.device)
    return lambda cube: answerer.map(at_spread_dates(cube, data.dates, data.min_valid), answerer.temperature)


def off_by(values: Values, record: Sample, seen: Look) -> float:
    """How far off an answer [K,H,W], or [T,K,H,W] of each date, is, as `Worst` counts it; NaN where nothing is known."""
    truth = np.asarray(record.target) if seen.dated else _truth(record, seen)
    known = truth >= 0 if seen.classes else np.isfinite(truth)
    if not known.any():
        return math.nan
    if seen.classes:
        return float((values.argmax(-3) != truth)[known].mean())
    said = values if values.ndim == truth.ndim else values[..., 0, :, :]
    return float(np.sqrt(np.mean((said - truth)[known] ** 2)))


def _learned(data: LabelledData, cell: Cell) -> Draw:
    """A plain method that has learned what its cell had learned: no file keeps it."""
    from swath.verbs.baseline import BaselineConfig, drawn, goal_of, learn
    from swath.verbs.labelled_records import open_part

    labels = replace(data, label_fraction=cell.fraction, label_seed=cell.seed)
    method: Literal["forest", "index"] = "forest" if cell.method == "forest" else "index"
    train = open_part(labels, "train")
    learned = learn(BaselineConfig(method, labels, seed=cell.seed), train, goal_of(train))
    return lambda cube: drawn(learned, cube, each_date=train.dated)


def _probe(config: CardConfig, data: LabelledData, cell: Cell) -> Draw:
    """A probe that has learned what its cell had learned, from the features that are kept."""
    from swath.training.probe_config import ProbeOptions
    from swath.verbs.probe import ProbeConfig
    from swath.verbs.probe_work import Probing

    asked = ProbeConfig(
        cell.source,
        replace(data, label_fraction=cell.fraction, label_seed=cell.seed),
        ("linear",),
        ProbeOptions(seed=cell.seed),
        untrained=cell.seed if cell.method == "random" else None,
        cache=str(Path(config.folder) / FEATURES),
        intervals=config.intervals,
        precision=config.precision,
        device=config.device,
    )
    work = Probing(asked)
    answer, _ = work.learn("linear")
    return lambda cube: work.map("linear", answer, cube)


def _liked(card: Card, row: tuple[str, str]) -> float:
    """By the validation part with the most labels; least where it had nothing to say."""
    return mean(_validation(one) for one in card.of(row, card.most))


def _validation(one: Scored) -> float:
    return one.validation if one.validation is not None and math.isfinite(one.validation) else -math.inf


def _chosen(card: Card, ids: Sequence[str], drawn: Sequence[tuple[str, str]]) -> list[int]:
    """The worst record of each that is drawn, then others evenly over the part."""
    names = [card.of(row, card.most)[0].worst[0][0] for row in drawn if card.of(row, card.most)[0].worst]
    found = [ids.index(name) for name in dict.fromkeys(names) if name in ids]
    even = np.linspace(0, len(ids) - 1, min(_MOST_MAPS, len(ids))).round().astype(int).tolist()
    return list(dict.fromkeys([*found, *even]))[:_MOST_MAPS]


def _pictures(record: Sample, said: Mapping[str, Values], seen: Look) -> list[tuple[str, RGBA]]:
    truth, date = _truth(record, seen), _date(record) if seen.dated else None
    day = None if date is None else record.cube.dates[date]
    if date is not None:
        said = {title: values[date] for title, values in said.items()}
    pictures = [("seen" if day is None else f"seen {day}", _view(record.cube, date))]
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


def _truth(record: Sample, seen: Look) -> npt.NDArray[Any]:
    """[H,W]: of the date that is shown, and of several planes the last."""
    truth = np.asarray(record.target)
    if seen.dated:
        truth = truth[_date(record)]
    return truth if truth.ndim == 2 else truth[-1]


def _date(record: Sample) -> int:
    """Of labels of each date, the date of which most are known on pixels that were seen."""
    target = np.asarray(record.target)
    known = target >= 0 if np.issubdtype(target.dtype, np.integer) else np.isfinite(target)
    seen = known & seen_where(record.cube.valid, target.ndim)
    return int(seen.reshape(len(seen), -1).sum(1).argmax())


def _view(cube: Cube, date: int | None = None) -> RGBA:
    """A date, or the one of which most is known."""
    date = fullest_date(cube.valid, cube.bands) if date is None else date
    return view(cube.pixels[date], cube.valid[date], cube.bands)
