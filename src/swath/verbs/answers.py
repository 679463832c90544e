"""A few records of a part with what is known of them and what a task answers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from swath.bands import Band
from swath.cube import Array, Cube, CubeBatch
from swath.feed.base import Records
from swath.feed.dates import looked_at
from swath.feed.grid import axis_windows
from swath.feed.normalise import normalise
from swath.feed.windows import known
from swath.tasks.base import Task, class_axis
from swath.verbs.each_date import answers_each_date
from swath.verbs.labelled_feeds import score_feed
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_records import Part

if TYPE_CHECKING:
    from swath.contract import InputContract

SIDE = 512
"""A picture of a larger record shows so many pixels a side, or a window."""
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Answer:
    """A record, or the middle of a large one; where the answer is one for a record, the window around its centre.

    Attributes:
        id: of the record.
        pixels: [T,C,H,W] as the network eats them, 0 where invalid.
        valid: bool of that shape.
        bands: C of them.
        dates: T of them; None where unknown.
        truth: target; what is unknown is below 0, or NaN.
        answer: class numbers [H,W] or (), zeros and ones [K], or real numbers [K,H,W] or [K]; with T in front, of a
            network that draws a map for each date.
        each_date: whether it does; the truth may then be one map for all dates.
    """

    id: str
    pixels: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    bands: tuple[Band, ...]
    dates: tuple[dt.date | None, ...]
    truth: Array
    answer: Array
    each_date: bool = False


def answers(task: Task, data: RecordData, part: Part, contract: InputContract, most: int = 4) -> list[Answer]:
    """Answers about records evenly over the part."""
    chosen = np.unique(np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int))
    device = next(task.parameters()).device
    training = task.training
    task.eval()
    found: list[Answer] = []
    try:
        for i in chosen:
            records = [part.records[int(i)]]
            one = replace(part, records=records, ids=(part.ids[i],), groups=(None,), boxes=(None,))
            cube, truth = looked_at(
                records[0].cube, np.asarray(records[0].target), data.dates, data.min_valid, dated=part.dated
            )
            cube = contract.convert(cube)
            if truth.ndim >= 2 and truth.shape[-2:] == cube.shape[2:]:
                found.append(_map(task, part, cube, truth, part.ids[i], data.window, contract))
            else:
                batch = next(iter(score_feed(data, one, contract, batch_size=1)))
                eaten, answer = _said(task, batch.to(device), part)
                pixels, valid = eaten[0].cpu().numpy(), batch.valid[0].numpy()
                bands, dates = cube.bands, cube.dates
                found.append(Answer(part.ids[i], pixels, valid, bands, dates, truth, answer[0].cpu().numpy()))
    finally:
        task.train(training)
    return found


def _map(
    task: Task, part: Part, cube: Cube, truth: Array, name: str, window: int, contract: InputContract
) -> Answer:
    """Side by side, windows answer for a record; those without one valid pixel are not asked."""
    rows, cols = _middle(truth, max(SIDE, window))
    cube = cube.window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
    truth = truth[..., rows, cols]
    height, width = cube.shape[2:]
    places = [
        (row, top, bottom, col, left, right)
        for row, top, bottom in axis_windows(height, window, window)
        for col, left, right in axis_windows(width, window, window)
        if cube.valid[..., top:bottom, left:right].any()
    ]
    records = Records([cube], contract)
    device = next(task.parameters()).device
    pixels = np.zeros(cube.shape, np.float32)
    answer: Array | None = None
    for first in range(0, len(places), _BATCH):
        some = places[first : first + _BATCH]
        at_rows, at_cols = [p[0] for p in some], [p[3] for p in some]
        size = (window, window)
        batch = records.batch([0] * len(some), at_rows, at_cols, size, (name,) * len(some), None)
        eaten, said = _said(task, batch.to(device), part)
        for (row, top, bottom, col, left, right), x, y in zip(
            some, eaten.cpu().numpy(), said.cpu().numpy(), strict=True
        ):
            if answer is None:
                answer = np.zeros((*y.shape[:-2], height, width), y.dtype)
            inside = (..., slice(top - row, bottom - row), slice(left - col, right - col))
            pixels[..., top:bottom, left:right] = x[inside]
            answer[..., top:bottom, left:right] = y[inside]
    each = answers_each_date(task.network)
    if answer is None:
        answer = np.zeros((*cube.shape[:1] * each, height, width), np.int64)
    return Answer(name, pixels, cube.valid, cube.bands, cube.dates, truth, answer, each)


def _middle(truth: Array, most: int) -> tuple[slice, slice]:
    """Rows and columns of a box of at most `most` pixels a side around the middle of what is known."""
    there = np.asarray(known(truth).reshape(-1, *truth.shape[-2:]).any(axis=0))
    box = []
    for axis in (0, 1):
        length = there.shape[axis]
        side = min(length, most)
        where = np.flatnonzero(np.any(there, axis=1 - axis))
        middle = (int(where[0]) + int(where[-1]) + 1) // 2 if len(where) else length // 2
        start = min(max(middle - side // 2, 0), length - side)
        box.append(slice(start, start + side))
    return box[0], box[1]


def _said(task: Task, on: CubeBatch, part: Part) -> tuple[Tensor, Tensor]:
    """What the network eats of a batch, and what it answers."""
    with torch.no_grad():
        eaten = normalise(on)
        output = task.output(eaten, on.valid, on.days, on.wavelengths)
    if part.task == "regression":
        return eaten, output.float()
    if part.task == "multilabel":
        return eaten, (output > 0).long()
    return eaten, output.argmax(class_axis(output))
