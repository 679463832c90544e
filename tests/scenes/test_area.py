from __future__ import annotations

import pytest

from swath.cube import Grid
from swath.scenes.area import pixel_km2


def test_projected_pixels_are_measured_in_their_unit() -> None:
    assert pixel_km2(Grid("EPSG:32119", (28.5, 0, 0, 0, -28.5, 0), 9, 9)) == pytest.approx(0.0285**2)
    # NAD83 / North Carolina in US survey feet; rotated by 45 degrees.
    feet = Grid("EPSG:2264", (100, 100, 0, 100, -100, 0), 9, 9)
    assert pixel_km2(feet) == pytest.approx(2e4 * 0.3048006096**2 * 1e-6)


def test_pixels_in_degrees_are_measured_on_the_sphere() -> None:
    world = Grid("EPSG:4326", (1, 0, -180, 0, -1, 90), 180, 360)
    total = pixel_km2(world)
    assert total is not None
    assert total * 180 * 360 == pytest.approx(510.07e6, rel=1e-3)


def test_unknown_places_have_no_area() -> None:
    assert pixel_km2(None) is None
    assert pixel_km2(Grid("", (1, 0, 0, 0, 1, 0), 2, 2)) is None
