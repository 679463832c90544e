"""Parts of labelled data: what they mean, that layouts and shards give the same, and that nothing else is opened."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.layouts.base import Layout
from swath.data.layouts.eurosat import EuroSAT
from swath.data.part_spec import PARTS, PartsSpec
from swath.errors import ConfigError, InputError
from swath.verbs import labelled_sources, pack
from swath.verbs.labelled_feeds import records_contract, score_feed, train_feed
from swath.verbs.labelled_options import LabelledData, RecordData
from swath.verbs.labelled_records import open_part
from swath.verbs.options import LayoutOptions, NormaliseOptions

WRITE = runpy.run_path(str(Path(__file__).parents[1] / "data/layouts/conftest.py"))
BUILD: dict[str, Callable[[Path], dict[str, Any]]] = WRITE["BUILD"]
CASES: dict[str, tuple[dict[str, Any], str, int, tuple[int, ...]]] = {
    # layout: (options of data, task, outputs, records of train, validation and test)
    "eurosat": ({}, "classification", 10, (2, 1, 1)),
    "sen1floods11": ({"cube": "sentinel2", "parts": PartsSpec(test=("test", "bolivia"))}, "segmentation", 2, (1, 1, 2)),
    "hls-water": (
        {"parts": PartsSpec(by="groups", train=("elevation-0",), validation=("elevation-5",))},
        "segmentation",
        2,
        (2, 1, 0),
    ),
    "oscd": ({"parts": PartsSpec(validation_share=0.5)}, "change", 2, (1, 1, 1)),
    "hls-burn-scars": ({"parts": PartsSpec(test=("validation",), validation_share=0.5, validation_by="random")},
                       "segmentation", 2, (1, 1, 1)),
    "segmunich": ({"ignore": (0,)}, "segmentation", 12, (2, 1, 0)),
    "phileo": ({}, "segmentation", 11, (42, 21, 14)),
    "otbtf": ({"parts": PartsSpec(train=("A",), test=("B",), validation_share=0.3, validation_by="random")},
              "classification", 6, (5, 2, 8)),
}  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], LayoutOptions]:
    def write(name: str, **options: Any) -> LayoutOptions:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        return LayoutOptions(name, str(root), {**BUILD[name](root), **options})

    return write


@pytest.mark.parametrize("name", CASES)
def test_parts_of_published_sets(name: str, written: Any) -> None:
    given, task, outputs, counts = CASES[name]
    data = RecordData(layout=written(name), **given)
    seen: list[set[str]] = []
    for part_name, count in zip(PARTS, counts, strict=True):
        if not count:
            with pytest.raises(ConfigError, match=r"data.parts.test: "):
                open_part(data, part_name)
            continue
        part = open_part(data, part_name)
        assert (part.task, part.meaning.outputs, len(part)) == (task, outputs, count)
        assert part.ids == tuple(c.source for c in part.cubes)
        for target in part.targets:
            assert target.dtype == np.int64 and target.min() >= -1 and target.max() < outputs
        seen.append(set(part.ids))
    assert sum(map(len, seen)) == len(set().union(*seen))


def test_densities_are_regression(written: Any) -> None:
    layout = written("phileo", task="building")
    part = open_part(RecordData(layout=layout), "validation")
    assert part.task == "regression" and part.classes == ()
    assert dict(part.meaning.quantities) == {"building density": "share of the pixel"}
    assert part.targets[0].dtype == np.float32 and part.targets[0].max() <= 1


def test_training_opens_nothing_of_the_test_part(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = RecordData(layout=written("eurosat"))
    opened: list[str] = []
    read = EuroSAT.read

    def spying(self: EuroSAT, index: int) -> Any:
        opened.append(self.items[index].id)
        return read(self, index)

    monkeypatch.setattr(EuroSAT, "read", spying)
    train, validation = open_part(data, "train"), open_part(data, "validation")
    contract = records_contract(data, train, None)
    train_feed(data, train, contract, 0).take(0, 4)
    list(score_feed(data, validation, contract))
    assert set(opened) == {*train.ids, *validation.ids}
    assert "Forest_1" not in opened
    assert open_part(data, "test").ids == ("Forest_1",) and opened[-1] == "Forest_1"


def test_files_of_the_test_part_may_be_gone(written: Any, tmp_path: Path) -> None:
    data = RecordData(layout=written("oscd"), parts=PartsSpec(validation_share=0.5))
    for path in tmp_path.rglob("*"):
        if path.is_file() and "saclay_w" in str(path):
            path.unlink()
    assert open_part(data, "train").ids + open_part(data, "validation").ids
    with pytest.raises(InputError):
        open_part(data, "test")


def test_shards_say_what_the_layout_says(written: Any, tmp_path: Path) -> None:
    layout = written("eurosat")
    packed = pack.run(pack.PackConfig("eurosat", layout.root, str(tmp_path / "shards"), workers=1)).output
    for part_name in PARTS:
        mine = open_part(RecordData(layout=layout, bands=("B08", "B02")), part_name)
        other = open_part(RecordData(shards=(packed,), bands=("B08", "B02")), part_name)
        assert (mine.task, mine.classes, mine.ids) == (other.task, other.classes, other.ids)
        assert mine.groups == other.groups and mine.boxes == other.boxes
        for a, b in zip(mine.records, other.records, strict=True):
            assert [x.name for x in a.cube.bands] == ["B08", "B02"]
            assert np.array_equal(a.cube.pixels, b.cube.pixels) and np.array_equal(a.target, b.target)
    data = RecordData(shards=(packed,), window=64)
    train = open_part(data, "train")
    contract = records_contract(data, train, None)
    memory = RecordData(layout=layout, window=64)
    assert contract.normalisation.centre == pytest.approx(
        records_contract(memory, open_part(memory, "train"), None).normalisation.centre, rel=1e-6
    )
    a, b = (train_feed(d, open_part(d, "train"), contract, 3).take(0, 4) for d in (data, memory))
    assert a.ids == b.ids and a.pixels.equal(b.pixels) and a.target.equal(b.target)
    # Shards of an older version do not say what their targets mean: their layout does.
    manifest = Path(packed) / "shards.json"
    said = json.loads(manifest.read_text("utf-8"))
    for key in ("tasks", "classes", "quantities"):
        del said[key]
    manifest.write_text(json.dumps(said), "utf-8")
    assert open_part(data, "train").classes == train.classes


def test_what_is_ignored_is_unknown_and_no_class(written: Any, tmp_path: Path) -> None:
    layout = written("segmunich")
    whole = open_part(RecordData(layout=layout), "train")
    part = open_part(RecordData(layout=layout, ignore=(0, 23)), "train")
    assert [c.value for c in part.classes] == [21, 22, 31, 5, 32, 33, 41, 13, 14, 11, 12]
    old = whole.targets[0]
    assert np.array_equal(part.targets[0] == -1, (old == 0) | (old == 3))
    names = {c.name: i for i, c in enumerate(part.classes)}
    assert (part.targets[0][old == 4] == names["forests"]).all()
    with pytest.raises(ConfigError, match=r"data.ignore: 7 is no class"):
        open_part(RecordData(layout=layout, ignore=(7,)), "train")
    packed = pack.run(pack.PackConfig("segmunich", layout.root, str(tmp_path / "shards"), workers=1)).output
    data = RecordData(shards=(packed,), ignore=(0, 23), window=128)
    feed = train_feed(data, open_part(data, "train"), records_contract(data, part, None), 0)
    batch = feed.take(0, 2)
    assert batch.target is not None and batch.target.min() == -1 and batch.target.max() == 10


def test_a_fraction_is_nested_and_decides_the_statistics(written: Any) -> None:
    layout = written("phileo")
    parts = [open_part(RecordData(layout=layout, label_fraction=f), "train") for f in (0.1, 0.25, 1.0)]
    assert [len(p) for p in parts] == [5, 11, 42]
    assert set(parts[0].ids) <= set(parts[1].ids) <= set(parts[2].ids)
    assert len(open_part(RecordData(layout=layout, label_fraction=0.1), "validation")) == 21
    few = records_contract(RecordData(layout=layout), parts[0], None)
    cubes = parts[0].cubes
    first = np.concatenate([c.pixels[:, 0][c.valid[:, 0]] for c in cubes]).mean()
    assert few.normalisation.centre[0] == pytest.approx(float(first), rel=1e-6)


def test_a_scored_part_is_covered_once(written: Any) -> None:
    data = RecordData(layout=written("oscd"), parts=PartsSpec(validation_share=0.5), window=32)
    train, part = open_part(data, "train"), open_part(data, "validation")
    contract = records_contract(data, train, None)
    counted = sum(int((b.target >= 0).sum()) for b in score_feed(data, part, contract, batch_size=3))  # type: ignore[operator]
    assert counted == part.targets[0].size
    halves = [
        sum(int((b.target >= 0).sum()) for b in score_feed(data, part, contract, rank=r, world=2))  # type: ignore[operator]
        for r in (0, 1)
    ]
    assert halves == [counted, 0]  # one city: the other process takes part without a known label
    data = RecordData(layout=data.layout, parts=data.parts, window=32, draw="windows")
    batch = train_feed(data, train, contract, 0).take(0, 3)
    assert batch.pixels.shape == (3, 2, 13, 32, 32) and batch.target is not None


def test_squares_of_one_record(written: Any) -> None:
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    data = RecordData(
        layout=written("landsat-change"),
        parts=PartsSpec(by="within", block=8, buffer=2, shares=shares),
        window=16,
    )
    masks = [open_part(data, p).cubes[0].valid.any((0, 1)) for p in PARTS]
    assert sum(m.astype(int) for m in masks).max() == 1  # type: ignore[union-attr]
    train = open_part(data, "train")
    assert train.task == "change" and len(train) == 2
    batch = train_feed(data, train, records_contract(data, train, None), 0).take(0, 2)
    assert batch.target is not None and (~batch.valid).any()


def test_bad_items_are_left_out_up_to_the_stated_share(
    written: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = written("segmunich")
    (tmp_path / "segmunich/train/img/7.tif").write_bytes(b"no tif")
    with pytest.raises(InputError, match=r"cannot be read, more than the share of 0.01"):
        open_part(RecordData(layout=layout), "train")
    more = LayoutOptions(layout.name, layout.root, layout.options, bad_items=0.5)
    assert open_part(RecordData(layout=more), "train").ids == ("train/12",)
    assert "bad item train/7 is left out" in caplog.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "data: data names no data; give one of data.layout and data.shards"),
        ({"layout": LayoutOptions("a", "b"), "shards": ("c",)}, "data: data names a layout and shards"),
        ({"shards": ("a",), "label_fraction": 0.0}, "data.label_fraction: is 0.0"),
        ({"shards": ("a",), "draw": "windows"}, "data.draw: windows are drawn of records in memory"),
        ({"shards": ("a",), "dates": 3}, "data.dates: needs windows"),
        ({"shards": ("a",), "window": 0}, "data.window: is 0"),
        ({"shards": ("a",), "normalise": NormaliseOptions("standard", "fixed", (0, 3))}, "data.normalise.columns: "),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RecordData(**given)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "data: data names no data; give one of data.scene (with data.labels), data.layout and data.shards"),
        ({"shards": ("a",), "labels": "b.tif"}, "data.labels: is for scenes"),
        ({"shards": ("a",), "east_start": 3}, "data.east_start: is for scenes"),
    ],
)  # fmt: skip
def test_scenes_and_records_are_not_mixed(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LabelledData(**given)
    assert str(caught.value).startswith(words)


def test_data_without_labels_say_so(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"data.task: ssl4eo-s12-v1.1 has no labels"):
        labelled = RecordData(
            layout=written("ssl4eo-s12-v1.1", samples=2), parts=PartsSpec(validation_share=0.5)
        )
        open_part(labelled, "train")
    with pytest.raises(ConfigError, match=r"data.task: eurosat is not for regression; use classification"):
        open_part(RecordData(layout=written("eurosat"), task="regression"), "train")


def test_a_source_opens_each_part_once(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str | None] = []
    plain = labelled_sources.open_layout

    def counting(name: str, root: str, split: str | None, **options: Any) -> Layout:
        opened.append(split)
        return plain(name, root, split, **options)

    monkeypatch.setattr(labelled_sources, "open_layout", counting)
    open_part(RecordData(layout=written("eurosat")), "train")
    assert opened == ["train"]


def test_records_have_boxes_of_their_grid(written: Any) -> None:
    part = open_part(RecordData(layout=written("segmunich")), "train")
    assert part.boxes == (None, None) and part.groups == ("munich", "munich")
    part = open_part(RecordData(layout=written("multi-temporal-crops"), parts=PartsSpec(test=("validation",),
                     validation_share=0.5, validation_by="random")), "train")  # fmt: skip
    box = part.boxes[0]
    assert box is not None and box.plane == "EPSG:5070" and box.right - box.left == 224 * 30
