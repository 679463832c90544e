"""SSL4EO-S12 v1.1: 64 places a file, in zarr format 2 within a zip, one file per sensor.

    {train,val}/{S1GRD,S2L1C,S2L2A}/ssl4eos12_{train,val}_seasonal_data_NNNNNN.zarr.zip
        bands        [sample 64, time 4, band, y 264, x 264]   int16; Sentinel-1 float16, dB
        cloud_mask   [sample, time, y, x]                      uint8, not for Sentinel-1
        sample, band, file_id [sample, time], crs, center_lat, center_lon, x_, y_ [sample, x or y]

246,144 places (Blumenstiel et al., "SSL4EO-S12 v1.1", arXiv 2503.00168). All bands are at 10 m. Sentinel-2 carries
the offset of baseline 04.00 on all dates: reflectance = number * 1e-4 - 0.1. The four dates of Sentinel-1 are in
the order of file names, S1A before S1B, not of time: days are taken from `file_id`, and all dates sorted by them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from swath.bands import sensor
from swath.cube import Array, BoolArray, Cube, Encoding, Grid, Place, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import check_split, existing_folder, first_folder
from swath.data.layouts.files import is_odd, library
from swath.data.layouts.native import not_all_zero
from swath.data.layouts.ssl4eo import BANDS, SEASONS, check_modalities, scene_time
from swath.errors import InputError

FOLDERS = {"s2c": "S2L1C", "s2a": "S2L2A", "s1": "S1GRD"}
SAMPLES = 64
CLOUD_CLASSES = ("land", "water", "snow", "thin cloud", "thick cloud", "cloud shadow", "no data")
_CLOUDY = (3, 4, 5, 6)
_NAME = re.compile(r"ssl4eos12_(train|val)_seasonal_data_(\d{6})\.zarr\.zip")


class SSL4EOv11:
    """Places with four dates per sensor. An item's id is its split, file and row: "train/000001/07".

    Args:
        root: holds the folders train and val.
        split: "train", "val", or None for both.
        modalities: "s2c", "s2a", "s1"; each becomes a cube of that name with its own dates. Files of one number
            hold the same places in each; a row where they differ is an error.
        mask_clouds: mark thin and thick cloud, shadow and no data of the mask as invalid in Sentinel-2.
        samples: places in each file; 64 as published.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="ssl4eo-s12-v1.1",
        title="SSL4EO-S12 v1.1",
        tasks=("pretraining",),
        sensors=BANDS,
        classes=(),
        splits=("train", "val"),
        size="264 x 264 (10 m)",
        dates="4 per sensor, one a season, in date order",
        items="246,144 places in 3,846 files per sensor (train 3,812 files, val 34)",
        unit="reflectance x 1e4 + 1000 (L1C, L2A); decibel (S1)",
        licence="CC-BY-4.0",
        source="https://huggingface.co/datasets/embed2scale/SSL4EO-S12-v1.1, https://datapub.fz-juelich.de/ssl4eo-s12",
        files=("{train,val}/{S2L1C,S2L2A,S1GRD}/ssl4eos12_{train,val}_seasonal_data_NNNNNN.zarr.zip",),
        notes=(
            "Sentinel-2 numbers carry +1000 on all dates, whatever their year.",
            "Sentinel-1 dates are stored in the order of file names, S1A before S1B; here they are sorted by day.",
            "The order of places in a file is not that of their ids.",
            f"Cloud masks ({', '.join(CLOUD_CLASSES)}) are read when asked for only.",
            "S2RGB is 8-bit and not read.",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        modalities: Sequence[str] = ("s2c",),
        mask_clouds: bool = False,
        samples: int = SAMPLES,
    ) -> None:
        check_split(self.info, split)
        base = existing_folder(root)
        # The download of one of its two homes puts them one folder down.
        self.root = first_folder(base, ("ssl4eo-s12", ".")) or base
        self.modalities = check_modalities(modalities)
        self.mask_clouds = mask_clouds
        self.samples = samples
        self._held = _Held()
        parts = [p for p in self.info.splits if split in (None, p)]
        files: dict[tuple[str, str], None] = {}
        for part in parts:
            for modality in self.modalities:
                folder = self.root / part / FOLDERS[modality]
                if not folder.is_dir():
                    continue
                for name in sorted(p.name for p in folder.iterdir() if not is_odd(p.name)):
                    found = _NAME.fullmatch(name)
                    if found is not None and found[1] == part:
                        files[part, found[2]] = None
        if not files:
            raise InputError(
                f"holds no {FOLDERS[self.modalities[0]]}/ssl4eos12_…_NNNNNN.zarr.zip of {' or '.join(parts)}",
                where=self.root,
                mend="give the folder that holds train and val",
            )
        self._items = tuple(
            Item(
                f"{part}/{number}/{row:02d}",
                f"{self._path(part, self.modalities[0], number)}#{row}",
                f"{part}/{number}/{row:02d}",
                part,
            )
            for part, number in sorted(files)
            for row in range(samples)
        )

    @property
    def items(self) -> Sequence[Item]:
        return self._items

    def _path(self, part: str, modality: str, number: str) -> Path:
        return self.root / part / FOLDERS[modality] / f"ssl4eos12_{part}_seasonal_data_{number}.zarr.zip"

    def read(self, index: int) -> Sample:
        """Cubes by modality, each [4,C,264,264], with the place's id in its source."""
        item = self._items[index]
        part, number, row = item.id.split("/")
        cubes: dict[str, Cube] = {}
        first: str | None = None
        for modality in self.modalities:
            path = self._path(part, modality, number)
            place, cubes[modality] = self._cube(path, modality, int(row))
            first = first or place
            if place != first:
                raise InputError(
                    f"holds place {place} in row {int(row)}, where {FOLDERS[self.modalities[0]]} has {first}",
                    where=path,
                    mend="fetch both files anew",
                )
        return Sample(cubes, item.id, group=item.group)

    def _cube(self, path: Path, modality: str, row: int) -> tuple[str, Cube]:
        with _opened(path) as group:
            place = self._place(group, path, row)
            files = [str(f) for f in _values(group, "file_id", path)[row]]
            try:
                times = [scene_time(f, modality) for f in files]
            except InputError as err:
                raise InputError(f"file_id {err.what}", where=path, mend=err.mend) from None
            order = sorted(range(len(files)), key=lambda i: (times[i], files[i]))
            pixels = self._held.row(group, "bands", path, row)
            device = sensor("sentinel1" if modality == "s1" else "sentinel2")
            named = device.select(str(b) for b in _values(group, "band", path))
            lacking = [b for b in BANDS[modality] if b not in {n.name for n in named}]
            if lacking:
                raise InputError(f"lacks band {', '.join(lacking)}", where=path, mend="fetch it anew")
            if len(files) != SEASONS or pixels.ndim != 4 or pixels.shape[:2] != (SEASONS, len(named)):
                raise InputError(
                    f"bands of a place are {pixels.shape}, with {len(files)} dates and {len(named)} names",
                    where=path,
                    mend="fetch it anew",
                )
            pixels = pixels[order]
            pixels = pixels[:, [[n.name for n in named].index(b) for b in BANDS[modality]]]
            valid: BoolArray = np.broadcast_to(not_all_zero(pixels), pixels.shape).copy()
            if pixels.dtype.kind == "f":
                valid &= np.isfinite(pixels)
            if self.mask_clouds and modality != "s1":
                cloudy = np.isin(self._held.row(group, "cloud_mask", path, row)[order], _CLOUDY)
                valid &= ~cloudy[:, None]
            lat, lon = (float(_values(group, n, path)[row]) for n in ("center_lat", "center_lon"))
            grid = _grid(group, path, row)
        encoding = (
            Encoding("decibel", level="GRD")
            if modality == "s1"
            else Encoding("reflectance", 1e-4, -0.1, "L1C" if modality == "s2c" else "L2A")
        )
        cube = Cube(
            pixels=pixels,
            valid=valid,
            bands=device.select(BANDS[modality]),
            dates=tuple(times[i].date() for i in order),
            encodings=((encoding,) * pixels.shape[1],) * SEASONS,
            gsd=10.0,
            place=Place(lon, lat),
            grid=grid,
            source=f"{path}#{place}",
        )
        return place, cube.with_statistics()

    def _place(self, group: Any, path: Path, row: int) -> str:
        """The id of the place in a row."""
        ids = _values(group, "sample", path)
        if len(ids) != self.samples:
            raise InputError(
                f"holds {len(ids)} samples, not {self.samples}",
                where=path,
                mend="fetch it anew, or state samples",
            )
        return str(ids[row])


class _Held:
    """The last array of each file that was cut into chunks of several places: unpacking it once serves them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrays: dict[str, tuple[Path, Array]] = {}

    def __reduce__(self) -> tuple[type[_Held], tuple[()]]:
        return _Held, ()  # a lock stays in its process

    def row(self, group: Any, name: str, path: Path, row: int) -> Array:
        """One place of an array."""
        array = _array(group, name, path)
        if array.chunks[0] == 1:
            return _get(array, row, name, path)
        key = f"{path.parent.name}/{name}"
        with self._lock:
            if key not in self._arrays or self._arrays[key][0] != path:
                self._arrays[key] = (path, _get(array, slice(None), name, path))
            held = self._arrays[key][1]
        return np.asarray(held[row])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The root group. InputError if it is no zip, or holds no zarr."""
    zarr = library("zarr", "zarr", path)
    library("zarr.storage", "zarr", path)
    if not path.is_file():
        raise InputError("there is no such file", where=path, mend="fetch it from the data set")
    store = zarr.storage.ZipStore(path, mode="r")
    try:
        group = zarr.open_group(store, mode="r", zarr_format=2)
    except Exception as err:  # zipfile, zarr and its codecs each have errors of their own
        raise InputError(
            f"cannot be read as zarr in a zip ({type(err).__name__}: {' '.join(str(err).split())[:100]})",
            where=path,
            mend="fetch it anew",
        ) from err
    try:
        yield group
    finally:
        store.close()


def _array(group: Any, name: str, path: Path) -> Any:
    try:
        return group[name]
    except KeyError:
        raise InputError(f"lacks the array {name}", where=path, mend="fetch it anew") from None


def _get(array: Any, index: Any, name: str, path: Path) -> Array:
    try:
        return np.asarray(array[index])
    except Exception as err:  # see _opened
        raise InputError(
            f"array {name} cannot be read ({type(err).__name__}: {' '.join(str(err).split())[:100]})",
            where=path,
            mend="fetch it anew",
        ) from err


def _values(group: Any, name: str, path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    values: np.ndarray[Any, np.dtype[Any]] = _get(_array(group, name, path), slice(None), name, path)
    return values


def _grid(group: Any, path: Path, row: int) -> Grid:
    """From the centres of the pixels, x_ and y_, and the EPSG number."""
    x, y = (_values(group, n, path)[row] for n in ("x_", "y_"))
    step_x, step_y = float(x[1] - x[0]), float(y[1] - y[0])
    corner = (step_x, 0.0, float(x[0]) - step_x / 2, 0.0, step_y, float(y[0]) - step_y / 2)
    return Grid(f"EPSG:{int(_values(group, 'crs', path)[row])}", corner, len(y), len(x))
