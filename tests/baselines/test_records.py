"""Plain methods on records: each finds what is planted, and says what it cannot know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from swath.bands import sensor
from swath.baselines.features import image_features, physical, pixel_planes
from swath.baselines.forest import ForestOptions
from swath.baselines.goal import Goal
from swath.baselines.index import best_threshold, fit_index, indices_of
from swath.baselines.majority import fit_majority
from swath.baselines.record_forest import fit_forest
from swath.cube import Cube, Encoding, Sample
from swath.errors import ConfigError, InputError

PIXELS = Goal("classes", 2, True)
NAMES = ("B03", "B04", "B08", "B11")


def cube(pixels: np.ndarray, valid: np.ndarray | None = None, names: tuple[str, ...] = NAMES) -> Cube:
    t, c = pixels.shape[:2]
    valid = np.ones(pixels.shape, bool) if valid is None else valid
    row = (Encoding("reflectance", 1e-4, -0.1),) * c
    return Cube(pixels, valid, sensor("sentinel2").select(names[:c]), (None,) * t, (row,) * t)


def lakes(n: int = 3, dates: int = 1) -> list[Sample]:
    draw = np.random.default_rng(0)
    found = []
    for i in range(n):
        water = draw.random((16, 16)) < 0.4
        level = np.where(
            water, np.array([1600, 1400, 1150, 1100])[:, None, None], [[[1700]], [[1800]], [[3500]], [[2600]]]
        )
        noise = draw.normal(0, 60, (dates, 4, 16, 16))
        found.append(Sample({"s": cube((level + noise).astype(np.float32))}, f"r{i}", water.astype(np.int64)))
    return found


def test_an_index_and_its_threshold_are_found() -> None:
    records = lakes()
    learned = fit_index(records, PIXELS)
    assert learned.index in ("NDWI", "MNDWI", "NDVI") and learned.score > 0.99 and learned.notes
    said = learned.answer(records[0].cube)
    assert said.shape == (2, 16, 16) and (said.argmax(0) == records[0].target).mean() > 0.99
    assert set(indices_of(records[0].cube.bands)) == {"NDWI", "MNDWI", "NDVI"}


@given(
    arrays.arrays(np.float32, 12, elements=st.floats(-1, 1, width=16)),
    arrays.arrays(np.int64, 12, elements=st.integers(0, 1)),
)
def test_no_other_threshold_is_better(values: np.ndarray, truth: np.ndarray) -> None:
    def score(threshold: float, above: int) -> float:
        said = np.where(values > threshold, above, 1 - above)
        rows = []
        for k in (0, 1):
            either = ((said == k) | (truth == k)).sum()
            rows.append(((said == k) & (truth == k)).sum() / max(either, 1))
        return float(np.mean(rows))

    threshold, above, best = best_threshold(values, truth)
    assert score(threshold, above) == pytest.approx(best)
    # A plain, slow search: a cut at each value, either way round.
    assert best == pytest.approx(max(score(float(v), a) for v in values for a in (0, 1)))


def test_what_an_index_cannot_see_is_the_common_class() -> None:
    records = lakes()
    learned = fit_index(records, PIXELS)
    seen = records[0].cube
    hidden = cube(np.array(seen.pixels), np.zeros(seen.shape, bool))
    assert (learned.answer(hidden).argmax(0) == learned.common).all()


def test_an_index_refuses_what_it_is_not_for() -> None:
    with pytest.raises(ConfigError, match="two classes"):
        fit_index(lakes(), Goal("classes", 3, True))
    blind = [Sample({"s": cube(np.ones((1, 1, 4, 4)), None, ("B02",))}, "a", np.zeros((4, 4), np.int64))]
    with pytest.raises(ConfigError, match="no spectral index"):
        fit_index(blind, PIXELS)


@pytest.mark.parametrize("dates", [1, 2, 5])
def test_a_forest_of_pixels_learns_and_lives_with_missing_ones(dates: int) -> None:
    records = lakes(dates=dates)
    learned = fit_forest(records[:2], PIXELS, ForestOptions(trees=10, samples=300))
    assert (learned.answer(records[2].cube).argmax(0) == records[2].target).mean() > 0.97
    seen = records[2].cube
    valid = np.ones(seen.shape, bool)
    valid[:, 1] = False
    said = learned.answer(cube(np.array(seen.pixels), valid))
    assert np.isfinite(said).all() and np.allclose(said.sum(0), 1, atol=1e-5)


def test_a_forest_of_images_answers_classes_labels_and_numbers() -> None:
    draw = np.random.default_rng(1)
    levels = draw.uniform(1000, 4000, 40)
    cubes = [cube((v + draw.normal(0, 30, (1, 4, 6, 6))).astype(np.float32)) for v in levels]
    high = (levels > 2500).astype(np.int64)
    options = ForestOptions(trees=20)
    classes = fit_forest([Sample({"s": c}, str(i), h) for i, (c, h) in enumerate(zip(cubes, high, strict=True))],
                         Goal("classes", 3, False), options)  # fmt: skip
    said = np.stack([classes.answer(c) for c in cubes])
    assert (said.argmax(1) == high).mean() > 0.95 and (said[:, 2] == 0).all()  # a class that nothing taught
    several = np.stack([high, 1 - high, np.zeros_like(high)], 1)
    labels = fit_forest([Sample({"s": c}, str(i), t) for i, (c, t) in enumerate(zip(cubes, several, strict=True))],
                        Goal("labels", 3, False), options)  # fmt: skip
    assert (np.stack([labels.answer(c) for c in cubes]).round() == several).mean() > 0.95
    numbers = fit_forest(
        [Sample({"s": c}, str(i), np.float32(v)) for i, (c, v) in enumerate(zip(cubes, levels, strict=True))],
        Goal("numbers", 1, False), options,
    )  # fmt: skip
    off = np.array([numbers.answer(c)[0] for c in cubes]) - levels
    assert np.abs(off).mean() < 100


def test_a_forest_learns_nothing_from_pixels_of_which_nothing_was_seen() -> None:
    (one,) = lakes(1)
    valid = np.ones(one.cube.pixels.shape, bool)
    valid[..., 10:] = False
    half = Sample({"s": cube(one.cube.pixels, valid)}, one.id, np.where(valid[0, 0], one.target, 1))
    blind = Sample({"s": cube(one.cube.pixels, np.zeros_like(valid))}, "blind", np.ones((16, 16), np.int64))
    learned = fit_forest([half, blind], PIXELS, ForestOptions(trees=10))
    assert learned.notes == ("grew on 160 pixels, 4 numbers each",)
    with pytest.raises(InputError, match="nothing that was seen is labelled"):
        fit_forest([blind], PIXELS, ForestOptions(trees=10))


def test_the_majority_is_what_is_common_and_unknown_does_not_count() -> None:
    target = np.array([[0, 0, 1], [-1, -1, -1]])
    one = Sample({"s": cube(np.ones((1, 4, 2, 3)))}, "a", target)
    said = fit_majority([one], PIXELS).answer(one.cube)
    assert said.shape == (2, 2, 3) and said[:, 0, 0] == pytest.approx([2 / 3, 1 / 3])
    number = Sample({"s": one.cube}, "a", np.array([[1.0, np.nan, 3.0], [np.nan] * 3]))
    assert fit_majority([number], Goal("numbers", 1, True)).answer(one.cube)[0, 0, 0] == 2
    with pytest.raises(InputError, match="nothing is labelled"):
        fit_majority([Sample({"s": one.cube}, "a", np.full((2, 3), -1))], PIXELS)


def test_features_are_physical_and_unknown_is_nan() -> None:
    pixels = np.full((3, 4, 2, 2), 2000.0)
    valid = np.ones(pixels.shape, bool)
    valid[0] = False
    valid[:, 2, 0, 0] = False
    one = cube(pixels, valid)
    assert physical(one)[1, 0, 0, 0] == pytest.approx(0.1)
    planes = pixel_planes(one)
    assert planes.shape == (12, 2, 2) and np.isnan(planes[2, 0, 0]) and planes[0, 0, 0] == pytest.approx(0.1)
    assert np.isfinite(image_features(one)).all()
