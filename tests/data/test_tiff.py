from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from swath.data.demo import demo_folder
from swath.data.raster import open_scene
from swath.data.spec import SceneSpec
from swath.data.tiff import bytes_needed, layout_of
from swath.errors import InputError


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


def _scene(path: Path, **options: Any) -> SceneSpec:
    return SceneSpec(str(path), sensor="sentinel2", bands=("B02",), unit="dn", **options)


def _half_written(path: Path, nodata: int | None = None) -> None:
    profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 1, "dtype": "uint16", "nodata": nodata}
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 32, "SPARSE_OK": True, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=rasterio.Affine(10, 0, 0, 0, -10, 0), **profile, **tiles) as file:
        file.write(np.full((1, 32, 64), 7, np.uint16), window=((32, 64), (0, 64)))


def test_blocks_that_were_never_written_are_counted(tmp_path: Path) -> None:
    _half_written(tmp_path / "a.tif")
    found = layout_of(tmp_path / "a.tif")
    assert found is not None and (found.blocks, found.absent, found.lost) == (4, 2, 0)


def test_blocks_that_were_never_written_are_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    _half_written(path)
    with pytest.raises(InputError, match="lacks 2 of its 4 blocks"):
        open_scene(_scene(path))
    with open_scene(_scene(path, sparse=True)) as scene:
        cube = scene.read_all()
        assert cube.valid.all() and (cube.pixels[..., :32, :] == 0).all()
    _half_written(path, nodata=9)
    with open_scene(_scene(path)) as scene:
        assert not scene.read_all().valid[..., :32, :].any()


@pytest.mark.parametrize("compress", [None, "deflate"])
def test_a_tile_whose_place_is_lost_is_noticed(
    write: Callable[..., str], tmp_path: Path, compress: str | None
) -> None:
    options = {} if compress is None else {"compress": compress}
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(1, 64, 64)
    path = Path(write("a.tif", pixels, tiled=True, blockxsize=32, blockysize=32, **options))
    with rasterio.open(path) as file:
        places = [
            int(file.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1)) for y in (0, 1) for x in (0, 1)
        ]
    data = path.read_bytes()
    table = b"".join(p.to_bytes(4, "little") for p in places)
    assert data.count(table) == 1
    path.write_bytes(data.replace(table, bytes(4) + table[4:]))
    with pytest.raises(InputError, match="has lost the place of 1 of its 4 blocks"):
        open_scene(_scene(path))


def test_a_directory_too_small_for_its_image_is_noticed(write: Callable[..., str]) -> None:
    path = Path(write("a.tif", np.ones((1, 64, 64), np.uint8), tiled=True, blockxsize=32, blockysize=32))
    found = layout_of(path)
    assert found is not None and (found.first, found.wanted) == (4, 4)
    data = bytearray(path.read_bytes())
    length = bytes.fromhex("0101 0300 01000000 4000")  # ImageLength, one short number, 64
    assert data.count(length) == 1
    place = data.index(length) + 8
    data[place : place + 2] = (4096).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="4096x64 pixels, and has 4 of the 256 blocks"):
        open_scene(_scene(path))


@pytest.mark.parametrize(
    "options", [{}, {"blockysize": 64}, {"interleave": "band"}, {"tiled": True}, {"driver": "COG"}]
)
def test_a_whole_file_has_the_blocks_that_its_size_asks_for(
    write: Callable[..., str], options: dict[str, Any]
) -> None:
    found = layout_of(Path(write("a.tif", np.ones((3, 70, 50), np.uint8), **options)))
    assert found is not None and found.first == found.wanted > 0
