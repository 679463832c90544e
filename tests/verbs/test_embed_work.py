"""Features by several processes, and by a command that is killed: the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import swath
from swath.scenes.work import folder_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(chain: Any, tmp_path_factory: pytest.TempPathFactory, raster: Callable[..., str]) -> str:
    """Of nine blocks at level 0."""
    with rasterio.open(chain.land.scene) as file:
        pixels = np.tile(file.read(), (1, 15, 5))[:, :560, :540]
    return raster(
        tmp_path_factory.mktemp("in") / "scene.tif", pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0
    )


def options(chain: Any, scene: str, output: Path, **more: Any) -> dict[str, Any]:
    return {
        "weights": chain.pretrained.weights, "input": {"files": scene, "sensor": "landsat7"}, "level": 0,
        "output": str(output), "precision": "fp32", "threads": 1, "batch_size": 64, **more,
    }  # fmt: skip


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {"" if p == path else str(p.relative_to(path)): p.read_bytes() for p in files}


def test_two_workers_give_the_same_file(chain: Any, scene: str, tmp_path: Path) -> None:
    more = {"dtype": "uint8", "sample": 8, "workers": 2}
    one = swath.embed(**options(chain, scene, tmp_path / "one.tif", **{**more, "workers": 1}))
    two = swath.embed(**options(chain, scene, tmp_path / "two.tif", **more))
    assert contents(Path(one.output)) == contents(Path(two.output))
    assert one.blocks == 9 and (one.windows, one.beyond) == (two.windows, two.beyond)


def test_killed_and_gone_on_with_the_store_is_the_same(chain: Any, scene: str, tmp_path: Path) -> None:
    """The real command, killed as a power cut would."""
    path, whole = tmp_path / "f.zarr", tmp_path / "whole.zarr"
    given = options(chain, scene, path, dtype="float16")
    swath.embed(**{**given, "output": str(whole)})
    words = [sys.executable, "-m", "swath", "embed", "--input", scene, "--input.sensor", "landsat7"]
    for name, value in given.items():
        words += [] if name == "input" else [f"--{name}", str(value)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = folder_of(path) / "blocks.jsonl"
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= 2:
            process.kill()
            break
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL and not path.exists()
    made = swath.embed(**given)
    assert 0 < made.kept_blocks < made.blocks
    assert contents(path) == contents(whole)
    assert {p.name for p in tmp_path.iterdir()} == {
        "f.zarr",
        "f.zarr.stac.json",
        "whole.zarr",
        "whole.zarr.stac.json",
    }
