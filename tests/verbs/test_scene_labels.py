"""Labels of one scene: their classes, rasters and vectors alike, and their columns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import own_folder
import pytest

from swath.data.legend import LandClass
from swath.errors import ConfigError, InputError
from swath.verbs.baseline import BaselineConfig
from swath.verbs.config import load_config
from swath.verbs.finetune import FinetuneConfig
from swath.verbs.labelled_options import LabelledData
from swath.verbs.scene_labels import legend, read_labelled


def test_labels_are_divided_with_their_scene(land: Any) -> None:
    data = load_config(FinetuneConfig, [], land.finetuning("unused")).data
    read = read_labelled(data)
    assert read.split.columns == {
        "west": (0, 48),
        "validation": (48, 64),
        "buffer": (64, 80),
        "east": (80, 112),
    }
    assert [c.name for c in read.classes] == ["forest", "town", "water"]
    assert read.labels.min() == -1 and read.labels.max() == 2


def test_the_legend_is_given_or_that_of_embedded_labels() -> None:
    given = (LandClass(1, "a", (0, 0, 0)),)
    assert legend("labels.tif", given, "classes") == given
    assert len(legend("demo:landclass", (), "classes")) == 7
    with pytest.raises(ConfigError, match=r"^classes: no classes are named; give value, name and color"):
        legend("labels.tif", (), "classes")


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    given = own_folder.scene(tmp_path_factory.mktemp("scene"), known=0.5)
    found: LabelledData = load_config(BaselineConfig, [], {"method": "index", "data": given}).data
    return found


def as_vectors(data: LabelledData, **more: Any) -> LabelledData:
    drawn = str(Path(data.labels).with_suffix(".geojson"))
    return replace(data, **{"labels": drawn, "ignore": (), "attribute": "kind", **more})


def test_vectors_say_what_a_raster_says(lakes: LabelledData) -> None:
    raster, drawn = read_labelled(lakes), read_labelled(as_vectors(lakes))
    np.testing.assert_array_equal(raster.labels, drawn.labels)
    assert raster.classes == drawn.classes and set(np.unique(drawn.labels)) == {-1, 0, 1}


def test_vectors_that_do_not_fit_are_one_line(lakes: LabelledData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no attribute 'crop'"):
        read_labelled(as_vectors(lakes, attribute="crop"))
    with pytest.raises(InputError, match="names unknown classes"):
        read_labelled(as_vectors(lakes, classes=(LandClass(1, "land", (0, 0, 0)),)))
    with pytest.raises(InputError, match="no layer"):
        read_labelled(as_vectors(lakes, layer="other"))
    with pytest.raises(ConfigError, match=r"^data\.attribute: is missing"):
        as_vectors(lakes, attribute="")
    with pytest.raises(ConfigError, match=r"^data\.attribute: names a column"):
        replace(lakes, attribute="kind")
    held = json.loads(Path(as_vectors(lakes).labels).read_text())
    for feature in held["features"]:
        for ring in feature["geometry"]["coordinates"]:
            for point in ring:
                point[0] += 100_000
    far = tmp_path / "far.geojson"
    far.write_text(json.dumps(held))
    with pytest.raises(InputError, match=r"labels no pixel of .*scene\.tif"):
        read_labelled(as_vectors(lakes, labels=str(far)))
