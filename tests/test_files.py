"""Files are whole or absent, and never written over what they are made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from swath.errors import OutputError
from swath.files import atomic, refuse_own_input


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    assert path.read_text() == "whole"


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"), atomic(tmp_path / "file" / "a.txt"):
        pass


def test_an_input_is_no_output_whatever_way_it_is_written(tmp_path: Path) -> None:
    scene = tmp_path / "scene.tif"
    scene.write_text("x")
    (tmp_path / "link.tif").symlink_to(scene)
    refuse_own_input(tmp_path / "map.tif", [scene])
    for name in ("scene.tif", "link.tif", "../" + tmp_path.name + "/scene.tif"):
        with pytest.raises(OutputError, match="is one of the inputs; give another name"):
            refuse_own_input(tmp_path / name, ["demo:landsat", scene])
