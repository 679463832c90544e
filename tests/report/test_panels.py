"""Pictures side by side, in the colours of a legend or in shades."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from swath.bands import sensor
from swath.data.legend import LandClass
from swath.report.panels import fullest_date, in_colours, in_shades, panels, seen_bands, view

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


def test_four_pictures_are_two_by_two_and_five_three_in_a_row() -> None:
    colours = [(0, 0, 255), (255, 0, 0), (0, 255, 0), (255, 255, 0), (0, 255, 255)]
    made = [(str(c), np.tile(np.array([*c, 255], np.uint8), (20, 20, 1))) for c in colours]
    for count, columns in ((4, 2), (5, 3)):
        image = np.asarray(Image.open(io.BytesIO(panels(made[:count]))).convert("RGB"))
        height, width = image.shape[:2]
        for i, colour in enumerate(colours[:count]):
            row, column = divmod(i, columns)
            found = image[int(height * (row + 0.6) / 2), int(width * (column + 0.5) / columns)]
            assert tuple(found.tolist()) == colour


def test_what_is_unknown_is_hatched_since_white_may_be_a_class() -> None:
    white = np.full((8, 8, 4), 255, np.uint8)
    image = np.asarray(
        Image.open(io.BytesIO(panels([("white", white), ("clear", 0 * white)]))).convert("RGB")
    )
    third = image.shape[1] // 3
    known, unknown = (image[image.shape[0] // 2 :, i * third + 20 : (i + 1) * third - 20] for i in (0, 1))
    assert (known == 255).all() and 0.05 < (unknown.min(-1) < 240).mean() < 0.9


def test_natural_colours_are_shown_where_they_are_known() -> None:
    bands = sensor("sentinel2").bands
    assert [bands[i].name for i in seen_bands(bands)] == ["B04", "B03", "B02"]
    assert seen_bands(sensor("sentinel2").select(("B08", "B11", "B12"))) == [2, 1, 0]
    assert seen_bands(sensor("sentinel1").select(("VV", "VH"))) == [0, 0, 0]


def test_the_date_that_is_shown_is_the_clearest() -> None:
    bands = sensor("sentinel2").select(("B02", "B03", "B04", "B08"))
    valid = np.ones((4, 4, 3, 3), bool)
    valid[3, 1] = False  # a colour is missing all over
    valid[0, :, 0] = False
    valid[2, 3] = False  # a band that is not shown
    assert fullest_date(valid, bands) == 2
    picture = view(np.arange(36.0).reshape(4, 3, 3), valid[0], bands)
    assert (picture[0, :, 3] == 0).all() and (picture[1:, :, 3] == 255).all()


def test_land_beside_clouds_is_seen() -> None:
    bands = sensor("sentinel2").select(("B02", "B03", "B04"))
    pixels = np.full((3, 10, 10), 0.8)
    pixels[:, 3:] = np.linspace(0.02, 0.12, 70).reshape(7, 10)
    picture = view(pixels, np.ones(pixels.shape, bool), bands)
    assert picture[:3, :, :3].min() > 250 and 30 < picture[3:, :, 0].mean() < 150
