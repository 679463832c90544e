"""`swath evaluate`: scores of a map against labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.data.legend import LandClass
from swath.errors import ConfigError
from swath.verbs.options import check_columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from swath.cube import Grid
    from swath.tasks.metrics import Scores


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a map against labels.

    Attributes:
        map: as `swath predict` writes it.
        labels: a raster of class values on the map's grid, or "demo:landclass".
        classes: value, name and colour of each class of the labels; left out: the map's own.
        ignore: values of the label raster that mean "no label".
        columns: score these columns (start, stop) only; empty: all.
        min_coverage: percent of valid input that a scored pixel must have had; 100: all dates and bands.
        output: write the scores as JSON here; empty: do not.
        overwrite: replace an earlier file.
    """

    map: str
    labels: str
    classes: tuple[LandClass, ...] = ()
    ignore: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    min_coverage: int = 100
    output: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_columns(self.columns, "columns")
        if not 1 <= self.min_coverage <= 100:
            raise ConfigError(
                f"is {self.min_coverage}", where="min_coverage", mend="give a percentage of 1 to 100"
            )


@dataclass(frozen=True)
class EvaluateResult:
    """Scores over all scored pixels together; `scores` has them per class too."""

    overall_accuracy: float
    macro_f1: float
    miou: float
    pixels: int
    scores: dict[str, Any]

    def summary(self) -> str:
        """A table for a terminal."""
        lines = [
            f"{self.pixels} pixels: overall accuracy {self.overall_accuracy:.4f}, macro F1 {self.macro_f1:.4f}, "
            f"mIoU {self.miou:.4f}",
            f"{'class':24}{'pixels':>9}{'mapped':>9}{'precision':>11}{'recall':>9}{'F1':>9}{'IoU':>9}",
        ]
        for row in self.scores["classes"]:
            shown = "".join(
                f"{'-' if row[name] is None else format(row[name], '.3f'):>{width}}"
                for name, width in (("precision", 11), ("recall", 9), ("f1", 9), ("iou", 9))
            )
            lines.append(f"{row['name']:24}{row['support']:>9}{row['predicted']:>9}{shown}")
        if self.scores["note"]:
            lines.append(self.scores["note"])
        return "\n".join(lines)


def run(config: EvaluateConfig) -> EvaluateResult:
    """Scores a map.

    Raises:
        SwathError: in one line, if map and labels do not fit each other.
    """
    from swath.data.labels import read_labels, to_indices
    from swath.errors import OutputError
    from swath.files import atomic, refuse_own_input
    from swath.verbs.scene_data import legend

    if config.output and Path(config.output).exists() and not config.overwrite:
        raise OutputError("exists", where=config.output, mend="give another name, or --overwrite true")
    if config.output:
        refuse_own_input(config.output, [config.map, config.labels])
    values, known, coverage, grid = read_map(config.map)
    own, never_seen = read_tags(config.map)
    classes = legend(config.labels, config.classes or own, "classes")
    labels = read_labels(config.labels, grid, classes, ignore=config.ignore, scene=config.map)
    predicted = to_indices(values, known, classes, where=config.map)
    scores = score(
        predicted, labels, coverage >= config.min_coverage, config.columns, tuple(c.name for c in classes)
    )
    data = scores.to_dict()
    if never_seen is not None and (not config.columns or config.columns[0] < never_seen):
        # A score on what was learned from says little of the map elsewhere.
        seen = f"includes pixels that training saw: it never saw columns from {never_seen} on"
        data["note"] = "; ".join(filter(None, [data["note"], seen]))
    if config.output:
        with atomic(config.output) as temporary:
            temporary.write_text(json.dumps(data, indent=2) + "\n", "utf-8")
    return EvaluateResult(scores.overall_accuracy, scores.macro_f1, scores.miou, scores.count, data)


def read_map(
    path: str,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.uint8], Grid]:
    """Class values [H,W], where there is one, coverage in percent, and the grid of a map."""
    from swath.data.gdal import grid_of, guard, open_raster
    from swath.data.raster import read_valid
    from swath.errors import InputError

    source = open_raster(path)
    try:
        names = tuple(source.descriptions)[:3]
        if names != ("class", "confidence", "coverage"):
            raise InputError(
                "is no map of swath (its bands are not class, confidence and coverage)",
                where=path,
                mend="give a file that `swath predict` wrote",
            )
        with guard(path, "read"):
            values, known = read_valid(source, [1], (0, 0, source.height, source.width))
            coverage = source.read(3)
        return values[0], known[0], coverage, grid_of(source)
    finally:
        source.close()


def read_tags(path: str) -> tuple[tuple[LandClass, ...], int | None]:
    """A map's legend, and the first column of its scene that training never saw (None: not known)."""
    from swath.data.gdal import open_raster
    from swath.scenes.layers import NEVER_SEEN, legend_of

    source = open_raster(path)
    try:
        tags = source.tags()
    finally:
        source.close()
    first = tags.get(NEVER_SEEN)
    return legend_of(tags), None if first is None else int(first)


def score(
    predicted: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    where: npt.NDArray[np.bool_],
    columns: tuple[int, ...],
    classes: tuple[str, ...],
) -> Scores:
    """Scores of class indices [H,W] on the labelled pixels in `where` and `columns`.

    A pixel there that was not mapped is no pixel to leave out: it is an error.
    """
    import numpy as np
    import torch

    from swath.errors import InputError
    from swath.feed.config import IGNORE
    from swath.tasks.metrics import Confusion

    chosen = where & (labels != IGNORE)
    if columns:
        chosen = chosen.copy()
        chosen[:, : columns[0]] = False
        chosen[:, columns[1] :] = False
    if not chosen.any():
        raise InputError("no labelled pixel is left to score", mend="check the columns and min_coverage")
    if (predicted[chosen] == IGNORE).any():
        raise InputError(
            f"{int(np.count_nonzero(predicted[chosen] == IGNORE))} pixels to be scored are not mapped",
            mend="map them, or raise min_coverage to that of the map",
        )
    confusion = Confusion(classes)
    confusion.update(torch.from_numpy(predicted[chosen]), torch.from_numpy(labels[chosen]))
    return confusion.compute()
