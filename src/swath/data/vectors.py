"""Labels drawn as vectors (GeoPackage, GeoJSON, Shapefile): points, lines and polygons laid on a grid.

    labels = read_vectors("labels.gpkg", attribute="crop", classes=classes)
    target = labels.rasterise(grid)      # int64 [H,W], IGNORE where nothing is drawn

Vertices are carried into the grid's reference system one by one, exactly; straight lines between them stay
straight in the new system. A point labels the pixel that holds it. A polygon labels the pixels whose centre it
holds, or, stated so, all that it touches. Where two classes claim a pixel, a stated rule decides; without one it
is an error. Needs the extra `vector` (pyogrio, shapely).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.features import rasterize
from rasterio.warp import transform as warp_points

from swath.cube import BoolArray, Grid
from swath.data.gdal import guard
from swath.data.labels import IGNORE
from swath.data.legend import LandClass, check_legend
from swath.errors import ConfigError, InputError

Touch = Literal["centre", "all"]
Overlap = Literal["error", "first", "last", "ignore"]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Features with their classes, in the reference system of the file.

    Attributes:
        path: of the file.
        crs: its reference system.
        shapes: shapely geometries, in the file's order.
        index: class number of each.
        classes: what the numbers mean.
    """

    path: str
    crs: str
    shapes: tuple[Any, ...]
    index: tuple[int, ...]
    classes: tuple[LandClass, ...]

    def to_crs(self, crs: str) -> Vectors:
        """The same features in another reference system, vertex by vertex."""
        if not crs:
            raise InputError("the image has no reference system", where=self.path, mend="give the image one")
        with guard(self.path, "carried into the image's reference system"):
            if rasterio.crs.CRS.from_user_input(crs) == rasterio.crs.CRS.from_user_input(self.crs):
                return self
            moved = tuple(carried(shape, self.crs, crs) for shape in self.shapes)
        if not all(math.isfinite(v) for shape in moved for v in shape.bounds):
            raise InputError(
                f"a feature has no place in {crs[:40]}", where=self.path, mend="leave out features far away"
            )
        return Vectors(self.path, crs, moved, self.index, self.classes)

    def touches(self, grid: Grid) -> bool:
        """Whether any feature's bounding box meets the grid's; the reference systems must be one."""
        left, low, right, high = bounds_of(grid)
        boxes = np.array([shape.bounds for shape in self.shapes])
        return bool(
            (
                (boxes[:, 0] <= right) & (boxes[:, 2] >= left) & (boxes[:, 1] <= high) & (boxes[:, 3] >= low)
            ).any()
        )

    def rasterise(
        self, grid: Grid, *, touch: Touch = "centre", overlap: Overlap = "error"
    ) -> npt.NDArray[np.int64]:
        """Class numbers [H,W], IGNORE where nothing is drawn.

        Args:
            grid: to lay them on, in any reference system.
            touch: which pixels a polygon or line labels: those whose "centre" it holds, or "all" it touches.
            overlap: where classes overlap: "error", the "first" or the "last" feature of the file, or "ignore"
                (the pixel has no label).

        Raises:
            InputError: features of two classes claim one pixel and `overlap` is "error".
        """
        here = self.to_crs(grid.crs)
        left, low, right, high = bounds_of(grid)
        target = np.full((grid.height, grid.width), IGNORE, np.int64)
        clash: BoolArray = np.zeros(target.shape, np.bool_)
        for shape, index in zip(here.shapes, here.index, strict=True):
            a, b, c, d = shape.bounds
            if a > right or c < left or b > high or d < low:
                continue
            drawn = _draw(shape, grid, touch)
            taken = drawn & (target != IGNORE)
            clash |= taken & (target != index)
            target[drawn if overlap == "last" else drawn & ~taken] = index
        if overlap == "error" and clash.any():
            row, col = (int(v) for v in np.argwhere(clash)[0])
            x, y = grid.xy(row + 0.5, col + 0.5)
            raise InputError(
                f"features of several classes claim {int(clash.sum())} pixels, the first at {x:.2f}, {y:.2f}",
                where=self.path,
                mend="mend the features, or state overlap: first, last or ignore",
            )
        if overlap == "ignore":
            target[clash] = IGNORE
        return target


def read_vectors(
    path: str,
    *,
    attribute: str,
    classes: Sequence[LandClass],
    layer: str | None = None,
    crs: str | None = None,
    ignore: Sequence[str | int] = (),
) -> Vectors:
    """Features of a vector file.

    Args:
        path: a file that GDAL reads as vectors.
        attribute: the column that says the class, by its value or its name.
        classes: that it may say.
        layer: of a file that holds several.
        crs: where the file does not say its reference system.
        ignore: values of the attribute that mean no label.

    Raises:
        InputError: no such file, layer or attribute; no feature, no reference system; a value that is no class.
        ConfigError: the extra is not installed.
    """
    check_legend(classes, path)
    pyogrio = _module("pyogrio")
    meta, wkb, column = _classed(pyogrio, path, attribute, layer)
    system = crs or meta["crs"]
    if not system:
        raise InputError("has no reference system", where=path, mend="state it (crs: EPSG:…)")
    shapely = shapely_module()
    skipped = {word_of(v) for v in ignore}
    shapes, index, strange = [], [], []
    for blob, value in zip(wkb, column, strict=True):
        shape = None if blob is None else shapely.from_wkb(blob)
        if shape is None or shape.is_empty or word_of(value) in skipped:
            continue
        place = _class(value, classes)
        if place is None:
            strange.append(str(value))
        else:
            shapes.append(shape)
            index.append(place)
    if strange:
        known = ", ".join(f"{c.value} ({c.name})" for c in classes)
        raise InputError(
            f"names unknown classes in '{attribute}': {', '.join(sorted(set(strange))[:10])} (known: {known})",
            where=path,
            mend="add them to the classes (of dataset.yaml, or data.classes), or to the values to ignore",
        )
    if not shapes:
        raise InputError("holds no feature with a class", where=path, mend="check the file and the layer")
    return Vectors(path, str(system), tuple(shapes), tuple(index), tuple(classes))


def values_of(path: str, attribute: str, layer: str | None = None) -> tuple[str, ...]:
    """The different values of the column that says the class, as text: numbers by size, then words by the alphabet.

    Raises:
        InputError: as `read_vectors`.
        ConfigError: the extra is not installed.
    """
    _, wkb, column = _classed(_module("pyogrio"), path, attribute, layer)
    found = {word_of(value) for blob, value in zip(wkb, column, strict=True) if blob is not None}
    return tuple(sorted(found, key=lambda text: (0, int(text), "") if text.isdecimal() else (1, 0, text)))


def word_of(value: Any) -> str:
    """A cell as text: 3 and 3.0 are one value, as columns with a gap hold whole numbers as real ones."""
    text = str(value).strip()
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else text


def _classed(pyogrio: Any, path: str, attribute: str, layer: str | None) -> tuple[Any, Any, Any]:
    """What pyogrio says of a layer, its geometries as WKB, and the column that says their class."""
    if not Path(path).exists():
        raise InputError("there is no such file", where=path, mend="check the path")
    with _reading(path):
        layers = [str(row[0]) for row in pyogrio.list_layers(path)]
    if (layer is None and len(layers) != 1) or (layer is not None and layer not in layers):
        raise InputError(
            f"holds {len(layers)} layers: {', '.join(layers)}"
            if layer is None
            else f"has no layer '{layer}'",
            where=path,
            mend=f"name one of them (layer: {layers[0] if layers else '…'})",
        )
    meta, wkb, columns = _features(pyogrio, path, layer)
    names = [str(f) for f in meta["fields"]]
    if not len(wkb):
        raise InputError("holds no feature", where=path, mend="check the file and the layer")
    if attribute not in names:
        raise InputError(
            f"has no attribute '{attribute}' (it has {', '.join(names) or 'none'})",
            where=path,
            mend="name the one that says the class",
        )
    return meta, wkb, columns[names.index(attribute)]


def read_regions(path: str, attribute: str) -> tuple[str, dict[str, Any]]:
    """(reference system, name -> geometry) of polygons that name parts. Raises InputError as `read_vectors`."""
    pyogrio = _module("pyogrio")
    if not Path(path).exists():
        raise InputError("there is no such file", where=path, mend="check the path")
    meta, wkb, columns = _features(pyogrio, path, None)
    names = [str(f) for f in meta["fields"]]
    if attribute not in names:
        raise InputError(
            f"has no attribute '{attribute}' (it has {', '.join(names) or 'none'})",
            where=path,
            mend="name the one that says the part",
        )
    if not meta["crs"]:
        raise InputError("has no reference system", where=path, mend="save it with one")
    shapely = shapely_module()
    regions: dict[str, list[Any]] = {}
    for blob, value in zip(wkb, columns[names.index(attribute)], strict=True):
        if blob is not None:
            regions.setdefault(str(value), []).append(shapely.from_wkb(blob))
    if not regions:
        raise InputError("holds no region", where=path, mend="check the file")
    return str(meta["crs"]), {name: shapely.union_all(shapes) for name, shapes in regions.items()}


def _features(pyogrio: Any, path: str, layer: str | None) -> tuple[Any, Any, Any]:
    """What pyogrio says of a layer, its geometries as WKB, and its columns."""
    with _reading(path):
        meta, _, wkb, columns = pyogrio.raw.read(path, layer=layer)
    return meta, wkb, columns


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    # pyogrio's own errors are RuntimeErrors; the others come from text and files that are damaged.
    except (RuntimeError, ValueError, OSError) as err:
        raise InputError(
            f"cannot be read as vectors ({' '.join(str(err).split())[:120]})",
            where=path,
            mend="fetch it anew",
        ) from err


def carried(shape: Any, have: str, want: str) -> Any:
    """A geometry in another reference system, vertex by vertex."""

    def move(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = warp_points(have, want, xy[:, 0].tolist(), xy[:, 1].tolist())
        return np.column_stack([x, y])

    return shapely_module().transform(shape, move)


def bounds_of(grid: Grid) -> tuple[float, float, float, float]:
    """(left, low, right, high) of a grid, rotated or not."""
    corners = [grid.xy(r, c) for r in (0, grid.height) for c in (0, grid.width)]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _class(value: Any, classes: Sequence[LandClass]) -> int | None:
    """The class whose value or name a cell holds; "3", 3 and 3.0 are one value."""
    text = str(value).strip()
    for i, c in enumerate(classes):
        if text == c.name:
            return i
    try:
        number = float(text)
    except ValueError:
        return None
    return next((i for i, c in enumerate(classes) if c.value == number), None)


def _draw(shape: Any, grid: Grid, touch: Touch) -> BoolArray:
    """Where one geometry lies [H,W]."""
    drawn: BoolArray = np.zeros((grid.height, grid.width), np.bool_)
    parts = list(shape.geoms) if hasattr(shape, "geoms") else [shape]
    flat = []
    for part in parts:
        if part.geom_type == "Point":
            row, col = _pixel(part.x, part.y, grid)
            if 0 <= row < grid.height and 0 <= col < grid.width:
                drawn[row, col] = True
        elif hasattr(part, "geoms"):
            drawn |= _draw(part, grid, touch)
        else:
            flat.append(part)
    if flat:
        burnt = rasterize(
            flat,
            out_shape=drawn.shape,
            transform=rasterio.Affine(*grid.transform),
            all_touched=touch == "all",
            dtype="uint8",
        )
        drawn |= burnt != 0
    return drawn


def _pixel(x: float, y: float, grid: Grid) -> tuple[int, int]:
    """The pixel that holds a point."""
    a, b, left, d, e, top = grid.transform
    across, down, whole = x - left, y - top, a * e - b * d
    return math.floor((a * down - d * across) / whole), math.floor((e * across - b * down) / whole)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"{name} is not installed, and labels as vectors need it",
            where="labels",
            mend='install it: pip install "swath[vector]"',
        ) from None


def shapely_module() -> Any:
    """Shapely, or a ConfigError that says which extra brings it."""
    return _module("shapely")
