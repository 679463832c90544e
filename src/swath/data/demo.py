"""The embedded sample, opened: a Landsat scene with land classes, six BigEarthNet patches, a Landsat series.

Origin and licences are in `swath/demo_data/ATTRIBUTION.md`.
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swath.cube import Cube, Sample
from swath.data.legend import LandClass
from swath.data.spec import DEMO_PREFIX, SceneSpec
from swath.errors import InputError

if TYPE_CHECKING:
    from swath.data.raster import Scene

NC_BANDS = ("B1", "B2", "B3", "B4", "B5", "B7")
SERIES_BANDS = ("B3", "B4", "B5")
NC_CLASSES = (
    LandClass(1, "developed", (215, 48, 39)),
    LandClass(2, "agriculture", (246, 213, 92)),
    LandClass(3, "herbaceous", (178, 223, 138)),
    LandClass(4, "shrubland", (166, 118, 29)),
    LandClass(5, "forest", (27, 120, 55)),
    LandClass(6, "water", (43, 140, 190)),
    LandClass(7, "sediment", (217, 199, 160)),
)
DEMO_SOURCES = ("landsat", "series-landsat5", "series-landsat7")
_LABELS = {"landclass": "landclass_1996.tif", "labelled-pixels": "labelled_pixels_1996.tif"}
# Fmask: 2 cloud shadow, 4 cloud. Snow (3) is ground that can be seen, and stays valid.
_CLOUDY = (2, 4)


def demo_folder() -> Path:
    """Where the sample lies."""
    return Path(str(files("swath.demo_data")))


def demo_spec(name: str) -> SceneSpec:
    """The spec of an embedded scene, "landsat", "series-landsat5" or "series-landsat7".

    Clouds and their shadows (Fmask) in the series are invalid, and in none of its statistics.

    Raises:
        InputError: there is no such scene.
    """
    if name == "landsat":
        path = demo_folder() / "landsat" / "landsat7_2000.tif"
        return SceneSpec(str(path), sensor="landsat7", bands=NC_BANDS)
    if name in DEMO_SOURCES:
        sensor = name.removeprefix("series-")
        paths = sorted((demo_folder() / "series").glob(f"{sensor}_*.tif"))
        stamps = [p.stem.split("_")[1] for p in paths]
        return SceneSpec(
            tuple(str(p) for p in paths),
            sensor=sensor,
            bands=SERIES_BANDS,
            files_are="dates",
            dates=tuple(f"{s[:4]}-{s[4:6]}-{s[6:]}" for s in stamps),
            level="LEDAPS",
            mask_band=len(SERIES_BANDS) + 1,
            mask_values=_CLOUDY,
        )
    raise _unknown(name, DEMO_SOURCES)


def demo_labels(path: str) -> str:
    """The file of "demo:landclass" or "demo:labelled-pixels"; any other path unchanged."""
    if not path.startswith(DEMO_PREFIX):
        return path
    name = path.removeprefix(DEMO_PREFIX)
    if name not in _LABELS:
        raise _unknown(name, _LABELS)
    return str(demo_folder() / "landsat" / _LABELS[name])


def _unknown(name: str, known: object) -> InputError:
    names = [str(k) for k in known] if isinstance(known, (tuple, dict)) else []
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {DEMO_PREFIX}{near[0]}?)" if near else ""
    return InputError(
        f"there is no embedded source of that name{hint}",
        where=DEMO_PREFIX + name,
        mend=f"use {', '.join(DEMO_PREFIX + n for n in names)}",
    )


@dataclass(frozen=True, eq=False)
class DemoLandsat:
    """The North Carolina scene with its labels.

    Attributes:
        scene: opened, [1,6,443,489] digital numbers.
        labels: land classes of 1996 as indices [H,W], IGNORE (-1) where there is none.
        labelled_pixels: the same for the 2,872 labelled pixels.
        classes: K classes, in the order of the indices.
    """

    scene: Scene
    labels: npt.NDArray[np.int64]
    labelled_pixels: npt.NDArray[np.int64]
    classes: tuple[LandClass, ...] = NC_CLASSES

    @functools.cached_property
    def cube(self) -> Cube:
        """The whole scene in memory (it is small), with its statistics."""
        return self.scene.read_all()


def open_demo_landsat() -> DemoLandsat:
    """The embedded scene and its labels."""
    from swath.data.labels import read_labels
    from swath.data.raster import open_scene

    scene = open_scene(SceneSpec(DEMO_PREFIX + "landsat"))
    maps = [
        read_labels(DEMO_PREFIX + name, scene.grid, NC_CLASSES, scene=DEMO_PREFIX + "landsat")
        for name in _LABELS
    ]
    return DemoLandsat(scene, maps[0], maps[1])


def open_demo_bigearthnet() -> list[Sample]:
    """The six patches, in the order of their names, with the coarser bands repeated to 10 m."""
    from swath.data.layouts.bigearthnet import read_patch

    return [read_patch(p) for p in sorted((demo_folder() / "bigearthnet").iterdir()) if p.is_dir()]


def open_demo_series(*, mask_clouds: bool = True) -> Sample:
    """The Colorado series: cubes "landsat5" [44,3,61,61] and "landsat7" [61,3,61,61], without labels.

    Args:
        mask_clouds: mark clouds and their shadows (Fmask) as invalid; statistics are then of clear pixels.
    """
    from swath.data.raster import open_scene

    cubes: dict[str, Cube] = {}
    for sensor in ("landsat5", "landsat7"):
        spec = demo_spec(f"series-{sensor}")
        if not mask_clouds:
            spec = replace(spec, mask_band=0, mask_values=())
        with open_scene(spec) as scene:
            cubes[sensor] = scene.read_all()
    return Sample(cubes, "landsat-series-colorado", group="p035r032")
