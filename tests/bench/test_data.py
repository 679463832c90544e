"""The bench of feeds compares like with like: every format gives the same records."""

from __future__ import annotations

import gc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from swath.bench import data_formats
from swath.bench.data import STREAMING, cpu_seconds, records_of
from swath.bench.data_formats import FORMATS, RecordReader, open_format, records, write_all

COUNT = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("h5py")
    pytest.importorskip("webdataset")
    path = tmp_path_factory.mktemp("formats")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        write_all(path, COUNT)
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
# webdataset leaves its tar to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_records(folder: Path, name: str) -> None:
    wanted = {
        (cube.pixels.tobytes(), np.packbits(cube.valid.reshape(-1)).tobytes()) for cube in records(COUNT)
    }
    assert len(wanted) == COUNT
    found = {
        (pixels.tobytes(), bits.tobytes())
        for pixels, bits in islice(RecordReader(folder, name).stream(), COUNT)
    }
    gc.collect()
    assert found == wanted


def test_batches_come_whole_and_are_not_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_formats, "BATCH", COUNT)
    batches = open_format(folder, "shards", "thread")
    first = next(batches)
    copy = first[0].copy(), first[1].copy()
    second = next(batches)
    np.testing.assert_array_equal(first[0], copy[0])
    np.testing.assert_array_equal(first[1], copy[1])
    assert sorted(x.tobytes() for x in first[0]) == sorted(x.tobytes() for x in second[0])


def test_records_are_those_of_the_design() -> None:
    rates = {(name, "thread", False, False): [3.0, 1.0, 2.0] for name in FORMATS}
    rates["shards", "thread", False, False] = [60.0, 40.0, 30.0]
    rates["shards", "thread", True, True] = [50.0] * 3
    made = {r["measure"]: r for r in records_of(rates, [5e9, 6e9, 7e9])}
    compared = made["feed.shards_per_core_vs_geotiff"]
    assert (compared["value"], compared["baseline"], compared["ratio"]) == (40.0, 2.0, 20.0)
    assert STREAMING["GLIBC_TUNABLES"] in made["feed.shards_per_core.thread.touched.streaming"]["note"]
    keys = {
        "measure",
        "value",
        "unit",
        "baseline",
        "ratio",
        "runs",
        "machine",
        "threads",
        "commit",
        "command",
    }
    assert all(keys <= set(r) for r in made.values())


def test_cpu_seconds_count_up() -> None:
    before = cpu_seconds()
    sum(range(3_000_000))
    assert cpu_seconds() > before
