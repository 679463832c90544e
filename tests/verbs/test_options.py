"""Groups of options: what does not fit is said by its name."""

from __future__ import annotations

from typing import Any

import pytest

from swath.data.part_spec import PartsSpec
from swath.data.spec import SceneSpec
from swath.errors import ConfigError
from swath.verbs.labelled_options import LabelledData
from swath.verbs.options import LayoutOptions, NormaliseOptions, PixelData, RunOptions, check_columns

SCENE = SceneSpec("a.tif", sensor="landsat7")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {},
            "data: data names no images; give one of data.scenes, data.patches, data.shards and data.layout",
        ),
        ({"scenes": (SCENE,), "patches": "folder"}, "data: data names scenes and patches"),
        (
            {"scenes": (SCENE,), "columns": (3,)},
            "data.columns: [3] is no range of columns; write [start, stop]",
        ),
        ({"scenes": (SCENE,), "columns": (3, 3)}, "data.columns: [3, 3] is no range"),
        ({"scenes": (SCENE,), "window": 0}, "data.window: is 0"),
        ({"scenes": (SCENE,), "gsd": -10.0}, "data.gsd: is -10; give metres per pixel, or 0 for the data's"),
        ({"scenes": (SCENE,), "gsd": float("nan")}, "data.gsd: is nan; give metres"),
        ({"scenes": (SCENE,), "min_valid": 1.5}, "data.min_valid: is 1.5; give a share from 0 to 1"),
        ({"patches": "folder", "columns": (0, 9)}, "data: columns are those of scenes, not of patches"),
        (
            {"patches": "folder", "normalise": NormaliseOptions(scope="fixed", columns=(0, 9))},
            "data: columns are those of scenes, not of patches",
        ),
    ],
)
def test_images_without_labels(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PixelData(**given)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("folder", ["", "  "])
def test_a_run_has_a_folder_of_its_own(folder: str) -> None:
    with pytest.raises(ConfigError, match=r"^run\.folder: is empty; name the run's own folder$"):
        RunOptions(folder)


def test_shares_of_a_layout() -> None:
    with pytest.raises(ConfigError, match=r"^data\.layout\.bad_items: is -0\.5; give a share from 0 to 1$"):
        LayoutOptions("eurosat", "folder", bad_items=-0.5)


BLOCKS = PartsSpec(by="blocks", block=9.0, shares={"train": 0.5, "test": 0.5})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window": -1}, "data.window: is -1"),
        ({"min_valid": -0.1}, "data.min_valid: is -0.1"),
        ({"validation": -3}, "data.validation: is -3; give a number of columns"),
        ({"east_start": -3}, "data.east_start: is -3"),
        ({"east_start": 3, "parts": BLOCKS}, "data.east_start: divides by columns, and data.parts by blocks"),
        ({"label_fraction": 0.5}, "data.label_fraction: a share is one of records"),
        ({"attribute": "crop"}, "data.attribute: names a column, and the labels are no vectors"),
        ({"normalise": NormaliseOptions()}, "data.normalise: statistics are always those of the pixels"),
        ({"normalise": NormaliseOptions("minmax", "fixed", (0, 9))}, "data.normalise: statistics are always"),
    ],
)
def test_labels(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LabelledData(SCENE, "labels.tif", **given)
    assert str(caught.value).startswith(words)


def test_statistics_of_labelled_scenes_are_fixed_without_saying_so() -> None:
    assert LabelledData(SCENE, "labels.tif").normalise == NormaliseOptions("standard", "fixed")
    assert PixelData((SCENE,)).normalise == NormaliseOptions("standard", "scene")


def test_columns_need_fixed_statistics() -> None:
    with pytest.raises(
        ConfigError, match=r"^data\.normalise: columns are chosen, but the scope is scene; set scope"
    ):
        NormaliseOptions(columns=(0, 9))
    with pytest.raises(ConfigError, match=r"^data\.normalise\.columns: \[9, 0\] is no range of columns"):
        NormaliseOptions(scope="fixed", columns=(9, 0))
    check_columns((), "anywhere")
    check_columns((0, 1), "anywhere")
