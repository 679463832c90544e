"""Interrupted maps are gone on with, and end with the same bytes; two runs do not disturb each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import OutputError
from swath.scenes.layers import ClassLayers
from swath.scenes.mapping import Summary, predict_scene
from swath.scenes.sink import CogSink
from swath.scenes.windows import Plan
from swath.scenes.work import WorkFolder, begun_with, folder_of

PLAN = Plan(600, 520, (64, 64), 16, 0, 256)  # 3 x 3 blocks
ABOUT = {"weights": "abc", "plan": [1, 2]}


class Killed(BaseException):
    pass


def make(
    path: Path, fakes: SimpleNamespace, *, die_at: int | None = None, about: object = ABOUT, **options: bool
) -> tuple[Summary, list[int]]:
    """A map, and the blocks that were computed for it; dies at that call of the network."""
    scene = fakes.scene(PLAN.height, PLAN.width, holes=0.3)
    net, calls = fakes.ConvNet(), 0
    seen: list[int] = []

    def network(pixels: object, **more: object) -> object:
        nonlocal calls
        calls += 1
        if calls == die_at:
            raise Killed
        return net(pixels, **more)

    sink = CogSink(path, scene.grid, ClassLayers(fakes.classes), **options)
    summary = predict_scene(
        scene,
        network,
        fakes.contract("scene"),
        PLAN,
        sink,
        about=about,  # type: ignore[arg-type]
        progress=lambda p: seen.append(p.blocks_done),
    )
    return summary, seen


@pytest.fixture(scope="module")
def whole(fakes: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int]:
    """The map that was never interrupted, and how often it called the network."""
    path = tmp_path_factory.mktemp("whole") / "map.tif"
    scene, net = fakes.scene(PLAN.height, PLAN.width, holes=0.3), fakes.ConvNet()
    sink = CogSink(path, scene.grid, ClassLayers(fakes.classes))
    predict_scene(scene, net, fakes.contract("scene"), PLAN, sink)
    return path.read_bytes(), len(net.batches)


@settings(max_examples=8)
@given(st.lists(st.integers(1, 30), max_size=3))
def test_killed_anywhere_and_started_again_it_is_the_same_file(
    fakes: SimpleNamespace,
    whole: tuple[bytes, int],
    tmp_path_factory: pytest.TempPathFactory,
    stops: list[int],
) -> None:
    path = tmp_path_factory.mktemp("again") / "map.tif"
    for stop in stops:
        try:
            make(path, fakes, die_at=stop)
        except Killed:
            assert not path.exists()
        else:
            path.unlink()
    summary, seen = make(path, fakes)
    assert path.read_bytes() == whole[0]
    assert sorted(p.name for p in path.parent.iterdir()) == ["map.qml", "map.tif", "map.tif.aux.xml"]
    assert summary.kept_blocks == (seen[0] if seen else PLAN.block_count)
    assert summary.blocks == PLAN.block_count


def interrupted(tmp_path: Path, fakes: SimpleNamespace) -> Path:
    path = tmp_path / "map.tif"
    with pytest.raises(Killed):
        make(path, fakes, die_at=12)
    assert len(list((folder_of(path) / "blocks").glob("*.tiles"))) >= 2
    assert begun_with(path) == ABOUT
    return path


def test_only_what_is_left_is_computed(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = interrupted(tmp_path, fakes)
    finished = len((folder_of(path) / "blocks.jsonl").read_text().splitlines())
    summary, seen = make(path, fakes)
    assert summary.kept_blocks == finished
    assert min(seen) == finished
    # Speed is that of what was computed now.
    windows = summary.windows + summary.empty_windows
    assert 0 < summary.kept_windows < windows
    assert summary.km2 is not None
    done = summary.km2 * (windows - summary.kept_windows) / windows
    assert summary.km2_per_second == pytest.approx(done / summary.seconds)


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "line", "half"])
def test_damaged_blocks_are_computed_again(
    tmp_path: Path, fakes: SimpleNamespace, whole: tuple[bytes, int], harm: str
) -> None:
    path = interrupted(tmp_path, fakes)
    journal = folder_of(path) / "blocks.jsonl"
    finished = len(journal.read_text().splitlines())
    file = sorted((folder_of(path) / "blocks").glob("*.tiles"))[0]
    data = bytearray(file.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif harm == "cut":
        file.write_bytes(data[:-1])
    elif harm == "gone":
        file.unlink()
    elif harm == "line":
        journal.write_text("nonsense\n" + "\n".join(journal.read_text().splitlines()[1:]) + "\n")
    else:
        journal.write_text(journal.read_text()[:-20])
    summary, _ = make(path, fakes)
    assert summary.kept_blocks == finished - 1
    assert path.read_bytes() == whole[0]


def test_an_unfinished_map_of_another_kind_is_kept_unless_told(
    tmp_path: Path, fakes: SimpleNamespace, whole: tuple[bytes, int]
) -> None:
    path = interrupted(tmp_path, fakes)
    before = sorted(folder_of(path).rglob("*"))
    with pytest.raises(
        OutputError, match="was begun before with another weights, and not finished; run that"
    ):
        make(path, fakes, about={**ABOUT, "weights": "def"})
    assert sorted(folder_of(path).rglob("*")) == before
    manifest = folder_of(path) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 0'))
    with pytest.raises(OutputError, match="was begun before with swath"):
        make(path, fakes)
    summary, _ = make(path, fakes, about={**ABOUT, "weights": "def"}, overwrite=True)
    assert summary.kept_blocks == 0
    assert path.read_bytes() == whole[0]


def test_overwriting_goes_on_with_its_own_blocks(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    path.write_bytes(b"an earlier map")
    with pytest.raises(Killed):
        make(path, fakes, die_at=12, overwrite=True)
    assert path.read_bytes() == b"an earlier map"
    assert make(path, fakes, overwrite=True)[0].kept_blocks > 0


def test_a_second_process_is_told_and_harms_nothing(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    work = WorkFolder(path, ABOUT)
    with pytest.raises(OutputError, match=rf"is being made by process {os.getpid()} on .+; wait for it"):
        make(path, fakes)
    assert (work.path / "manifest.json").exists()
    work.close(keep=False)
    assert not work.path.exists()
    make(path, fakes)


def test_a_lock_dies_with_its_process(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = tmp_path / "map.tif"
    code = (
        "import sys, os, pathlib; from swath.scenes.work import WorkFolder;"
        f"work = WorkFolder(pathlib.Path({str(path)!r}), {ABOUT!r}); print('locked', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == "locked\n"
    with pytest.raises(OutputError, match=f"is being made by process {child.pid} on"):
        make(path, fakes)
    child.kill()
    child.wait()
    child.stdout.close()
    child.stdin.close()
    assert make(path, fakes)[0].blocks == PLAN.block_count


def test_a_scene_of_nothing_leaves_nothing(tmp_path: Path, fakes: SimpleNamespace) -> None:
    scene = fakes.scene(30, 30)
    scene.valid[:] = False
    sink = CogSink(tmp_path / "map.tif", scene.grid, ClassLayers(fakes.classes))
    with pytest.raises(Exception, match="no valid pixel"):
        predict_scene(
            scene, fakes.ConvNet(), fakes.contract(), Plan(30, 30, (16, 16), 4, 0, 256), sink, about=ABOUT
        )
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_what_is_made(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path = interrupted(tmp_path, fakes)
    stated = json.loads((folder_of(path) / "manifest.json").read_text())
    assert stated["format_version"] == 1
    assert stated["about"] == ABOUT
    lines = [json.loads(x) for x in (folder_of(path) / "blocks.jsonl").read_text().splitlines()]
    assert [x["block"] for x in lines] == list(range(len(lines)))
    assert all(np.sum(x["lengths"]) > 0 and len(x["sha256"]) == 64 for x in lines)


@pytest.mark.parametrize("most", [0, 40, 700, 200_000])
def test_where_the_disk_is_full_it_is_one_line_and_nothing_is_lost(
    fakes: SimpleNamespace, whole: tuple[bytes, int], tmp_path: Path, most: int
) -> None:
    """No file may grow beyond so many bytes: the lock, the manifest, a block or the map is the first."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    path, (_, hard) = tmp_path / "map.tif", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(.*[Ff]ile too large"):
            make(path, fakes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert [p.name for p in tmp_path.iterdir()] in ([], [".map.tif.swath"])
    assert bool(list(tmp_path.iterdir())) == (begun_with(path) is not None)
    # Nothing that was half made of the blocks fills the disk further.
    left = [p for p in folder_of(path).rglob("*") if p.is_file() and p.suffix != ".tiles"]
    assert {p.name for p in left} <= {"lock", "manifest.json", "blocks.jsonl"}
    make(path, fakes)
    assert path.read_bytes() == whole[0]
