"""Reads shards back: the index in memory, records through memory maps, each a `Sample` equal to the packed one."""

from __future__ import annotations

import datetime as dt
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from swath.bands import Band
from swath.cube import Array, BandStatistics, Cube, Encoding, Grid, Place, Sample
from swath.errors import ConfigError, InputError
from swath.feed.shard_format import (
    MANIFEST,
    ArraySpec,
    GroupSpec,
    encodings_from_list,
    read_manifest,
    unpack_valid,
)

PACK_AGAIN = "see which with swath pack --verify true, and pack again"
# Each memory map holds a file handle; more maps than this are opened and closed in turn.
MOST_MAPS = 512


class Storage(Protocol):
    """Where the files of shards lie."""

    where: str

    def text(self, name: str) -> str:
        """A whole text file. Raises InputError."""
        ...

    def column(self, name: str, size: int) -> Array:
        """A whole `.npy` of `size` bytes. Raises InputError."""
        ...

    def record(self, file: Mapping[str, Any], spec: ArraySpec, place: int) -> Array:
        """One record of a file, to be looked at and not written to. Raises InputError."""
        ...

    def fetch(self, wanted: Sequence[tuple[Mapping[str, Any], ArraySpec, int]]) -> None:
        """Says which records will be asked for next, where getting many at once is faster."""
        ...


class Folder:
    """Shards in a folder, read-only or not, through memory maps."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.where = str(path)
        self._maps: OrderedDict[str, Array] = OrderedDict()

    def text(self, name: str) -> str:
        try:
            return (self.path / name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise InputError(
                f"holds no readable {name}",
                where=self.path,
                mend="give the folder that swath pack wrote; if it was stopped, run it again to go on",
            ) from err

    def column(self, name: str, size: int) -> Array:
        path = self.path / name
        try:
            if path.stat().st_size != size:
                raise ValueError(f"has {path.stat().st_size} bytes, not {size}")
            # Plain arrays: every item of a np.memmap is one again, which takes longer than to read it.
            found: Array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as err:
            raise InputError(f"is damaged ({err})", where=path, mend=PACK_AGAIN) from err
        return found

    def _records(self, file: Mapping[str, Any], spec: ArraySpec) -> Array:
        name = file["name"]
        found = self._maps.get(name)
        if found is not None:
            return found
        path = self.path / name
        shape = (file["records"], *spec.shape)
        try:
            if path.stat().st_size != file["bytes"]:
                raise ValueError(f"has {path.stat().st_size} bytes, not {file['bytes']}")
            found = np.asarray(np.memmap(path, spec.dtype, "r", file["offset"], shape))
        except (OSError, ValueError) as err:
            raise InputError(f"is damaged ({err})", where=path, mend=PACK_AGAIN) from err
        self._maps[name] = found
        while len(self._maps) > MOST_MAPS:
            self._maps.popitem(last=False)
        return found

    def record(self, file: Mapping[str, Any], spec: ArraySpec, place: int) -> Array:
        found: Array = self._records(file, spec)[place]
        return found

    def fetch(self, wanted: Sequence[tuple[Mapping[str, Any], ArraySpec, int]]) -> None:
        pass  # the system reads ahead by itself


class Shards:
    """A packed data set; `sample(i)` is record number i.

    Args:
        source: the folder that `swath pack` wrote, an address such as s3://bucket/folder (extra `cloud`), or a
            storage.

    Attributes:
        groups: what the records of each shape group have in common.
        columns: the index, by the names in docs/shards.md.
        manifest: what shards.json says.

    Raises:
        InputError: it is not a folder of shards, or a part is damaged.
    """

    def __init__(self, source: Path | str | Storage) -> None:
        if isinstance(source, str) and "://" in source:
            from swath.feed.shard_remote import Bucket

            source = Bucket(source)
        self.storage: Storage = Folder(source) if isinstance(source, str | Path) else source
        self.where = self.storage.where
        self.manifest = read_manifest(self.storage.text(MANIFEST), f"{self.where}/{MANIFEST}")
        try:
            self.groups = tuple(GroupSpec.from_dict(group) for group in self.manifest["groups"])
            self.cubes: tuple[str, ...] = tuple(self.manifest["cubes"])
            self.encodings = tuple(encodings_from_list(table) for table in self.manifest["encodings"])
            self.columns: dict[str, Array] = {
                name: self.storage.column(entry["name"], entry["bytes"])
                for name, entry in self.manifest["index"].items()
            }
            # Plain lists of what is asked for with every record.
            self._group: list[int] = self.columns["shape_group"].tolist()
            self._row: list[int] = self.columns["row"].tolist()
            self._per_shard = [int(group["records_per_shard"]) for group in self.manifest["groups"]]
            self._files = [group["files"] for group in self.manifest["groups"]]
            self._specs = [spec.arrays() for spec in self.groups]
        except (KeyError, TypeError, AttributeError) as err:
            raise InputError(
                f"lacks what shards must say ({type(err).__name__}: {err})",
                where=f"{self.where}/{MANIFEST}",
                mend=PACK_AGAIN,
            ) from err

    def __len__(self) -> int:
        return len(self._row)

    def id(self, index: int) -> str:
        """Of record number `index`."""
        return self._word("id", index)

    def ids(self, records: Sequence[int]) -> tuple[str, ...]:
        """Of several records."""
        return tuple(bytes(name).decode() for name in self.columns["id"][records].tolist())

    def group_of(self, index: int) -> int:
        """The shape group of a record."""
        return self._group[index]

    def array(self, index: int, name: str) -> Array:
        """One stored array of a record, as `GroupSpec.arrays` names it; from a folder, a view of the file."""
        return self.storage.record(*self._place(index, name))

    def fetch(self, records: Sequence[int], names: Sequence[str]) -> None:
        """Gets these arrays of these records at once, if they lie far away."""
        self.storage.fetch([self._place(i, name) for i in records for name in names])

    def _place(self, index: int, name: str) -> tuple[Mapping[str, Any], ArraySpec, int]:
        group, row = self._group[index], self._row[index]
        number, place = divmod(row, self._per_shard[group])
        return self._files[group][name][number], self._specs[group][name], place

    def only_cube(self, name: str = "") -> str:
        """The cube of that name, or the only one. Raises ConfigError."""
        if not name and len(self.cubes) == 1:
            return self.cubes[0]
        if name not in self.cubes:
            what = f"has no cube '{name}'" if name else f"holds {len(self.cubes)} cubes"
            raise ConfigError(what, where=self.where, mend=f"name one of {', '.join(self.cubes)}")
        return name

    def select(self, *, split: str | None = None, cube: str = "") -> npt.NDArray[np.int64]:
        """Numbers of the records of a split (None: of all) that hold a cube ("": any)."""
        keep = np.ones(len(self), np.bool_)
        if split is not None:
            keep &= self.columns["split"] == split.encode()
            if not keep.any():
                known = sorted({s.decode() for s in np.unique(self.columns["split"]).tolist() if s})
                mend = f"use one of {', '.join(known)}" if known else "they name no splits"
                raise ConfigError(f"no record is of split '{split}'", where=self.where, mend=mend)
        if cube:
            keep &= np.greater_equal(self.columns[f"{cube}.encoding"], 0)
        return np.flatnonzero(keep)

    def statistics(self, index: int, name: str) -> BandStatistics:
        """Of a record's cube, as they were before any crop."""
        bands = self.groups[self._group[index]].cubes[name].pixels.shape[1]

        def column(key: str) -> tuple[Any, ...]:
            return tuple(self.columns[f"{name}.{key}"][index, :bands].tolist())

        return BandStatistics(
            column("minimum"), column("maximum"), column("mean"), column("std"), column("count")
        )

    def dates(self, index: int, name: str) -> tuple[dt.date | None, ...]:
        """Of a record's cube."""
        count = self.groups[self._group[index]].cubes[name].pixels.shape[0]
        # datetime64 becomes datetime.date, and NaT None.
        return tuple(self.columns[f"{name}.dates"][index, :count].tolist())

    def place(self, index: int, name: str) -> Place | None:
        """Of a record's cube, without its pixels; None where unknown."""
        lon, lat, altitude = self.columns[f"{name}.place"][index].tolist()
        return None if math.isnan(lon) else Place(lon, lat, None if math.isnan(altitude) else altitude)

    def days(self, records: Sequence[int], name: str) -> npt.NDArray[np.float32]:
        """[B,T,2] of records with as many dates: day of year and year, as `swath.cube.date_features` has them."""
        count = self.groups[self._group[records[0]]].cubes[name].pixels.shape[0]
        dates = self.columns[f"{name}.dates"][records, :count]
        years = dates.astype("M8[Y]")
        unknown = np.isnat(dates)
        day = np.where(unknown, np.nan, (dates - years).astype(np.int64) + 1.0)
        year = np.where(unknown, np.nan, years.astype(np.int64) + 1970.0)
        return np.stack([day, year], -1).astype(np.float32)

    def cube(self, index: int, name: str) -> Cube:
        """One cube of a record; its pixels are a view of the file."""
        spec = self.groups[self._group[index]].cubes[name]

        def value(key: str) -> Any:
            return self.columns[f"{name}.{key}"][index].tolist()

        gsd, crs = value("gsd"), value("crs")
        grid = None
        if crs >= 0:
            a, b, c, d, e, f = value("transform")
            height, width = value("grid_size")
            grid = Grid(self.manifest["crs"][crs], (a, b, c, d, e, f), height, width)
        bits = self.array(index, f"{name}.valid")
        return Cube(
            pixels=self.array(index, f"{name}.pixels"),
            valid=unpack_valid(bits.view(np.uint8), spec.pixels.shape),
            bands=spec.bands,
            dates=self.dates(index, name),
            encodings=self.encodings_of(index, name),
            gsd=None if math.isnan(gsd) else gsd,
            place=self.place(index, name),
            grid=grid,
            statistics=self.statistics(index, name),
            source=self._word(f"{name}.source", index),
        )

    def encodings_of(self, index: int, name: str) -> tuple[tuple[Encoding, ...], ...]:
        """[T][C] of a record's cube."""
        return self.encodings[int(self.columns[f"{name}.encoding"][index])]

    def bands(self, name: str) -> tuple[Band, ...]:
        """Of a cube, as the first group that holds it has them."""
        return next(g.cubes[name].bands for g in self.groups if name in g.cubes)

    def sample(self, index: int) -> Sample:
        """Record number `index` as it was packed; its cubes carry their statistics."""
        spec = self.groups[self._group[index]]
        return Sample(
            cubes={name: self.cube(index, name) for name in spec.cubes},
            id=self.id(index),
            target=None if spec.target is None else self.array(index, "target"),
            group=self._word("group", index) or None,
            weight=float(self.columns["weight"][index]),
        )

    def split(self, index: int) -> str | None:
        """The official part a record belongs to."""
        return self._word("split", index) or None

    def _word(self, column: str, index: int) -> str:
        return bytes(self.columns[column][index]).decode()
