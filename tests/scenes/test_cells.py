"""A plan in cells, and the engine on it, against plain loops."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.cube import Grid
from swath.errors import ConfigError
from swath.scenes.box import Box
from swath.scenes.cells import CellPlan, block_in_pixels, cell_grid, cell_plan, in_cells
from swath.scenes.engine import Engine
from swath.scenes.windows import HALO_SHARE


class CellNet(torch.nn.Module):
    """A vector per cell that also depends on the whole window, so that overlapping windows contradict each other."""

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, pixels, valid, days, wavelengths):
        assert torch.isfinite(pixels).all()
        cells = torch.nn.functional.avg_pool2d(pixels.mean(1), self.cell)
        share = valid.float().mean(dim=(1, 2, 3, 4))
        return (
            torch.cat([cells, cells.mean(dim=(2, 3), keepdim=True).expand_as(cells)], 1)
            * share[:, None, None, None]
        )


def shares(length: int, window: int, overlap: int) -> list[tuple[int, np.ndarray]]:
    """(start, share in each of the window's cells) of all windows along one axis, in plain words."""
    starts = []
    at = 0
    while at + window < length:
        starts.append(at)
        at += window - overlap
    starts.append(max(0, length - window))
    total = np.zeros(max(length, window))
    weights = []
    for start in starts:
        weight = np.ones(window)
        for i in range(overlap):
            rise = (i + 0.5) / overlap
            if start > 0:
                weight[i] *= rise
            if start + window < length:
                weight[window - 1 - i] *= rise
        total[start : start + window] += weight
        weights.append((start, weight))
    return [(start, weight / total[start : start + window]) for start, weight in weights]


def plain(scene, contract, net, window: int, overlap: int, cell: int) -> np.ndarray:
    """[V,h,w]: every window for itself, blended by hand."""
    h, w = -(-scene.height // cell), -(-scene.width // cell)
    out = None
    for y, share_y in shares(h, window, overlap):
        for x, share_x in shares(w, window, overlap):
            cube = replace(
                scene.read(y * cell, x * cell, window * cell, window * cell), statistics=scene.statistics()
            )
            cube = contract.convert(cube)
            if not cube.valid.any():
                continue
            gain, bias = contract.affine(cube)
            pixels = np.where(cube.valid, cube.pixels * gain[:, None, None] + bias[:, None, None], 0)
            with torch.inference_mode():
                values = net(
                    torch.from_numpy(pixels[None].astype(np.float32)), torch.from_numpy(cube.valid[None].copy()),
                    None, (),
                )[0].numpy()  # fmt: skip
            if out is None:
                out = np.zeros((len(values), max(h, window), max(w, window)))
            out[:, y : y + window, x : x + window] += values * share_y[:, None] * share_x
    assert out is not None
    return out[:, :h, :w]


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(5, 130),
    width=st.integers(5, 150),
    cell=st.sampled_from([1, 2, 4, 5]),
    window=st.integers(2, 5),
    data=st.data(),
)
def test_blended_cells_are_those_of_a_plain_loop(
    fakes: SimpleNamespace, height: int, width: int, cell: int, window: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, window - 1))
    scene = fakes.scene(
        height, width, dates=data.draw(st.integers(1, 2)), holes=data.draw(st.sampled_from([0.0, 0.6]))
    )
    contract, net = fakes.contract(), CellNet(cell)
    plan = CellPlan(-(-height // cell), -(-width // cell), (window, window), overlap, 0, 16)
    engine = Engine(scene, net, contract, plan, 3, activation="identity", cell=cell)
    expected = plain(scene, contract, net, window, overlap, cell)
    seen = scene.valid.any(axis=(0, 1))
    for block in engine.blocks():
        b = block.box
        ys, xs = slice(b.row, b.row + b.height), slice(b.col, b.col + b.width)
        held = np.zeros((b.height * cell, b.width * cell), bool)
        part = seen[b.row * cell : (b.row + b.height) * cell, b.col * cell : (b.col + b.width) * cell]
        held[: part.shape[0], : part.shape[1]] = part
        known = held.reshape(b.height, cell, b.width, cell).any(axis=(1, 3))
        np.testing.assert_array_equal(block.coverage > 0, known)
        if block.values is None:
            assert not known.any()
        else:
            np.testing.assert_allclose(block.values[:, known], expected[:, ys, xs][:, known], atol=2e-5)


def test_what_the_network_makes_of_a_window_is_there_before_blending(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(40, 40)
    scene.valid[:, :, :16, :16] = False
    plan = CellPlan(10, 10, (4, 4), 2, 0, 16)
    engine = Engine(scene, CellNet(4), fakes.contract(), plan, activation="identity", cell=4)
    box = Box(4, 2, 4, 4)
    found = engine.look(replace(plan.block(0), box=box, read=box, windows=(box,)))
    assert found is not None
    out, given_ = found
    expected = plain(
        SimpleNamespace(
            height=16, width=16, read=lambda r, c, h, w: scene.read(16 + r, 8 + c, h, w), statistics=scene.statistics
        ), fakes.contract(), CellNet(4), 4, 0, 4,
    )  # fmt: skip
    np.testing.assert_allclose(out[0].numpy(), expected, atol=1e-6)
    assert given_.coverage.shape == (4, 4)
    empty = Box(0, 0, 4, 4)
    assert engine.look(replace(plan.block(0), box=empty, read=empty, windows=(empty,))) is None


@settings(max_examples=60, deadline=None)
@given(
    cell=st.sampled_from([1, 2, 4, 8, 16, 32, 96]),
    window=st.sampled_from([96, 128, 192, 224]),
    features=st.sampled_from([8, 96, 768, 1536]),
)
def test_blocks_cost_little_or_as_little_as_memory_allows(cell: int, window: int, features: int) -> None:
    if window % cell:
        with pytest.raises(ConfigError, match="whole cells"):
            cell_plan(9999, 9999, (window, window), cell, None, features)
        return
    plan = cell_plan(9999, 9999, (window, window), cell, None, features)
    assert plan.side == cell_plan(333, 77777, (window, window), cell, None, features).side
    twice = 2 * plan.side
    bounded = twice > 512 or twice * cell > 4096 or twice**2 * features * 4 > 64 << 20
    small = CellPlan(8 * plan.side, 8 * plan.side, plan.window, plan.overlap, 0, plan.side)
    assert bounded or small.extra <= HALO_SHARE
    assert plan.side & (plan.side - 1) == 0 and plan.side >= 16
    assert plan.side == 16 or (plan.side * cell <= 4096 and plan.side**2 * features * 4 <= 64 << 20)


def test_windows_and_overlaps_are_whole_cells() -> None:
    with pytest.raises(
        ConfigError, match=r"overlap: \(6,\) pixels are no whole cells of 4; use a multiple of 4"
    ):
        cell_plan(100, 100, (32, 32), 4, 6)
    one = cell_plan(100, 100, (32, 32), 32)
    assert (one.window, one.overlap, one.height) == ((1, 1), 0, 4)
    assert "4x4 cells: 16 windows of 1x1" in str(one)


def test_a_block_of_cells_as_pixels_and_back(fakes: SimpleNamespace) -> None:
    plan = CellPlan(20, 20, (4, 4), 2, 0, 16)
    block = block_in_pixels(plan.block(1), 5)
    assert block.box == Box(0, 80, 80, 20)
    scene = fakes.scene(100, 100)
    scene.valid[:, :, 1, 81] = False  # one pixel of a cell: its coverage is rounded down
    scene.valid[:, :, 5:10, 80:85] = False
    scene.valid[:, :, 7, 82] = True  # and never to nothing where there is something
    engine = Engine(scene, fakes.ConvNet(), fakes.contract(), CellPlan(100, 100, (20, 20), 10, 0, 80))
    given_ = replace(engine.read(block), holes=(Box(7, 3, 4, 2),))
    cells = in_cells(given_, 5)
    assert cells.coverage[0, 0] == 96 and cells.coverage[1, 0] == 4 and cells.coverage[0, 1] == 100
    assert cells.holes == (Box(1, 0, 2, 1),)
    assert all(w.height == 4 for w in cells.seen)


def test_the_cells_lie_where_their_pixels_do() -> None:
    grid = Grid("EPSG:32633", (10.0, 1.0, 5e5, -1.0, -10.0, 6e6), 21, 33)
    cells = cell_grid(grid, 4)
    assert (cells.height, cells.width) == (6, 9)
    assert cells.xy(3, 5) == grid.xy(12, 20)
