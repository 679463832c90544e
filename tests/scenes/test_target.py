"""What may lie beside an output, and what may not."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from swath.cube import Grid
from swath.data.legend import LandClass
from swath.errors import OutputError
from swath.scenes import target
from swath.scenes.box import Box
from swath.scenes.layers import BlockMap, ClassLayers, ValueLayers
from swath.scenes.look import is_ours
from swath.scenes.piece import pack
from swath.scenes.sink import CogSink
from swath.scenes.windows import make_plan

GRID = Grid("EPSG:32119", (30.0, 0.0, 6e5, 0.0, -30.0, 2e5), 20, 20)
CLASSES = ClassLayers((LandClass(1, "a", (1, 2, 3)), LandClass(2, "b", (3, 2, 1))))
ABOUT = {"weights": "w"}


def make(path: Path, *, holes: tuple[Box, ...] = (), **options: bool) -> None:
    sink = CogSink(path, GRID, CLASSES, **options)
    plan = make_plan(20, 20, (16, 16))
    with sink.begin(plan, ABOUT) as store:
        values, full = np.full((2, 20, 20), 0.5, np.float32), np.full((20, 20), 100, np.uint8)
        store.put(pack(plan, 0, BlockMap(plan.block(0).box, values, full, 1, 0, holes), CLASSES))


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


@pytest.mark.parametrize("name", ["map.qml", "map.tif.aux.xml", "map.holes.json", "map.png"])
def test_a_file_of_another_beside_the_name_is_kept_unless_told(tmp_path: Path, name: str) -> None:
    foreign = tmp_path / name
    foreign.write_bytes(b"mine")
    with pytest.raises(OutputError, match=f"{name}: exists already, and map.tif would bring its own; choose"):
        make(tmp_path / "map.tif", quicklook=True)
    assert names(tmp_path) == {name} and foreign.read_bytes() == b"mine"
    make(tmp_path / "map.tif", quicklook=True, overwrite=True)
    assert names(tmp_path) == {"map.tif", "map.qml", "map.tif.aux.xml", "map.png"}
    assert not foreign.exists() or foreign.read_bytes() != b"mine"


def test_somebodys_picture_stays_where_no_quick_look_is_made(tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    picture.write_bytes(b"\x89PNG of my cat")
    make(tmp_path / "map.tif")
    make(tmp_path / "map.tif", overwrite=True)
    assert picture.read_bytes() == b"\x89PNG of my cat"
    make(tmp_path / "map.tif", overwrite=True, quicklook=True)
    assert is_ours(picture)
    make(tmp_path / "map.tif", overwrite=True)  # now it is an earlier map's, and would belie this one
    assert not picture.exists()


def test_what_a_map_that_is_gone_left_behind_stands_in_no_ones_way(tmp_path: Path) -> None:
    make(tmp_path / "map.tif", quicklook=True)
    (tmp_path / "map.tif").unlink()
    make(tmp_path / "map.tif", quicklook=True)
    assert names(tmp_path) == {"map.tif", "map.qml", "map.tif.aux.xml", "map.png"}


def test_holes_of_an_earlier_map_go_with_it(tmp_path: Path) -> None:
    make(tmp_path / "map.tif", holes=(Box(0, 0, 2, 2),))
    assert "map.holes.json" in names(tmp_path)
    make(tmp_path / "map.tif", overwrite=True)
    assert "map.holes.json" not in names(tmp_path)


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "map.qml").mkdir()
    with pytest.raises(OutputError, match=r"map\.qml: is a folder"):
        make(tmp_path / "map.tif", overwrite=True)


def test_an_interrupted_one_says_that_it_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "swath")
    make(tmp_path / "whole.tif")
    assert "are kept" not in caplog.text
    monkeypatch.setattr(CogSink, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "map.tif")
    assert "kept 1 of 1 block: the same command goes on" in caplog.text


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
def test_stopped_while_files_are_moved_the_same_command_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """As a kill between two renames: the side files are there, the map is not."""
    make(tmp_path / "whole" / "map.tif", quicklook=True)
    calls, replace = itertools.count(), Path.replace

    def cut(self: Path, onto: Path) -> Path:
        if Path(onto).parent == tmp_path / "cut" and next(calls) == moved:
            raise KeyboardInterrupt
        return replace(self, onto)

    monkeypatch.setattr(target.Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "cut" / "map.tif", quicklook=True)
    monkeypatch.undo()
    assert len(names(tmp_path / "cut")) == moved + 1  # and the work folder
    make(tmp_path / "cut" / "map.tif", quicklook=True)
    assert names(tmp_path / "cut") == names(tmp_path / "whole")
    for name in names(tmp_path / "whole"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_stranger_among_files_that_were_being_moved_is_still_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def cut(self: Path, onto: Path) -> Path:
        if Path(onto).name == "map.tif":
            raise KeyboardInterrupt
        return replace(self, onto)

    monkeypatch.setattr(target.Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "map.tif")
    monkeypatch.undo()
    (tmp_path / "map.qml").write_text("edited meanwhile")
    with pytest.raises(OutputError, match=r"map\.qml: exists already"):
        make(tmp_path / "map.tif")


def test_inputs_are_never_written_over(tmp_path: Path) -> None:
    sink = CogSink(tmp_path / "x.tif", GRID, CLASSES, overwrite=True, quicklook=True)
    sink.refuse_inputs([tmp_path / "y.png", "https://host/x.tif", "demo:landsat"])
    for name in ("x.tif", "x.png", "x.qml", "x.tif.aux.xml"):
        with pytest.raises(OutputError, match="is one of the inputs"):
            sink.refuse_inputs([tmp_path / "other.tif", tmp_path / "sub" / ".." / name])
    plain = CogSink(tmp_path / "x.tif", GRID, ValueLayers(("height",)))
    plain.refuse_inputs([tmp_path / "x.png"])  # no quick look, no danger
