"""Pictures side by side, in the colours of a legend or in shades."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from swath.data.legend import LandClass
from swath.report.panels import in_colours, in_shades, panels

CLASSES = (LandClass(7, "wet", (0, 0, 255)), LandClass(9, "dry", (255, 0, 0)))


def test_class_numbers_are_places_in_the_legend_and_unknown_is_clear() -> None:
    picture = in_colours(np.array([[0, 1], [-1, 0]]), CLASSES)
    assert picture[0, 0].tolist() == [0, 0, 255, 255] and picture[0, 1].tolist() == [255, 0, 0, 255]
    assert picture[1, 0].tolist() == [0, 0, 0, 0]


def test_shades_run_from_low_to_high_and_nan_is_clear() -> None:
    picture = in_shades(np.array([[0.0, 1.0], [np.nan, 9.0]]), 0.0, 1.0)
    assert picture[0, 0, :3].sum() < picture[0, 1, :3].sum()
    assert picture[1, 0, 3] == 0 and (picture[1, 1] == picture[0, 1]).all()
    assert (in_shades(np.full((2, 2), 3.0), 3.0, 3.0)[..., 3] == 255).all()


def test_panels_show_their_pictures_in_order() -> None:
    blue, red = (np.tile(np.array([*c.color, 255], np.uint8), (8, 8, 1)) for c in CLASSES)
    image = np.asarray(Image.open(io.BytesIO(panels([("seen", blue), ("truth", red)]))).convert("RGB"))
    middle = image[image.shape[0] * 2 // 3]
    third = len(middle) // 3
    assert middle[third // 2].tolist() == [0, 0, 255] and middle[third + third // 2].tolist() == [255, 0, 0]
    assert middle[2 * third + third // 2].tolist() == [255, 255, 255]
