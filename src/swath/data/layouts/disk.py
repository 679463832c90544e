"""What layouts share: items in a fixed order, folders without odd files, lists, and small rasters.

A published set that was copied over a Mac or a Windows share holds `._*`, `.DS_Store` and the like beside its
files; names that begin with a dot are never items.
"""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from swath.bands import Band, sensor
from swath.cube import Array, BoolArray, Cube, Encoding, Grid
from swath.data.gdal import grid_of, open_raster
from swath.data.grids import describe, same_grid, short_crs
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.raster import open_scene, place_of, read_valid
from swath.data.spec import SceneSpec
from swath.errors import ConfigError, InputError

log = logging.getLogger(__name__)


class Listed:
    """The part of a layout that holds its items.

    Args:
        root: the folder.
        items: all that are known, in any order: they are sorted by id.
        split: one official part, or None for all items.

    Raises:
        ConfigError: there is no such split.
        InputError: an id occurs twice, or nothing is left.
    """

    info: ClassVar[LayoutInfo]

    def __init__(self, root: Path, items: Iterable[Item], split: str | None) -> None:
        check_split(self.info, split)
        chosen = sorted((i for i in items if split in (None, i.split)), key=lambda i: i.id)
        twice = next((a.id for a, b in itertools.pairwise(chosen) if a.id == b.id), None)
        if twice is not None:
            raise InputError(f"item {twice} occurs twice", where=root, mend="keep one copy of the data set")
        if not chosen:
            what = "no item" if split is None else f"no item of split '{split}'"
            raise InputError(
                f"holds {what} of {self.info.name}",
                where=root,
                mend=f"expected is {'; '.join(self.info.files[:2])}",
            )
        self.root = root
        self._items = tuple(chosen)

    @property
    def items(self) -> Sequence[Item]:
        """All records, sorted by id."""
        return self._items


def check_split(info: LayoutInfo, split: str | None) -> None:
    """Raise ConfigError when a split is none of the layout's."""
    if split is not None and split not in info.splits:
        known = f"use one of {', '.join(info.splits)}" if info.splits else "it has no official splits"
        raise ConfigError(f"{info.name} has no split '{split}'", where="split", mend=known)


def one_of(name: str, value: str, known: Sequence[str]) -> str:
    """The value, if it is known. Raises ConfigError that lists what is."""
    if value not in known:
        raise ConfigError(f"'{value}' is unknown", where=name, mend=f"use one of {', '.join(known)}")
    return value


def existing_folder(root: Path | str) -> Path:
    """The folder as a path. Raises InputError when it is none."""
    folder = Path(root)
    if not folder.is_dir():
        raise InputError("there is no such folder", where=folder, mend="check the path")
    return folder


def first_folder(root: Path, names: Sequence[str]) -> Path | None:
    """The first of these folders below root ("." is root itself) that is there."""
    return next((root / n for n in names if (root / n).is_dir()), None)


def visible(folder: Path, pattern: str) -> list[Path]:
    """Files and folders of a pattern, sorted by their path, without those that begin with a dot."""
    found = folder.glob(pattern)
    kept = (p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(kept, key=lambda p: p.relative_to(folder).as_posix())


def named(folder: Path, pattern: str, name: re.Pattern[str]) -> Iterator[tuple[Path, re.Match[str]]]:
    """Visible files whose whole name fits; those of the pattern that do not are counted in the log."""
    strange = []
    for path in visible(folder, pattern):
        match = name.fullmatch(path.name)
        if match:
            yield path, match
        else:
            strange.append(path.name)
    if strange:
        log.warning("%s: %d files are not named as items, such as %s", folder, len(strange), strange[0])


def read_lines(path: Path) -> list[str]:
    """The lines of a list that hold something. Raises InputError when there is no such text file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("there is no such list", where=path, mend="fetch it from the data set") from None
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(
            f"cannot be read as text ({type(err).__name__})", where=path, mend="fetch it anew"
        ) from err
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line]


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a csv with these columns. Raises InputError when it lacks one."""
    lines = read_lines(path)
    rows = list(csv.DictReader(lines))
    have = {} if not lines else dict.fromkeys(next(csv.reader(lines[:1])))
    lacking = [c for c in columns if c not in have]
    if lacking:
        raise InputError(f"lacks column {', '.join(lacking)}", where=path, mend="fetch the original table")
    return [{k: v or "" for k, v in row.items() if k is not None} for row in rows]


def parse_date(text: str, where: object) -> dt.date:
    """A day from "2018-07-09", "2018/07/09", "20180709" or "2018190" (day of year), with any time after it."""
    day = text.strip().replace("/", "-")
    for length, form in ((10, "%Y-%m-%d"), (8, "%Y%m%d"), (7, "%Y%j")):
        head, rest = day[:length], day[length:]
        if rest[:1].isdigit():
            continue
        try:
            return dt.datetime.strptime(head, form).date()
        except ValueError:
            continue
    raise InputError(f"'{text}' is no date", where=where, mend="write dates as 2018-07-09")


def must_exist(path: Path, what: str) -> Path:
    """The path, if the file is there. Raises InputError that says what is missing."""
    if not path.is_file():
        raise InputError(f"{what} is missing", where=path, mend="fetch it anew")
    return path


def read_scene(spec: SceneSpec) -> Cube:
    """All of a scene with its statistics, its files closed again."""
    with open_scene(spec) as scene:
        return scene.read_all()


def take_bands(cube: Cube, names: Sequence[str]) -> Cube:
    """The cube with these bands in this order, by name. Raises InputError for one that it lacks."""
    where = {band.name: i for i, band in enumerate(cube.bands)}
    wanted: tuple[Band, ...] = sensor(cube.bands[0].sensor).select(names)
    lacking = [b.name for b in wanted if b.name not in where]
    if lacking:
        raise InputError(f"has no band {', '.join(lacking)}", where=cube.source, mend="leave it out of bands")
    index = [where[b.name] for b in wanted]
    return replace(
        cube,
        pixels=cube.pixels[:, index],
        valid=cube.valid[:, index],
        bands=wanted,
        encodings=tuple(tuple(row[i] for i in index) for row in cube.encodings),
        statistics=None if cube.statistics is None else cube.statistics.take(index),
    )


def make_cube(
    pixels: Array,
    valid: BoolArray,
    bands: Sequence[Band],
    encoding: Encoding | Sequence[Encoding],
    *,
    dates: Sequence[dt.date | None] = (None,),
    gsd: float | None = None,
    grid: Grid | None = None,
    source: str,
) -> Cube:
    """A record from arrays [T,C,H,W], with its statistics; one encoding for all bands, or one per band."""
    row = (encoding,) * len(bands) if isinstance(encoding, Encoding) else tuple(encoding)
    return Cube(
        pixels=pixels,
        valid=valid,
        bands=tuple(bands),
        dates=tuple(dates),
        encodings=(row,) * len(dates),
        gsd=gsd,
        place=None if grid is None else place_of(grid),
        grid=grid,
        source=source,
    ).with_statistics()


def read_planes(path: Path | str, *, bands: int | None = None) -> tuple[Array, BoolArray, Grid]:
    """A small raster whole: [C,H,W], its validity, and its grid.

    Raises:
        InputError: it is missing or damaged, or does not hold `bands` bands.
    """
    source = open_raster(str(path))
    try:
        if bands is not None and source.count != bands:
            raise InputError(f"holds {source.count} bands, not {bands}", where=path, mend="fetch it anew")
        window = (0, 0, source.height, source.width)
        pixels, valid = read_valid(source, list(range(1, source.count + 1)), window)
        return pixels, valid, grid_of(source)
    finally:
        source.close()


def read_plane(path: Path | str, like: Cube) -> tuple[Array, BoolArray]:
    """A raster of one band on the grid of a cube, as (values, valid) [H,W].

    Raises:
        InputError: it is missing or damaged, has another size, or (where both say it) another place.
    """
    pixels, valid, grid = read_planes(path, bands=1)
    check_size(path, pixels.shape[1:], like)
    if grid.crs and like.grid is not None and like.grid.crs:
        if grid.crs != like.grid.crs:
            raise InputError(
                f"is in {short_crs(grid.crs)}, the image in {short_crs(like.grid.crs)}",
                where=path,
                mend="use files of one item",
            )
        if not same_grid(grid, like.grid):
            raise InputError(
                f"covers another grid ({describe(grid)}) than the image ({describe(like.grid)})",
                where=path,
                mend="use files of one item",
            )
    return pixels[0], valid[0]


def check_size(where: Path | str, shape: Sequence[int], like: Cube) -> None:
    """Raise InputError when labels [H,W] are not of the image's size."""
    if tuple(shape) != like.shape[2:]:
        have, want = ("x".join(str(n) for n in s) for s in (shape, like.shape[2:]))
        raise InputError(
            f"labels are {have} pixels, the image {want}", where=where, mend="use files of one item"
        )


def check_shape(where: Path | str, cube: Cube, height: int, width: int) -> Cube:
    """The cube, if it has the published size. Raises InputError otherwise."""
    if cube.shape[2:] != (height, width):
        have = "x".join(str(n) for n in cube.shape[2:])
        raise InputError(f"is {have} pixels, not {height}x{width}", where=where, mend="fetch it anew")
    return cube


def load_arrays(path: Path, read: Callable[[Path], Any]) -> Any:
    """What `read` (a numpy reader) gives. Raises InputError when the file is missing, damaged or pickled."""
    must_exist(path, "the array file")
    try:
        return read(path)
    except (OSError, ValueError, EOFError, KeyError, SyntaxError) as err:
        reason = " ".join(str(err).split())[:120] or type(err).__name__
        raise InputError(f"cannot be read by numpy ({reason})", where=path, mend="fetch it anew") from err


def npz_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray[Any, np.dtype[Any]]]:
    """Arrays of an .npz by name. Raises InputError when it is damaged or lacks one."""
    import zipfile

    def read(p: Path) -> list[np.ndarray[Any, np.dtype[Any]]]:
        try:
            # Opened here, since numpy leaves a damaged archive open.
            with p.open("rb") as file, np.load(file, allow_pickle=False) as held:
                lacking = [n for n in names if n not in held.files]
                if lacking:
                    raise InputError(f"lacks array {', '.join(lacking)}", where=p, mend="fetch it anew")
                return [held[n] for n in names]
        except (zipfile.BadZipFile, zipfile.LargeZipFile) as err:
            raise ValueError(str(err)) from err
        except AttributeError:  # an .npy under this name is no archive
            raise ValueError("it is no .npz archive") from None

    found: list[np.ndarray[Any, np.dtype[Any]]] = load_arrays(path, read)
    return found
