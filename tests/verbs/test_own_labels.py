"""Labels that options name for a folder of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import own_folder
import pytest

from swath.data.legend import LandClass
from swath.data.part_spec import PartsSpec
from swath.errors import ConfigError, InputError, SwathError
from swath.verbs.config import load_config
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import Part, open_part
from swath.verbs.labelled_sources import open_source
from swath.verbs.options import LayoutOptions
from swath.verbs.own_labels import with_labels

SPLIT = {"kind": "random", "shares": {"train": 0.5, "test": 0.5}}
CLASSES = (LandClass(1, "land", (200, 179, 122)), LandClass(2, "water", (42, 111, 219)))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A scene whose lakes are known as a raster (land 1, water 2) and as polygons (`kind`), and no word of labels."""
    own_folder.scene(tmp_path)
    own_folder.describe(tmp_path, images="scene.tif", size=16, split=SPLIT)
    return tmp_path


def opened(root: Path, **options: Any) -> Part:
    return open_part(LabelledData(layout=LayoutOptions("folder", str(root)), **options), "train")


def test_polygons_are_the_labels_and_their_column_the_classes(lake: Path) -> None:
    drawn = opened(lake, labels="labels.geojson", attribute="kind")
    assert [(c.value, c.name) for c in drawn.classes] == [(0, "land"), (1, "water")]
    stored = opened(lake, labels="labels.tif", classes=CLASSES, ignore=(0,))
    assert stored.classes == CLASSES and stored.ids == drawn.ids
    assert all(np.array_equal(a, b) for a, b in zip(drawn.targets, stored.targets, strict=True))
    named = opened(lake, labels="labels.geojson", attribute="kind", classes=CLASSES[::-1])
    assert [c.name for c in named.classes] == ["water", "land"]
    pairs = zip(drawn.targets, named.targets, strict=True)
    assert all(np.array_equal(a, np.where(b < 0, b, 1 - b)) for a, b in pairs)


def test_a_column_of_numbers_keeps_them(lake: Path) -> None:
    collection = json.loads((lake / "labels.geojson").read_text())
    for feature in collection["features"]:
        feature["properties"]["code"] = {"land": 20, "water": 3}[feature["properties"]["kind"]]
    (lake / "codes.geojson").write_text(json.dumps(collection))
    part = opened(lake, labels="codes.geojson", attribute="code")
    assert [(c.value, c.name) for c in part.classes] == [(3, "3"), (20, "20")]
    kept = opened(lake, labels="codes.geojson", attribute="code", ignore=(20,))
    assert [c.value for c in kept.classes] == [3]
    assert {int(v) for t in kept.targets for v in np.unique(t)} == {-1, 0}


@pytest.mark.parametrize("values", [(1.0, 2.0), (1.0, None)])
def test_whole_numbers_stored_as_real_ones_are_whole(lake: Path, values: tuple[float, ...]) -> None:
    # A column with a gap is real, and its 1 is 1.0.
    path = _codes(lake, {"land": values[0], "water": values[1] or 0.0})
    part = opened(lake, labels=path, attribute="code", ignore=() if values[1] else (0,))
    assert [(c.value, c.name) for c in part.classes] == [(1, "1"), (2, "2")][: 1 + bool(values[1])]


@pytest.mark.parametrize("values", [(-1, 2), (1.5, 2.0), ("wheat", "7")])
def test_other_numbers_are_not_numbered_anew(lake: Path, values: tuple[Any, ...]) -> None:
    path = _codes(lake, dict(zip(("land", "water"), values, strict=True)))
    with pytest.raises(
        InputError, match=r"'code' holds .*, and not whole numbers of 0 or more alone; name data"
    ):
        opened(lake, labels=path, attribute="code")


def _codes(lake: Path, codes: Mapping[str, Any]) -> str:
    collection = json.loads((lake / "labels.geojson").read_text())
    for feature in collection["features"]:
        feature["properties"]["code"] = codes[feature["properties"]["kind"]]
    (lake / "real.geojson").write_text(json.dumps(collection))
    return "real.geojson"


def test_options_win_over_the_yaml_key_by_key(lake: Path) -> None:
    kept = {"kind": "vector", "file": "old.geojson", "attribute": "kind", "overlap": "last",
            "classes": [{"value": 7, "name": "water"}, {"value": 8, "name": "land"}]}  # fmt: skip
    own_folder.describe(lake, images="scene.tif", size=16, split=SPLIT, labels=kept)
    data = LabelledData(layout=LayoutOptions("folder", str(lake)), labels="labels.geojson")
    made = _labels(data)
    assert made == {**kept, "file": "labels.geojson"}
    assert [c.name for c in opened(lake, labels="labels.geojson").classes] == ["water", "land"]
    first = _labels(replace(data, overlap="first", touch="centre"))
    assert (first["overlap"], first["touch"]) == ("first", "centre")
    assert _labels(replace(data, overlap="error"))["overlap"] == "error", (
        "what is usual may be asked for, too"
    )
    # Of another kind, what the classes are called stays; columns and overlaps are not those of rasters.
    other = _labels(replace(data, labels="labels.tif"))
    assert other == {"kind": "raster", "file": "labels.tif", "classes": kept["classes"]}
    number = _labels(replace(data, labels="{place}_height.tif", task="regression"))
    assert number["kind"] == "numbers"
    assert _labels(replace(data, labels="classes.csv"))["kind"] == "csv"


def _labels(data: LabelledData) -> Mapping[str, Any]:
    assert data.layout is not None
    spec = with_labels(data.layout, data).options["spec"]
    labels: Mapping[str, Any] = spec["labels"]
    return labels


def test_colours_of_classes_may_be_text() -> None:
    classes = [
        {"value": 1, "name": "dry", "color": "#aaBB01"},
        {"value": 2, "name": "wet", "color": [1, 2, 3]},
    ]
    found = load_config(LabelledData, [], {"layout": {"name": "folder", "root": "x"}, "classes": classes})
    assert [c.color for c in found.classes] == [(170, 187, 1), (1, 2, 3)]
    text = load_config(
        LabelledData, [], {"classes": json.dumps(classes), "layout": {"name": "folder", "root": "x"}}
    )
    assert text.classes == found.classes
    for wrong in ("red", "#12345", "#1234567"):
        with pytest.raises(ConfigError, match=f"colour '{wrong}' is none; write #rrggbb"):
            load_config(LabelledData, [], {"classes": [{**classes[0], "color": wrong}]})


def test_without_labels_the_layout_is_as_it_is(lake: Path) -> None:
    layout = LayoutOptions("folder", str(lake))
    assert with_labels(layout, LabelledData(layout=layout)) is layout


def test_a_file_is_that_of_here_or_of_the_folder(
    lake: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    data = LabelledData(
        layout=LayoutOptions("folder", str(lake)), labels="labels.geojson", attribute="kind", classes=CLASSES
    )
    assert _labels(data)["file"] == "labels.geojson"
    assert _labels(replace(data, labels=str(lake / "labels.geojson")))["file"] == "labels.geojson"
    (here / "mine.geojson").write_bytes((lake / "labels.geojson").read_bytes())
    assert _labels(replace(data, labels="mine.geojson"))["file"] == str((here / "mine.geojson").resolve())
    (here / "labels.geojson").write_text("{}")
    with pytest.raises(ConfigError, match="is a file here and another one in"):
        _labels(data)
    (here / "mine.tif").write_bytes((lake / "labels.tif").read_bytes())
    with pytest.raises(ConfigError, match="lies outside"):
        _labels(replace(data, labels="mine.tif", attribute=""))
    monkeypatch.chdir(lake.parent)
    within = replace(data, labels=f"{lake.name}/labels.tif", attribute="")
    assert _labels(within)["file"] == "labels.tif"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": "labels.geojson"}, r"^data\.attribute: is missing; say which column"),
        ({"labels": "labels.tif", "attribute": "kind"}, r"^data\.attribute: names a column, and the labels are no"),
        ({"labels": "labels.geojson", "attribute": "crop"}, r"has no attribute 'crop' \(it has kind\)"),
        ({"labels": "gone.geojson", "attribute": "kind"}, r"gone\.geojson: there is no such file"),
        ({"labels": "labels.tif"}, r"^data\.classes: no classes are named; give value, name and color"),
        ({"labels": "demo:landclass", "classes": CLASSES}, r"no file matches the pattern 'demo:landclass'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(lake: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SwathError, match=words) as caught:
        opened(lake, **options)
    assert "\n" not in str(caught.value)


def test_a_column_with_gaps_asks_for_the_classes(lake: Path) -> None:
    collection = json.loads((lake / "labels.geojson").read_text())
    collection["features"][0]["properties"]["kind"] = None
    (lake / "gaps.geojson").write_text(json.dumps(collection))
    with pytest.raises(InputError, match="has features without a class"):
        opened(lake, labels="gaps.geojson", attribute="kind")


def test_labels_are_for_scenes_and_own_folders_alone(lake: Path) -> None:
    with pytest.raises(ConfigError, match="is for scenes and folders of one's own"):
        LabelledData(layout=LayoutOptions("eurosat", "x"), labels="labels.tif")
    with pytest.raises(ConfigError, match="is for scenes and folders of one's own"):
        LabelledData(shards=("x",), labels="labels.tif")
    source = open_source(
        LabelledData(
            layout=LayoutOptions("folder", str(lake)),
            labels="labels.geojson",
            attribute="kind",
            parts=PartsSpec(by="random", shares={"train": 0.5, "test": 0.5}),
        )
    )
    assert len(source.items(None)) == 8 * 9
