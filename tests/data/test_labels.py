from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from swath.cube import Grid
from swath.data.labels import IGNORE, read_labels
from swath.data.legend import LandClass, check_legend
from swath.errors import ConfigError, InputError

Write = Callable[..., str]
GRID = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 2, 3)
CLASSES = (LandClass(5, "forest", (0, 99, 0)), LandClass(2, "water", (0, 0, 255)))
CODES = np.array([[5, 2, 0], [2, 9, 5]], np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_values_become_indices_in_the_order_of_the_classes(write: Write, dtype: str) -> None:
    path = write("l.tif", CODES.astype(dtype), nodata=0)
    labels = read_labels(path, GRID, CLASSES, ignore=(9,))
    assert labels.dtype == np.int64
    assert labels.tolist() == [[0, 1, IGNORE], [1, IGNORE, 0]]


def refused(path: str, *says: str, grid: Grid = GRID, **options: object) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(path, grid, CLASSES, **options)  # type: ignore[arg-type]
    line = str(caught.value)
    assert "\n" not in line and caught.value.where and caught.value.mend
    for text in says:
        assert text in line


def test_unknown_values_are_listed(write: Write) -> None:
    refused(write("l.tif", CODES, nodata=0), "l.tif", "9", "known: 5, 2")
    refused(write("f.tif", np.full((2, 3), 1.5, np.float32)), "1.5")


def test_another_reference_system_or_grid_is_named_on_both_sides(write: Write) -> None:
    refused(write("c.tif", CODES, crs="EPSG:3358"), "EPSG:3358", "EPSG:32633", "my scene", scene="my scene")
    refused(write("n.tif", CODES, crs=None), "no reference system")
    refused(write("o.tif", CODES, origin=(5e5 + 10, 5e6)), "another grid")
    refused(write("s.tif", CODES[:1]), "1x3", "2x3")


def test_nothing_labelled_and_several_bands(write: Write) -> None:
    refused(write("z.tif", np.zeros((2, 3), np.uint8), nodata=0), "no labelled pixel")
    refused(write("b.tif", np.stack([CODES, CODES])), "holds 2 bands")


def test_embedded_labels_have_a_name() -> None:
    refused("demo:landclas", "did you mean demo:landclass?")


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ((), "no classes"),
        ((CLASSES[0], LandClass(5, "other", (1, 1, 1))), "value 5"),
        ((CLASSES[0], LandClass(6, "forest", (1, 1, 1))), "name forest"),
        ((LandClass(1, "a", (0, 0, 256)),), "colour"),
    ],
)
def test_a_legend_must_be_clear(classes: tuple[LandClass, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_legend(classes)


def test_colours_in_hexadecimal() -> None:
    assert CLASSES[0].hex == "#006300"
