"""Targets of a person's own folder: class rasters, rasters of numbers, vectors, or a table of classes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from swath.cube import Array, Grid
from swath.data.folder_spec import LabelSpec
from swath.data.gdal import grid_of, open_raster
from swath.data.labels import IGNORE, check_grid, to_indices
from swath.data.patterns import Pattern, match_files
from swath.data.raster import read_valid
from swath.data.vectors import Vectors, read_vectors
from swath.errors import InputError

Window = tuple[int, int, int, int]


class Targets(Protocol):
    """What gives a target to each item."""

    def read(self, place: str, whole: Grid, window: Window, scene: str) -> Array:
        """The target of a window (row, col, height, width) of a place, whose whole grid is `whole`."""
        ...


class RasterTargets:
    """One raster per place, on the grid of its images; beyond the edge there is no label."""

    def __init__(
        self, spec: LabelSpec, pattern: Pattern, root: Path, names: Sequence[str], places: Sequence[str]
    ) -> None:
        found = {f.place: f.path for f in match_files(pattern, names, root, "labels.file")}
        lacking = [place for place in places if place not in found]
        if lacking and set(found) != {""}:
            raise InputError(
                f"there are no labels of {len(lacking)} places, such as '{lacking[0]}'",
                where=root,
                mend="add them, or narrow the pattern of images",
            )
        if lacking and len(places) > 1:
            raise InputError(
                f"one file of labels is named for {len(places)} places",
                where=found[""],
                mend="use {place} in it",
            )
        self.spec = spec
        self.files = {place: found.get(place, found.get("", "")) for place in places}

    def read(self, place: str, whole: Grid, window: Window, scene: str) -> Array:
        return read_window(self.spec, self.files[place], whole, window, scene)


def read_window(spec: LabelSpec, path: str, whole: Grid, window: Window, scene: str) -> Array:
    """[height,width] of a raster of classes or numbers on the grid `whole`; unknown beyond its edge."""
    row, col, height, width = window
    source = open_raster(path)
    try:
        check_grid(path, grid_of(source), whole, scene)
        if source.count != 1:
            raise InputError(
                f"holds {source.count} bands, labels have one", where=path, mend="name the label raster"
            )
        h, w = min(height, whole.height - row), min(width, whole.width - col)
        pixels, valid = read_valid(source, [1], (row, col, h, w))
    finally:
        source.close()
    target = unlabelled(spec, window)
    if spec.kind == "numbers":
        target[:h, :w] = np.where(valid[0], pixels[0], np.nan)
        return target
    ignore = [int(v) for v in spec.ignore]
    target[:h, :w] = to_indices(
        pixels[0], valid[0], spec.classes, ignore=ignore, where=path, allow_empty=True
    )
    return target


def unlabelled(spec: LabelSpec, window: Window) -> Array:
    """[height,width] of a window without a label."""
    if spec.kind == "numbers":
        return np.full(window[2:], np.nan, np.float32)
    return np.full(window[2:], IGNORE, np.int64)


class VectorTargets:
    """One vector file for all places."""

    def __init__(self, spec: LabelSpec, root: Path) -> None:
        self.spec = spec
        self.vectors = read_vectors(
            str(root / spec.file),
            attribute=spec.attribute,
            classes=spec.classes,
            layer=spec.layer,
            crs=spec.crs,
            ignore=spec.ignore,
        )
        self._moved: dict[str, Vectors] = {}

    def check(self, grids: Sequence[Grid]) -> None:
        """Raises InputError if no feature lies near any of the images: that is never meant."""
        placed = [grid for grid in grids if grid.crs]
        if placed and not any(self._in(grid.crs).touches(grid) for grid in placed):
            raise InputError(
                "no feature lies on an image",
                where=self.vectors.path,
                mend="check its reference system, and that x comes before y (longitude before latitude)",
            )

    def _in(self, crs: str) -> Vectors:
        if crs not in self._moved:
            self._moved[crs] = self.vectors.to_crs(crs)
        return self._moved[crs]

    def read(self, place: str, whole: Grid, window: Window, scene: str) -> Array:
        if not whole.crs:
            raise InputError(
                "has no reference system to lay vectors on", where=scene, mend="give the image one"
            )
        row, col, height, width = window
        target: npt.NDArray[np.int64] = np.full((height, width), IGNORE, np.int64)
        h, w = min(height, whole.height - row), min(width, whole.width - col)
        target[:h, :w] = self._in(whole.crs).rasterise(
            whole.window(row, col, h, w), touch=self.spec.touch, overlap=self.spec.overlap
        )
        return target


class TableTargets:
    """A table with a class per file: `file,class` and, where parts are listed, `split`.

    `file` is the path of an image relative to the folder, or the name of its place.
    """

    def __init__(self, spec: LabelSpec, root: Path, files: Mapping[str, str]) -> None:
        """`files` maps every image's relative path, and its place, to its place."""
        path = root / spec.file
        rows = read_table(path, ("file", "class"))
        named = {c.name: i for i, c in enumerate(spec.classes)}
        named |= {str(c.value): i for i, c in enumerate(spec.classes) if str(c.value) not in named}
        self.classes: dict[str, int] = {}
        self.splits: dict[str, str] = {}
        for number, row in enumerate(rows, start=2):
            where = f"{path}: line {number}"
            place = files.get(row["file"])
            if place is None:
                raise InputError(
                    f"names a file that is none of the images: '{row['file']}'",
                    where=where,
                    mend="correct it, or the pattern of images",
                )
            if place in self.classes:
                raise InputError(f"names '{row['file']}' again", where=where, mend="name each file once")
            if row["class"] not in named:
                raise InputError(
                    f"names an unknown class '{row['class']}' (known: {', '.join(named)})",
                    where=where,
                    mend="add it to the classes",
                )
            self.classes[place] = named[row["class"]]
            if row.get("split"):
                self.splits[place] = row["split"]
        lacking = sorted(set(files.values()) - set(self.classes))
        if lacking:
            raise InputError(
                f"names no class of {len(lacking)} images, such as '{lacking[0]}'",
                where=path,
                mend="add them, or narrow the pattern of images",
            )

    def read(self, place: str, whole: Grid, window: Window, scene: str) -> Array:
        return np.asarray(self.classes[place], np.int64)


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a csv with these columns or more. Raises InputError naming what is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            lacking = [name for name in columns if name not in header]
            if lacking:
                raise InputError(
                    f"has no column {', '.join(lacking)} (it has {', '.join(header) or 'none'})",
                    where=path,
                    mend=f"begin it with {','.join(columns)}",
                )
            reader.fieldnames = header
            rows = []
            for row in reader:
                if None in row or any(row[name] is None for name in columns):
                    raise InputError(
                        f"line {reader.line_num} has another number of columns", where=path, mend="correct it"
                    )
                rows.append({name: (value or "").strip() for name, value in row.items()})
    except FileNotFoundError:
        raise InputError("there is no such file", where=path, mend="check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise InputError(f"is not readable as csv ({err})", where=path, mend="save it as UTF-8 text") from err
    if not rows:
        raise InputError("holds no row", where=path, mend="list at least one")
    return rows
