from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError, ContractError, InputError
from swath.scenes.engine import Engine
from swath.scenes.layers import NODATA, ClassLayers
from swath.scenes.mapping import Progress, predict_scene
from swath.scenes.sink import MemorySink
from swath.scenes.windows import Plan

sizes = st.integers(5, 300)


def whole(engine: Engine) -> np.ndarray:
    """All blocks as one array [K,H,W], NaN where there is nothing."""
    out: np.ndarray | None = None
    for block in engine.blocks():
        if block.values is None:
            continue
        if out is None:
            out = np.full((len(block.values), engine.plan.height, engine.plan.width), np.nan, np.float32)
        box = block.box
        out[:, box.row : box.row + box.height, box.col : box.col + box.width] = block.values
    assert out is not None
    return out


@given(sizes, sizes, st.integers(0, 15), st.sampled_from([0.0, 0.4]))
def test_a_constant_model_gives_a_constant_map(
    fakes: SimpleNamespace, height: int, width: int, overlap: int, holes: float
) -> None:
    scene = fakes.scene(height, width, holes=holes)
    net = fakes.ConstantNet()
    plan = Plan(height, width, (16, 24), overlap, overlap // 2, 256)
    got = whole(Engine(scene, net, fakes.contract(), plan, batch_size=64))
    seen = scene.valid.any(axis=(0, 1))
    expected = torch.softmax(net.logits, 0).numpy()[:, None]
    np.testing.assert_allclose(got[:, seen], np.broadcast_to(expected, (4, seen.sum())), rtol=0, atol=1e-6)


@given(sizes, sizes, st.integers(2, 4), st.integers(0, 3), st.sampled_from([0.0, 0.3]))
def test_a_local_model_gives_the_same_map_as_one_pass(
    fakes: SimpleNamespace, height: int, width: int, trim: int, more: int, holes: float
) -> None:
    scene, contract, net = fakes.scene(height, width, holes=holes), fakes.contract(), fakes.ConvNet(radius=2)
    plan = Plan(height, width, (20, 20), 2 * trim + more, trim, 256)
    got = whole(Engine(scene, net, contract, plan, batch_size=32))
    one = contract.convert(replace(scene.read(0, 0, height, width), statistics=scene.statistics()))
    gain, bias = (torch.from_numpy(x).float()[:, None, None] for x in contract.affine(one))
    pixels = torch.where(torch.tensor(one.valid), torch.tensor(one.pixels) * gain + bias, 0.0)
    with torch.no_grad():
        expected = torch.softmax(net(pixels[None]), 1)[0].numpy()
    seen = scene.valid.any(axis=(0, 1))
    np.testing.assert_allclose(got[:, seen], expected[:, seen], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("batch_size", "block"), [(1, 256), (7, 256), (64, 512), (5, 1024)])
def test_batch_and_block_size_do_not_matter(fakes: SimpleNamespace, batch_size: int, block: int) -> None:
    scene, net = fakes.scene(600, 330, dates=2, holes=0.5), fakes.ConvNet()

    def run(batch_size: int, block: int) -> np.ndarray:
        plan = Plan(600, 330, (64, 64), 24, 0, block)
        return whole(Engine(scene, net, fakes.contract(), plan, batch_size=batch_size))

    seen = scene.valid.any(axis=(0, 1))
    np.testing.assert_allclose(run(batch_size, block)[:, seen], run(16, 768)[:, seen], rtol=0, atol=1e-5)


def test_blocks_are_bit_equal_in_any_order(fakes: SimpleNamespace) -> None:
    scene, net = fakes.scene(600, 520, holes=0.3), fakes.ConvNet()
    plan = Plan(600, 520, (48, 48), 16, 0, 256)
    blocks = list(plan.blocks())
    forward = {b.box: Engine(scene, net, fakes.contract(), plan).run(b) for b in blocks}
    random.Random(0).shuffle(blocks)
    # Each by an engine of its own, as different workers would.
    for block in blocks:
        again = Engine(scene, net, fakes.contract(), plan).run(block)
        assert np.array_equal(again.values, forward[block.box].values)
        assert np.array_equal(again.coverage, forward[block.box].coverage)


def test_what_is_read_is_a_block_and_its_halo(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(700, 1100)
    plan = Plan(700, 1100, (64, 64), 32, 0, 256)
    list(Engine(scene, fakes.ConstantNet(), fakes.contract("scene"), plan, batch_size=256).blocks())
    assert len(scene.reads) == plan.block_count
    assert max(h for _, _, h, _ in scene.reads) <= 256 + 2 * 64
    assert max(w for _, _, _, w in scene.reads) <= 256 + 2 * 64


@pytest.mark.parametrize("scope", ["scene", "record"])
def test_normalisation_is_the_scenes_and_not_the_windows(fakes: SimpleNamespace, scope: str) -> None:
    scene = fakes.scene(60, 60)
    scene.pixels[..., 30:] += 100.0
    seen: list[torch.Tensor] = []

    def network(
        pixels: torch.Tensor, valid: torch.Tensor, days: torch.Tensor | None, wavelengths: tuple[float, ...]
    ) -> torch.Tensor:
        assert days is None
        assert wavelengths == (560.0, 660.0, 835.0)
        seen.append(pixels)
        return pixels[:, 0, :2]

    list(Engine(scene, network, fakes.contract(scope), Plan(60, 60, (30, 30), 0, 0, 256)).blocks())
    windows = torch.cat(seen)
    left, right = windows[0::2].mean(), windows[1::2].mean()
    assert left == pytest.approx(-1, abs=0.05)
    assert right == pytest.approx(1, abs=0.05)


def test_invalid_pixels_influence_nothing(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(80, 90, holes=0.5)
    plan, net = Plan(80, 90, (32, 32), 12, 0, 256), fakes.ConvNet()
    with_nan = whole(Engine(scene, net, fakes.contract(), plan))
    scene.pixels[~scene.valid] = 1e30
    assert np.array_equal(whole(Engine(scene, net, fakes.contract(), plan)), with_nan, equal_nan=True)


def test_scenes_smaller_than_a_window_are_padded_as_invalid(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(10, 12)
    valids: list[torch.Tensor] = []

    def network(pixels: torch.Tensor, valid: torch.Tensor, **_: object) -> torch.Tensor:
        valids.append(valid)
        return pixels[:, 0]

    got = whole(Engine(scene, network, fakes.contract(), Plan(10, 12, (32, 32), 8, 0, 256)))
    assert got.shape == (3, 10, 12)
    assert valids[0][..., :10, :12].all()
    assert valids[0].sum() == 3 * 120


def test_coverage_counts_dates_and_bands(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(40, 40, dates=2)
    scene.valid[:, :, :, :10] = False
    scene.valid[0, :, :, 10:20] = False
    scene.valid[0, 0, :, 20:30] = False
    sink = MemorySink(ClassLayers(fakes.classes), 40, 40)
    summary = predict_scene(scene, fakes.ConvNet(), fakes.contract(), Plan(40, 40, (16, 16), 4, 0, 256), sink)
    assert [int(v) for v in sink.bands[2, 0, ::10]] == [0, 50, 83, 100]
    assert (sink.bands[:2, :, :10] == NODATA).all()
    assert (sink.bands[:2, :, 10:] != NODATA).all()
    assert (summary.nodata_pixels, summary.pixels) == (400, 1600)
    assert summary.km2 == pytest.approx(1600 * 0.0285**2)

    strict = MemorySink(ClassLayers(fakes.classes, min_coverage=60), 40, 40)
    predict_scene(scene, fakes.ConvNet(), fakes.contract(), Plan(40, 40, (16, 16), 4, 0, 256), strict)
    assert (strict.bands[:2, :, :20] == NODATA).all()
    assert np.array_equal(strict.bands[:, :, 20:], sink.bands[:, :, 20:])
    assert np.array_equal(strict.bands[2], sink.bands[2])


def test_empty_windows_are_not_run_and_progress_reaches_the_end(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(300, 60)
    scene.valid[:, :, :200] = False
    net, seen = fakes.ConvNet(), list[Progress]()
    plan = Plan(300, 60, (20, 20), 0, 0, 256)
    sink = MemorySink(ClassLayers(fakes.classes), 300, 60)
    summary = predict_scene(scene, net, fakes.contract(), plan, sink, batch_size=4, progress=seen.append)
    assert summary.empty_windows == 30
    assert summary.windows == sum(net.batches) == plan.run_count - 30
    assert max(net.batches) == 4
    assert (seen[-1].windows_done, seen[-1].windows) == (plan.run_count, plan.run_count)
    assert seen[-1].km2 == pytest.approx(summary.km2)
    assert [p.windows_done for p in seen] == sorted(p.windows_done for p in seen)
    assert "66.7% no-data" in str(summary)


def test_a_scene_without_a_valid_pixel_is_an_error(fakes: SimpleNamespace) -> None:
    scene = fakes.scene(30, 30)
    scene.valid[:] = False
    with pytest.raises(InputError, match="no valid pixel"):
        predict_scene(
            scene,
            fakes.ConvNet(),
            fakes.contract("scene"),
            Plan(30, 30, (16, 16), 4, 0, 256),
            MemorySink(ClassLayers(fakes.classes), 30, 30),
        )


def test_the_default_plan_is_at_the_models_size(fakes: SimpleNamespace) -> None:
    scene, contract = fakes.scene(50, 50), fakes.contract(size=(32, 32))
    sink = MemorySink(ClassLayers(fakes.classes), 50, 50)
    assert predict_scene(scene, fakes.ConvNet(), contract, None, sink).windows == 9
    with pytest.raises(ConfigError, match="no window size"):
        predict_scene(scene, fakes.ConvNet(), fakes.contract(), None, sink)


def test_a_module_is_run_in_evaluation_mode_and_left_as_it_was(fakes: SimpleNamespace) -> None:
    class Dropping(fakes.ConvNet):  # type: ignore[misc,name-defined]
        def forward(self, pixels: torch.Tensor, **more: object) -> torch.Tensor:
            assert not self.training
            return super().forward(pixels, **more)

    net = Dropping().train()
    whole(Engine(fakes.scene(20, 20), net, fakes.contract(), Plan(20, 20, (16, 16), 4, 0, 256)))
    assert net.training


def test_bf16_is_close(fakes: SimpleNamespace) -> None:
    scene, net, plan = fakes.scene(40, 40), fakes.ConvNet(), Plan(40, 40, (16, 16), 4, 0, 256)
    full = whole(Engine(scene, net, fakes.contract(), plan))
    half = whole(Engine(scene, net, fakes.contract(), plan, precision="bf16"))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.15)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (lambda pixels, **_: pixels[:, 0, 0], "not \\(4, classes, 16, 16\\)"),
        (lambda pixels, **_: pixels[:, 0] * float("nan"), "NaN or infinity"),
        (lambda pixels, **_: pixels[:, 0], "tells 3 classes apart, the legend names 4"),
    ],
)
def test_networks_that_make_no_map_are_refused(fakes: SimpleNamespace, network: object, says: str) -> None:
    sink = MemorySink(ClassLayers(fakes.classes), 20, 20)
    plan = Plan(20, 20, (16, 16), 12, 0, 256)
    with pytest.raises(ContractError, match=says):
        predict_scene(fakes.scene(20, 20), network, fakes.contract(), plan, sink)


def test_settings_that_do_not_fit_are_refused(fakes: SimpleNamespace) -> None:
    scene, net = fakes.scene(20, 20), fakes.ConvNet()
    plan = Plan(20, 20, (16, 16), 12, 0, 256)
    with pytest.raises(ConfigError, match="the scene has 20x20"):
        Engine(scene, net, fakes.contract(), replace(plan, height=21))
    with pytest.raises(ConfigError, match="batch_size"):
        Engine(scene, net, fakes.contract(), plan, batch_size=0)
    with pytest.raises(ConfigError, match="fp16"):
        Engine(scene, net, fakes.contract(), plan, precision="fp16")  # type: ignore[arg-type]
    exact = replace(fakes.contract(size=(32, 32)), exact_size=True)
    with pytest.raises(ConfigError, match="do not fit the model"):
        Engine(scene, net, exact, plan)
    fits = replace(exact, size=(16, 16))
    assert whole(Engine(scene, net, fits, plan)).shape == (4, 20, 20)
