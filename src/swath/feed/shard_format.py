"""Shards: a folder of standard `.npy` files that holds the records of a data set, and one JSON that explains them.

    shards.json                        what is here: groups, files with sha256, tables, format_version
    index/id.npy, group.npy, …         one row per record, in the layout's order
    g000/00000.sentinel2.pixels.npy    [n,T,C,H,W] in the stored dtype, at most `shard_bytes` a file
    g000/00000.sentinel2.valid.npy     [n,bytes] uint8: validity of a record, `numpy.packbits` of its T·C·H·W flags
    g000/00000.target.npy              [n,…] targets, where the records have any

Records of one *group* have equal shapes, dtypes and bands in every cube and equal targets; sets of mixed sizes
become several groups, and nothing is resized. Record i of the data set lies in group `shape_group[i]` at row
`row[i]`: file `row // records_per_shard`, place `row % records_per_shard`, so that its bytes begin at
`offset + place * record_bytes` of that file and can be fetched alone. The whole description: docs/shards.md.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.bands import Band
from swath.cube import Encoding, Sample
from swath.errors import InputError

FORMAT_VERSION = 1
MANIFEST = "shards.json"
INDEX = "index"
SHARD_BYTES = 256 * 2**20
"""Most bytes of one file of pixels."""
MOST_RECORDS = 4096
"""Most records of one file: the piece that is lost when packing is killed."""
STATISTICS = ("minimum", "maximum", "mean", "std")
_CUBE_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class ArraySpec:
    """Dtype (little-endian, as numpy spells it) and shape of one record's array."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def record_bytes(self) -> int:
        """Of one record."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @classmethod
    def of(cls, array: npt.NDArray[np.generic]) -> ArraySpec:
        """That of an array."""
        return cls(little(array.dtype).str, tuple(array.shape))


@dataclass(frozen=True)
class CubeSpec:
    """One named cube of a group: pixels [T,C,H,W] and the bands of C."""

    pixels: ArraySpec
    bands: tuple[Band, ...]

    @property
    def valid(self) -> ArraySpec:
        """Of the packed validity of one record."""
        return ArraySpec("|u1", (-(-math.prod(self.pixels.shape) // 8),))


@dataclass(frozen=True)
class GroupSpec:
    """What all records of a group have in common."""

    cubes: Mapping[str, CubeSpec]
    target: ArraySpec | None

    def arrays(self) -> dict[str, ArraySpec]:
        """Every array of a shard by its name in the files' names."""
        found: dict[str, ArraySpec] = {}
        for name, cube in self.cubes.items():
            found[f"{name}.pixels"] = cube.pixels
            found[f"{name}.valid"] = cube.valid
        if self.target is not None:
            found["target"] = self.target
        return found

    def records_per_shard(self, shard_bytes: int) -> int:
        """How many records a full file holds: by its largest array."""
        largest = max(spec.record_bytes for spec in self.arrays().values())
        return min(MOST_RECORDS, max(1, shard_bytes // max(1, largest)))

    @property
    def key(self) -> str:
        """Equal for equal groups."""
        return json.dumps(self.to_dict(), sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "cubes": {
                name: {
                    "dtype": cube.pixels.dtype,
                    "shape": list(cube.pixels.shape),
                    "bands": [vars(band) for band in cube.bands],
                }
                for name, cube in self.cubes.items()
            },
            "target": None
            if self.target is None
            else {"dtype": self.target.dtype, "shape": list(self.target.shape)},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GroupSpec:
        """Back from JSON."""
        cubes = {
            name: CubeSpec(
                ArraySpec(c["dtype"], tuple(c["shape"])), tuple(Band(**band) for band in c["bands"])
            )
            for name, c in data["cubes"].items()
        }
        target = data["target"]
        return cls(cubes, None if target is None else ArraySpec(target["dtype"], tuple(target["shape"])))

    @classmethod
    def of(cls, sample: Sample) -> GroupSpec:
        """That of a record. Raises InputError for a cube whose name cannot stand in a file's name."""
        for name in sample.cubes:
            if not _CUBE_NAME.fullmatch(name):
                raise InputError(
                    f"a cube is named '{name}'",
                    where=sample.id,
                    mend="name it with letters, digits, - and _",
                )
        cubes = {name: CubeSpec(ArraySpec.of(cube.pixels), cube.bands) for name, cube in sample.cubes.items()}
        return cls(cubes, None if sample.target is None else ArraySpec.of(np.asarray(sample.target)))


def little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same type with its low byte first, as all files hold it."""
    return dtype.newbyteorder("<")


def record_arrays(sample: Sample) -> dict[str, npt.NDArray[np.generic]]:
    """What is stored of a record: arrays by their name in the files' names."""
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, cube in sample.cubes.items():
        found[f"{name}.pixels"] = np.ascontiguousarray(cube.pixels, dtype=little(cube.pixels.dtype))
        found[f"{name}.valid"] = np.packbits(cube.valid.reshape(-1))
    if sample.target is not None:
        # ascontiguousarray would make an array of one number out of a number.
        found["target"] = np.asarray(sample.target, dtype=little(np.asarray(sample.target).dtype), order="C")
    return found


def unpack_valid(packed: npt.NDArray[np.uint8], shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Validity [T,C,H,W] of one record from its bits."""
    flags = np.unpackbits(packed, count=math.prod(shape))
    return flags.view(np.bool_).reshape(shape)


def encodings_to_list(table: Sequence[Sequence[Encoding]]) -> list[list[list[Any]]]:
    """[T][C] of (unit, scale, offset, level)."""
    return [[[e.unit, e.scale, e.offset, e.level] for e in row] for row in table]


def encodings_from_list(data: Sequence[Sequence[Sequence[Any]]]) -> tuple[tuple[Encoding, ...], ...]:
    """Back from JSON."""
    return tuple(tuple(Encoding(*entry) for entry in row) for row in data)


def dates_to_list(dates: Sequence[dt.date | None]) -> list[str | None]:
    """ISO, None where unknown."""
    return [None if d is None else d.isoformat() for d in dates]


def shard_name(group: int, number: int, array: str) -> str:
    """A file of arrays, relative to the folder."""
    return f"g{group:03d}/{number:05d}.{array}.npy"


def seal(manifest: Mapping[str, Any]) -> str:
    """The sha256 of what shards.json says, all but its own `sha256`: a digit that changed is else a wrong scale."""
    said = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read_manifest(text: str, where: Path | str) -> dict[str, Any]:
    """The JSON of shards, checked for its version. Raises InputError."""
    try:
        data: dict[str, Any] = json.loads(text)
        version = data.get("format_version")
    except (ValueError, AttributeError) as err:
        raise InputError(
            f"is not readable JSON ({err})", where=where, mend="pack the data set again"
        ) from err
    if version != FORMAT_VERSION:
        raise InputError(
            f"shards of format {version} are unknown (this swath reads {FORMAT_VERSION})",
            where=where,
            mend="use a swath of the version that wrote them",
        )
    return data
