"""Writes shards, block by block; numpy alone.

A *block* is a run of consecutive records, whole or absent under its name, and a function of its records alone:
blocks can be written in any order, by any number of processes, and again after a kill. `shard_finish` then joins
them into the shards.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from swath.cube import Cube, Sample, band_statistics
from swath.feed.shard_format import (
    STATISTICS,
    ArraySpec,
    GroupSpec,
    dates_to_list,
    encodings_to_list,
    record_arrays,
)

BLOCK = "block.json"


@dataclass(frozen=True)
class WrittenFile:
    """A finished `.npy`: its name in its folder, records, where they begin, bytes in all, and sha256 in hex."""

    name: str
    records: int
    offset: int
    bytes: int
    sha256: str


class ArrayWriter:
    """A `.npy` of records that grows; its header is written anew when it is done.

    Args:
        path: of the file, which must not be there.
        spec: of one record.
    """

    def __init__(self, path: Path, spec: ArraySpec) -> None:
        self.path, self.spec = path, spec
        self.records = 0
        self._file: BinaryIO = path.open("xb")
        self._header()
        self.offset = self._file.tell()

    def append(self, array: npt.NDArray[np.generic]) -> None:
        """One record of the spec's dtype and shape."""
        assert array.shape == self.spec.shape and array.dtype.str == self.spec.dtype
        self._file.write(array.tobytes() if array.ndim == 0 else np.ascontiguousarray(array).data)
        self.records += 1

    def close(self, *, sync: bool = True) -> WrittenFile:
        """Finishes and hashes it; `sync` waits until it is on the disk."""
        self._file.seek(0)
        self._header()
        # numpy pads headers so that the first axis can grow.
        assert self._file.tell() == self.offset
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())
        self._file.close()
        size = self.path.stat().st_size
        return WrittenFile(self.path.name, self.records, self.offset, size, hash_file(self.path))

    def abandon(self) -> None:
        """Closes it as it is."""
        self._file.close()

    def _header(self) -> None:
        header = {"descr": self.spec.dtype, "fortran_order": False, "shape": (self.records, *self.spec.shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def hash_file(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_record(arrays: Iterable[npt.NDArray[np.generic]]) -> str:
    """sha256 of a record: of its arrays' bytes, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes() if array.ndim == 0 else np.ascontiguousarray(array).data)
    return digest.hexdigest()


def describe_record(sample: Sample, split: str | None, digest: str) -> dict[str, Any]:
    """What the index says of a record, as JSON."""
    return {
        "id": sample.id,
        "group": sample.group,
        "split": split,
        "weight": sample.weight,
        "sha256": digest,
        "cubes": {name: _describe_cube(cube) for name, cube in sample.cubes.items()},
    }


def _describe_cube(cube: Cube) -> dict[str, Any]:
    # Statistics of a scene that the record was cut from stay those of the scene.
    s = cube.statistics if cube.statistics is not None else band_statistics(cube.pixels, cube.valid)
    place, grid = cube.place, cube.grid
    return {
        "dates": dates_to_list(cube.dates),
        "encodings": encodings_to_list(cube.encodings),
        "gsd": cube.gsd,
        "place": None if place is None else [place.lon, place.lat, place.altitude],
        "grid": None if grid is None else [grid.crs, list(grid.transform), grid.height, grid.width],
        "source": cube.source,
        "valid": int(cube.valid.sum()),
        "count": list(s.count),
        **{name: list(getattr(s, name)) for name in STATISTICS},
    }


class BlockWriter:
    """Records of one block, into a folder that appears under its name when all of them are in.

    Args:
        folder: the block's; replaced if it is there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._building = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        self._groups: dict[str, tuple[GroupSpec, dict[str, ArrayWriter]]] = {}
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        shutil.rmtree(self._building, ignore_errors=True)
        self._building.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, writers in self._groups.values():
            for writer in writers.values():
                writer.abandon()
        shutil.rmtree(self._building, ignore_errors=True)

    def add(self, sample: Sample, split: str | None = None) -> None:
        """The next record."""
        spec = GroupSpec.of(sample)
        arrays = record_arrays(sample)
        key = spec.key
        if key not in self._groups:
            place = len(self._groups)
            writers = {
                name: ArrayWriter(self._building / f"{place:05d}.{name}.npy", array)
                for name, array in spec.arrays().items()
            }
            self._groups[key] = (spec, writers)
        for name, writer in self._groups[key][1].items():
            writer.append(arrays[name])
        row = describe_record(sample, split, hash_record(arrays[name] for name in spec.arrays()))
        row["shape_group"] = list(self._groups).index(key)
        target = arrays.get("target")
        is_class = target is not None and target.ndim == 0 and target.dtype.kind in "iu"
        row["label"] = int(target) if target is not None and is_class else None
        self._rows.append(row)

    def finish(self) -> dict[str, Any]:
        """Gives the folder its name; returns what `block.json` says."""
        block = {
            "groups": [
                {
                    "spec": spec.to_dict(),
                    "files": {name: vars(writer.close(sync=False)) for name, writer in writers.items()},
                }
                for spec, writers in self._groups.values()
            ],
            "records": self._rows,
        }
        # Nothing waits for the disk here: after a power cut, what `read_block` finds damaged is written again.
        (self._building / BLOCK).write_text(json.dumps(block), "utf-8")
        shutil.rmtree(self.folder, ignore_errors=True)
        self._building.rename(self.folder)
        return block


def read_block(folder: Path, *, check: bool = False) -> dict[str, Any] | None:
    """A finished block, or None if it is not there or, with `check`, not as it was written."""
    try:
        block: dict[str, Any] = json.loads((folder / BLOCK).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if check:
        for group in block["groups"]:
            for file in group["files"].values():
                path = folder / file["name"]
                if not path.is_file() or hash_file(path) != file["sha256"]:
                    return None
    return block
