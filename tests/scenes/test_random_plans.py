"""Whatever the plan, the scene and the moments at which it is interrupted, it is the same map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Cube, Encoding
from swath.errors import ReadError
from swath.scenes.box import Box
from swath.scenes.layers import ClassLayers
from swath.scenes.mapping import Summary, predict_scene
from swath.scenes.reading import CELL
from swath.scenes.sink import CogSink, MemorySink
from swath.scenes.windows import Plan

DTYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64")
FIXED = contract_for(
    "landsat7",
    ("B2", "B3", "B4"),
    Encoding("dn"),
    Normalisation("standard", "fixed", (100.0,) * 3, (20.0,) * 3),
)


@dataclass(frozen=True)
class Case:
    """A plan, how it is run, and a scene.

    Attributes:
        plan: how the scene is cut.
        batch_size: windows per call.
        turns: average over turned views.
        bits: of the map's shares.
        dates: of the scene.
        dtype: of its stored numbers.
        invalid: share of its corner without data; half as many single pixels are invalid too.
        bad: what of it cannot be read, or None.
        seed: of its numbers.
    """

    plan: Plan
    batch_size: int
    turns: bool
    bits: int
    dates: int
    dtype: str
    invalid: float
    bad: Box | None
    seed: int

    def scene(self, fakes: SimpleNamespace) -> Any:
        made = fakes.scene(
            self.plan.height, self.plan.width, dates=self.dates, holes=self.invalid, seed=self.seed
        )
        numbers = np.nan_to_num(made.pixels, nan=0.0) * 10
        made.pixels = numbers.astype(self.dtype)
        made.valid[:, :, -1, -1] = True  # something is left to map
        if self.bad is not None:
            made.read = _refusing(made.read, self.bad)
        return made


def _refusing(read: Callable[..., Cube], bad: Box) -> Callable[..., Cube]:
    def refuse(row: int, col: int, height: int, width: int) -> Cube:
        if row < bad.row + bad.height and row + height > bad.row:
            if col < bad.col + bad.width and col + width > bad.col:
                raise ReadError("cannot be read", where="fake")
        return read(row, col, height, width)

    return refuse


@st.composite
def cases(draw: st.DrawFn, least: int = 5, trim: int | None = None) -> Case:
    window = draw(st.integers(20, 48)), draw(st.integers(20, 48))
    margin = draw(st.integers(0, 4)) if trim is None else trim
    overlap = draw(st.integers(2 * margin, min(window) // 2))
    height, width = draw(st.integers(least, 560)), draw(st.integers(least, 560))
    plan = Plan(height, width, window, overlap, margin, draw(st.sampled_from([256, 512, 768])))
    bad = None
    if max(height, width) > 2 * CELL and draw(st.booleans()):
        # Never the last cell, so that something is left.
        bad = Box(draw(st.integers(0, height // 2)), draw(st.integers(0, width // 2)), 3, 3)
        if bad.row // CELL == (height - 1) // CELL and bad.col // CELL == (width - 1) // CELL:
            bad = None
    return Case(
        plan,
        draw(st.sampled_from([1, 3, 16, 64])) if height * width < 40_000 else draw(st.sampled_from([16, 64])),
        draw(st.booleans()) and height * width < 90_000,
        draw(st.sampled_from([8, 16])),
        draw(st.integers(1, 2)),
        draw(st.sampled_from(DTYPES)),
        draw(st.sampled_from([0.0, 0.4])),
        bad,
        draw(st.integers(0, 9)),
    )


class Stopped(BaseException):
    """As a kill: nothing in the engine may catch it."""


def draw_map(
    case: Case, fakes: SimpleNamespace, sink: Any, network: Any = None, *, die_at: int = 0, about: Any = None
) -> Summary:
    net, calls = network or fakes.ConvNet(radius=2), 0

    def call(pixels: torch.Tensor, **more: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == die_at:
            raise Stopped
        out: torch.Tensor = net(pixels, **more)
        return out

    with torch.inference_mode():
        return predict_scene(
            case.scene(fakes), call, FIXED, case.plan, sink, batch_size=case.batch_size, turns=case.turns,
            max_holes=0.9 if case.bad is not None else 0.0, about=about,
        )  # fmt: skip


def layers(case: Case, fakes: SimpleNamespace) -> ClassLayers:
    return ClassLayers(fakes.classes, probabilities=True, entropy=True, bits=case.bits)  # type: ignore[arg-type]  # 8 or 16


@settings(max_examples=8)
@given(cases(), st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_interrupted_anywhere_it_is_the_same_file(
    fakes: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory, case: Case, stops: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("random")
    whole, again = folder / "whole" / "map.tif", folder / "again" / "map.tif"
    grid = case.scene(fakes).grid
    first = draw_map(case, fakes, CogSink(whole, grid, layers(case, fakes)))
    about = {"case": repr(case)}
    for stop in stops:
        try:
            draw_map(case, fakes, CogSink(again, grid, layers(case, fakes)), die_at=stop, about=about)
        except Stopped:
            assert not again.exists()
        else:
            break
    if not again.exists():
        last = draw_map(case, fakes, CogSink(again, grid, layers(case, fakes)), about=about)
        # Only what it took is another: how much was kept, and how long it lasted.
        assert replace(last, seconds=0, kept_blocks=0, kept_windows=0) == replace(first, seconds=0)
        assert 0 <= last.kept_windows <= last.windows + last.empty_windows
    for one in whole.parent.iterdir():
        assert (again.parent / one.name).read_bytes() == one.read_bytes()
    assert {p.name for p in again.parent.iterdir()} == {p.name for p in whole.parent.iterdir()}


@settings(max_examples=12)
@given(cases())
def test_a_constant_model_gives_a_constant_map_whatever_is_missing(
    fakes: SimpleNamespace, case: Case
) -> None:
    net = fakes.ConstantNet()
    sink = MemorySink(layers(replace(case, bits=16), fakes), case.plan.height, case.plan.width)
    draw_map(case, fakes, sink, net)
    known = sink.bands[0] != sink.layers.nodata
    assert known.any()
    expected = np.rint(torch.softmax(net.logits, 0).numpy() * 1e4)
    for band, share in zip(sink.bands[3:7], expected, strict=True):
        assert np.unique(band[known]).tolist() == [share]
    assert np.array_equal(known, sink.bands[2] > 0)


@settings(max_examples=12)
@given(cases(trim=2))
def test_a_local_model_gives_the_map_of_one_pass(fakes: SimpleNamespace, case: Case) -> None:
    """Its reach of two pixels is that of the trimmed margin. Turned views of a network that knows no direction are
    its own.
    """
    net = fakes.ConvNet(radius=2)
    if case.turns:
        with torch.no_grad():
            turned = [
                torch.rot90(w, k, (-2, -1)) for w in (net.weight, net.weight.flip(-1)) for k in range(4)
            ]
            net.weight.copy_(torch.stack(turned).mean(0))
    case = replace(case, bad=None)
    scene = case.scene(fakes)
    got = MemorySink(layers(replace(case, bits=16), fakes), case.plan.height, case.plan.width)
    draw_map(case, fakes, got, net)
    contract: InputContract = FIXED
    one = contract.convert(scene.read(0, 0, case.plan.height, case.plan.width))
    gain, bias = (torch.from_numpy(x).float()[:, None, None] for x in contract.affine(one))
    pixels = torch.where(torch.tensor(one.valid), torch.tensor(one.pixels) * gain + bias, 0.0)
    with torch.no_grad():
        expected = torch.softmax(net(pixels[None]), 1)[0].numpy()
    known = got.bands[0] != got.layers.nodata
    assert np.array_equal(known, scene.valid.any(axis=(0, 1)))
    for band, p in zip(got.bands[3:7], expected, strict=True):
        # Shares are stored in hundredths of a percent: half of one, and float rounding.
        assert np.abs(band[known] / 1e4 - p[known]).max() <= 0.5e-4 + 1e-5


@settings(max_examples=6)
@given(cases(), st.sampled_from([1, 5, 32]), st.sampled_from([256, 512, 1024]))
def test_batches_and_blocks_change_no_more_than_rounding(
    fakes: SimpleNamespace, case: Case, batch_size: int, side: int
) -> None:
    case = replace(case, bad=None, bits=16)
    other = replace(case, batch_size=max(batch_size, 16), plan=replace(case.plan, side=side))
    maps = []
    for each in (case, other):
        sink = MemorySink(layers(each, fakes), case.plan.height, case.plan.width)
        draw_map(each, fakes, sink)
        maps.append(sink.bands)
    known = maps[0][0] != 65535
    assert np.array_equal(known, maps[1][0] != 65535)
    shares = [m[3:7, known].astype(np.int64) for m in maps]
    # Values 1e-5 apart may fall on two sides of a half: one step of a hundredth of a percent.
    assert np.abs(shares[0] - shares[1]).max(initial=0) <= 1


def test_what_was_drawn_here_exercises_what_it_should(tmp_path: Path, fakes: SimpleNamespace) -> None:
    """A case with all at once: holes that cannot be read, invalid pixels, turns, two dates, several blocks."""
    plan = Plan(540, 300, (40, 24), 10, 3, 256)
    case = Case(plan, 16, True, 16, 2, "uint16", 0.4, Box(3, 3, 3, 3), 1)
    sink = CogSink(tmp_path / "map.tif", case.scene(fakes).grid, layers(case, fakes))
    summary = draw_map(case, fakes, sink)
    assert summary.blocks == 6 and summary.hole_pixels == CELL * CELL
    assert 0 < summary.nodata_pixels < summary.pixels
