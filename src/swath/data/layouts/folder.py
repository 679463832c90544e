"""A person's own folder, described by a small YAML (docs/own-data.md): images, labels and how to divide them."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from swath.cube import BandStatistics, Grid, Sample
from swath.data.folder_dated import DatedTargets
from swath.data.folder_labels import RasterTargets, TableTargets, Targets, VectorTargets
from swath.data.folder_places import ImagePlace, find_places
from swath.data.folder_spec import FILE, FolderSpec, folder_spec, read_folder_spec
from swath.data.folder_split import divide
from swath.data.labels import IGNORE
from swath.data.layouts.base import Item, LayoutInfo, Task
from swath.data.patterns import compile_pattern, list_files
from swath.data.raster import open_scene
from swath.data.split_parts import Box, Located
from swath.data.vectors import bounds_of
from swath.errors import ConfigError, InputError

log = logging.getLogger(__name__)
WHOLE = "image"
"""The id of the only image, where the pattern names no places."""
_TASKS: Mapping[str, Task] = {
    "raster": "segmentation",
    "vector": "segmentation",
    "numbers": "regression",
    "csv": "classification",
}


class Folder:
    """Images and labels as a YAML says.

    Args:
        root: the folder, which holds `dataset.yaml`, or a YAML file, whose folder is meant.
        split: a part that the YAML's `split` makes, or None for all items, those in no part included.
        spec: in place of the YAML: a FolderSpec or its plain values.

    Items are whole images, or windows of the stated size on a grid from the upper left corner; at the lower and
    right edge they reach beyond the image, where pixels are invalid and labels unknown. A window's cube carries
    the statistics of its whole image. An image that cannot be opened is one item, and an error when it is read; in a
    part it is left out, with a warning, since nobody knows where it lies.

    Raises:
        ConfigError: the YAML is wrong.
        InputError: files are missing, or not as it says, or no image can be opened.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="folder",
        title="A folder of your own, described by a small YAML",
        tasks=("pretraining", "classification", "segmentation", "regression"),
        sensors={},
        classes=(),
        splits=("train", "validation", "test"),
        size="varies",
        dates="varies",
        items="varies",
        unit="as metadata or the YAML say",
        licence="yours",
        source="your disk",
        files=(FILE, "images and labels as its patterns say"),
        notes=("Time-major stacks are read as such only where stack_dates says so.",),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        spec: FolderSpec | Mapping[str, Any] | None = None,
    ) -> None:
        path = Path(root)
        yaml = path / FILE if path.is_dir() or spec is not None else path
        self.root = yaml.parent
        if spec is None:
            self.spec = read_folder_spec(yaml)
        else:
            self.spec = spec if isinstance(spec, FolderSpec) else folder_spec(spec)
        names = list_files(self.root)
        self.places = {p.name: p for p in find_places(self.spec, self.root, names)}
        self._broken: dict[str, InputError] = {}
        self._frames = self._open_all()
        self._statistics: dict[str, BandStatistics] = {}
        self._targets = self._labels(names)
        self._windows = self._list()
        self._divide(split)
        # The class's own info says what a folder may be; this says what this one is.
        self.__dict__["info"] = self._describe()

    @property
    def items(self) -> Sequence[Item]:
        """Windows by place, row and column."""
        return self._items

    def read(self, index: int) -> Sample:
        """One image or window, with its target."""
        item = self._items[index]
        place, (row, col, height, width) = self._windows[index]
        if place in self._broken:
            raise self._broken[place]
        image = self.places[place]
        with open_scene(image.scene) as scene:
            if place not in self._statistics:
                self._statistics[place] = scene.statistics()
            cube = scene.read(row, col, height, width)
        cube = replace(cube, statistics=self._statistics[place], source=item.where)
        target = None
        if self._targets is not None:
            target = self._targets.read(place, self._frames[place][0], (row, col, height, width), item.where)
        return Sample({self.spec.sensor: cube}, item.id, target, item.group)

    def located(self, index: int) -> Located:
        """Where and when an item is, without reading it."""
        item = self._items[index]
        place, (row, col, height, width) = self._windows[index]
        if place in self._broken:  # nobody knows where or when
            return Located(item.id, item.group)
        grid, dates = self._frames[place]
        left, low, right, high = bounds_of(grid.window(row, col, height, width))
        return Located(item.id, item.group, Box(grid.crs or f"image {place}", left, low, right, high), dates)

    def _open_all(self) -> dict[str, tuple[Grid, tuple[dt.date | None, ...]]]:
        frames = {}
        for name, place in self.places.items():
            try:
                frames[name] = self._open(place)
            except InputError as err:
                self._broken[name] = err
        if not frames:
            raise next(iter(self._broken.values()))
        return frames

    def _open(self, place: ImagePlace) -> tuple[Grid, tuple[dt.date | None, ...]]:
        with open_scene(place.scene) as scene:
            return scene.grid, scene.dates

    def _labels(self, names: Sequence[str]) -> Targets | None:
        spec = self.spec.labels
        if spec is None:
            return None
        if spec.kind == "vector":
            vectors = VectorTargets(spec, self.root)
            vectors.check([grid for grid, _ in self._frames.values()])
            return vectors
        if spec.kind == "csv":
            files = {file: p.name for p in self.places.values() for file in p.files}
            files |= {p.name: p.name for p in self.places.values() if p.name}
            return TableTargets(spec, self.root, files)
        pattern = compile_pattern(spec.file, "labels.file")
        if "band" in pattern.fields:
            raise ConfigError("labels have a band", where="labels.file", mend="name it in plain text")
        if "date" in pattern.fields:
            dates = {place: days for place, (_, days) in self._frames.items()}
            return DatedTargets(spec, pattern, self.root, names, dates, set(self._broken))
        return RasterTargets(spec, pattern, self.root, names, list(self.places))

    def _list(self) -> list[tuple[str, tuple[int, int, int, int]]]:
        windows = []
        for place in sorted(self.places):
            if place in self._broken:
                windows.append((place, (0, 0, self.spec.size or 1, self.spec.size or 1)))
                continue
            grid = self._frames[place][0]
            height, width = (self.spec.size,) * 2 if self.spec.size else (grid.height, grid.width)
            for row, col in itertools.product(range(0, grid.height, height), range(0, grid.width, width)):
                windows.append((place, (row, col, height, width)))
        if self.spec.labels is not None and self.spec.labels.labelled_only:
            windows = [w for w in windows if w[0] in self._broken or self._labelled(*w)]
            if not windows:
                raise InputError("no item holds a label", where=self.root, mend="check where the labels lie")
        return windows

    def _labelled(self, place: str, window: tuple[int, int, int, int]) -> bool:
        assert self._targets is not None
        target = self._targets.read(place, self._frames[place][0], window, place)
        known = np.isfinite(target) if target.dtype.kind == "f" else target != IGNORE
        return bool(np.any(known))

    def _divide(self, split: str | None) -> None:
        self._items = [
            Item(
                f"{place}@{window[0]},{window[1]}" if self.spec.size else place or WHOLE,
                self.places[place].scene.name,
                place,
            )
            for place, window in self._windows
        ]
        if self.spec.split is None:
            if split is not None:
                raise ConfigError(
                    f"there is no part '{split}': no split is stated",
                    where=self.root,
                    mend="add split to the YAML",
                )
            return
        listed = self._targets.splits if isinstance(self._targets, TableTargets) else {}
        opened = [i for i, (place, _) in enumerate(self._windows) if place not in self._broken]
        parts = divide([self.located(i) for i in opened], self.spec.split, self.root, listed)
        names: list[str | None] = [None] * len(self._items)
        for i, name in zip(opened, parts.names(len(opened)), strict=True):
            names[i] = name
        if split is not None and split not in parts.parts:
            raise ConfigError(
                f"there is no part '{split}'",
                where=self.root,
                mend=f"use {', '.join(parts.parts) or 'another'}",
            )
        kept = [i for i, name in enumerate(names) if split is None or name == split]
        self._items = [replace(self._items[i], split=names[i]) for i in kept]
        self._windows = [self._windows[i] for i in kept]
        self.left_out = len(parts.left_out)
        if self.left_out:
            log.info("%s: %d of %d items are in no part", self.root, self.left_out, len(opened))
        if split is not None and self._broken:
            # Where they lie is not known, so no part may hold them; whoever takes all items has them on the list.
            first = next(iter(self._broken.values()))
            log.warning(
                "%s: %d images cannot be opened and are in no part: %s", self.root, len(self._broken), first
            )

    def _describe(self) -> LayoutInfo:
        first = self.places[min(self._frames)]
        with open_scene(first.scene) as scene:
            bands = tuple(b.name for b in scene.bands)
            encoding, known = scene.encodings[0][0], scene.known[0][0]
            dates = len(scene.dates)
        labels = self.spec.labels
        side = self.spec.size
        return replace(
            Folder.info,
            title=f"The folder {self.root}",
            tasks=("pretraining",) if labels is None else (_TASKS[labels.kind],),
            sensors={self.spec.sensor: bands},
            classes=() if labels is None else labels.classes,
            quantities={"value": ""} if labels is not None and labels.kind == "numbers" else {},
            splits=tuple(sorted({i.split for i in self._items if i.split is not None})),
            size=f"{side} x {side}" if side else "whole images",
            dates=str(dates),
            items=str(len(self._items)),
            unit=f"{encoding.unit} = stored x {encoding.scale:g} + {encoding.offset:g} ({known})",
        )
