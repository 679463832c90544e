"""One scene with labels: its classes, and its labels on its grid, divided by columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swath.cube import Cube, Grid
from swath.data.labels import IGNORE
from swath.data.legend import LandClass, check_legend
from swath.data.spec import DEMO_PREFIX
from swath.data.splits import ColumnSplit, column_split
from swath.errors import ConfigError, InputError
from swath.verbs.labelled_options import LabelledData
from swath.verbs.scene_data import read_scene

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """A scene with its labels, divided.

    Attributes:
        cube: as read, before any contract.
        labels: class indices [H,W], IGNORE where unknown.
        classes: in the order of the indices.
        split: west, validation block, buffer and east.
    """

    cube: Cube
    labels: IntArray
    classes: tuple[LandClass, ...]
    split: ColumnSplit


def legend(labels: str, classes: Sequence[LandClass], where: str) -> tuple[LandClass, ...]:
    """The classes of labels: those named, or those of an embedded raster."""
    from swath.data.demo import NC_CLASSES

    if classes:
        check_legend(classes, where)
        return tuple(classes)
    if labels.startswith(DEMO_PREFIX):
        return NC_CLASSES
    raise ConfigError(
        "no classes are named",
        where=where,
        mend="give value, name and color of each class of the labels",
    )


def scene_labels(data: LabelledData, grid: Grid, scene: str) -> tuple[IntArray, tuple[LandClass, ...]]:
    """Class indices [H,W] on a scene's grid, IGNORE where nothing is known, and the classes.

    Raises:
        ConfigError: no classes are named, or the extra for vectors is not installed.
        InputError: the labels cannot be read, or lie elsewhere.
    """
    from swath.data.labels import read_labels
    from swath.data.vectors import read_vectors

    classes = legend(data.labels, data.classes, "data.classes")
    if not data.attribute:
        return read_labels(data.labels, grid, classes, ignore=data.ignore, scene=scene), classes
    vectors = read_vectors(
        data.labels,
        attribute=data.attribute,
        classes=classes,
        layer=data.layer or None,
        ignore=data.ignore,
    )
    labels = vectors.rasterise(grid, touch=data.touch or "centre", overlap=data.overlap or "error")
    if (labels == IGNORE).all():
        raise InputError(
            f"labels no pixel of {scene}",
            where=data.labels,
            mend="check its reference system, and that x comes before y (longitude before latitude)",
        )
    return labels, classes


def read_labelled(data: LabelledData) -> Labelled:
    """Reads a scene and its labels, and divides it by columns."""
    assert data.scene is not None
    cube = read_scene(data.scene)
    if cube.grid is None:
        raise InputError("has no grid to lay labels on", where=cube.source)
    labels, classes = scene_labels(data, cube.grid, cube.source)
    split = column_split(
        *cube.shape[2:],
        window=data.window,
        validation=data.validation or None,
        east_start=data.east_start or None,
    )
    return Labelled(cube, labels, classes, split)
