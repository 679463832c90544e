"""Files of the tile writer, as GDAL and as a second reader see them."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio

from swath.scenes.tiff import (
    DOUBLE,
    LONG,
    SHORT,
    Image,
    Value,
    needs_big,
    read_tags,
    write_front,
    write_tile,
)


def tags(width: int, height: int, overview: bool) -> dict[int, Value]:
    numbers = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 284: 1, 322: 16, 323: 16, 339: 1}
    short = {k: Value.of(SHORT, v) for k, v in numbers.items()}
    return {254: Value.of(LONG, int(overview)), **short}


@pytest.mark.parametrize("big", [False, True])
def test_gdal_reads_what_is_written_classic_and_big(tmp_path: Path, big: bool) -> None:
    draw = np.random.default_rng(0)
    full, half = (draw.integers(0, 255, (n, 16, 16), np.uint8) for n in (6, 2))
    tiles = [[zlib.compress(t.tobytes()) for t in level] for level in (full, half)]
    images = [
        Image(tags(40, 20, False), [len(t) for t in tiles[0]]),
        Image(tags(20, 10, True), [len(t) for t in tiles[1]]),
    ]
    path = tmp_path / "map.tif"
    with path.open("wb") as file:
        write_front(file, images, big=big)
        for level in reversed(tiles):
            for tile in level:
                write_tile(file, tile)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(path) as source:
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert source.overviews(1) == [2]
        whole = full.reshape(2, 3, 16, 16).swapaxes(1, 2).reshape(32, 48)
        assert np.array_equal(source.read(1), whole[:20, :40])
        small = source.read(1, out_shape=(10, 20))
        assert np.array_equal(small, half.swapaxes(0, 1).reshape(16, 32)[:10, :20])
    with path.open("rb") as raw:
        first, second = read_tags(raw)
        assert raw.seek(0) == 0 and raw.read(4) == (b"II+\x00" if big else b"II*\x00")
        offsets = np.frombuffer(first[324].data, "<u8" if big else "<u4")
        counts = np.frombuffer(first[325].data, "<u4")
        for i, (at, count) in enumerate(zip(offsets, counts, strict=True)):
            # What leads and trails a tile is what the note in front promises.
            raw.seek(int(at) - 4)
            assert int.from_bytes(raw.read(4), "little") == count
            assert raw.read(int(count)) == tiles[0][i]
            assert raw.read(4) == tiles[0][i][-4:]
        assert max(np.frombuffer(second[324].data, offsets.dtype)) < min(offsets)


def test_big_only_when_needed() -> None:
    assert not needs_big([Image({}, [1 << 30, 1 << 30])])
    assert needs_big([Image({}, [1 << 30] * 4)])


def test_values_of_any_type_read_back() -> None:
    file = io.BytesIO()
    one = {1: Value.of(DOUBLE, 1.5, -2.0), 2: Value(2, 3, b"ab\0"), 3: Value.of(SHORT, 1, 2)}
    write_front(file, [Image(one, [1])], big=False)
    (found,) = read_tags(file)
    assert {k: found[k] for k in one} == one
    with pytest.raises(ValueError, match="TIFF"):
        list(read_tags(io.BytesIO(b"PNG")))
