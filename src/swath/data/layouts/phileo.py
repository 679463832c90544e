"""PhilEO Bench: Sentinel-2 with land cover, building density or roads, in memory-mapped arrays or GeoTIFFs.

    npy: <region>_<tile>_{train,val,test}_s2.npy                        (N,128,128,10) uint16
         <region>_<tile>_{train,val,test}_label_{lc,building,roads}.npy (N,128,128,1)
    tif: <region>_<tile>.tif                    11 bands, the scene classification first
         <region>_<tile>_label_<task>.tif       1 band

The ten bands are B02 B03 B04 B08 B05 B06 B07 B8A B11 B12, reflectance x 1e4 (Fibaek et al., "PhilEO Bench",
IGARSS 2024; spec ST-SwinMAE §4.2 and §7). An item of the arrays is one patch; of the GeoTIFFs, one tile.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from swath.bands import sensor
from swath.cube import BoolArray, Cube, Encoding, Sample
from swath.data.labels import to_indices
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_size,
    check_split,
    existing_folder,
    load_arrays,
    make_cube,
    must_exist,
    named,
    one_of,
    read_plane,
    read_planes,
)
from swath.data.layouts.hls_water import WORLDCOVER
from swath.data.layouts.phileo_shots import BUCKET_OF, BUCKETS, draw, region_of, shots_of, stored_indices
from swath.errors import ConfigError, InputError

BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
TASKS = ("lc", "building", "roads")
SIZE = 128
SCALES = {"percent": 100.0, "fraction": 1.0}
# The benchmark's list of test regions misspells this one, so its test set lacks it.
MISSPELT = "tanzania-1"
_NPY = re.compile(r"([a-z]+(?:-[a-z0-9]+)*)_(.+)_(train|val|test)_s2\.npy")
_TIF = re.compile(r"([a-z]+(?:-[a-z0-9]+)*)_(?!.*_label_)(.+)\.tif")
# Scene classification: 0 no data; 3 shadow, 8 and 9 cloud, 10 cirrus.
_CLOUDY = (3, 8, 9, 10)


class PhilEO(Listed):
    """Cube "sentinel2" [1,10,128,128] and land cover [H,W], or density [H,W] from 0 to 1.

    Args:
        root: the folder of the arrays, or of the GeoTIFFs.
        split: "train", "val" or "test" (the arrays; the test set is fixed by place).
        task: "lc", "building" or "roads". Roads are labelled in 8 regions only: files without are no items.
        form: "npy" or "tif".
        shots: n samples per region bucket of train, and a fifth of it of val; None: all.
        indices: the benchmark's own index file for these shots; None: draw by its rules.
        label_scale: of building density and roads: "percent", as the README says (0 to 100), or "fraction"
            (0 to 1, as the benchmark's errors show). Numbers beyond the stated range are an error.
        published_typo: leave tanzania-1 out of the test set, as the benchmark's misspelt list does.
        mask_clouds: of GeoTIFFs: mark cloud, shadow and cirrus as invalid.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="phileo",
        title="PhilEO Bench",
        tasks=("segmentation", "regression"),
        sensors={"sentinel2": BANDS},
        classes=WORLDCOVER,
        splits=("train", "val", "test"),
        size="128 x 128 at 10 m (arrays); whole tiles (GeoTIFFs)",
        dates="1, unknown",
        items="about 766,000 train and 86,000 val patches of land cover in six region buckets; 400 GB",
        unit="reflectance x 1e4, L2A, uint16",
        licence="MIT (benchmark); Copernicus Sentinel data, ESA WorldCover CC-BY-4.0, OpenStreetMap ODbL",
        source="https://huggingface.co/datasets/PhilEO-community/PhilEO-downstream",
        files=(
            "<region>_<tile>_{train,val,test}_s2.npy",
            "<region>_<tile>_{train,val,test}_label_{lc,building,roads}.npy",
            "<region>_<tile>.tif with <region>_<tile>_label_<task>.tif",
        ),
        notes=(
            "The benchmark's region list spells tanzania-1 wrongly and so leaves it out of the test set.",
            "First files spell isreal, later ones israel: both are the same region.",
            "Published code finds labels by replacing 's2' in the whole path, which fails in a folder named so.",
            "The README says density is 0 to 100, the benchmark's errors that it is 0 to 1: state label_scale.",
            "Band order is that of the resolutions: B08 comes before B05.",
            "Classes are those of land cover; building and roads are real numbers from 0 to 1.",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        task: str = "lc",
        form: str = "npy",
        shots: int | None = None,
        indices: str | None = None,
        label_scale: str = "percent",
        published_typo: bool = False,
        mask_clouds: bool = False,
    ) -> None:
        check_split(self.info, split)
        self._task, self._form = one_of("task", task, TASKS), one_of("form", form, ("npy", "tif"))
        self._full = SCALES[one_of("label_scale", label_scale, tuple(SCALES))]
        self._mask_clouds = mask_clouds
        if shots is not None and (shots < 1 or form == "tif"):
            raise ConfigError(
                f"shots is {shots} with form {form}", where="shots", mend="use 1 or more, of the arrays"
            )
        if indices is not None and shots is None:
            raise ConfigError("indices are for shots", where="indices", mend="state shots")
        top = existing_folder(root)
        if self._form == "tif":
            items = [
                Item(path.stem, str(path), group=path.stem)
                for path, match in named(top, "*.tif", re.compile(rf"{_TIF.pattern}|.+_label_\w+\.tif"))
                if match[1] and region_of(match[1]) and self._expected(path)
            ]
        else:
            items = list(
                self._patches(top, shots, None if indices is None else Path(indices), published_typo)
            )
        super().__init__(top, items, split)

    @classmethod
    def describe(cls, *, task: str = "lc", **others: object) -> LayoutInfo:
        """With the classes of land cover, or the quantity that is a density."""
        if task == "lc":
            return replace(cls.info, tasks=("segmentation",))
        name = "building density" if task == "building" else "road density"
        return replace(cls.info, tasks=("regression",), classes=(), quantities={name: "share of the pixel"})

    def _patches(self, top: Path, shots: int | None, indices: Path | None, typo: bool) -> Iterator[Item]:
        """Patches of all arrays, or those drawn, in the order of buckets, regions and files."""
        files: dict[tuple[str, str], list[tuple[str, Path]]] = {}
        for path, match in named(top, "*_s2.npy", _NPY):
            region = region_of(match[1])
            if region is None:
                raise InputError(
                    f"'{match[1]}' is no region of PhilEO", where=path, mend="rename or remove the file"
                )
            if self._expected(path) and not (typo and match[3] == "test" and region == MISSPELT):
                files.setdefault((BUCKET_OF[region], match[3]), []).append((region, path))
        for (bucket, part), held in files.items():
            held.sort(key=lambda f: (BUCKETS[bucket].index(f[0]), f[1].name))
            ends = np.cumsum([len(_mapped(path)) for _, path in held]).tolist()
            for index in self._chosen(part, bucket, held, ends, shots, indices):
                at = int(np.searchsorted(ends, index, side="right"))
                path = held[at][1]
                row = index - (ends[at - 1] if at else 0)
                stem = path.name.removesuffix("_s2.npy")
                yield Item(f"{stem}:{row:06d}", str(path), group=stem.rsplit("_", 1)[0], split=part)

    def _chosen(
        self,
        part: str,
        bucket: str,
        held: list[tuple[str, Path]],
        ends: list[int],
        shots: int | None,
        indices: Path | None,
    ) -> list[int]:
        if shots is None or part == "test":
            return list(range(ends[-1]))
        if indices is not None:
            return stored_indices(indices, bucket, part, ends[-1])

        def mean(index: int) -> float:
            at = int(np.searchsorted(ends, index, side="right"))
            label = _mapped(self._label(held[at][1]))[index - (ends[at - 1] if at else 0)]
            return float(label.mean(dtype=np.float64)) / self._full

        return draw(part, ends[-1], shots_of(part, shots), None if self._task == "lc" else mean)

    def _expected(self, path: Path) -> bool:
        """Whether an image is an item: roads are labelled in some regions only, the rest everywhere."""
        return self._task != "roads" or self._label(path).is_file()

    def _label(self, path: Path) -> Path:
        """The label beside an image: only the name changes, whatever the folder is called."""
        if self._form == "tif":
            return path.with_name(f"{path.stem}_label_{self._task}.tif")
        return path.with_name(path.name.removesuffix("s2.npy") + f"label_{self._task}.npy")

    def read(self, index: int) -> Sample:
        """One patch, or one tile."""
        item = self.items[index]
        path = Path(item.where)
        label = must_exist(self._label(path), "the label")
        if self._form == "tif":
            cube = self._tile(path)
            values, known = read_plane(label, cube)
        else:
            row = int(item.id.rsplit(":", 1)[1])
            images, labels = _mapped(path), _mapped(label)
            if images.shape[1:] != (SIZE, SIZE, len(BANDS)):
                raise InputError(
                    f"is of shape {images.shape}, not (N,128,128,10)", where=path, mend="fetch it anew"
                )
            if len(images) != len(labels):
                raise InputError(
                    f"holds {len(labels)} patches, the images {len(images)}",
                    where=label,
                    mend="fetch it anew",
                )
            planes = np.ascontiguousarray(images[row].transpose(2, 0, 1))
            valid: BoolArray = np.broadcast_to((planes != 0).any(axis=0), planes.shape)
            cube = _cube(planes, valid.copy(), str(path))
            values = np.asarray(labels[row])[..., 0]
            check_size(label, values.shape, cube)
            known = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
        return Sample({"sentinel2": cube}, item.id, self._target(values, known, label), item.group)

    def _tile(self, path: Path) -> Cube:
        planes, good, grid = read_planes(path, bands=len(BANDS) + 1)
        kind = planes[0]
        seen = ~np.isin(kind, (0, *_CLOUDY) if self._mask_clouds else (0,))
        cube = _cube(planes[1:], good[1:] & seen, str(path))
        if not grid.crs:
            return cube
        return make_cube(
            cube.pixels, cube.valid, cube.bands, cube.encodings[0], gsd=10.0, grid=grid, source=str(path)
        )

    def _target(self, values: npt.NDArray[Any], known: BoolArray, where: Path) -> npt.NDArray[Any]:
        if self._task == "lc":
            return to_indices(values, known & (values != 0), WORLDCOVER, where=str(where), allow_empty=True)
        held = values[known]
        if held.size and not (held.min() >= 0 and held.max() <= self._full):
            raise InputError(
                f"density runs from {held.min():g} to {held.max():g}, and 0 to {self._full:g} is stated",
                where=where,
                mend="state label_scale: percent or fraction",
            )
        return np.where(known, values.astype(np.float32) / np.float32(self._full), np.float32(np.nan))


@functools.lru_cache(maxsize=64)
def _opened(path: Path, _stamp: tuple[int, int]) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = load_arrays(path, lambda p: np.load(p, mmap_mode="r", allow_pickle=False))
    if array.ndim != 4 or array.dtype.kind not in "fiu":
        raise InputError(f"is {array.dtype} {array.shape}, not (N,H,W,C)", where=path, mend="fetch it anew")
    return array


def _mapped(path: Path) -> npt.NDArray[Any]:
    """A memory-mapped array; opened once while its file stays the same."""
    state = must_exist(path, "the array").stat()
    return _opened(path, (state.st_mtime_ns, state.st_size))


def _cube(planes: npt.NDArray[Any], valid: BoolArray, source: str) -> Cube:
    encoding = Encoding("reflectance", 1e-4, 0.0, "L2A")
    return make_cube(
        planes[None], valid[None], sensor("sentinel2").select(BANDS), encoding, gsd=10.0, source=source
    )
