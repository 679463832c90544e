"""A person's own folder; the worked example of docs/own-data.md is run as it stands."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from swath.cube import Encoding
from swath.data.collection import Collection
from swath.data.labels import IGNORE
from swath.data.layouts.base import Layout
from swath.data.layouts.folder import Folder
from swath.data.layouts.registry import open_layout
from swath.errors import InputError, SwathError

SIZE, WINDOW = 96, 16
ORIGIN = {"north": (500_000.0, 5_000_000.0), "south": (500_000.0, 4_990_000.0)}


def tif(
    path: Path, pixels: np.ndarray, res: float = 10.0, origin: tuple[float, float] = ORIGIN["north"]
) -> None:
    stack = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=stack.dtype.name,
        count=len(stack),
        height=stack.shape[1],
        width=stack.shape[2],
        crs="EPSG:32633",
        transform=Affine(res, 0, origin[0], 0, -res, origin[1]),
    ) as file:
        file.write(stack)


def polygon(crop: str, x: float, y: float, width: float, height: float) -> dict[str, Any]:
    ring = [[x, y], [x + width, y], [x + width, y - height], [x, y - height], [x, y]]
    return {
        "type": "Feature",
        "properties": {"crop": crop},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


@pytest.fixture
def fields(tmp_path: Path, repository: Path) -> Path:
    """The folder of the worked example, with its YAML."""
    root = tmp_path / "fields"
    for place, origin in ORIGIN.items():
        # Written latest first: the order on the disk means nothing.
        for t, date in enumerate(("20230701", "20230512")):
            tif(root / place / f"{date}_B02.tif", np.full((SIZE, SIZE), 2000 + t, np.uint16), origin=origin)
            tif(root / place / f"{date}_B8A.tif", np.full((48, 48), 3000 + t, np.uint16), 20.0, origin)
            scl = np.full((48, 48), 4, np.uint8)
            scl[0, 0] = 9 if date == "20230701" else 4
            tif(root / place / f"{date}_SCL.tif", scl, 20.0, origin)
    x, y = ORIGIN["north"]
    features = [polygon("wheat", x, y, 200, 500), polygon("maize", x + 190, y, 100, 30)]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    (root / "labels.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "crs": crs, "features": features})
    )
    (root / "._B02.tif").write_bytes(b"a trace of another system")
    text = (repository / "docs" / "own-data.md").read_text()
    found = re.search(r"```yaml\n(.*?)```", text, re.S)
    assert found is not None
    (root / "dataset.yaml").write_text(found[1])
    return root


def test_the_worked_example(fields: Path) -> None:
    whole = open_layout("folder", fields)
    assert isinstance(whole, Layout)
    assert len(whole.items) == 2 * 36
    assert whole.items[0].id == "north@0,0"
    sample = whole.read(0)
    assert sample.cube.shape == (2, 2, WINDOW, WINDOW)
    assert [str(d) for d in sample.cube.dates] == ["2023-05-12", "2023-07-01"]
    assert sample.cube.encodings[1][1] == Encoding("reflectance", 1e-4, -0.1, "L2A")
    # Latest first on the disk, in time order here; both bands lose the clouded 20 m pixel.
    assert sample.cube.pixels[:, 0, 5, 5].tolist() == [2001, 2000]
    assert not sample.cube.valid[1, :, :2, :2].any() and sample.cube.valid.sum() == 4 * 256 - 2 * 4
    # Wheat covers the window's columns 0 to 19; maize begins at column 19, where both claim a pixel.
    target = whole.read(1).target
    assert target is not None
    assert target[10, :4].tolist() == [0, 0, 0, 0]
    assert target[0, :6].tolist() == [0, 0, 0, IGNORE, 1, 1]
    assert sample.cube.statistics is not None and sample.cube.statistics.count[0] == 2 * SIZE * SIZE - 4
    assert whole.info.classes[1].name == "maize" and whole.info.sensors == {"sentinel2": ("B02", "B8A")}


def test_parts_of_the_worked_example(fields: Path) -> None:
    parts = {name: open_layout("folder", fields, name) for name in ("train", "test")}
    ids = {name: {i.id for i in layout.items} for name, layout in parts.items()}
    assert ids["train"] and ids["test"] and not ids["train"] & ids["test"]
    assert all(i.split == "test" for i in parts["test"].items)
    with pytest.raises(SwathError, match="there is no part 'validation'; use "):
        open_layout("folder", fields, "validation")


SPEC: dict[str, Any] = {
    "sensor": "sentinel2",
    "images": "{place}.tif",
    "bands": ["B02", "B03"],
    "unit": "reflectance",
    "scale": "1e-4",
}


def stack(root: Path, name: str = "a.tif", count: int = 2, size: int = 10) -> Path:
    tif(root / name, np.arange(count * size * size, dtype=np.uint16).reshape(count, size, size) + 1)
    return root / name


def test_windows_reach_beyond_the_edge_as_invalid(tmp_path: Path) -> None:
    stack(tmp_path, "images/a.tif")
    tif(tmp_path / "labels" / "a.tif", np.tile(np.array([1, 2], np.uint8), (10, 5)))
    classes = [{"value": 1, "name": "x"}, {"value": 2, "name": "y"}]
    labels = {"kind": "raster", "file": "labels/{place}.tif", "classes": classes}
    folder = Folder(tmp_path, spec={**SPEC, "images": "images/{place}.tif", "size": 8, "labels": labels})
    assert [i.id for i in folder.items] == ["a@0,0", "a@0,8", "a@8,0", "a@8,8"]
    seen = 0
    for i in range(4):
        sample = folder.read(i)
        assert sample.target is not None
        assert np.array_equal(sample.target != IGNORE, sample.cube.valid[0, 0])
        seen += int(sample.cube.valid[0, 0].sum())
    assert seen == 100


def test_time_major_only_when_stated(tmp_path: Path) -> None:
    stack(tmp_path, count=4)
    with pytest.raises(InputError, match="holds 4 bands, but 2 are named"):
        Folder(tmp_path, spec=SPEC)
    folder = Folder(tmp_path, spec={**SPEC, "stack_dates": 2, "dates": ["2020-01-01", "2020-02-01"]})
    cube = folder.read(0).cube
    assert cube.shape == (2, 2, 10, 10)
    assert cube.pixels[:, :, 0, 0].tolist() == [[1, 101], [201, 301]]


def test_lists_of_files(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        stack(tmp_path, name)
    places = Folder(tmp_path, spec={**SPEC, "images": ["b.tif", "a.tif"], "files_are": "places"})
    assert [i.id for i in places.items] == ["a.tif", "b.tif"]
    dates = Folder(
        tmp_path,
        spec={
            **SPEC,
            "images": ["b.tif", "a.tif"],
            "files_are": "dates",
            "dates": ["2020-01-01", "2020-02-01"],
        },
    )
    assert dates.read(0).cube.shape[0] == 2


def test_a_table_of_classes_with_its_parts(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        stack(tmp_path, f"{name}.tif")
    (tmp_path / "t.csv").write_text("file,class,split\na.tif,town,train\nb,water,train\nc.tif,town,test\n")
    spec = {
        **SPEC,
        "labels": {"kind": "csv", "file": "t.csv", "classes": ["town", "water"]},
        "split": {"kind": "csv"},
    }
    train = Folder(tmp_path, "train", spec=spec)
    assert [(i.id, int(np.asarray(train.read(n).target))) for n, i in enumerate(train.items)] == [
        ("a", 0),
        ("b", 1),
    ]


def test_numbers_with_unknown_pixels(tmp_path: Path) -> None:
    stack(tmp_path)
    numbers = np.ones((10, 10), np.float32)
    numbers[2, 3] = np.nan
    tif(tmp_path / "y" / "height.tif", numbers)
    spec = {**SPEC, "images": "a.tif", "labels": {"kind": "numbers", "file": "y/height.tif"}}
    target = Folder(tmp_path, spec=spec).read(0).target
    assert target is not None and target.dtype == np.float32
    assert np.isnan(target).sum() == 1 and np.isnan(target[2, 3])


def test_a_random_split_is_made_only_by_name_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stack(tmp_path)
    spec = {**SPEC, "size": 2, "split": {"kind": "random", "shares": {"train": 0.8, "test": 0.2}}}
    with caplog.at_level(logging.WARNING):
        assert len(Folder(tmp_path, "train", spec=spec).items) == 20
    assert "neighbours" in caplog.text


def test_regions(tmp_path: Path) -> None:
    stack(tmp_path, size=40)
    x, y = ORIGIN["north"]
    features = [polygon("train", x - 5, y + 5, 210, 410), polygon("test", x + 239, y + 5, 400, 410)]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    (tmp_path / "r.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "crs": crs, "features": features})
    )
    spec = {**SPEC, "size": 10, "split": {"kind": "regions", "file": "r.geojson", "attribute": "crop"}}
    train, test = (Folder(tmp_path, name, spec=spec) for name in ("train", "test"))
    assert {i.id.split(",")[1] for i in train.items} == {"0", "10"}
    assert {i.id.split(",")[1] for i in test.items} == {"30"}
    assert train.left_out == 4


def test_the_order_on_the_disk_changes_nothing(tmp_path: Path) -> None:
    made: list[list[str]] = []
    for order in (("a", "b", "c"), ("c", "a", "b")):
        root = tmp_path / "".join(order)
        for name in order:
            stack(root, f"{name}.tif", size=20)
        spec = {**SPEC, "size": 5, "split": {"kind": "groups", "shares": {"train": 0.6, "test": 0.4}}}
        made.append([f"{i.id} {i.split}" for i in Folder(root, spec=spec).items])
    assert made[0] == made[1]


def test_only_labelled_windows(tmp_path: Path) -> None:
    stack(tmp_path, size=20)
    labels = np.zeros((20, 20), np.uint8)
    labels[12, 3] = 1
    tif(tmp_path / "l" / "y.tif", labels)
    spec = {
        **SPEC,
        "images": "a.tif",
        "size": 10,
        "labels": {
            "kind": "raster",
            "file": "l/y.tif",
            "classes": ["zero", "x"],
            "ignore": [0],
            "labelled_only": True,
        },
    }
    assert [i.id for i in Folder(tmp_path, spec=spec).items] == ["@10,0"]


def test_labels_that_lie_on_no_image_are_an_error(fields: Path) -> None:
    x, y = ORIGIN["north"]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    swapped = {"type": "FeatureCollection", "crs": crs, "features": [polygon("wheat", y, x, 200, 500)]}
    (fields / "labels.geojson").write_text(json.dumps(swapped))
    with pytest.raises(
        InputError, match="no feature lies on an image; check its reference system, and that x"
    ):
        open_layout("folder", fields)


def test_an_image_without_a_place_has_a_name(tmp_path: Path) -> None:
    stack(tmp_path)
    assert [i.id for i in Folder(tmp_path, spec={**SPEC, "images": "a.tif"}).items] == ["image"]


def test_what_is_in_no_part_is_said(fields: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        layout = open_layout("folder", fields, "train")
    assert isinstance(layout, Folder) and layout.left_out > 0
    assert f"{layout.left_out} of 72 items are in no part" in caplog.text


@pytest.mark.parametrize("size", [None, 4])
def test_an_image_that_cannot_be_opened_is_a_bad_item_and_the_rest_is_read(
    tmp_path: Path, write: Callable[..., str], caplog: pytest.LogCaptureFixture, size: int | None
) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        write(name, np.ones((1, 4, 4), np.uint16))
    (tmp_path / "b.tif").write_bytes(b"")
    spec: dict[str, Any] = {"sensor": "sentinel2", "images": "{place}.tif", "bands": ["B02"], "unit": "dn"}
    if size is not None:
        spec["size"] = size
    collection = Collection(Folder(tmp_path, spec=spec), limit=0.5)
    assert [collection.read(i).weight for i in range(len(collection))] == [1.0, 0.0, 1.0]
    assert "b.tif: is an empty file" in collection.bad[0].reason
    with pytest.raises(InputError, match="1 of 3 items cannot be read"):
        Collection(Folder(tmp_path, spec=spec)).read(1)
    spec["split"] = {"kind": "groups", "shares": {"train": 0.5, "test": 0.5}}
    parts = [Folder(tmp_path, part, spec=spec).items for part in ("train", "test")]
    assert [len(part) for part in parts] == [1, 1]
    assert "1 images cannot be opened and are in no part" in caplog.text
    for name in ("a.tif", "c.tif"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.tif: is an empty file"):
        Folder(tmp_path, spec=spec)


def test_linked_folders_are_looked_into_and_a_loop_of_links_ends(tmp_path: Path) -> None:
    stack(tmp_path / "elsewhere")
    root = tmp_path / "mine"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    folder = Folder(root, spec={**SPEC, "images": "images/{place}.tif"})
    assert [i.id for i in folder.items] == ["a"]
