"""A map that was drawn, read again and scored pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swath.data.legend import LandClass
from swath.words import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from swath.cube import Grid
    from swath.tasks.bootstrap import Intervals
    from swath.tasks.metrics import Scores
    from swath.verbs.score_units import IntervalOptions


def read_map(
    path: str, date: str = ""
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.uint8], Grid]:
    """Class values [H,W], where there is one, coverage in percent, and the grid of a map; of one for each of several
    dates those of `date`.
    """
    from swath.data.gdal import grid_of, guard, open_raster
    from swath.data.raster import read_valid
    from swath.errors import InputError
    from swath.scenes.layers import DATES

    source = open_raster(path)
    try:
        first, day = _bands_of(source.tags().get(DATES), source.count, date, path)
        names = tuple(source.descriptions)[first : first + 3]
        if names != tuple(f"{what}{day}" for what in ("class", "confidence", "coverage")):
            raise InputError(
                "is no map of swath (its bands are not class, confidence and coverage)",
                where=path,
                mend="give a file that `swath predict` wrote",
            )
        with guard(path, "read"):
            values, known = read_valid(source, [first + 1], (0, 0, source.height, source.width))
            coverage = source.read(first + 3)
        return values[0], known[0], coverage, grid_of(source)
    finally:
        source.close()


def _bands_of(tag: str | None, count: int, date: str, path: str) -> tuple[int, str]:
    """How many bands of a map stand before those of a date, and what is behind the names of these."""
    from swath.errors import ConfigError, InputError

    if tag is None:
        if date:
            raise ConfigError(f"{path} is one map for all dates", where="date", mend="leave it out")
        return 0, ""
    dates = tag.split(",")
    if date not in dates:
        raise InputError(
            f"holds a map for each of several dates, and none is of {date}" if date else
            "holds a map for each of several dates",
            where=path,
            mend=f"name one by date: {', '.join(dates)}",
        )  # fmt: skip
    return dates.index(date) * (count // len(dates)), f" {date}"


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
    import torch

    from swath.tasks.metrics import Confusion

    chosen = scored_pixels(predicted, labels, where, columns)
    confusion = Confusion(classes)
    confusion.update(torch.from_numpy(predicted[chosen]), torch.from_numpy(labels[chosen]))
    return confusion.compute()


def score_intervals(
    predicted: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
    classes: tuple[str, ...],
    options: IntervalOptions,
) -> Intervals:
    """Intervals of the scores of the `chosen` pixels, by squares of the map."""
    import numpy as np
    import torch

    from swath.feed.config import IGNORE
    from swath.tasks.block_scores import ClassBlocks
    from swath.tasks.bootstrap import bootstrap
    from swath.verbs.score_units import squares

    blocks = ClassBlocks(classes)
    truth = np.where(chosen, labels, IGNORE)
    for name, box in squares(labels.shape[0], labels.shape[1], options.square):
        part = torch.from_numpy(predicted[box])[None], torch.from_numpy(truth[box])[None]
        blocks.update_classes(*part, [name])
    return bootstrap(blocks, options.draw, f"square of {options.square} pixels")


def scored_pixels(
    predicted: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    where: npt.NDArray[np.bool_],
    columns: tuple[int, ...],
) -> npt.NDArray[np.bool_]:
    """Which pixels [H,W] are scored; every one of them must have been mapped."""
    import numpy as np

    from swath.errors import InputError
    from swath.feed.config import IGNORE

    chosen: npt.NDArray[np.bool_] = where & (labels != IGNORE)
    if columns:
        chosen = chosen.copy()
        chosen[:, : columns[0]] = False
        chosen[:, columns[1] :] = False
    if not chosen.any():
        raise InputError("no labelled pixel is left to score", mend="check the columns and min_coverage")
    if (predicted[chosen] == IGNORE).any():
        raise InputError(
            f"{counted(int(np.count_nonzero(predicted[chosen] == IGNORE)), 'pixel')} to be scored without a map",
            mend="map them, or raise min_coverage to that of the map",
        )
    return chosen
