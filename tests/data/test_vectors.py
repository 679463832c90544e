"""Points and polygons on a grid, against plain geometry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import transform as warp

from swath.cube import Grid
from swath.data.labels import IGNORE
from swath.data.legend import LandClass
from swath.data.vectors import Vectors, read_vectors
from swath.errors import InputError

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 8, 12)
CLASSES = (LandClass(3, "forest", (0, 99, 0)), LandClass(7, "water", (0, 0, 255)))


def box(row: float, col: float, height: float, width: float) -> Any:
    (x0, y0), (x1, y1) = GRID.xy(row, col), GRID.xy(row + height, col + width)
    return shapely.box(x0, y1, x1, y0)


def vectors(*shapes: Any, index: Sequence[int]) -> Vectors:
    return Vectors("v.gpkg", GRID.crs, tuple(shapes), tuple(index), CLASSES)


def geojson(path: Path, rows: Sequence[tuple[Any, Any]], crs: str = "EPSG:32633", key: str = "crop") -> str:
    features = [
        {"type": "Feature", "properties": {key: value}, "geometry": shapely.geometry.mapping(shape)}
        for shape, value in rows
    ]
    named = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs.replace(':', '::')}"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": named, "features": features}))
    return str(path)


@given(st.floats(0, 6), st.floats(0, 9), st.floats(0.2, 3), st.floats(0.2, 3))
def test_a_polygon_labels_the_pixels_whose_centre_it_holds(
    row: float, col: float, height: float, width: float
) -> None:
    shape = box(row, col, height, width)
    target = vectors(shape, index=[1]).rasterise(GRID)
    touched = vectors(shape, index=[1]).rasterise(GRID, touch="all")
    for r in range(GRID.height):
        for c in range(GRID.width):
            # Within a millimetre of the edge either is right.
            centre = shapely.Point(GRID.xy(r + 0.5, c + 0.5))
            if abs(shape.exterior.distance(centre)) > 1e-3:
                assert (target[r, c] == 1) == shape.contains(centre)
            if shape.intersection(box(r, c, 1, 1)).area > 1e-2:
                assert touched[r, c] == 1
    assert ((target == IGNORE) | (touched == 1)).all()


def test_points_in_another_reference_system_fall_into_their_pixels(tmp_path: Path) -> None:
    pixels = [(0, 0), (3, 7), (7, 11)]
    rows = []
    for r, c in pixels:
        x, y = GRID.xy(r + 0.9, c + 0.1)
        lon, lat = warp(GRID.crs, "EPSG:4326", [x], [y])
        rows.append((shapely.Point(lon[0], lat[0]), "water"))
    path = geojson(tmp_path / "points.geojson", rows, crs="EPSG:4326")
    target = read_vectors(path, attribute="crop", classes=CLASSES).rasterise(GRID)
    assert sorted(map(tuple, np.argwhere(target == 1))) == pixels
    assert (target == IGNORE).sum() == 8 * 12 - 3


def test_windows_of_a_grid_agree_with_the_whole() -> None:
    found = vectors(box(0.3, 0.7, 5, 6), box(6, 2, 1.2, 9), index=[0, 1])
    whole = found.rasterise(GRID)
    for row, col in ((0, 0), (4, 3), (5, 8)):
        part = found.rasterise(GRID.window(row, col, 3, 4))
        assert np.array_equal(part, whole[row : row + 3, col : col + 4])


def test_where_classes_overlap_a_rule_decides() -> None:
    found = vectors(box(0, 0, 4, 4), box(2, 2, 4, 4), box(0, 0, 1, 1), index=[0, 1, 0])
    with pytest.raises(
        InputError, match=r"several classes claim 4 pixels.*state overlap: first, last or ignore"
    ):
        found.rasterise(GRID)
    assert found.rasterise(GRID, overlap="first")[3, 3] == 0
    assert found.rasterise(GRID, overlap="last")[3, 3] == 1
    assert found.rasterise(GRID, overlap="ignore")[3, 3] == IGNORE
    # Twice the same class is no clash.
    assert found.rasterise(GRID, overlap="ignore")[0, 0] == 0


def test_classes_by_value_or_name_and_values_to_ignore(tmp_path: Path) -> None:
    shape = box(0, 0, 1, 1)
    path = geojson(tmp_path / "a.geojson", [(shape, 3), (shape, "7"), (shape, "water"), (shape, "unsure")])
    assert read_vectors(path, attribute="crop", classes=CLASSES, ignore=("unsure",)).index == (0, 1, 1)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    shape = box(0, 0, 1, 1)
    good = geojson(tmp_path / "a.geojson", [(shape, "corn")])
    empty = geojson(tmp_path / "e.geojson", [])
    (tmp_path / "x.gpkg").write_bytes(b"cut")
    for path, options, words in (
        (good, {}, r"names unknown classes in 'crop': corn \(known: 3 \(forest\), 7 \(water\)\)"),
        (good, {"attribute": "klass"}, r"has no attribute 'klass' \(it has crop\)"),
        (good, {"layer": "other"}, "has no layer 'other'; name one of them"),
        (good, {"ignore": ("corn",)}, "holds no feature with a class"),
        (empty, {}, "holds no feature; check the file"),
        (str(tmp_path / "x.gpkg"), {}, "cannot be read as vectors"),
        (str(tmp_path / "none.gpkg"), {}, "there is no such file"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read_vectors(path, **{"attribute": "crop", "classes": CLASSES, **options})
        assert "\n" not in str(caught.value) and caught.value.mend
