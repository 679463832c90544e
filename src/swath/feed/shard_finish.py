"""Joins finished blocks into shards and writes their index; numpy alone.

Everything is a function of the blocks in their order, so that shards are the same bits however the blocks came to be.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.feed.shard_format import (
    FORMAT_VERSION,
    INDEX,
    MANIFEST,
    STATISTICS,
    GroupSpec,
    shard_name,
)
from swath.feed.shard_write import ArrayWriter, WrittenFile, hash_file, read_block
from swath.files import atomic, sync_folder


def finish(
    folder: Path,
    blocks: Sequence[Path],
    shard_bytes: int,
    about: dict[str, Any],
    done: Callable[[int], None] = lambda blocks: None,
) -> dict[str, Any]:
    """Shards, index and `shards.json` out of finished blocks, which stay.

    Args:
        folder: of the shards.
        blocks: folders that `BlockWriter` finished, in the order of their records.
        shard_bytes: most bytes of a file of pixels.
        about: what else `shards.json` shall say.
        done: called with the number of blocks joined so far.

    Returns:
        What `shards.json` says. It is written last: shards without it are not finished.
    """
    index = _Index()
    groups: dict[str, _Group] = {}
    for number, path in enumerate(blocks):
        block = read_block(path)
        assert block is not None
        here: list[_Group] = []
        for part in block["groups"]:
            spec = GroupSpec.from_dict(part["spec"])
            group = groups.get(spec.key)
            if group is None:
                group = groups[spec.key] = _Group(
                    folder, len(groups), spec, spec.records_per_shard(shard_bytes)
                )
            here.append(group)
        for row in block["records"]:
            group = here[row["shape_group"]]
            index.add(row, group.number, group.rows)
            group.rows += 1
        for group, part in zip(here, block["groups"], strict=True):
            group.take(path, {name: WrittenFile(**file) for name, file in part["files"].items()})
        done(number + 1)
    listed = []
    for group in groups.values():
        group.close()
        sync_folder(folder / f"g{group.number:03d}")
        listed.append(
            {
                **group.spec.to_dict(),
                "records": group.rows,
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
    with atomic(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


@dataclass
class _Group:
    """The files of one group while they are made."""

    folder: Path
    number: int
    spec: GroupSpec
    per_shard: int
    rows: int = 0
    files: dict[str, list[WrittenFile]] = field(default_factory=dict)
    _open: dict[str, ArrayWriter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # What a killed attempt left is made again.
        shutil.rmtree(self.folder / f"g{self.number:03d}", ignore_errors=True)
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


class _Index:
    """Columns of one row per record."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.common: dict[str, list[Any]] = {
            name: [] for name in ("group", "split", "weight", "label", "sha256", "shape_group", "row")
        }
        self.cubes: dict[str, list[dict[str, Any] | None]] = {}

    def add(self, row: dict[str, Any], group: int, place: int) -> None:
        """One record, which lies at row `place` of shape group `group`."""
        for name, rows in self.cubes.items():
            rows.append(row["cubes"].get(name))
        for name, cube in row["cubes"].items():
            if name not in self.cubes:
                self.cubes[name] = [*([None] * len(self.ids)), cube]
        self.ids.append(row["id"])
        for name, values in self.common.items():
            values.append({"shape_group": group, "row": place}.get(name, row.get(name)))

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the columns; returns their entries and tables for `shards.json`."""
        shutil.rmtree(folder / INDEX, ignore_errors=True)
        columns: dict[str, npt.NDArray[np.generic]] = {
            "id": _text(self.ids),
            "group": _text(self.common["group"]),
            "split": _text(self.common["split"]),
            "weight": np.asarray(self.common["weight"], "<f8"),
            "label": np.asarray([-1 if x is None else x for x in self.common["label"]], "<i8"),
            "sha256": np.frombuffer(bytes.fromhex("".join(self.common["sha256"])), "|u1").reshape(-1, 32),
            "shape_group": np.asarray(self.common["shape_group"], "<i4"),
            "row": np.asarray(self.common["row"], "<i8"),
        }
        encodings: dict[str, int] = {}
        systems: dict[str, int] = {}
        for name, rows in self.cubes.items():
            columns |= {f"{name}.{key}": x for key, x in _cube_columns(rows, encodings, systems).items()}
        entries = {}
        (folder / INDEX).mkdir()
        for name, column in columns.items():
            path = folder / INDEX / f"{name}.npy"
            with path.open("wb") as file:
                np.save(file, column, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            entries[name] = {
                "name": f"{INDEX}/{name}.npy",
                "bytes": path.stat().st_size,
                "sha256": hash_file(path),
            }
        sync_folder(folder / INDEX)
        return {
            "cubes": list(self.cubes),
            "index": entries,
            "encodings": [json.loads(key) for key in encodings],
            "crs": list(systems),
        }


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
