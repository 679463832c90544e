"""What every layout of a published data set offers.

A layout lists its items without opening one pixel, and reads one at a time into a `Sample`. Whatever is wrong
with an item is an `InputError` that names the file; `swath.data.collection` decides what then happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, runtime_checkable

from swath.cube import Sample
from swath.data.legend import LandClass

Task = Literal["pretraining", "classification", "multilabel", "segmentation", "regression", "change"]


@dataclass(frozen=True)
class LayoutInfo:
    """What a data set is, in plain values; `swath inspect --layouts` shows it.

    Attributes:
        name: as in configs, such as "eurosat".
        title: its full name.
        tasks: what its targets are for.
        sensors: name of each cube of a sample -> names of its bands, in the order that `read` returns.
        classes: in the order of the target's numbers; empty without classes. Values are those of the files.
        splits: names of its official parts; empty if it has none.
        size: of a record in pixels, in words ("64 x 64", "varies").
        dates: of a record, in words ("1", "4, in date order").
        items: how many there are, in words.
        unit: of the stored numbers, in words ("reflectance x 1e4, L1C").
        licence: of the data.
        source: where it is to be had.
        files: the structure on the disk, one pattern a line.
        notes: traps, one sentence each.
        quantities: name -> unit of real-valued targets, one for each output.
    """

    name: str
    title: str
    tasks: tuple[Task, ...]
    sensors: Mapping[str, tuple[str, ...]]
    classes: tuple[LandClass, ...]
    splits: tuple[str, ...]
    size: str
    dates: str
    items: str
    unit: str
    licence: str
    source: str
    files: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())
    quantities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One record, before it is read.

    Attributes:
        id: unique within the layout; the order of items is a function of ids, never of the disk's listing.
        where: the file or folder, for messages.
        group: what no split may divide (a scene, a tile, a site); None: unknown.
        split: the official part it belongs to; None: none.
    """

    id: str
    where: str
    group: str | None = None
    split: str | None = None


@runtime_checkable
class Layout(Protocol):
    """A data set on the disk.

    Classes that follow it take `(root, split=None, **options)`: the folder, an official split or None for all
    items, and options of their own, all keyword-only.
    """

    info: ClassVar[LayoutInfo]

    @property
    def items(self) -> Sequence[Item]:
        """All records, in a fixed order."""
        ...

    def read(self, index: int) -> Sample:
        """Record number `index`: its id is that of the item; cubes carry their own statistics.

        Raises:
            InputError: a file of it is missing, damaged or not as published; the message names it.
        """
        ...
