"""Where labelled records come from: layouts and scenes, read into memory, or shards, read as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, overload

import numpy as np
import numpy.typing as npt

from swath.cube import Grid, Sample
from swath.data.collection import Collection
from swath.data.layouts.base import Layout, LayoutInfo
from swath.data.layouts.registry import layout_class, layout_info, open_layout
from swath.data.layouts.subset import Subset
from swath.data.legend import LandClass
from swath.data.split_parts import Box, Located
from swath.data.vectors import bounds_of
from swath.errors import ConfigError, InputError
from swath.feed.shards import Shards
from swath.verbs.labelled_options import LabelledData, RecordData
from swath.verbs.options import LayoutOptions
from swath.verbs.own_labels import with_labels
from swath.verbs.scene_records import SceneSource

IntArray = npt.NDArray[np.int64]
Chosen = Mapping[str | None, Sequence[int]]
"""Official part (None: all items) -> indices of its items."""
Prepare = Callable[[Sample], Sample]


class Source(Protocol):
    """A labelled data set whose items are known before any is read."""

    @property
    def info(self) -> LayoutInfo:
        """What it is."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Its official parts."""
        ...

    def items(self, split: str | None) -> Sequence[Located]:
        """Items of an official part, or all."""
        ...

    def records(
        self, chosen: Chosen, prepare: Prepare
    ) -> tuple[Sequence[Sample], tuple[tuple[Shards, IntArray], ...]]:
        """Records, each as `prepare` makes it; and, if they are packed, where. Bad ones are left out, and said."""
        ...

    def located_records(self, chosen: Chosen, records: Sequence[Sample]) -> Sequence[Located]:
        """Where the records lie, in their order."""
        ...


def open_source(data: RecordData) -> Source:
    """The data set of the options; nothing of it is read yet."""
    if isinstance(data, LabelledData) and data.scene is not None:
        return SceneSource(data)
    if data.layout is not None:
        layout = with_labels(data.layout, data) if isinstance(data, LabelledData) else data.layout
        return LayoutSource(layout)
    return ShardSource([Shards(source) for source in data.shards], data)


class LayoutSource:
    """A layout on the disk."""

    def __init__(self, options: LayoutOptions) -> None:
        self.options = options
        self._open: dict[str | None, Layout] = {}

    @property
    def info(self) -> LayoutInfo:
        if self.options.name == "folder":
            # What a folder holds, only its own YAML says; any part of it that is open does.
            return next(iter(self._open.values())).info
        return layout_info(self.options.name, self.options.options)

    @property
    def splits(self) -> tuple[str, ...]:
        info: LayoutInfo = layout_class(self.options.name).info
        return info.splits

    def layout(self, split: str | None) -> Layout:
        """Its items of an official part, or all; opened once."""
        if split not in self._open:
            o = self.options
            self._open[split] = open_layout(o.name, o.root, split, **o.options)
        return self._open[split]

    def items(self, split: str | None) -> Sequence[Located]:
        layout = self.layout(split)
        located = getattr(layout, "located", None)
        if located is not None:
            return [located(i) for i in range(len(layout.items))]
        return [Located(item.id, item.group) for item in layout.items]

    def records(
        self, chosen: Chosen, prepare: Prepare
    ) -> tuple[Sequence[Sample], tuple[tuple[Shards, IntArray], ...]]:
        found: list[Sample] = []
        for split, index in chosen.items():
            part = Collection(Subset(self.layout(split), index), limit=self.options.bad_items)
            samples = (part.read(i) for i in range(len(part)))
            # The list of bad items says each that is left out.
            found += [prepare(s) for s in samples if s.weight > 0]
        return found, ()

    def located_records(self, chosen: Chosen, records: Sequence[Sample]) -> Sequence[Located]:
        groups = {
            item.id: item.group
            for split, index in chosen.items()
            for item in (self.layout(split).items[i] for i in index)
        }
        return [
            Located(s.id, s.group or groups[s.id], _box(s.cube.grid, s.id), s.cube.dates) for s in records
        ]


class ShardSource:
    """Packed data sets, in the order in which they are named."""

    def __init__(self, sets: Sequence[Shards], data: RecordData) -> None:
        self.sets, self.cube = tuple(sets), data.cube
        self._infos = [_info_of(s, data) for s in sets]
        first = self._infos[0]
        for shards, info in zip(sets[1:], self._infos[1:], strict=True):
            if (info.tasks, info.classes) != (first.tasks, first.classes):
                raise ConfigError(
                    f"has other tasks or classes than {sets[0].where}",
                    where=shards.where,
                    mend="learn from sets of one kind",
                )
        # (set, record) of all, in order.
        self._rows: dict[str | None, list[tuple[int, int]]] = {}

    @property
    def info(self) -> LayoutInfo:
        return self._infos[0]

    @property
    def splits(self) -> tuple[str, ...]:
        names = {n for s in self.sets for n in np.unique(s.columns["split"]).tolist() if n}
        return tuple(sorted(n.decode() for n in names))

    def rows(self, split: str | None) -> list[tuple[int, int]]:
        """(set, record) of the good records of an official part, or of all."""
        if split not in self._rows:
            found = []
            for k, shards in enumerate(self.sets):
                keep = np.greater(shards.columns["weight"], 0)
                keep &= np.greater_equal(shards.columns[f"{shards.only_cube(self.cube)}.encoding"], 0)
                if split is not None:
                    keep &= shards.columns["split"] == split.encode()
                found += [(k, int(i)) for i in np.flatnonzero(keep)]
            self._rows[split] = found
        return self._rows[split]

    def items(self, split: str | None) -> Sequence[Located]:
        return [self._located(k, i) for k, i in self.rows(split)]

    def _located(self, k: int, i: int) -> Located:
        shards = self.sets[k]
        name = shards.only_cube(self.cube)
        crs = int(shards.columns[f"{name}.crs"][i])
        grid = None
        if crs >= 0:
            a, b, c, d, e, f = shards.columns[f"{name}.transform"][i].tolist()
            height, width = shards.columns[f"{name}.grid_size"][i].tolist()
            grid = Grid(shards.manifest["crs"][crs], (a, b, c, d, e, f), height, width)
        group = bytes(shards.columns["group"][i]).decode() or None
        return Located(shards.id(i), group, _box(grid, shards.id(i)), shards.dates(i, name))

    def records(
        self, chosen: Chosen, prepare: Prepare
    ) -> tuple[Sequence[Sample], tuple[tuple[Shards, IntArray], ...]]:
        rows = [self.rows(split)[i] for split, index in chosen.items() for i in index]
        rows.sort()
        packed = tuple(
            (shards, np.asarray([i for j, i in rows if j == k], np.int64))
            for k, shards in enumerate(self.sets)
        )
        packed = tuple((shards, index) for shards, index in packed if len(index))
        return PackedRecords([(self.sets[k], i) for k, i in rows], prepare), packed

    def located_records(self, chosen: Chosen, records: Sequence[Sample]) -> Sequence[Located]:
        rows = sorted(self.rows(split)[i] for split, index in chosen.items() for i in index)
        return [self._located(k, i) for k, i in rows]


class PackedRecords(Sequence[Sample]):
    """Records of shards, read one by one."""

    def __init__(self, rows: Sequence[tuple[Shards, int]], prepare: Prepare) -> None:
        self._rows, self._prepare = tuple(rows), prepare

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return PackedRecords(self._rows[index], self._prepare)
        shards, i = self._rows[index]
        return self._prepare(shards.sample(i))


def _info_of(shards: Shards, data: RecordData) -> LayoutInfo:
    """What the packed layout was: as the shards say, or as its layout does for those of an older version."""
    said = shards.manifest
    name = str(said.get("layout") or "")
    base = (
        layout_class("folder").info
        if name in ("", "folder")
        else layout_info(name, said.get("options") or {})
    )
    if "tasks" not in said:
        if name in ("", "folder"):
            if not data.task:
                raise ConfigError(
                    "do not say what their targets are for",
                    where=shards.where,
                    mend="give data.task and data.classes",
                )
            return replace(base, tasks=(data.task,))
        return base
    try:
        classes = tuple(
            LandClass(int(v), str(n), (int(r), int(g), int(b))) for v, n, (r, g, b) in said["classes"]
        )
        return replace(
            base, tasks=tuple(said["tasks"]), classes=classes, quantities=dict(said.get("quantities") or {})
        )
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(
            f"say their classes in a way that cannot be read ({err})",
            where=shards.where,
            mend="pack the data set again",
        ) from err


def _box(grid: Grid | None, name: str) -> Box | None:
    if grid is None:
        return None
    return Box(grid.crs or f"image {name}", *bounds_of(grid))
