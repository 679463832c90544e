"""Packing: file and shard agree bit for bit, however, by how many and in how many attempts the shards were written."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_layout import Toy, same_sample

from swath.data.collection import Collection
from swath.errors import InputError, OutputError
from swath.feed.shard_check import damaged
from swath.feed.shards import Shards
from swath.verbs.packing import PACKING, pack, packing_report


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_the_disk() -> Iterator[None]:
    """A process that is killed loses nothing that it wrote; only a power cut would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


ABOUT = {"layout": "toy", "split": None, "options": {}}


def packed(layout: Toy, folder: Path, **options: Any) -> Shards:
    limit = options.pop("limit", 0.5)
    collection = Collection(layout, limit=limit, report=packing_report(folder))
    pack(collection, folder, about=ABOUT, **{"shard_bytes": 4096, **options})
    return Shards(folder)


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file by its hash."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


class Stopped(BaseException):
    """As a kill would."""


@settings(max_examples=15)
@given(
    count=st.integers(1, 23),
    sizes=st.lists(st.integers(3, 9), min_size=1, max_size=3, unique=True),
    dates=st.integers(1, 3),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", ">u2"]),
    targets=st.sampled_from(["raster", "class", "vector", "none"]),
    radar=st.booleans(),
    bad=st.sets(st.integers(0, 22), max_size=5),
    shard_bytes=st.sampled_from([1, 700, 5000, 2**20]),
    stops=st.lists(st.integers(1, 40), max_size=3),
)
def test_what_was_packed_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], **given: Any
) -> None:
    shard_bytes = given.pop("shard_bytes")
    bad = tuple(sorted(i for i in given.pop("bad") if i < given["count"]))[: given["count"] // 2]
    given["sizes"] = tuple(given["sizes"])
    layout = Toy(**given, bad=bad)
    folder = tmp_path_factory.mktemp("shards")
    shards = packed(layout, folder / "whole", shard_bytes=shard_bytes)
    reference = Collection(layout, limit=0.5)
    assert len(shards) == layout.count
    for i in range(layout.count):
        wanted = reference.read(i)
        found = shards.sample(i)
        if given["dtype"] == ">u2" and i not in bad:
            assert found.cubes["sentinel2"].pixels.dtype == np.dtype("<u2")
            np.testing.assert_array_equal(found.cubes["sentinel2"].pixels, wanted.cubes["sentinel2"].pixels)
        else:
            assert same_sample(found, wanted)
        assert shards.split(i) == layout.items[i].split
    # Stopped at any record and gone on with, it ends with the same files.
    for stop in stops:

        def count(what: str, done: int, total: int, stop: int = stop) -> None:
            if done >= stop:
                raise Stopped

        try:
            packed(layout, folder / "parts", shard_bytes=shard_bytes, progress=count, overwrite=True)
        except Stopped:
            # Unless an earlier attempt came to its end and this one had not begun to replace it.
            assert not (folder / "parts" / "shards.json").exists() or damaged(folder / "parts") == []
    packed(layout, folder / "parts", shard_bytes=shard_bytes, overwrite=True)
    assert fingerprint(folder / "parts") == fingerprint(folder / "whole")
    assert not (folder / "whole" / PACKING).exists()


def test_anyones_numpy_reads_them(tmp_path: Path) -> None:
    layout = Toy(10, radar=False, targets="class")
    packed(layout, tmp_path / "s", shard_bytes=1200)
    manifest = json.loads((tmp_path / "s" / "shards.json").read_text())
    group = manifest["groups"][0]
    ids = np.load(tmp_path / "s" / "index" / "id.npy")
    row = np.load(tmp_path / "s" / "index" / "row.npy")
    number, place = divmod(int(row[7]), group["records_per_shard"])
    pixels = np.load(tmp_path / "s" / group["files"]["sentinel2.pixels"][number]["name"], mmap_mode="r")
    bits = np.load(tmp_path / "s" / group["files"]["sentinel2.valid"][number]["name"])
    wanted = layout.read(7)
    assert ids[7].decode() == wanted.id and number > 0
    np.testing.assert_array_equal(pixels[place], wanted.cube.pixels)
    shape = wanted.cube.shape
    np.testing.assert_array_equal(
        np.unpackbits(bits[place])[: np.prod(shape)].reshape(shape), wanted.cube.valid
    )
    # The record's bytes lie where the description says, so that they can be fetched alone.
    file = group["files"]["sentinel2.pixels"][number]
    data = (tmp_path / "s" / file["name"]).read_bytes()
    start = file["offset"] + place * wanted.cube.pixels.nbytes
    assert data[start : start + wanted.cube.pixels.nbytes] == wanted.cube.pixels.tobytes()
    assert np.load(tmp_path / "s" / "index" / "label.npy").tolist() == [i % 5 for i in range(10)]
    dates = np.load(tmp_path / "s" / "index" / "sentinel2.dates.npy")
    assert dates[3].tolist() == list(wanted_dates(layout, 3))


def wanted_dates(layout: Toy, index: int) -> tuple[object, ...]:
    return layout.read(index).cube.dates


def test_mixed_sizes_become_groups_and_no_file_is_larger_than_asked(tmp_path: Path) -> None:
    shards = packed(Toy(30, sizes=(4, 7, 5)), tmp_path / "s", shard_bytes=3000)
    assert [g.cubes["sentinel2"].pixels.shape[2:] for g in shards.groups] == [(4, 5), (7, 8), (5, 6)]
    for group in shards.manifest["groups"]:
        for series in group["files"].values():
            assert sum(f["records"] for f in series) == 10
            assert all(f["bytes"] <= 3000 + 128 for f in series)
    assert shards.manifest["records"] == 30


@pytest.mark.slow
def test_the_number_of_workers_changes_no_bit(tmp_path: Path) -> None:
    layout = Toy(70, sizes=(8, 6), bad=(5, 40))
    for workers in (1, 2, 3):
        packed(layout, tmp_path / str(workers), workers=workers)
    assert fingerprint(tmp_path / "1") == fingerprint(tmp_path / "2") == fingerprint(tmp_path / "3")
    bad = [json.loads(line) for line in (tmp_path / "1" / "bad_items.jsonl").read_text().splitlines()]
    assert [b["id"] for b in bad] == ["item-0005", "item-0040"]
    assert np.flatnonzero(Shards(tmp_path / "1").columns["weight"] == 0).tolist() == [5, 40]


def _pack(folder: Path, workers: int) -> None:
    layout = Toy(60, sizes=(8, 6), bad=(5,), seconds=0.02)
    packed(layout, folder, workers=workers, shard_bytes=2**16)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    draw = random.Random(3)
    kills = 0
    while not (tmp_path / "killed" / "shards.json").exists():
        # Its own session, so that its workers can be seen to end with it.
        process = context.Process(target=_pack, args=(tmp_path / "killed", 1 + kills % 2))
        process.start()
        if kills < 8:
            deadline = time.monotonic() + 60
            while not (tmp_path / "killed" / PACKING).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            process.join(draw.uniform(0.05, 1.0))
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        process.join(300)
    assert kills >= 3
    _pack(tmp_path / "whole", 1)
    assert fingerprint(tmp_path / "killed") == fingerprint(tmp_path / "whole")


def test_a_block_that_was_damaged_meanwhile_is_packed_again(tmp_path: Path) -> None:
    layout = Toy(40)

    def stop(what: str, done: int, total: int) -> None:
        if done > 20:
            raise Stopped

    with pytest.raises(Stopped):
        packed(layout, tmp_path / "s", progress=stop)
    victim = sorted((tmp_path / "s" / PACKING).glob("0*/*.pixels.npy"))[1]
    data = bytearray(victim.read_bytes())
    data[200] ^= 1
    victim.write_bytes(data)
    packed(layout, tmp_path / "s")
    packed(layout, tmp_path / "whole")
    assert fingerprint(tmp_path / "s") == fingerprint(tmp_path / "whole")


def test_what_cannot_be_is_said_and_leaves_no_shards(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"more than the share of 0\.1"):
        packed(Toy(20, bad=(3, 4, 5)), tmp_path / "bad", limit=0.1)
    assert not (tmp_path / "bad" / "shards.json").exists()
    packed(Toy(4), tmp_path / "s")
    with pytest.raises(OutputError, match="holds shards already"):
        packed(Toy(4), tmp_path / "s")
    with pytest.raises(InputError, match="has no items"):
        packed(Toy(0), tmp_path / "none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other files, such as thesis\.txt"):
        packed(Toy(4), tmp_path / "full", overwrite=True)

    def stop(what: str, done: int, total: int) -> None:
        if what == "packing" and done > 4:
            raise Stopped

    with pytest.raises(Stopped):
        packed(Toy(20), tmp_path / "half", progress=stop)
    with pytest.raises(OutputError, match=r"begun with another data set or other options \(items\)"):
        packed(Toy(21), tmp_path / "half")
    with pytest.raises(InputError, match=r"holds no readable shards\.json"):
        Shards(tmp_path / "half")


def test_two_packers_do_not_meet_in_one_folder(tmp_path: Path) -> None:
    def second(what: str, done: int, total: int) -> None:
        if what == "packing" and done == 3:
            with pytest.raises(OutputError, match="being packed by another process"):
                packed(Toy(6), tmp_path / "s")

    packed(Toy(6), tmp_path / "s", progress=second)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_refusal_leaves_the_list_and_what_is_whole_and_a_mended_item_is_read_again(
    tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "s"
    with pytest.raises(InputError) as caught:
        packed(Toy(70, bad=(30, 40)), folder, limit=0.02, workers=workers)
    words = str(caught.value)
    assert words.startswith(
        f"{folder / 'bad_items.jsonl'}: 2 of 70 items cannot be read, more than the share of"
    )
    assert (
        "mend the items on the list, or allow a larger share with --bad_items; the good records packed"
        in words
    )
    # What the error says is not said before it as well.
    assert words.count("is cut short") == 1 and caplog.text.count("is cut short") <= 1
    bad = [json.loads(line)["id"] for line in (folder / "bad_items.jsonl").read_text().splitlines()]
    assert bad == ["item-0030", "item-0040"] or (workers == 2 and sorted(bad) == ["item-0030", "item-0040"])
    kept = [json.loads(p.read_text()) for p in (folder / PACKING).glob("*/block.json")]
    rows = [row for block in kept for row in block["records"]]
    assert len(rows) >= 20 and all(row["weight"] == 1 for row in rows)
    assert f"so far ({len(rows)}) stay" in words
    packed(Toy(70, bad=(40,)), folder, limit=0.02)
    packed(Toy(70, bad=(40,)), tmp_path / "whole", limit=0.02)
    assert fingerprint(folder) == fingerprint(tmp_path / "whole")


def test_a_refusal_that_leaves_nothing_of_use_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no items"):
        packed(Toy(0), tmp_path / "none")
    with pytest.raises(InputError, match="more than the share of"):
        packed(Toy(4, bad=(0,)), tmp_path / "first", limit=0.0)
    assert not (tmp_path / "none").exists()
    assert [p.name for p in (tmp_path / "first").iterdir()] == ["bad_items.jsonl"]


def test_a_set_that_is_there_outlives_a_refusal_to_replace_it(tmp_path: Path) -> None:
    packed(Toy(20, bad=(3,)), tmp_path / "s")
    before = fingerprint(tmp_path / "s")
    with pytest.raises(InputError, match=r"bad_items\.refused\.jsonl: 1 of 4"):
        packed(Toy(4, bad=(1,)), tmp_path / "s", limit=0.0, overwrite=True)
    after = fingerprint(tmp_path / "s")
    assert {name: after[name] for name in before} == before
    assert {name.partition("/")[0] for name in set(after) - set(before)} <= {
        "bad_items.refused.jsonl",
        PACKING,
    }
    packed(Toy(4), tmp_path / "s", overwrite=True)
    packed(Toy(4), tmp_path / "whole")
    assert fingerprint(tmp_path / "s") == fingerprint(tmp_path / "whole")
