"""Labelled windows of one scene as records, which are divided like those of any data set.

Windows lie on a grid from the upper left corner; those at the lower and right edge are smaller. Only windows with a
label are records, so all labels are looked at to know them; pixels are read for the windows that a part holds, and no
others.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swath.cube import Sample
from swath.data.labels import IGNORE
from swath.data.layouts.base import LayoutInfo
from swath.data.raster import open_scene
from swath.data.split_parts import Box, Located
from swath.data.vectors import bounds_of
from swath.verbs.labelled_options import LabelledData
from swath.verbs.scene_labels import scene_labels

if TYPE_CHECKING:
    from swath.feed.shards import Shards
    from swath.verbs.labelled_sources import Chosen, Prepare

IntArray = npt.NDArray[np.int64]
NAME = "scene"


class SceneSource:
    """A scene whose labelled windows of `data.window` pixels are records.

    Args:
        data: with a scene.

    Raises:
        SwathError: in one line, if the scene or its labels cannot be read.
    """

    def __init__(self, data: LabelledData) -> None:
        assert data.scene is not None
        self.spec, side = data.scene, data.window
        with open_scene(self.spec) as scene:
            self.grid, self.dates = scene.grid, scene.dates
            name, bands = scene.source, tuple(b.name for b in scene.bands)
        self.labels, classes = scene_labels(data, self.grid, name)
        height, width = self.grid.height, self.grid.width
        corners = itertools.product(range(0, height, side), range(0, width, side))
        windows = ((r, c, min(side, height - r), min(side, width - c)) for r, c in corners)
        self.windows = [w for w in windows if (self._target(w) != IGNORE).any()]
        self._info = LayoutInfo(
            name=NAME,
            title=f"The scene {name}",
            tasks=("segmentation",),
            sensors={NAME: bands},
            classes=classes,
            splits=(),
            size=f"{side} x {side}",
            dates=str(len(self.dates)),
            items=str(len(self.windows)),
            unit="as the scene's options say",
            licence="yours",
            source="your disk",
            files=(self.spec.name,),
        )

    @property
    def info(self) -> LayoutInfo:
        return self._info

    @property
    def splits(self) -> tuple[str, ...]:
        return ()

    def items(self, split: str | None) -> Sequence[Located]:
        """All windows; a scene has no parts of its own."""
        return [self._located(i) for i in range(len(self.windows))]

    def records(
        self, chosen: Chosen, prepare: Prepare
    ) -> tuple[Sequence[Sample], tuple[tuple[Shards, IntArray], ...]]:
        found: list[Sample] = []
        with open_scene(self.spec) as scene:
            for i in (i for index in chosen.values() for i in index):
                window = self.windows[i]
                cube = scene.read(*window)
                found.append(prepare(Sample({NAME: cube}, self._id(i), self._target(window))))
        return found, ()

    def located_records(self, chosen: Chosen, records: Sequence[Sample]) -> Sequence[Located]:
        return [self._located(i) for index in chosen.values() for i in index]

    def _target(self, window: tuple[int, int, int, int]) -> IntArray:
        row, col, height, width = window
        return self.labels[row : row + height, col : col + width]

    def _id(self, i: int) -> str:
        row, col, _, _ = self.windows[i]
        return f"{Path(self.spec.name).name}@{row},{col}"

    def _located(self, i: int) -> Located:
        grid = self.grid.window(*self.windows[i])
        return Located(self._id(i), None, Box(grid.crs or NAME, *bounds_of(grid)), self.dates)
