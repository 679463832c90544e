"""OTBTF patches of Tokyo: small Sentinel-2 patches in one tall raster, with a class each.

    Sentinel-2_B4328_10m_patches_{A,B}.jp2   4 bands, uint8, 16 x 16 patches one below the other
    Sentinel-2_B4328_10m_labels_{A,B}.tif    1 column, uint8, 0 to 5
    s2_20m_patches_{A,B}.tif                 6 bands, int16, 8 x 8 patches, reflectance x 1e4
    s2_10m_labels_{A,B}.tif                  1 column: the labels of the 20 m patches

A and B come from label rasters without common pixels (R. Cresson, OTBTF).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from swath.bands import sensor
from swath.cube import Array, BoolArray, Encoding, Sample
from swath.data.gdal import open_raster
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_split,
    existing_folder,
    make_cube,
    must_exist,
    one_of,
    read_planes,
)
from swath.data.legend import LandClass
from swath.errors import InputError

# Nothing that is published names the classes.
CLASSES = tuple(
    LandClass(i, f"class {i}", color)
    for i, color in enumerate(
        ((43, 140, 190), (27, 120, 55), (246, 213, 92), (215, 48, 39), (152, 78, 163), (110, 110, 110))
    )
)


@dataclass(frozen=True)
class _Variant:
    patches: str
    labels: str
    bands: tuple[str, ...]
    size: int
    gsd: float
    encoding: Encoding


VARIANTS = {
    "10m": _Variant(
        "Sentinel-2_B4328_10m_patches_{}.jp2",
        "Sentinel-2_B4328_10m_labels_{}.tif",
        ("B04", "B03", "B02", "B08"),
        16,
        10.0,
        Encoding("dn"),
    ),
    "20m": _Variant(
        "s2_20m_patches_{}.tif",
        "s2_10m_labels_{}.tif",
        ("B05", "B06", "B07", "B8A", "B11", "B12"),
        8,
        20.0,
        Encoding("reflectance", 1e-4, 0.0),
    ),
}


class OTBTF(Listed):
    """Cube "sentinel2": [1,4,16,16] of 8-bit numbers, or [1,6,8,8] of reflectance; and the class (0-d).

    Args:
        root: the folder of the rasters, or one above (`test/data`).
        split: "A" (made to train on) or "B" (made to score on).
        variant: "10m" or "20m".
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="otbtf",
        title="OTBTF Sentinel-2 patches",
        tasks=("classification",),
        sensors={"sentinel2": VARIANTS["10m"].bands},
        classes=CLASSES,
        splits=("A", "B"),
        size="16 x 16 at 10 m, or 8 x 8 at 20 m",
        dates="1, unknown",
        items="3,000 / 3,000 (10 m), 5,957 / 5,956 (20 m)",
        unit="8-bit digital numbers (10 m), reflectance x 1e4, int16 (20 m)",
        licence="Apache-2.0 (repository); Copernicus Sentinel data",
        source="https://github.com/remicres/otbtf (history of test/data)",
        files=(
            "Sentinel-2_B4328_10m_{patches,labels}_{A,B}",
            "s2_20m_patches_{A,B}.tif, s2_10m_labels_{A,B}.tif",
        ),
        notes=(
            "Bands of the 10 m patches are B4, B3, B2, B8, rescaled to 8 bits: they are no reflectance.",
            "variant='20m' has B5, B6, B7, B8A, B11, B12, whose labels are in s2_10m_labels.",
            "The names of the six classes are not published with the data.",
            "Patches of one set may be neighbours; A and B share no label pixels.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None, *, variant: str = "10m") -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        inside = top / "test" / "data"
        folder = inside if inside.is_dir() else top
        self._kind = VARIANTS[one_of("variant", variant, tuple(VARIANTS))]
        self._files = {
            s: (folder / self._kind.patches.format(s), folder / self._kind.labels.format(s)) for s in "AB"
        }
        items: list[Item] = []
        for part, (patches, labels) in self._files.items():
            if not patches.is_file() and not labels.is_file():
                continue
            must_exist(patches, "the raster of patches")
            count = _rows(must_exist(labels, "the raster of labels"))
            items += [Item(f"{part}/{i:05d}", str(patches), split=part) for i in range(count)]
        super().__init__(top, items, split)

    def read(self, index: int) -> Sample:
        """One patch."""
        item = self.items[index]
        part, row = item.id.split("/")
        patches, labels = self._files[part]
        size, at = self._kind.size, int(row)
        planes, valid, codes = _read(
            patches, labels, size, len(self._kind.bands), _stamp(patches), _stamp(labels)
        )
        cut = np.s_[None, :, at * size : (at + 1) * size]
        cube = make_cube(
            planes[cut],
            valid[cut],
            sensor("sentinel2").select(self._kind.bands),
            self._kind.encoding,
            gsd=self._kind.gsd,
            source=f"{patches} (patch {at})",
        )
        label = int(codes[at])
        if label >= len(CLASSES):
            raise InputError(
                f"label {label} of patch {at} is none of 0 to 5", where=labels, mend="fetch it anew"
            )
        return Sample({"sentinel2": cube}, item.id, np.asarray(label, np.int64), item.group)


def _stamp(path: Path) -> tuple[int, int]:
    state = must_exist(path, "the raster").stat()
    return state.st_mtime_ns, state.st_size


def _rows(path: Path) -> int:
    """Patches, by the height of the label raster: its header alone is read."""
    source = open_raster(str(path))
    try:
        return int(source.height)
    finally:
        source.close()


@functools.lru_cache(maxsize=4)
def _read(
    patches: Path, labels: Path, size: int, bands: int, _a: tuple[int, int], _b: tuple[int, int]
) -> tuple[Array, BoolArray, Array]:
    """Both rasters whole (a few MB): a tall JPEG 2000 cannot be read patch by patch."""
    planes, valid, _ = read_planes(patches, bands=bands)
    codes, _, _ = read_planes(labels, bands=1)
    if codes.shape[2] != 1 or planes.shape[1:] != (codes.shape[1] * size, size):
        raise InputError(
            f"is {planes.shape[1]}x{planes.shape[2]}, which is not {codes.shape[1]} patches of {size}x{size}",
            where=patches,
            mend="use patches and labels of one set",
        )
    return planes, valid, codes[0, :, 0]
