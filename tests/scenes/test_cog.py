"""The whole file, as another library judges it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo.cogeo import cog_validate

from swath.scenes import cog
from swath.scenes.cells import CellPlan
from swath.scenes.layers import BlockMap, ClassLayers, FeatureLayers, Layers, ValueLayers
from swath.scenes.mapping import predict_scene
from swath.scenes.piece import pack
from swath.scenes.sink import CogSink, MemorySink
from swath.scenes.windows import Plan

PLAN = Plan(700, 1100, (64, 64), 16, 0, 256)


@pytest.mark.parametrize("kind", ["classes", "16 bits", "values"])
def test_files_are_valid_cogs_that_read_back(tmp_path: Path, fakes: SimpleNamespace, kind: str) -> None:
    layers: Layers = {
        "classes": ClassLayers(fakes.classes, entropy=True),
        "16 bits": ClassLayers(fakes.classes, probabilities=True, bits=16),
        "values": ValueLayers(("a", "b", "c", "d"), units=("m", "m", "m", "t")),
    }[kind]
    scene, path = fakes.scene(PLAN.height, PLAN.width, holes=0.4), tmp_path / "map.tif"
    memory = MemorySink(layers, PLAN.height, PLAN.width)
    predict_scene(scene, fakes.ConvNet(), fakes.contract(), PLAN, memory)
    predict_scene(
        scene, fakes.ConvNet(), fakes.contract(), PLAN, CogSink(path, scene.grid, layers, quicklook=True)
    )
    assert cog_validate(path, strict=True) == (True, [], [])
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(), memory.bands, equal_nan=kind == "values")
        assert file.dtypes == (layers.dtype,) * len(layers.bands)
        assert file.units == tuple(b.unit or None for b in layers.bands)
        assert file.scales == tuple(b.scale for b in layers.bands)
        assert np.array_equal(file.nodata, layers.nodata, equal_nan=True)
        assert file.overviews(1) == [2, 4, 8]
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path.with_suffix(".png")) as look:
        assert (look.count, look.shape) == (4, (350, 550))
        known = look.read(4) == 255
    with rasterio.open(path, overview_level=0) as file:
        half = file.read(1)
    assert np.array_equal(known, ~np.isnan(half) if kind == "values" else half != layers.nodata)


def test_a_file_beyond_four_gigabytes_is_bigtiff(
    tmp_path: Path, fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cog, "needs_big", lambda images: True)
    scene, path = fakes.scene(300, 300), tmp_path / "map.tif"
    plan = Plan(300, 300, (64, 64), 16, 0, 256)
    predict_scene(
        scene, fakes.ConvNet(), fakes.contract(), plan, CogSink(path, scene.grid, ClassLayers(fakes.classes))
    )
    assert path.read_bytes()[:4] == b"II+\x00"
    assert cog_validate(path, strict=True)[0]
    with rasterio.open(path) as file:
        assert file.colormap(1)[5][:3] == (27, 120, 55)


def test_many_bands_are_never_whole_in_memory(tmp_path: Path, fakes: SimpleNamespace) -> None:
    """The smallest overviews of a thousand features would fill gigabytes."""
    layers, plan = FeatureLayers(99), CellPlan(256, 256, (8, 8), 0, 0, 32)
    sink = CogSink(tmp_path / "f.tif", fakes.scene(256, 256).grid, layers)
    block = plan.block(0)
    coverage = np.full((32, 32), 100, np.uint8)
    piece = pack(plan, 0, BlockMap(block.box, np.ones((99, 32, 32), np.float32), coverage), layers)
    with sink.begin(plan) as store:
        for i in range(plan.block_count):
            store.put(replace(piece, record=replace(piece.record, block=i)))
        tracemalloc.start()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with rasterio.open(tmp_path / "f.tif") as file:
        assert (file.read() == np.array([1.0] * 99 + [100.0])[:, None, None]).all()
    one = 100 * 32 * 32 * 4
    assert peak < 20 * one < 64 * one
