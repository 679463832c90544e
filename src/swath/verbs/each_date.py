"""Labels and answers of each date: which networks give them, whether they fit, records of one date for the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from torch import nn

from swath.cube import Array, Cube, Sample
from swath.errors import ConfigError
from swath.feed.dates import looked_at
from swath.verbs.head_options import HeadOptions
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_records import Part
from swath.verbs.options import ModelOptions

log = logging.getLogger(__name__)


def answers_each_date(network: nn.Module) -> bool:
    """Whether a network draws a map for each date, [B,T,K,H,W]."""
    return bool(getattr(network, "each_date", False))


def settled_head(head: HeadOptions, model: ModelOptions, train: Part, per_pixel: bool) -> HeadOptions:
    """The head, whose "auto" of dates is a map for each where the labels are of each date.

    Raises:
        ConfigError: the labels are of records, or of a change, which is one of all dates.
    """
    said = model.options.get("collapse") or model.options.get("dates")
    if head.dates == "none" or said == "none":
        if not per_pixel:
            raise ConfigError(
                "is for maps, and the labels are one for each record",
                where="head.dates",
                mend="take mean, last or concat",
            )
        if train.task == "change":
            raise ConfigError(
                "a change is one of all dates",
                where="head.dates",
                mend="leave it out, or take mean or concat",
            )
    if train.dated and head.dates == "auto" and said is None:
        log.info("labels are of each date: the network answers for each (head.dates: none)")
        return replace(head, dates="none")
    return head


def check_dated(parts: Sequence[Part], network: nn.Module) -> bool:
    """Whether the network answers for each date; says what one map of labels for all dates comes to.

    Raises:
        ConfigError: labels are of each date, and answers are not.
    """
    each = answers_each_date(network)
    for part in parts:
        if part.dated and not each:
            raise ConfigError(
                f"labels of part {part.name} are of each date, and the network draws one map for all of them",
                where="head.dates",
                mend="set it to none, or give one map of labels for all dates",
            )
    if each and not parts[0].dated:
        log.info(
            "one map of labels stands for all dates: each date's answer learns the same, where it was seen"
        )
    alike = getattr(network, "dates_alike", 1)
    if each and alike > 1:
        log.warning("a token spans %d dates, whose answers are alike: see model.options.patch_size", alike)
    return each


class OfDates(Sequence[Sample]):
    """The records of a part whose labels are of each date, as so many records of one date each.

    Args:
        part: with labels of each date.
        data: the options that it was opened with: they say which dates are looked at.
    """

    def __init__(self, part: Part, data: RecordData) -> None:
        self.part, self.data = part, data
        counts = [dates_of(record, data)[0].shape[0] for record in part.records]
        self._places = [(i, t) for i, count in enumerate(counts) for t in range(count)]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i, t = self._places[index]
        record = self.part.records[i]
        cube, target = dates_of(record, self.data)
        name = next(iter(record.cubes))
        return replace(record, cubes={name: cube.at_dates([t])}, target=target[t])


def dates_of(record: Sample, data: RecordData) -> tuple[Cube, Array]:
    """The dates of a record that are looked at, and its labels of each."""
    assert record.target is not None
    return looked_at(record.cube, np.asarray(record.target), data.dates, data.min_valid, dated=True)


def check_alike(train: Part, part: Part) -> None:
    """Raises ConfigError if the labels of one part are of each date and those of the other of all."""
    if train.dated != part.dated:
        which = "each date" if part.dated else "all dates at once"
        raise ConfigError(
            f"its labels are of {which}, and those of part train are not",
            where=f"part {part.name}",
            mend="give all parts labels of one kind",
        )


def check_weights(part: Part, each: bool, where: object) -> None:
    """As `check_dated`, for weights that are scored.

    Raises:
        ConfigError: labels are of each date, and the weights draw one map for all.
    """
    if part.dated and not each:
        raise ConfigError(
            f"labels of part {part.name} are of each date, and these weights draw one map for all of them",
            where=where,
            mend="use weights that were fine-tuned with head.dates none, or one map of labels for all dates",
        )
