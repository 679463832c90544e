"""Packed records at another pixel size and on drawn dates feed what the same cubes feed from memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_layout import Toy

from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Cube, CubeBatch, Encoding
from swath.data.collection import Collection
from swath.errors import ContractError, InputError
from swath.feed.pixel_size import to_gsd
from swath.feed.shard_feed import ShardFeed
from swath.feed.shard_records import ShardRecords
from swath.feed.shards import Shards
from swath.feed.windows import RecordFeed, WindowFeed
from swath.verbs.packing import pack

REFLECTANCE = Encoding("reflectance", 1e-4, 0.0, "L2A")
Packed = Callable[..., Shards]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """Shards of a layout, packed once however often they are asked for."""
    known: dict[str, Shards] = {}

    def make(layout: Toy) -> Shards:
        if repr(layout) not in known:
            folder = tmp_path_factory.mktemp("shards") / "s"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("os.fsync", lambda handle: None)
                pack(Collection(layout, limit=0.5), folder, about={}, shard_bytes=4000)
            known[repr(layout)] = Shards(folder)
        return known[repr(layout)]

    return make


def contract(names: tuple[str, ...], norm: Normalisation, **options: Any) -> InputContract:
    return contract_for("sentinel2", names, REFLECTANCE, norm, **options)


CONTRACTS = {
    "record": contract(("B02", "B03", "B04", "B8A"), Normalisation("standard", "record")),
    "some": contract(("B8A", "B02"), Normalisation("minmax", "record")),
    "fixed": contract(("B02", "B8A"), Normalisation("standard", "fixed", (1.0, 2.0), (3.0, 4.0))),
    "missing": contract(("B02", "B11", "B03"), Normalisation("standard", "record"), optional=("B11",)),
    "identity": contract(("B03",), Normalisation()),
}


def in_memory(layout: Toy, wanted: InputContract, gsd: float) -> list[Cube]:
    read = Collection(layout, limit=0.5)
    samples = [read.read(i) for i in range(layout.count)]
    return [replace(wanted.convert(to_gsd(s.cube, gsd)), source=s.id) for s in samples]


def same(a: CubeBatch, b: CubeBatch) -> bool:
    """Bit for bit."""
    names = ("pixels", "valid", "days", "gain", "bias")
    pairs = [(getattr(a, name), getattr(b, name)) for name in names]
    return (a.ids, a.bands) == (b.ids, b.bands) and all(
        x.dtype == y.dtype and x.shape == y.shape and torch.equal(x.nan_to_num(-7), y.nan_to_num(-7))
        for x, y in pairs
    )


@settings(max_examples=30)
@given(
    name=st.sampled_from(sorted(CONTRACTS)),
    layout=st.sampled_from([
        Toy(7, radar=False, dates=4),
        Toy(7, radar=False, dates=4, dtype="float32", bad=(3,)),
        Toy(7, radar=False, dates=4, dtype="int32", full=True, sizes=(9, 8)),
    ]),
    gsd=st.sampled_from([0.0, 10.0, 20.0, 30.0, 5.0]),
    dates=st.sampled_from([None, 2]),
    min_valid=st.sampled_from([0.0, 0.75]),
    seed=st.integers(0, 99),
    first=st.integers(0, 50),
)  # fmt: skip
def test_windows_are_those_of_the_cubes_in_memory(
    packed: Packed,
    name: str,
    layout: Toy,
    gsd: float,
    dates: int | None,
    min_valid: float,
    seed: int,
    first: int,
) -> None:
    wanted = CONTRACTS[name]
    cubes = in_memory(layout, wanted, gsd)
    options: dict[str, Any] = {"seed": seed, "min_valid": min_valid, "dates": dates}
    index = np.arange(layout.count)
    # One set, and the same records as two.
    shards = packed(layout)
    sets = [(shards, index[:3]), (shards, index[3:])] if seed % 2 else [(shards, index)]
    records = ShardRecords(sets, wanted, gsd=gsd, dates=dates)
    for i, cube in enumerate(cubes):
        assert records.frame(i) == (cube.shape[0], *cube.shape[2:]) and records.name(i) == cube.source
        np.testing.assert_array_equal(records.valid(i), cube.valid)
    try:
        reference = WindowFeed(cubes, wanted, (2, 3), **options)
    except InputError as err:
        with pytest.raises(InputError, match="no window of 2x3"):
            WindowFeed(records, wanted, (2, 3), **options)
        assert "no window of 2x3" in str(err)
        return
    feed = WindowFeed(records, wanted, (2, 3), **options)
    assert len(feed) == len(reference)
    assert same(feed.take(first, 9), reference.take(first, 9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("swath.feed.windows._BITS", 0)  # found again with every sample
        assert same(WindowFeed(records, wanted, (2, 3), **options).take(first, 9), reference.take(first, 9))
    if dates is None:
        whole = RecordFeed(cubes, wanted, 2, seed=seed)
        assert same(RecordFeed(records, wanted, 2, seed=seed).take(first, 9), whole.take(first, 9))


def test_at_their_own_size_they_are_what_shards_feed(packed: Packed) -> None:
    shards = packed(Toy(7, radar=False, dates=4))
    wanted, index = CONTRACTS["record"], np.array([5, 1, 3])
    records = ShardRecords([(shards, index)], wanted)
    fast = ShardFeed(shards, wanted, 5, seed=3, index=index, targets=False)
    assert same(RecordFeed(records, wanted, 5, seed=3).take(2, 11), fast.take(2, 11))


def test_nothing_but_the_index_is_kept(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = packed(Toy(7, radar=False, dates=4))
    asked: list[int] = []
    array = shards.array
    monkeypatch.setattr(shards, "array", lambda i, name: (asked.append(i), array(i, name))[1])
    wanted = CONTRACTS["fixed"]
    records = ShardRecords([(shards, np.arange(7))], wanted, gsd=20.0)
    asked.clear()
    feed = RecordFeed(records, wanted, 4)
    assert not asked
    feed.take(0, 1)
    assert len(set(asked)) == 1
    # Where a window may lie is looked at once, and then only of records that are drawn.
    windows = WindowFeed(records, wanted, 3, min_valid=0.5, seed=1)
    asked.clear()
    windows.take(0, 1)
    assert len(set(asked)) == 1


def test_what_does_not_fit_is_said_before_the_first_batch(packed: Packed, tmp_path: Path) -> None:
    shards = packed(Toy(7, radar=False, dates=4))
    wanted, index = CONTRACTS["record"], np.arange(7)
    with pytest.raises(
        InputError, match=r"/there/0\.tif: has pixels of 10 m, and no whole number of them is one of 25"
    ):
        ShardRecords([(shards, index)], wanted, gsd=25.0)
    with pytest.raises(InputError, match="item-0000: has 4 dates, and 5 are asked for"):
        ShardRecords([(shards, index)], wanted, dates=5)
    with pytest.raises(ContractError, match="has 10 m pixels, the model eats 20 m"):
        ShardRecords([(shards, index)], replace(wanted, gsd=20.0))
    ShardRecords([(shards, index)], replace(wanted, gsd=20.0), gsd=20.0)
    with pytest.raises(ContractError, match="band B11 is missing"):
        ShardRecords([(shards, index)], contract(("B11", "B02"), Normalisation()))
    with pytest.raises(InputError, match="no records to feed"):
        ShardRecords([(shards, index[:0])], wanted)
    with pytest.raises(InputError, match="item-0000: is 4x5 pixels, not 6x6"):
        RecordFeed(ShardRecords([(shards, index)], wanted, gsd=20.0), wanted, 6)
    other = packed(Toy(4, radar=False, dates=2))
    with pytest.raises(InputError, match="item-0000: has 2 dates, the first record 4"):
        ShardRecords([(shards, index), (other, index[:4])], wanted)
