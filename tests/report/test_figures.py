from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from swath.data.legend import LandClass
from swath.report import figures

CLASSES = (LandClass(0, "none of these", (10, 20, 30)), LandClass(4, "forest", (27, 120, 55)))


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_stretch_looks_at_valid_pixels_only() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(100, 200, (3, 40, 50))
    valid = np.ones(pixels.shape, bool)
    valid[1, :10] = False
    clean = figures.stretch(pixels, valid)
    pixels[~valid] = np.nan
    assert np.array_equal(figures.stretch(pixels, valid), clean)
    assert (clean[:10] == 0).all()
    assert (clean[10:, :, 3] == 255).all()
    for band in range(3):
        shown = clean[10:, :, band]
        assert (shown.min(), shown.max()) == (0, 255)
    assert figures.stretch(pixels, np.zeros_like(valid)).max() == 0
    assert figures.stretch(np.full((3, 2, 2), 7.0))[0, 0].tolist() == [128, 128, 128, 255]


def test_maps_are_drawn_pixel_by_pixel() -> None:
    values = np.full((30, 40), 4, np.uint8)
    values[:15, :20] = 0
    values[15:, :20] = 255
    shown = picture(figures.class_map(values, CLASSES))
    times = shown.shape[1] // 40
    assert shown.shape[1] == 40 * times == 800
    image = shown[: 30 * times : times, ::times]
    assert (image[:14, :19] == (10, 20, 30)).all()
    assert (image[1:29, 21:] == (27, 120, 55)).all()
    assert (image[16:29, 1:19] == 255).all()
    # The legend's colours appear again below the map.
    below = shown[30 * times + 4 :].reshape(-1, 3)
    assert (below == (27, 120, 55)).all(1).any()


def test_large_scenes_are_thinned() -> None:
    shown = picture(figures.class_map(np.zeros((2000, 3000), np.uint8), CLASSES, metres=10))
    assert shown.shape[1] == 1000


@pytest.mark.parametrize("metres", [None, 0.3, 28.5, 1000.0])
def test_percentages_and_composites(metres: float | None) -> None:
    values = np.tile(np.linspace(0, 100, 60).astype(np.uint8), (50, 1))
    values[:5] = 255
    shown = picture(figures.percent_map(values, "confidence", metres=metres))
    assert (shown[:20, 20:-20] == 255).all()
    assert shown.shape[1] == 780
    valid = np.arange(60) < 30
    png = figures.composite(np.ones((3, 50, 60)), np.tile(valid, (3, 50, 1)), metres=metres)
    alpha = np.asarray(Image.open(io.BytesIO(png)))[..., 3]
    assert alpha.shape == (650, 780)
    assert (alpha[:300, :380].min(), alpha[:, 400:].max()) == (255, 0)


def test_reconstruction_hides_what_the_model_did_not_see() -> None:
    original = np.random.default_rng(0).normal(size=(2, 16, 16))
    hidden = np.zeros(original.shape, bool)
    hidden[:, :8] = True
    valid = np.ones(original.shape, bool)
    valid[:, :, :4] = False
    original[~valid] = np.nan
    shown = picture(figures.reconstruction(original, np.zeros_like(original), hidden, ["B1", "B2"], valid))
    blue = (shown == (176, 190, 214)).all(-1)
    assert blue.any()
    assert blue[:, int(shown.shape[1] * 0.4) :].sum() == 0


def test_curves_bars_and_confusion_draw_what_is_odd_too() -> None:
    lines = {"a": [(0, 1.0), (1, float("nan")), (2, 0.5)], "one point": [(1, 1.0)], "none": []}
    figures.curves(lines, log=True)
    figures.curves({})
    figures.bars(
        {"one": 0.5, "three seeds with a rather long name": (0.4, 0.6, 0.7)}, label="x", strong=["one"]
    )
    figures.bars({}, label="x")
    figures.confusion(np.array([[5, 1], [0, 0]]), ["a", "absent"])
    figures.confusion(np.eye(12, dtype=int) * 1000 + 1, [f"class {i}" for i in range(12)])


def test_the_same_figure_is_the_same_bytes_and_settings_stay() -> None:
    before = dict(matplotlib.rcParams)
    first = figures.curves({"a": [(0, 1), (1, 2)]})
    assert first == figures.curves({"a": [(0, 1), (1, 2)]})
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("bands", [3, 1])
def test_a_series_shows_dates_as_rows_with_the_hidden_filled_in(bands: int) -> None:
    rng = np.random.default_rng(0)
    original = rng.normal(size=(2, bands, 16, 16))
    hidden = np.zeros(original.shape, bool)
    hidden[0, :, :8] = True
    valid = np.ones(original.shape, bool)
    valid[1, 0, :, :4] = False  # one band gone is a pixel gone
    original[~valid] = np.nan
    png = figures.series(original, np.zeros_like(original), hidden, ["5 May 2008", "1 Jun 2008"], valid)
    shown = picture(png)
    height, width = shown.shape[:2]
    blue = (shown == (176, 190, 214)).all(-1)
    assert blue[: height // 2, : int(width * 0.38)].any()
    assert not blue[:, int(width * 0.4) :].any() and not blue[int(height * 0.55) :].any()
    # What was seen is the same in all three columns: fill with the original and nothing is left to see.
    whole = picture(figures.series(original, original, hidden, ["5 May 2008", "1 Jun 2008"], valid))
    assert (whole != shown).any()
    right = int(width * 0.695)
    assert (whole[:, right:] == shown[:, right:]).all()
