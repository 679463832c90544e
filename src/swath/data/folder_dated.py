"""Targets of a person's own folder that are of each date: a raster of labels for every image, matched by date."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from swath.cube import Array, Grid
from swath.data.folder_labels import Window, read_window, unlabelled
from swath.data.folder_spec import LabelSpec
from swath.data.patterns import Found, Pattern, match_files
from swath.errors import InputError
from swath.words import counted

log = logging.getLogger(__name__)
Dates = tuple[dt.date | None, ...]


class DatedTargets:
    """One raster per place and date, on the grid of the place's images; a date without one is unlabelled.

    Args:
        spec: whose `file` has the field {date}.
        pattern: of `file`, compiled.
        root: the folder.
        names: its files.
        dates: place -> those of its images.
        broken: places whose images cannot be opened, of which nothing is said here.

    Raises:
        InputError: a place has no label of any of its dates, or its images' dates are not known.
    """

    def __init__(
        self,
        spec: LabelSpec,
        pattern: Pattern,
        root: Path,
        names: Sequence[str],
        dates: Mapping[str, Dates],
        broken: Collection[str] = (),
    ) -> None:
        self.spec = spec
        found: dict[str, dict[dt.date | None, str]] = {}
        files = match_files(pattern, names, root, "labels.file")
        for file in files:
            found.setdefault(file.place, {})[file.date] = file.path
        if "place" not in pattern.fields and len(dates) > 1:
            raise InputError(
                f"files of labels are named for {len(dates)} places",
                where=root,
                mend="use {place} in labels.file",
            )
        self.files: dict[str, tuple[str | None, ...]] = {}
        for place, days in dates.items():
            of_place = found.get(place if "place" in pattern.fields else "", {})
            self.files[place] = _matched(place, days, of_place, root)
        _tell(self.files, dates, [f for f in files if f.place not in broken], root)

    def read(self, place: str, whole: Grid, window: Window, scene: str) -> Array:
        """[T,h,w] in the order of the images' dates."""
        return np.stack(
            [
                unlabelled(self.spec, window)
                if path is None
                else read_window(self.spec, path, whole, window, scene)
                for path in self.files[place]
            ]
        )


def _matched(
    place: str, days: Dates, found: Mapping[dt.date | None, str], root: Path
) -> tuple[str | None, ...]:
    """The file of each date, or None."""
    name = f"{root / place}" if place else str(root)
    if None in days:
        raise InputError(
            "does not say the dates of its images, and labels are named by date",
            where=name,
            mend="use {date} in images, or state dates",
        )
    if not found:
        raise InputError("there are no labels of this place", where=name, mend="add them, or narrow images")
    chosen = tuple(found.get(day) for day in days)
    if not any(chosen):
        raise InputError(
            f"no labels are of a date of its images: they are of {_some(found)}, the images of {_some(days)}",
            where=name,
            mend="correct {date} in labels.file, or the names",
        )
    return chosen


def _tell(
    files: Mapping[str, Sequence[str | None]], dates: Mapping[str, Dates], found: Sequence[Found], root: Path
) -> None:
    """Warns of images without labels, and of labels without an image."""
    bare = [(p, d) for p, row in files.items() for d, path in zip(dates[p], row, strict=True) if path is None]
    if bare:
        place, day = bare[0]
        log.warning(
            "%s: %s of %d without labels, such as %s: unlabelled", root, counted(len(bare), "date"),
            sum(map(len, dates.values())), " ".join(filter(None, [place, str(day)])),
        )  # fmt: skip
    used = {path for row in files.values() for path in row}
    left = [file.path for file in found if file.path not in used]
    if left:
        log.warning(
            "%s: %s of labels without an image of their date, such as %s: not used",
            root, counted(len(left), "file"), Path(left[0]).relative_to(root).as_posix(),
        )  # fmt: skip


def _some(days: Mapping[dt.date | None, str] | Dates) -> str:
    known = sorted({d for d in days if d is not None})
    return ", ".join(d.isoformat() for d in known[:3]) + (", …" if len(known) > 3 else "")
