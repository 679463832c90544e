"""What cannot be read becomes a listed hole: nothing else changes, and no more than is allowed."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.contract import Normalisation, contract_for
from swath.cube import Cube, Encoding
from swath.errors import InputError, ReadError
from swath.scenes.box import Box
from swath.scenes.layers import NODATA, ClassLayers
from swath.scenes.mapping import predict_scene
from swath.scenes.reading import CELL, read_block
from swath.scenes.sink import HOLE_PIXELS, CogSink, MemorySink
from swath.scenes.windows import Plan

PLAN = Plan(600, 700, (64, 64), 16, 0, 512)

# No statistics of the scene: those would differ between a scene that cannot be read and one that is invalid.
FIXED = contract_for(
    "landsat7",
    ("B2", "B3", "B4"),
    Encoding("dn"),
    Normalisation("standard", "fixed", (100.0,) * 3, (20.0,) * 3),
)


def damaged(fakes: SimpleNamespace, bad: Box, *, dtype: str = "float32") -> SimpleNamespace:
    """A scene with a rectangle that no read may touch, and the same with the cells that hold it invalid."""
    scene, twin = fakes.scene(PLAN.height, PLAN.width), fakes.scene(PLAN.height, PLAN.width)
    for s in (scene, twin):
        s.pixels = (s.pixels * 10).astype(dtype)
    top, left = bad.row // CELL * CELL, bad.col // CELL * CELL
    bottom = -(-(bad.row + bad.height) // CELL) * CELL
    right = -(-(bad.col + bad.width) // CELL) * CELL
    twin.valid[:, :, top:bottom, left:right] = False
    read: Callable[..., Cube] = scene.read

    def refuse(row: int, col: int, height: int, width: int) -> Cube:
        if row < bad.row + bad.height and row + height > bad.row:
            if col < bad.col + bad.width and col + width > bad.col:
                raise ReadError("cannot be read", where="fake")
        return read(row, col, height, width)

    scene.read = refuse
    lost = int((~twin.valid[0, 0]).sum())
    return SimpleNamespace(scene=scene, twin=twin, lost=lost)


@settings(max_examples=6)
@given(
    st.integers(0, 599),
    st.integers(0, 699),
    st.integers(1, 90),
    st.sampled_from(["float32", "int16", "uint8"]),
)
def test_a_hole_is_as_if_those_pixels_were_invalid(
    fakes: SimpleNamespace, row: int, col: int, size: int, dtype: str
) -> None:
    bad = Box(row, col, min(size, 600 - row), min(size, 700 - col))
    made = damaged(fakes, bad, dtype=dtype)
    maps = []
    for scene in (made.scene, made.twin):
        sink = MemorySink(ClassLayers(fakes.classes), PLAN.height, PLAN.width)
        summary = predict_scene(scene, fakes.ConvNet(), FIXED, PLAN, sink, max_holes=0.9)
        maps.append((sink.bands, summary))
    (got, summary), (twin, plain) = maps
    assert summary.hole_pixels == made.lost
    assert plain.holes == ()
    lost = np.zeros((600, 700), bool)
    for box in summary.holes:
        lost[box.row : box.row + box.height, box.col : box.col + box.width] = True
    assert lost.sum() == made.lost, "holes are listed once each"
    assert (got[:2, lost] == NODATA).all() and (got[2, lost] == 0).all()
    # A block that does not touch the bad pixels themselves reads the rest of their cell: only windows' reach differs.
    far = ~_grown(lost, 64)
    assert np.array_equal(got[:, far], twin[:, far])


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    out = mask.copy()
    rows, cols = np.nonzero(mask)
    out[max(0, rows.min() - by) : rows.max() + by + 1, max(0, cols.min() - by) : cols.max() + by + 1] = True
    return out


def test_more_than_is_allowed_is_an_error(tmp_path: Path, fakes: SimpleNamespace) -> None:
    made = damaged(fakes, Box(300, 300, 5, 5))
    share = made.lost / (600 * 700)

    def run(max_holes: float) -> None:
        sink = CogSink(tmp_path / "map.tif", made.scene.grid, ClassLayers(fakes.classes))
        predict_scene(
            made.scene,
            fakes.ConvNet(),
            fakes.contract("scene"),
            PLAN,
            sink,
            max_holes=max_holes,
            about={"a": 1},
        )

    with pytest.raises(ReadError, match="fake: cannot be read"):
        run(0.0)
    with pytest.raises(InputError, match=r"of the pixels cannot be read, the first of them in .*max_holes"):
        run(share * 0.99)
    assert not (tmp_path / "map.tif").exists()
    run(share)
    listed = json.loads((tmp_path / "map.holes.json").read_text())
    assert sum(b["height"] * b["width"] for b in listed) == made.lost
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.tags()[HOLE_PIXELS] == str(made.lost)


def test_a_hole_is_tried_again_when_the_map_is_gone_on_with(tmp_path: Path, fakes: SimpleNamespace) -> None:
    made, path = damaged(fakes, Box(10, 10, 5, 5)), tmp_path / "map.tif"
    calls = 0
    net = fakes.ConvNet()

    def dying(pixels: object, **more: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return net(pixels, **more)

    options = {"max_holes": 0.9, "about": {"a": 1}}
    contract = fakes.contract("scene")
    with pytest.raises(KeyboardInterrupt):
        predict_scene(
            made.scene,
            dying,
            contract,
            PLAN,
            CogSink(path, made.scene.grid, ClassLayers(fakes.classes)),
            **options,
        )
    whole = fakes.scene(PLAN.height, PLAN.width)
    whole.pixels = (whole.pixels * 10).astype("float32")
    sink = CogSink(path, whole.grid, ClassLayers(fakes.classes))
    summary = predict_scene(whole, net, contract, PLAN, sink, **options)
    assert summary.holes == ()
    assert not (tmp_path / "map.holes.json").exists()
    with rasterio.open(path) as file:
        assert (file.read(3) == 100).all()


def test_a_block_of_nothing_but_holes(fakes: SimpleNamespace) -> None:
    made = damaged(fakes, Box(0, 0, 600, 700))
    got = read_block(made.scene, FIXED, None, PLAN.block(0), holes=True)
    assert got.seen == ()
    assert sum(b.height * b.width for b in got.holes) == 512 * 512
    assert (got.coverage == 0).all()


def test_what_was_read_in_vain_is_let_go_at_once(fakes: SimpleNamespace) -> None:
    """Not when the collector comes by: until then many blocks would be held, however many there are."""
    scene, block = fakes.scene(PLAN.height, PLAN.width), PLAN.block(0)
    read, held = scene.read, []

    def refuse(row: int, col: int, height: int, width: int) -> Cube:
        assert not any(array() is not None for array in held)
        mine = np.zeros((height, width))
        held.append(weakref.ref(mine))
        if (height, width) == (block.read.height, block.read.width) or row < CELL:
            raise ReadError("cannot be read", where="fake")
        return read(row, col, height, width)

    scene.read = refuse
    gc.disable()
    try:
        got = read_block(scene, FIXED, None, block, holes=True)
    finally:
        gc.enable()
    assert len(got.holes) == 2 and len(held) == 10
    assert not any(array() is not None for array in held)
