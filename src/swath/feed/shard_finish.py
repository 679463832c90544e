"""Joins finished blocks into shards and writes their index; numpy alone.

Everything is a function of the blocks in their order, so that shards are the same bits however the blocks came to be.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.errors import OutputError
from swath.feed.shard_format import (
    FORMAT_VERSION,
    INDEX,
    MANIFEST,
    STATISTICS,
    GroupSpec,
    seal,
    shard_name,
)
from swath.feed.shard_write import ArrayWriter, WrittenFile, hash_file, read_block
from swath.files import atomic, sync_folder

Divide = Callable[[Mapping[str, npt.NDArray[np.generic]], Sequence[str], Sequence[GroupSpec]], Sequence[str]]
"""The part of each record (empty: none) from the index's columns, its reference systems, and the shape groups."""


def finish(
    folder: Path,
    blocks: Sequence[Path],
    index: Index,
    shard_bytes: int,
    about: dict[str, Any],
    done: Callable[[int], None] = lambda blocks: None,
) -> dict[str, Any]:
    """Shards, index and `shards.json` out of finished blocks, which stay.

    Args:
        folder: of the shards.
        blocks: folders that `BlockWriter` finished, in the order of their records.
        index: of the same blocks.
        shard_bytes: most bytes of a file of pixels.
        about: what else `shards.json` shall say.
        done: called with the number of blocks joined so far.

    Returns:
        What `shards.json` says. It is written last: shards without it are not finished.
    """
    for old in folder.glob("g[0-9][0-9][0-9]*"):  # of a set that is replaced, or of a killed attempt
        shutil.rmtree(old, ignore_errors=True)
    groups = [
        _Group(folder, number, spec, spec.records_per_shard(shard_bytes))
        for number, spec in enumerate(index.groups)
    ]
    for number, path in enumerate(blocks):
        for group, part in _parts_of(path, index, groups):
            group.take(path, {name: WrittenFile(**file) for name, file in part["files"].items()})
        done(number + 1)
    listed = []
    for group in groups:
        group.close()
        sync_folder(folder / f"g{group.number:03d}")
        listed.append(
            {
                **group.spec.to_dict(),
                "records": index.rows[group.number],
                "records_per_shard": group.per_shard,
                "files": {name: [vars(file) for file in files] for name, files in group.files.items()},
            }
        )
    manifest = {
        "format_version": FORMAT_VERSION,
        **about,
        "records": len(index.ids),
        "groups": listed,
        **index.write(folder),
    }
    return _write_manifest(folder, manifest)


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    # What is said is sealed as it will be read: tuples are lists in JSON.
    sealed: dict[str, Any] = json.loads(json.dumps(manifest))
    sealed["sha256"] = seal(sealed)
    with atomic(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(sealed, indent=1) + "\n", "utf-8")
    return sealed


def _parts_of(block: Path, index: Index, groups: Sequence[_Group]) -> Iterator[tuple[_Group, dict[str, Any]]]:
    for part in _read(block)["groups"]:
        yield groups[index.number(GroupSpec.from_dict(part["spec"]))], part


def _read(block: Path) -> dict[str, Any]:
    found = read_block(block)
    assert found is not None
    return found


@dataclass
class _Group:
    """The files of one group while they are made."""

    folder: Path
    number: int
    spec: GroupSpec
    per_shard: int
    files: dict[str, list[WrittenFile]] = field(default_factory=dict)
    _open: dict[str, ArrayWriter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / f"g{self.number:03d}").mkdir(parents=True)
        self.files = {name: [] for name in self.spec.arrays()}

    def take(self, block: Path, parts: dict[str, WrittenFile]) -> None:
        """The block's records of this group. A file that is a whole shard already is linked, not copied."""
        for name, part in parts.items():
            if name not in self._open and part.records == self.per_shard:
                target = self._path(name)
                _link(block / part.name, target)
                self.files[name].append(_named(part, target, self.folder))
                continue
            source = np.load(block / part.name, mmap_mode="r", allow_pickle=False)
            for record in source:
                if name not in self._open:
                    self._open[name] = ArrayWriter(self._path(name), self.spec.arrays()[name])
                self._open[name].append(np.asarray(record))
                if self._open[name].records == self.per_shard:
                    self._close(name)

    def close(self) -> None:
        """The last, shorter files."""
        for name in list(self._open):
            self._close(name)

    def _path(self, name: str) -> Path:
        return self.folder / shard_name(self.number, len(self.files[name]), name)

    def _close(self, name: str) -> None:
        writer = self._open.pop(name)
        self.files[name].append(_named(writer.close(), writer.path, self.folder))


def _named(file: WrittenFile, path: Path, folder: Path) -> WrittenFile:
    return WrittenFile(
        path.relative_to(folder).as_posix(), file.records, file.offset, file.bytes, file.sha256
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


class Index:
    """Columns of one row per record, and the shape groups, of finished blocks in their order.

    Attributes:
        groups: the shape groups, in the order in which records of them come.
        rows: records of each.
        columns: see docs/shards.md.
    """

    def __init__(self, blocks: Iterable[Path]) -> None:
        self.ids: list[str] = []
        self.rows: list[int] = []
        self._numbers: dict[str, int] = {}
        self.groups: list[GroupSpec] = []
        self._common: dict[str, list[Any]] = {
            name: [] for name in ("group", "split", "weight", "label", "sha256", "shape_group", "row")
        }
        self._cubes: dict[str, list[dict[str, Any] | None]] = {}
        for path in blocks:
            block = _read(path)
            here = [self.number(GroupSpec.from_dict(part["spec"])) for part in block["groups"]]
            for row in block["records"]:
                self._add(row, here[row["shape_group"]])
        self._encodings: dict[str, int] = {}
        self._systems: dict[str, int] = {}
        self.columns = self._columns()

    def number(self, spec: GroupSpec) -> int:
        """Of a shape group, which is a new one if it was not there."""
        if spec.key not in self._numbers:
            self._numbers[spec.key] = len(self.groups)
            self.groups.append(spec)
            self.rows.append(0)
        return self._numbers[spec.key]

    def divide(self, divide: Divide) -> None:
        """Gives the records parts in place of the official ones, which the column `official` then keeps."""
        self.columns["official"] = self.columns["split"]
        self.columns["split"] = _text(divide(self.columns, list(self._systems), self.groups))

    def _add(self, row: dict[str, Any], group: int) -> None:
        for name, rows in self._cubes.items():
            rows.append(row["cubes"].get(name))
        for name, cube in row["cubes"].items():
            if name not in self._cubes:
                self._cubes[name] = [*([None] * len(self.ids)), cube]
        self.ids.append(row["id"])
        for name, values in self._common.items():
            values.append({"shape_group": group, "row": self.rows[group]}.get(name, row.get(name)))
        self.rows[group] += 1

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        common = self._common
        columns: dict[str, npt.NDArray[np.generic]] = {
            "id": _text(self.ids),
            "group": _text(common["group"]),
            "split": _text(common["split"]),
            "weight": np.asarray(common["weight"], "<f8"),
            "label": np.asarray([-1 if x is None else x for x in common["label"]], "<i8"),
            "sha256": np.frombuffer(bytes.fromhex("".join(common["sha256"])), "|u1").reshape(-1, 32),
            "shape_group": np.asarray(common["shape_group"], "<i4"),
            "row": np.asarray(common["row"], "<i8"),
        }
        for name, rows in self._cubes.items():
            made = _cube_columns(rows, self._encodings, self._systems)
            columns |= {f"{name}.{key}": column for key, column in made.items()}
        return columns

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the columns; returns their entries and tables for `shards.json`."""
        shutil.rmtree(folder / INDEX, ignore_errors=True)
        (folder / INDEX).mkdir()
        entries = {name: _write_column(folder, name, column) for name, column in self.columns.items()}
        sync_folder(folder / INDEX)
        return {
            "cubes": list(self._cubes),
            "index": entries,
            "encodings": [json.loads(key) for key in self._encodings],
            "crs": list(self._systems),
        }


def replace_split(
    folder: Path, manifest: Mapping[str, Any], parts: Sequence[str], about: dict[str, Any]
) -> None:
    """Gives finished shards other parts; the official ones stay in the column `official`.

    The new column has a name of its own, so that shards.json, which is written last, never names what is not there.

    Raises:
        OutputError: the folder cannot be written.
    """
    entries = dict(manifest["index"])
    old = entries["split"]
    entries.setdefault("official", old)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
    try:
        entries["split"] = _write_column(folder, f"split-{digest}", _text(parts))
        sync_folder(folder / INDEX)
    except OSError as err:
        raise OutputError(
            f"cannot be written ({err.strerror or err})", where=folder, mend="check its rights and space"
        ) from err
    _write_manifest(folder, {**manifest, **about, "index": entries})
    if old["name"] not in {entry["name"] for entry in entries.values()}:
        (folder / old["name"]).unlink(missing_ok=True)


def _write_column(folder: Path, name: str, column: npt.NDArray[np.generic]) -> dict[str, Any]:
    path = folder / INDEX / f"{name}.npy"
    with path.open("wb") as file:
        np.save(file, column, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {"name": f"{INDEX}/{name}.npy", "bytes": path.stat().st_size, "sha256": hash_file(path)}


def _cube_columns(
    rows: Sequence[dict[str, Any] | None], encodings: dict[str, int], systems: dict[str, int]
) -> dict[str, npt.NDArray[np.generic]]:
    """Of one cube; a record without it has no dates, encoding -1 and counts of 0."""
    nan = float("nan")
    dates = max(len(r["dates"]) for r in rows if r is not None)
    bands = max(len(r["count"]) for r in rows if r is not None)

    def padded(key: str, empty: float) -> list[list[float]]:
        return [(r[key] if r else []) + [empty] * (bands - (len(r[key]) if r else 0)) for r in rows]

    when = [[*(r["dates"] if r else []), *[None] * (dates - (len(r["dates"]) if r else 0))] for r in rows]
    grids = [r["grid"] if r else None for r in rows]
    columns: dict[str, npt.NDArray[np.generic]] = {
        "dates": np.asarray([["NaT" if d is None else d for d in row] for row in when], "<M8[D]"),
        "encoding": np.asarray(
            [-1 if r is None else _number(encodings, json.dumps(r["encodings"])) for r in rows], "<i4"
        ),
        "gsd": np.asarray([nan if r is None or r["gsd"] is None else r["gsd"] for r in rows], "<f8"),
        "place": np.asarray(
            [
                [nan if x is None else x for x in (r["place"] if r and r["place"] else [None] * 3)]
                for r in rows
            ],
            "<f8",
        ),
        "crs": np.asarray([-1 if g is None else _number(systems, g[0]) for g in grids], "<i4"),
        "transform": np.asarray([[nan] * 6 if g is None else g[1] for g in grids], "<f8"),
        "grid_size": np.asarray([[0, 0] if g is None else g[2:] for g in grids], "<i8"),
        "source": _text([r["source"] if r else None for r in rows]),
        "valid": np.asarray([r["valid"] if r else 0 for r in rows], "<i8"),
        "count": np.asarray(padded("count", 0), "<i8"),
    }
    for key in STATISTICS:
        columns[key] = np.asarray(padded(key, nan), "<f8")
    return columns


def _number(table: dict[str, int], key: str) -> int:
    return table.setdefault(key, len(table))


def _text(values: Iterable[str | None]) -> npt.NDArray[np.bytes_]:
    """UTF-8; what is unknown is empty."""
    return np.asarray([(v or "").encode() for v in values], "S")
