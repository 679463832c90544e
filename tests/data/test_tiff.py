from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.demo import demo_folder
from swath.data.tiff import bytes_needed


@pytest.mark.parametrize("options", [{}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {"driver": "COG"}])
def test_a_whole_file_needs_no_more_than_it_has(write: Callable[..., str], options: dict[str, Any]) -> None:
    path = Path(write("a.tif", np.ones((3, 40, 40), np.uint8), names=("B02", "B03", "B04"), **options))
    need = bytes_needed(path)
    assert need is not None and 0.9 * path.stat().st_size < need <= path.stat().st_size


def test_all_embedded_files_are_whole() -> None:
    for path in demo_folder().rglob("*.tif"):
        need = bytes_needed(path)
        assert need is not None and need <= path.stat().st_size


def test_other_files_are_none_of_its_business(tmp_path: Path) -> None:
    for data in (b"", b"II", b"hello, this is text", b"II\x00\x00 not a tiff"):
        (tmp_path / "x").write_bytes(data)
        assert bytes_needed(tmp_path / "x") is None


def test_a_directory_that_points_at_itself_ends(write: Callable[..., str]) -> None:
    path = Path(write("a.tif", np.ones((1, 4, 4), np.uint8)))
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    following = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[following : following + 4] = data[4:8]
    path.write_bytes(data)
    assert bytes_needed(path) is not None
