"""`swath predict --engine ray` on a real Ray of this machine: the file is that of the local engine, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from local_ray import RAY_WARNINGS, local_cluster

from swath import cli
from swath.scenes.work import WorkFolder, folder_of

pytestmark = [pytest.mark.slow, *RAY_WARNINGS]
RAY = ("--engine", "ray", "--workers", "2")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with local_cluster(2) as ray:
        yield ray


@pytest.fixture(scope="module")
def words(chain: Any, tmp_path_factory: pytest.TempPathFactory, raster: Callable[..., str]) -> list[str]:
    """A command that maps 520 x 672 pixels, nine blocks; without its output."""
    with rasterio.open(chain.land.scene) as file:
        pixels = np.tile(file.read(), (1, 13, 6))
    folder = tmp_path_factory.mktemp("big")
    scene = raster(folder / "big.tif", pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0)
    return [
        *("predict", "--weights", chain.finetuned.weights, "--input", scene, "--input.sensor", "landsat7"),
        *("--threads", "1", "--block", "256", "--precision", "fp32", "--json"),
    ]


@pytest.fixture(scope="module")
def whole(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The map of the local engine, without a break."""
    path = tmp_path_factory.mktemp("whole") / "map.tif"
    assert cli.main([*words, "--output", str(path)]) == 0
    return path.read_bytes()


@pytest.fixture
def put_here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the blocks that this process was given to keep, as they come."""
    numbers: list[int] = []
    put = WorkFolder.put

    def noted(self: WorkFolder, piece: Any) -> None:
        numbers.append(piece.record.block)
        put(self, piece)

    monkeypatch.setattr(WorkFolder, "put", noted)
    return numbers


def test_a_cluster_gives_the_same_file(
    cluster: Any,
    words: list[str],
    whole: bytes,
    tmp_path: Path,
    put_here: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "map.tif"
    capsys.readouterr()
    assert cli.main([*words, "--output", str(path), *RAY]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["blocks"], told["kept_blocks"], told["workers"]) == (9, 0, 2)
    assert sorted(put_here) == list(range(9))
    assert path.read_bytes() == whole
    assert not folder_of(path).exists()


@pytest.mark.parametrize(("first", "second"), [((), RAY), (RAY, ())], ids=["local-ray", "ray-local"])
def test_what_one_engine_began_the_other_ends_with_the_same_file(
    cluster: Any,
    words: list[str],
    whole: bytes,
    tmp_path: Path,
    put_here: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    first: tuple[str, ...],
    second: tuple[str, ...],
) -> None:
    path = tmp_path / "map.tif"
    put = WorkFolder.put

    def stop(self: WorkFolder, piece: Any) -> None:
        put(self, piece)
        if len(self.finished) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "put", stop)
        assert cli.main([*words, "--output", str(path), *first]) == 130
    assert not path.exists()
    begun = list(put_here)
    assert len(begun) == len(set(begun)) == 4
    put_here.clear()
    capsys.readouterr()
    assert cli.main([*words, "--output", str(path), *second]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kept_blocks"] == 4
    # The manifest was accepted as it was: nothing that was finished is computed again.
    assert sorted([*begun, *put_here]) == list(range(9))
    assert path.read_bytes() == whole
    assert not folder_of(path).exists()
