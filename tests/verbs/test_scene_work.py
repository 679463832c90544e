"""Weights that normalise by the scene's own statistics: all of it is read once for them, never by a plan or a resume."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import swath
from swath.contract import Normalisation
from swath.data.windowed import Windowed
from swath.scenes.work import STATISTICS, WorkFolder, folder_of
from swath.weights.file import load, save

BLOCKS = 9


@pytest.fixture(scope="module")
def given(chain: Any, tmp_path_factory: pytest.TempPathFactory, raster: Callable[..., str]) -> dict[str, Any]:
    """Options for a map of nine blocks, by weights that take the scene's statistics."""
    folder = tmp_path_factory.mktemp("own")
    loaded = load(chain.finetuned.weights)
    assert loaded.meta.contract is not None
    eats = replace(loaded.meta.contract, normalisation=Normalisation("standard", "scene"))
    save(folder / "w.safetensors", loaded.state, replace(loaded.meta, contract=eats))
    with rasterio.open(chain.land.scene) as file:
        pixels = np.tile(file.read(), (1, 13, 6))  # 520 x 672
    scene = raster(folder / "scene.tif", pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0)
    return {
        "weights": str(folder / "w.safetensors"), "input": {"files": scene, "sensor": "landsat7"}, "block": 256,
        "precision": "fp32", "threads": 1,
    }  # fmt: skip


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scenes whose statistics were measured."""
    seen: list[str] = []
    real = Windowed.statistics

    def spy(self: Windowed) -> Any:
        seen.append(self.source)
        return real(self)

    monkeypatch.setattr(Windowed, "statistics", spy)
    return seen


def interrupt(given: dict[str, Any], output: Path, verb: Callable[..., Any] = swath.predict) -> None:
    put = WorkFolder.put

    def stop(self: WorkFolder, piece: Any) -> None:
        put(self, piece)
        if len(self.finished) == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkFolder, "put", stop)
        with pytest.raises(KeyboardInterrupt):
            verb(**given, output=str(output))


def test_a_plan_says_that_the_scene_is_read_once_more_and_does_not_read_it(
    given: dict[str, Any], chain: Any, tmp_path: Path, passes: list[str]
) -> None:
    told: Any = swath.predict(**given, output=str(tmp_path / "map.tif"), plan=True)
    assert told.statistics_bytes == 3 * 520 * 672 == told.to_dict()["statistics_bytes"]
    assert "before the first block: one more pass over the scene" in told.summary()
    fixed: Any = swath.predict(
        **{**given, "weights": chain.finetuned.weights}, output=str(tmp_path / "map.tif"), plan=True
    )
    assert fixed.statistics_bytes == 0 and "one more pass" not in fixed.summary()
    assert passes == [] and list(tmp_path.iterdir()) == []


def test_an_interrupted_map_keeps_the_statistics_and_ends_with_the_same_bytes(
    given: dict[str, Any], tmp_path: Path, passes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    swath.predict(**given, output=str(tmp_path / "whole.tif"))
    said = caplog.text
    assert said.index("measuring the scene's statistics: one pass") < said.index(
        "measured the scene's statistics"
    )
    assert len(passes) == 1
    output = tmp_path / "map.tif"
    interrupt(given, output)
    assert len(passes) == 2
    told: Any = swath.predict(**given, output=str(output), plan=True)
    assert told.statistics_bytes == 0
    made = swath.predict(**given, output=str(output))
    assert (made.kept_blocks, made.blocks, len(passes)) == (2, BLOCKS, 2)
    assert output.read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not folder_of(output).exists()


def test_damaged_statistics_are_measured_again(
    given: dict[str, Any], tmp_path: Path, passes: list[str]
) -> None:
    output = tmp_path / "map.tif"
    interrupt(given, output)
    (folder_of(output) / STATISTICS).write_text("{", "utf-8")
    told: Any = swath.predict(**given, output=str(output), plan=True)
    assert told.statistics_bytes > 0 and len(passes) == 1
    assert swath.predict(**given, output=str(output)).kept_blocks == 2
    assert len(passes) == 2


def test_features_keep_them_too(given: dict[str, Any], tmp_path: Path, passes: list[str]) -> None:
    more = {"level": 0, "dtype": "uint8", "sample": 4, "batch_size": 64}
    options = {k: v for k, v in given.items() if k != "block"} | more
    output = tmp_path / "f.tif"
    interrupt(options, output, swath.embed)
    made = swath.embed(**options, output=str(output))
    assert made.kept_blocks == 2 < made.blocks and len(passes) == 1
