from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.cube import Grid
from swath.scenes.stac.footprint import footprint


def grid(crs: str, west: float, north: float, size: float, side: int = 100) -> Grid:
    return Grid(crs, (size, 0.0, west, 0.0, -size, north), side, side)


def anticlockwise(ring: list[list[float]]) -> bool:
    return sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairwise(ring)) > 0


def test_a_square_in_degrees_is_itself() -> None:
    geometry, bbox = footprint(grid("EPSG:4326", 13.0, 53.0, 0.01))
    assert bbox == [13.0, 52.0, 14.0, 53.0]
    assert geometry is not None
    assert geometry["type"] == "Polygon"
    (ring,) = geometry["coordinates"]
    assert ring[0] == ring[-1]
    assert anticlockwise(ring)
    assert {(13.0, 52.0), (14.0, 52.0), (14.0, 53.0), (13.0, 53.0)} <= {tuple(p) for p in ring}


def test_a_metric_grid_lies_where_its_zone_does() -> None:
    # The central meridian of zone 33 is 15° east; 5,000 km north of the equator is a little above 45°.
    geometry, bbox = footprint(grid("EPSG:32633", 500_000 - 500, 5_000_000 + 500, 10))
    assert geometry is not None and bbox is not None
    assert bbox[0] < 15 < bbox[2]
    assert 45.1 < bbox[1] < bbox[3] < 45.2


@given(st.floats(-179.9, 179.9), st.floats(-49, 60), st.integers(1, 40))
def test_across_the_antimeridian_it_is_cut(west: float, north: float, degrees: int) -> None:
    geometry, bbox = footprint(grid("EPSG:4326", west, north, degrees / 100))
    assert geometry is not None and bbox is not None
    crosses = west + degrees > 180 + 1e-5
    assert (geometry["type"] == "MultiPolygon") == crosses
    rings = [p[0] for p in geometry["coordinates"]] if crosses else [geometry["coordinates"][0]]
    area = 0.0
    for ring in rings:
        assert ring[0] == ring[-1] and anticlockwise(ring)
        assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in ring)
        area += sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairwise(ring)) / 2
    assert math.isclose(area, degrees**2, rel_tol=1e-4)
    assert (bbox[0] > bbox[2]) == crosses


def test_around_a_pole_it_has_all_longitudes() -> None:
    geometry, bbox = footprint(Grid("EPSG:3413", (1e4, 0.0, -1e6, 0.0, -1e4, 1e6), 200, 200))
    assert geometry is not None and bbox is not None
    assert (bbox[0], bbox[2], bbox[3]) == (-180, 180, 90)
    assert 75 < bbox[1] < 81


@pytest.mark.parametrize("crs", ["", "EPSG:32633"])
def test_without_a_place_there_is_none(crs: str) -> None:
    # Without a system, or far outside of what the projection can undo.
    assert footprint(grid(crs, 1e12, 1e12, 10)) == (None, None)
