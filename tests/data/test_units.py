"""Who says what numbers mean, and who wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.cube import Encoding
from swath.data.raster import open_scene
from swath.data.spec import SceneSpec
from swath.errors import InputError

Write = Callable[..., str]
Item = Callable[..., Path]
PIXELS = np.full((1, 2, 2), 2000, np.uint16)


def meaning(path: str, **stated: Any) -> tuple[Encoding, str]:
    spec = SceneSpec(path, **{"sensor": "sentinel2", "bands": ("B04",), **stated})
    with open_scene(spec) as scene:
        return scene.encodings[0][0], scene.known[0][0]


@pytest.mark.parametrize(
    ("properties", "raster", "expected", "known"),
    [
        ({}, {"scale": 1e-4, "offset": 0}, (1e-4, 0.0), "raster:bands"),
        ({"s2:processing_baseline": "05.00"}, {"scale": 1e-4, "offset": -0.1}, (1e-4, -0.1), "raster:bands"),
        (
            {"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": True},
            {"scale": 1e-4, "offset": -0.1},
            (1e-4, 0.0),
            "offset applied already",
        ),
        (
            {"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": False},
            {"scale": 1e-4, "offset": -0.1},
            (1e-4, -0.1),
            "raster:bands",
        ),
        ({"s2:processing_baseline": "02.12"}, None, (1e-4, 0.0), "processing baseline 02.12"),
        ({"s2:processing_baseline": "04.00"}, None, (1e-4, -0.1), "processing baseline 04.00"),
        (
            {"s2:processing_baseline": "04.00", "earthsearch:boa_offset_applied": True},
            None,
            (1e-4, 0.0),
            "offset applied already",
        ),
    ],
)
def test_a_stac_item_beside_the_file(
    write: Write, stac_item: Item, properties: Any, raster: Any, expected: tuple[float, float], known: str
) -> None:
    path = write("S2B_32TQM_0_L2A_red.tif", PIXELS)
    stac_item("S2B_32TQM_0_L2A.json", {"red": path}, properties=properties, raster=raster)
    encoding, said = meaning(path)
    assert encoding == Encoding("reflectance", *expected, "L2A")
    assert said.startswith("the STAC item S2B_32TQM_0_L2A.json (") and known in said


def test_an_item_that_names_another_file_says_nothing(write: Write, stac_item: Item) -> None:
    path = write("a_red.tif", PIXELS)
    stac_item("a.json", {"red": "other.tif"}, raster={"scale": 1e-4, "offset": 0})
    with pytest.raises(InputError, match="does not say its unit, and no SAFE XML or STAC item"):
        meaning(path)


def test_tags_of_the_file(write: Write) -> None:
    tagged = write("t.tif", PIXELS, unit="dB", scale=0.01, offset=-40.0)
    assert meaning(tagged, sensor="sentinel1", bands=("VV",)) == (
        Encoding("decibel", 0.01, -40.0),
        "the file's tags",
    )
    # A scale without a unit is no unit.
    with pytest.raises(InputError, match="does not say its unit"):
        meaning(write("s.tif", PIXELS, scale=1e-4))
    assert meaning(write("s.tif", PIXELS, scale=1e-4), unit="reflectance")[0].scale == 1e-4


def test_pictures_of_8_bits_are_digital_numbers_by_word_only(write: Write) -> None:
    path = write("rgb.tif", PIXELS.astype(np.uint8))
    with pytest.raises(InputError, match=r"8-bit numbers.*state unit \(--unit dn") as caught:
        meaning(path)
    assert "\n" not in str(caught.value)
    assert meaning(path, unit="dn") == (Encoding("dn"), "stated")


def test_what_is_stated_wins_and_contradictions_are_named(write: Write, stac_item: Item) -> None:
    path = write("a_red.tif", PIXELS, unit="reflectance", scale=1e-4)
    stac_item("a.json", {"red": path}, raster={"scale": 1e-4, "offset": -0.1})
    with pytest.raises(
        InputError, match=r"a.json .* says reflectance = stored x 0.0001 - 0.1, but the file's tags"
    ):
        meaning(path)
    assert meaning(path, unit="reflectance", scale=1e-4, offset=0.0) == (
        Encoding("reflectance", 1e-4, 0.0),
        "stated",
    )


def test_an_offset_per_band(write: Write) -> None:
    path = write("two.tif", np.concatenate([PIXELS, PIXELS]))
    spec = SceneSpec(
        path, sensor="sentinel2", bands=("B02", "B8A"), unit="reflectance", scale=1e-4, offset=[[-0.1, -0.05]]
    )
    with open_scene(spec) as scene:
        assert [e.offset for e in scene.encodings[0]] == [-0.1, -0.05]


def test_a_landsat_item_in_kelvin(write: Write, stac_item: Item) -> None:
    path = write("LC09_ST_B10.tif", PIXELS)
    stac_item(
        "LC09.json",
        {"lwir11": path},
        properties={"constellation": None, "platform": "landsat-9"},
        raster={"scale": 0.00341802, "offset": 149.0, "unit": "kelvin"},
        asset={"roles": ["data", "temperature"]},
        collection="landsat-c2-l2",
    )
    encoding, _ = meaning(path, sensor="landsat9", bands=("B10",))
    assert (encoding.unit, encoding.offset) == ("kelvin", 149.0)
