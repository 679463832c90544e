"""The bench of scenes compares like with like: all ways give one map, and both passes the same windows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from swath.bench import scene_peer
from swath.bench.scene_parts import Case, all_windows, bare_pass, in_memory, make_map, opened, write_scene
from swath.bench.scenes import Shape, map_once, memory_records, peer_records, share_once, share_records


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    write_scene(path, 330, 290)
    return path


def test_the_loop_draws_the_engines_map(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "loop.tif"
    threads = str(torch.get_num_threads())
    scene_peer.main(["loop", str(scene), str(output), "--threads", threads])
    told = json.loads(capsys.readouterr().out)
    assert 0 < told["forward"] < told["cpu"]
    case = Case("peer", precision="fp32")
    with opened(scene, 1) as source:
        make_map(case, source, case.build(1), tmp_path / "ours.tif")
    with rasterio.open(output) as theirs, rasterio.open(tmp_path / "ours.tif") as ours:
        # Means over windows are weighted in another way, so classes that are nearly equal may change places.
        assert (theirs.read(1) == ours.read(1)).mean() > 0.99
        assert np.abs(theirs.read(2).astype(int) - ours.read(2)).max() <= 3


def test_the_bare_pass_sees_what_the_map_is_made_of(scene: Path) -> None:
    case = Case("peer", precision="fp32")
    seen: list[torch.Tensor] = []

    def network(pixels: torch.Tensor, **rest: object) -> torch.Tensor:
        seen.append(pixels.clone())
        return torch.zeros(len(pixels), scene_peer.CLASSES, 224, 224)

    with opened(scene, 1) as source:
        windows = all_windows(case.plan(source.height, source.width))
        bare_pass(case, network, in_memory(case, source), windows)
        bare, seen[:] = torch.cat(seen), []
        make_map(case, source, network, scene.with_name("seen.tif"))
    assert len(bare) == len(windows) == 4
    torch.testing.assert_close(bare, torch.cat(seen), rtol=0, atol=0)


def test_several_dates_and_a_file_without_pixels(tmp_path: Path) -> None:
    shape = Shape(300, 270, 3, sparse=True)
    path = shape.file(tmp_path)
    found = map_once(path, shape, "convolution")
    assert found["windows"] == 4
    assert found["cpu"] > 0
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_share_is_told_pair_by_pair(scene: Path) -> None:
    told: list[dict[str, float]] = []
    share_once(scene, "peer", 2, told.append)
    assert [t["windows"] for t in told] == [4, 4]
    assert all(t["bare"] > 0 and t["map"] > 0 for t in told)
    assert {p.name for p in scene.parent.glob("scene*")} == {"scene.tif"}


def test_records_are_those_of_the_design() -> None:
    keys = {
        "measure", "value", "unit", "baseline", "ratio", "runs", "machine", "threads", "commit", "command", "date",
        "note",
    }  # fmt: skip
    taken = [{"bare": b, "bare_clock": 1.0, "map": 10.0, "map_clock": 1.0, "windows": 100.0, "run": 110.0,
              "parameters": 1e6} for b in (8.0, 9.0, 9.5)]  # fmt: skip
    share = share_records("small", Shape(1, 1), taken)
    assert [(r["value"], r["ratio"], len(r["runs"])) for r in share] == [(10.0, 0.9, 3), (11.0, 0.99, 3)]
    one = {"cpu": 2.0, "seconds": 4.0, "peak": 100 * 2.0**20}
    large = {**one, "peak": 104 * 2.0**20}
    memory = memory_records({"1k": [one], "5k": [one] * 3, "20k": [large]}, 1)
    assert {r["measure"]: r["ratio"] for r in memory if "peak" in r["measure"]} == {
        "scene.peak_memory.1k.1d": 1.0, "scene.peak_memory.5k.1d": 1.0, "scene.peak_memory.20k.1d": 0.9615,
    }  # fmt: skip
    theirs = {**one, "cpu": 6.0, "peak": 400 * 2.0**20, "before": 1.0, "forward": 3.0, "torch": "2"}
    peers = peer_records("1k", Shape(1000, 1000), {"swath": [one] * 3, "loop": [theirs] * 3})
    assert {r["measure"]: r["ratio"] for r in peers} == {
        "scene.vs_loop.1k": 3.0, "scene.peak_memory_vs_loop.1k": 4.0,
    }  # fmt: skip
    assert all(set(r) == keys for r in (*share, *memory, *peers))
