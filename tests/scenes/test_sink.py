from __future__ import annotations

import itertools
import struct
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from swath.cube import Grid
from swath.data.legend import LandClass
from swath.errors import InputError, OutputError
from swath.scenes import cog
from swath.scenes.layers import NODATA, BlockMap, ClassLayers, ValueLayers
from swath.scenes.mapping import predict_scene
from swath.scenes.piece import pack
from swath.scenes.sink import CogSink, MemorySink
from swath.scenes.windows import Plan, make_plan


def tiff_arrays(path: Path) -> list[dict[int, tuple[int, ...]]]:
    """The integer tags of every directory of a classic TIFF, read plainly."""
    raw = path.read_bytes()
    assert raw[:4] == b"II*\x00"
    found = []
    (at,) = struct.unpack_from("<I", raw, 4)
    while at:
        (count,) = struct.unpack_from("<H", raw, at)
        tags = {0: (at,)}
        for i in range(count):
            tag, kind, n = struct.unpack_from("<HHI", raw, at + 2 + 12 * i)
            if kind in (3, 4):
                code = f"<{n}{'H' if kind == 3 else 'I'}"
                where = at + 10 + 12 * i
                if struct.calcsize(code) > 4:
                    (where,) = struct.unpack_from("<I", raw, where)
                tags[tag] = struct.unpack_from(code, raw, where)
        found.append(tags)
        (at,) = struct.unpack_from("<I", raw, at + 2 + 12 * count)
    return found


def make_map(
    path: Path, fakes: SimpleNamespace, height: int = 700, width: int = 530, **options: bool
) -> np.ndarray:
    """A map of a scene with holes as a file; what it should hold is returned."""
    scene = fakes.scene(height, width, holes=0.4)
    layers = ClassLayers(fakes.classes, **options)
    plan = Plan(height, width, (64, 64), 16, 0, 512)
    memory = MemorySink(layers, height, width)
    predict_scene(scene, fakes.ConvNet(), fakes.contract(), plan, memory)
    sink = CogSink(path, scene.grid, layers, tags={"WEIGHTS": "sha256:12 & <34>"})
    predict_scene(scene, fakes.ConvNet(), fakes.contract(), plan, sink)
    return memory.bands


def blank(sink: CogSink) -> None:
    """A map of nothing."""
    plan = make_plan(sink.grid.height, sink.grid.width, (16, 16))
    with sink.begin(plan) as store:
        for i, block in enumerate(plan.blocks()):
            coverage = np.zeros((block.box.height, block.box.width), np.uint8)
            store.put(pack(plan, i, BlockMap(block.box, None, coverage), sink.layers))


def test_everything_reads_back(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    expected = make_map(path, fakes)
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(), expected)
        assert file.crs.to_epsg() == 32119
        assert file.transform == rasterio.Affine(28.5, 0, 630000, 0, -28.5, 228000)
        assert file.nodata == NODATA
        assert file.dtypes == ("uint8",) * 3
        assert file.descriptions == ("class", "confidence", "coverage")
        assert file.units[1:] == ("percent", "percent")
        assert file.colorinterp[0] == rasterio.enums.ColorInterp.palette
        colors = file.colormap(1)
        assert [colors[c.value][:3] for c in fakes.classes] == [c.color for c in fakes.classes]
        tags = file.tags()
        assert tags["CLASS_2"] == "agri & grass <wet>"
        assert tags["CLASS_6"] == "wáter"
        assert tags["COLOR_5"] == "#1b7837"
        assert tags["WEIGHTS"] == "sha256:12 & <34>"
        assert tags["BAND_3"].startswith("coverage: share of (date, band) pairs")
        assert tags["TIFFTAG_SOFTWARE"].startswith("swath ")


def test_the_colours_are_in_the_tiff_itself(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    make_map(path, fakes)
    alone = path.rename(tmp_path / "alone.tif")
    with rasterio.open(alone) as file:
        assert file.colormap(1)[5][:3] == (27, 120, 55)
        assert file.overviews(1)
    with rasterio.open(alone, overview_level=0) as file:
        assert file.colormap(1)[5][:3] == (27, 120, 55)


def test_it_is_a_cloud_optimized_geotiff(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    make_map(path, fakes, height=1100)
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.block_shapes == [(512, 512)] * 3
        assert [file.overviews(i) for i in (1, 2, 3)] == [[2, 4, 8]] * 3
    images = tiff_arrays(path)
    widths = [tags[256][0] for tags in images]
    # Full size first, then ever smaller; all directories before all data; the smallest overview's data first.
    assert widths == [530, 265, 133, 67]
    assert [tags.get(254, (0,))[0] for tags in images] == [0, 1, 1, 1]
    assert [tags[0][0] for tags in images] == sorted(tags[0][0] for tags in images)
    first_data = min(min(o for o in tags[324] if o) for tags in images)
    assert images[-1][0][0] < first_data
    for small, large in itertools.pairwise(reversed(images)):
        assert max(small[324]) < min(o for o in large[324] if o)
    assert all(tags[322] == tags[323] == (512,) for tags in images)
    # Band 1 is a palette, the two others are extra samples of no colour.
    assert all((tags[262], tags[277], tags[338]) == ((3,), (3,), (0, 0)) for tags in images)


def test_overviews_respect_classes_and_no_data(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    full = make_map(path, fakes)
    with rasterio.open(path, overview_level=0) as file:
        half = file.read()
    present = {c.value for c in fakes.classes} | {NODATA}
    assert set(np.unique(half[0])) <= present
    four = full[:, :700, :530].reshape(3, 350, 2, 265, 2).swapaxes(2, 3).reshape(3, 350, 265, 4)
    # A class that three or four of the four pixels share is the overview's.
    for c in fakes.classes:
        assert (half[0][(four[0] == c.value).sum(-1) >= 3] == c.value).all()
    known = four[1] != NODATA
    mean = np.where(known, four[1], 0).sum(-1) / np.maximum(known.sum(-1), 1)
    assert (half[1] == NODATA).sum() == (~known.any(-1)).sum()
    some = known.any(-1)
    assert np.abs(half[1][some] - mean[some]).max() <= 0.5
    assert np.abs(half[2] - four[2].mean(-1)).max() <= 0.5


def test_side_files_hold_names_and_the_style(tmp_path: Path, fakes: SimpleNamespace) -> None:
    make_map(tmp_path / "map.tif", fakes, 64, 64)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.qml", "map.tif", "map.tif.aux.xml"]
    names = [n.text or "" for n in ElementTree.parse(tmp_path / "map.tif.aux.xml").iter("Category")]
    assert names == ["", "developed", "agri & grass <wet>", "", "", "forest", "wáter"]
    entries = [e.attrib for e in ElementTree.parse(tmp_path / "map.qml").iter("paletteEntry")]
    assert [(int(e["value"]), e["label"], e["color"]) for e in entries] == [
        (c.value, c.name, c.hex) for c in fakes.classes
    ]


def test_probabilities_on_request(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    make_map(path, fakes, 90, 80, probabilities=True)
    with rasterio.open(path) as file:
        bands = file.read()
        assert file.descriptions[3:] == tuple(f"p({c.name})" for c in fakes.classes)
    known = bands[0] != NODATA
    total = bands[3:, known].astype(int).sum(0)
    assert np.abs(total - 100).max() <= 2
    assert np.array_equal(bands[3:, known].max(0), bands[1, known])
    assert (bands[3:, ~known] == NODATA).all()


def test_the_same_map_is_the_same_file(tmp_path: Path, fakes: SimpleNamespace) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_map(tmp_path / name / "map.tif", fakes, 300, 80)
    assert (tmp_path / "a/map.tif").read_bytes() == (tmp_path / "b/map.tif").read_bytes()


def test_an_existing_map_is_kept_unless_told(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    path.write_bytes(b"mine")
    grid, layers = fakes.scene(20, 20).grid, ClassLayers(fakes.classes)
    with pytest.raises(OutputError, match="exists already; choose another name"):
        CogSink(path, grid, layers)
    assert path.read_bytes() == b"mine"
    sink = CogSink(path, grid, layers, overwrite=True)
    with (
        pytest.raises(OutputError, match="lacks 1 of 1 block"),
        sink.begin(make_plan(20, 20, (16, 16))),
    ):
        pass
    assert path.read_bytes() == b"mine"
    blank(sink)
    with rasterio.open(path) as file:
        assert file.count == 3


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind_on_failure(
    tmp_path: Path, fakes: SimpleNamespace, error: type[BaseException]
) -> None:
    calls = itertools.count()

    def network(pixels: object, **_: object) -> object:
        if next(calls) == 3:
            raise error
        return pixels[:, 0]  # type: ignore[index]

    scene = fakes.scene(300, 300)
    sink = CogSink(tmp_path / "map.tif", scene.grid, ClassLayers(fakes.classes[:3]))
    with pytest.raises(error):
        predict_scene(
            scene, network, fakes.contract(), Plan(300, 300, (64, 64), 0, 0, 256), sink, batch_size=1
        )
    assert list(tmp_path.iterdir()) == []


def test_failing_to_finish_leaves_nothing(
    tmp_path: Path, fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cog, "assemble", full_disk)
    sink = CogSink(tmp_path / "map.tif", fakes.scene(20, 20).grid, ClassLayers(fakes.classes))
    with pytest.raises(OutputError, match=r"map\.tif: cannot be written \(.*No space left"):
        blank(sink)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "says"), [("map.png", "end in .tif"), ("is.tif", "is a folder")])
def test_impossible_targets_are_refused(tmp_path: Path, fakes: SimpleNamespace, name: str, says: str) -> None:
    (tmp_path / "is.tif").mkdir()
    with pytest.raises(OutputError, match=says):
        CogSink(tmp_path / name, fakes.scene(20, 20).grid, ClassLayers(fakes.classes))


def test_folders_are_made_but_not_out_of_files(tmp_path: Path, fakes: SimpleNamespace) -> None:
    grid, layers = fakes.scene(20, 20).grid, ClassLayers(fakes.classes)
    blank(CogSink(tmp_path / "new" / "run" / "map.tif", grid, layers))
    assert (tmp_path / "new" / "run" / "map.tif").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        blank(CogSink(tmp_path / "file" / "m.tif", grid, layers))


def test_an_unknown_coordinate_system_is_refused(tmp_path: Path, fakes: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="EPSG:0"):
        CogSink(tmp_path / "map.tif", Grid("EPSG:0", (1, 0, 0, 0, -1, 0), 5, 5), ClassLayers(fakes.classes))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_scene_without_a_place_gives_a_map_without_one(tmp_path: Path, fakes: SimpleNamespace) -> None:
    blank(CogSink(tmp_path / "map.tif", Grid("", (1, 0, 0, 0, 1, 0), 5, 5), ClassLayers(fakes.classes)))
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs is None
        assert (file.read((1, 2)) == NODATA).all()


def test_what_an_earlier_map_had_beside_it_goes_with_it(tmp_path: Path) -> None:
    grid = Grid("EPSG:32119", (30.0, 0.0, 6e5, 0.0, -30.0, 2e5), 20, 20)
    plan = make_plan(20, 20, (16, 16))
    box = plan.block(0).box
    full = np.full((20, 20), 100, np.uint8)
    classes = ClassLayers((LandClass(1, "a", (1, 2, 3)), LandClass(2, "b", (3, 2, 1))))
    for layers, values, picture in ((classes, 2, True), (ValueLayers(("height",)), 1, False)):
        sink = CogSink(tmp_path / "map.tif", grid, layers, overwrite=True, quicklook=picture)
        with sink.begin(plan) as store:
            result = BlockMap(box, np.ones((values, 20, 20), np.float32) / values, full, 1, 0, ())
            store.put(pack(plan, 0, result, layers))
        left = {p.name for p in tmp_path.iterdir()}
        beside = {"map.png", "map.qml", "map.tif.aux.xml"} if picture else set()
        assert left == {"map.tif", *beside}
