"""A few records of a part with what is known of them and what a task answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from swath.cube import Array
from swath.feed.normalise import normalise
from swath.tasks.base import Task, class_axis
from swath.verbs.labelled_feeds import score_feed
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_records import Part

if TYPE_CHECKING:
    from swath.contract import InputContract


@dataclass(frozen=True, eq=False)
class Answer:
    """One window of a record.

    Attributes:
        id: of the record.
        pixels: [T,C,H,W] as the network eats them, 0 where invalid.
        valid: bool of that shape.
        truth: target; what is unknown is below 0, or NaN.
        answer: class numbers [H,W] or (), zeros and ones [K], or real numbers [K,H,W] or [K].
    """

    id: str
    pixels: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    truth: Array
    answer: Array


def answers(task: Task, data: RecordData, part: Part, contract: InputContract, most: int = 4) -> list[Answer]:
    """Answers about records evenly over the part: of each the first window that holds something known."""
    chosen = np.unique(np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int))
    device = next(task.parameters()).device
    training = task.training
    task.eval()
    found: list[Answer] = []
    try:
        for i in chosen:
            records = [part.records[int(i)]]
            one = replace(part, records=records, ids=(part.ids[i],), groups=(None,), boxes=(None,))
            found.append(_answer(task, data, one, contract, device))
    finally:
        task.train(training)
    return found


def _answer(
    task: Task, data: RecordData, part: Part, contract: InputContract, device: torch.device
) -> Answer:
    batch = next(iter(score_feed(data, part, contract, batch_size=1, stride=data.window)))
    on = batch.to(device)
    days = on.days if bool(torch.isfinite(batch.days).all()) else None
    with torch.no_grad():
        eaten = normalise(on)
        output = task.output(eaten, on.valid, days, on.wavelengths)
    if part.task == "regression":
        answer = output.float()
    elif part.task == "multilabel":
        answer = (output > 0).long()
    else:
        answer = output.argmax(class_axis(output))
    assert batch.target is not None
    return Answer(
        part.ids[0],
        eaten[0].cpu().numpy(),
        batch.valid[0].numpy(),
        batch.target[0].numpy(),
        answer[0].cpu().numpy(),
    )
