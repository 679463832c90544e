"""Parts of whatever the options of labelled data name: a layout, shards, windows of a scene, or its columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from swath.cube import Sample
from swath.data.labels import IGNORE
from swath.data.part_spec import PartName
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import Part, open_part
from swath.verbs.scene_labels import read_labelled
from swath.verbs.seen_labels import check_classes, check_seen
from swath.verbs.target_meaning import Meaning

SINGLE = ("classification", "segmentation", "change")
"""Tasks whose labels are of one class each."""


def open_labelled(data: LabelledData, name: PartName, *, crop: bool = False) -> Part:
    """A part of whatever the options name, to learn from or to score: of a layout, of shards, or of a scene.

    Args:
        data: the options.
        name: of the part.
        crop: see `scene_part`.

    Raises:
        InputError: it holds no label that was seen, or is to teach and holds one class; of shards that is not looked at.
        SwathError: as of `open_part`.
    """
    part = scene_part(data, name, crop=crop) if data.by_columns else open_part(data, name)
    if not part.packed:
        check_seen(part.name, part.records, dated=part.dated)
        # Of a share, one class may be all that was drawn: that is what so few labels come to.
        if name == "train" and data.label_fraction == 1 and part.task in SINGLE:
            check_classes(part.name, part.records, [c.name for c in part.classes])
    return part


def scene_part(data: LabelledData, name: PartName, *, crop: bool = False) -> Part:
    """A part of a scene as one record: the columns to learn from, the block that selects, or what training never saw.

    It is the whole scene, labelled there alone, so that maps of it are those that `swath predict` makes; or with
    `crop` the part's columns and as much of what lies west of them as a window, which is context without labels.
    """
    labelled = read_labelled(data)
    columns = {"train": "west", "validation": "validation", "test": "east"}[name]
    start, stop = labelled.split.columns[columns]
    cube = labelled.cube if labelled.cube.statistics else labelled.cube.with_statistics()
    target = np.full(labelled.labels.shape, IGNORE, np.int64)
    target[:, start:stop] = labelled.labels[:, start:stop]
    if crop:
        left = max(0, start - data.window)
        cube, target = cube.window(0, left, cube.shape[2], stop - left), target[:, left:stop]
    title = f"columns {start} to {stop}"
    record = Sample({"scene": replace(cube, source=title)}, title, target)
    return Part(name, Meaning("segmentation", labelled.classes), [record], (title,), (None,), (None,))
