"""Windows of a scene as records: each labelled pixel once, divided by blocks, and only those of a part are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import own_folder
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.data.part_spec import PARTS, PartName, PartsSpec
from swath.data.raster import Scene
from swath.errors import ConfigError, InputError, SwathError
from swath.verbs.baseline import BaselineConfig
from swath.verbs.config import load_config
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import open_part
from swath.verbs.labelled_sources import open_source
from swath.verbs.scene_data import read_scene
from swath.verbs.scene_labels import read_labelled
from swath.verbs.scene_records import SceneSource

BLOCKS = PartsSpec(
    by="blocks", block=400.0, buffer=160.0, shares={"train": 0.5, "validation": 0.25, "test": 0.25}
)


def data_of(root: Path, **more: Any) -> LabelledData:
    root.mkdir(exist_ok=True)
    words = {"method": "forest", "data": {**own_folder.scene(root, known=0.5), **more}}
    found: LabelledData = load_config(BaselineConfig, [], words).data
    return found


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    return data_of(tmp_path_factory.mktemp("scene"))


@settings(max_examples=8, deadline=None)
@given(side=st.integers(5, 150))
def test_windows_hold_every_labelled_pixel_once(lakes: LabelledData, side: int) -> None:
    source = SceneSource(replace(lakes, window=side))
    whole = read_labelled(lakes)
    seen = np.full(whole.labels.shape, -1)
    records, _ = source.records({None: range(len(source.windows))}, lambda sample: sample)
    for record, item, (row, col, height, width) in zip(
        records, source.items(None), source.windows, strict=True
    ):
        assert height <= side and width <= side and (record.target != -1).any() and record.id == item.id
        assert (seen[row : row + height, col : col + width] == -1).all()
        seen[row : row + height, col : col + width] = record.target
        cut = whole.cube.window(row, col, height, width)
        np.testing.assert_array_equal(record.cube.pixels, cut.pixels)
        assert record.cube.grid == cut.grid and item.box is not None
        assert (item.box.left, item.box.high) == cut.grid.xy(0, 0)
    np.testing.assert_array_equal(seen, whole.labels)
    assert len({r.id for r in records}) == len(records)


def test_parts_read_their_own_windows_alone(lakes: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    data, read = replace(lakes, parts=BLOCKS), Scene.read
    opened: list[tuple[int, ...]] = []

    def spy(self: Scene, *window: int) -> Any:
        opened.append(window)
        return read(self, *window)

    monkeypatch.setattr(Scene, "read", spy)
    seen: dict[PartName, set[tuple[int, ...]]] = {}
    for name in PARTS:
        opened.clear()
        part = open_part(data, name)
        assert part.task == "segmentation" and [c.name for c in part.classes] == ["land", "water"]
        assert len(opened) == len(part) > 0
        seen[name] = set(opened)
    assert not seen["train"] & seen["validation"] and not (seen["train"] | seen["validation"]) & seen["test"]
    # A buffer as wide as a window keeps even neighbours apart.
    for row, col, *_ in seen["train"]:
        assert all(max(abs(row - r), abs(col - c)) >= 2 * 16 for r, c, *_ in seen["test"])


def test_a_share_of_the_labels_is_one_of_windows(lakes: LabelledData) -> None:
    data = replace(lakes, parts=BLOCKS)
    whole = open_part(data, "train")
    few = open_part(replace(data, label_fraction=0.3), "train")
    assert len(few) == -(-3 * len(whole) // 10) and set(few.ids) < set(whole.ids)
    assert len(open_part(replace(data, label_fraction=0.3), "test")) == len(open_part(data, "test"))


def test_a_scene_of_several_names_no_parts_of_its_own(lakes: LabelledData) -> None:
    assert open_source(lakes).splits == ()
    with pytest.raises(ConfigError, match="no official parts"):
        open_part(replace(lakes, parts=PartsSpec(train=("a",))), "train")
    with pytest.raises(InputError, match="has no group"):
        open_part(replace(lakes, parts=PartsSpec(by="groups", shares=BLOCKS.shares)), "train")


@pytest.mark.parametrize(
    "make", [lambda p: p.write_bytes(b"II*\0no"), lambda p: p.write_bytes(b""), lambda p: p.unlink()]
)
def test_a_broken_scene_is_one_line(make: Any, tmp_path: Path) -> None:
    data = data_of(tmp_path / "a")
    make(tmp_path / "a" / "scene.tif")
    with pytest.raises(SwathError, match=r"scene\.tif"):
        open_part(replace(data, parts=BLOCKS), "train")
    assert data.scene is not None
    with pytest.raises(SwathError):
        read_scene(data.scene)
