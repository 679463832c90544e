"""Shards feed what the same cubes feed from memory: the same samples, bit for bit, in the same order."""

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

from swath.contract import BandSpec, InputContract, Normalisation, contract_for
from swath.cube import CubeBatch, Encoding
from swath.data.collection import Collection
from swath.errors import ContractError, InputError
from swath.feed.base import Feed
from swath.feed.contents import difference
from swath.feed.joined import JoinedFeed
from swath.feed.shard_feed import ShardFeed
from swath.feed.shards import Shards
from swath.feed.windows import RecordFeed
from swath.training.loader import StepLoader
from swath.verbs.packing import pack

BY_RECORD = Normalisation("standard", "record")
REFLECTANCE = Encoding("reflectance", 1e-4, 0.0, "L2A")
Packed = Callable[..., Shards]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    def make(layout: Toy, **options: Any) -> Shards:
        folder = tmp_path_factory.mktemp("shards") / "s"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.fsync", lambda handle: None)
            pack(Collection(layout, limit=0.5), folder, about={}, **{"shard_bytes": 4000, **options})
        return Shards(folder)

    return make


def contract(
    names: tuple[str, ...] = ("B8A", "B02", "B04"),
    encoding: Encoding = REFLECTANCE,
    norm: Normalisation = BY_RECORD,
    **options: Any,
) -> InputContract:
    return contract_for("sentinel2", names, encoding, norm, **options)


def same(a: CubeBatch, b: CubeBatch) -> bool:
    """Bit for bit: signs of zeros too."""

    def bits(x: torch.Tensor) -> bytes:
        return x.contiguous().numpy().tobytes()

    pairs = [(a.pixels, b.pixels), (a.valid, b.valid), (a.days, b.days), (a.gain, b.gain), (a.bias, b.bias)]
    if a.target is not None and b.target is not None:
        pairs.append((a.target, b.target))
    return (
        (a.target is None) == (b.target is None)
        and a.bands == b.bands
        and all(x.dtype == y.dtype and x.shape == y.shape and bits(x) == bits(y) for x, y in pairs)
    )


CONTRACTS = {
    "as stored": contract(("B02", "B03", "B04", "B8A")),
    "other order": contract(),
    "other scale": contract(encoding=Encoding("reflectance", 1.0, 0.0, "L2A")),
    "other offset": contract(("B02", "B03", "B04", "B8A"), Encoding("reflectance", 2e-4, -0.1)),
    "minmax": contract(norm=Normalisation("minmax", "scene"), encoding=Encoding("reflectance", -1e-3)),
    "identity": contract(norm=Normalisation()),
    "fixed": contract(("B02", "B8A"), norm=Normalisation("standard", "fixed", (1.0, 2.0), (3.0, 4.0))),
    "missing band": contract(("B02", "B11", "B03"), optional=("B11",)),
}


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(CONTRACTS)),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "int32", "int64", "float32", "float64"]),
    targets=st.sampled_from(["raster", "class", "vector", "none", "dated"]),
    size=st.sampled_from([None, 8, (5, 9), 3]),
    full=st.booleans(),
    bad=st.booleans(),
    seed=st.integers(0, 99),
    first=st.integers(0, 50),
)
def test_a_batch_is_that_of_the_cubes_in_memory(
    packed: Packed,
    name: str,
    dtype: str,
    targets: str,
    size: int | tuple[int, int] | None,
    full: bool,
    bad: bool,
    seed: int,
    first: int,
) -> None:
    layout = Toy(11, dtype=dtype, targets=targets, full=full, radar=False, bad=(3, 7) if bad else ())
    shards = packed(layout)
    wanted_by = CONTRACTS[name]
    samples = [Collection(layout, limit=0.5).read(i) for i in range(11)]
    cubes = [wanted_by.convert(sample.cube) for sample in samples]
    given_targets = None if targets == "none" else [s.target for s in samples if s.target is not None]
    reference = RecordFeed(cubes, wanted_by, size, seed=seed, targets=given_targets)
    feed = ShardFeed(shards, wanted_by, size, seed=seed)
    assert isinstance(feed, Feed)
    wanted, found = reference.take(first, 9), feed.take(first, 9)
    assert same(found, wanted)
    assert same(feed.take_stored(first, 9).to("cpu"), wanted)
    if bad:
        stand_ins = [b for b, i in enumerate(found.ids) if i in ("item-0003", "item-0007")]
        assert not found.valid[stand_ins].any()


def test_one_cube_of_several_and_one_split(packed: Packed) -> None:
    shards = packed(Toy(12))
    decibels = contract_for("sentinel1", ("VH",), Encoding("decibel"), Normalisation("standard", "record"))
    feed = ShardFeed(shards, decibels, cube="sentinel1", split="test", targets=False)
    batch = feed.take(0, 4)
    assert sorted(batch.ids) == [f"item-{i:04}" for i in (2, 5, 8, 11)]
    assert batch.pixels.shape == (4, 1, 1, 5, 5) and torch.isnan(batch.days).all() and batch.target is None
    with pytest.raises(Exception, match="holds 2 cubes"):
        ShardFeed(shards, decibels)


def test_mixed_sizes_are_cropped_never_resized(packed: Packed) -> None:
    layout = Toy(9, sizes=(6, 8, 11), radar=False)
    shards = packed(layout)
    assert len(shards.groups) == 3
    with pytest.raises(InputError, match="holds records of 8x9 pixels, not 6x7"):
        ShardFeed(shards, contract())
    batch = ShardFeed(shards, contract(norm=Normalisation()), 5).take(0, 9)
    assert len(set(batch.ids)) == 9
    plain = contract(norm=Normalisation())
    for pixels, name in zip(batch.pixels, batch.ids, strict=True):
        cube = plain.convert(layout.read(int(name[-4:])).cube).pixels
        h, w = cube.shape[2:]
        windows = [cube[..., r : r + 5, c : c + 5] for r in range(h - 4) for c in range(w - 4)]
        assert any(np.array_equal(pixels, window) for window in windows)


def test_repacking_workers_ranks_and_resuming_change_no_batch(packed: Packed) -> None:
    layout = Toy(17, sizes=(8,), radar=False)
    feeds = [ShardFeed(packed(layout, shard_bytes=size), contract(), 6, seed=4) for size in (1, 9000, 2**20)]
    whole = feeds[0].take(0, 48)
    for feed in feeds:
        for world in (1, 2, 3):
            for start in (0, 2):
                steps = [
                    step
                    for rank in range(world)
                    for step in StepLoader(
                        feed, start=start, steps=4, batch_size=12 // world, rank=rank, world=world
                    )
                ]
                ids = {
                    n: name
                    for step in steps
                    for micro in step.micros
                    for n, name in enumerate(micro.batch.ids, micro.first)
                }
                assert ids == {n: whole.ids[n] for n in range(start * 12, 48)}
                for step in steps:
                    for micro in step.micros:
                        part = whole.pixels[micro.first : micro.first + len(micro.batch.ids)]
                        assert torch.equal(micro.batch.pixels, part)


def test_a_loader_that_leaves_conversion_to_the_device_gives_the_same_batches(packed: Packed) -> None:
    feed = ShardFeed(packed(Toy(17, radar=False)), contract(), 6, seed=4)
    plain = StepLoader(feed, start=0, steps=1, batch_size=9).step(0).micros[0].batch.to("cpu")
    stored = StepLoader(feed, start=0, steps=1, batch_size=9, stored=True).step(0).micros[0].batch
    assert stored.pixels.dtype == torch.uint16
    assert same(stored.to("cpu"), plain)


def test_files_in_another_order_on_the_disk_change_nothing(packed: Packed, tmp_path: Path) -> None:
    import shutil

    layout = Toy(17, sizes=(8, 6), radar=False)
    shards = packed(layout)
    copied = tmp_path / "copy"
    folder = Path(shards.where)
    for path in sorted((p for p in folder.rglob("*") if p.is_file()), reverse=True):
        (copied / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied / path.relative_to(folder))
    for path in copied.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)  # a mount that cannot be written to
    a = ShardFeed(shards, contract(), 5, seed=1).take(3, 20)
    b = ShardFeed(Shards(copied), contract(), 5, seed=1).take(3, 20)
    assert a.ids == b.ids and same(a, b)
    for path in copied.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


def test_memory_of_batches_is_used_again_but_never_while_it_is_held(packed: Packed) -> None:
    shards = packed(Toy(64, sizes=(40,), radar=False), shard_bytes=2**22)
    feed = ShardFeed(shards, contract(), seed=2)
    kept = feed.take(0, 64)
    copy = kept.pixels.clone()
    view = kept.pixels[3:5]
    places = set()
    for n in range(6):
        batch = feed.take(64 * n, 64)
        places.add(batch.pixels.data_ptr())
        del batch
    assert len(places) == 1 and kept.pixels.data_ptr() not in places
    assert torch.equal(kept.pixels, copy)
    address = kept.pixels.data_ptr()
    del kept
    later = [feed.take(64 * n, 64) for n in range(3)]  # the view alone keeps the memory
    assert address not in {b.pixels.data_ptr() for b in later}
    assert torch.equal(view, copy[3:5])
    del view
    assert address in {feed.take(0, 64).pixels.data_ptr(), *(feed.take(0, 64).pixels.data_ptr(),)}


def test_what_does_not_fit_is_said_before_the_first_batch(packed: Packed) -> None:
    shards = packed(Toy(6, radar=False))
    with pytest.raises(ContractError, match=r"/there/0\.tif: band B11 is missing"):
        ShardFeed(shards, contract(("B02", "B11")))
    with pytest.raises(ContractError, match="the model eats dn"):
        ShardFeed(shards, contract(encoding=Encoding("dn")))
    with pytest.raises(ContractError, match="has 2 dates, the model eats 1"):
        ShardFeed(shards, contract(max_dates=1))
    with pytest.raises(InputError, match="records of 8x9 pixels, not 10x10"):
        ShardFeed(shards, contract(), 10)
    with pytest.raises(InputError, match="no records to feed"):
        ShardFeed(shards, contract(), index=[])
    exact = replace(contract(), size=(8, 8), exact_size=True)
    ShardFeed(shards, exact, 8)
    with pytest.raises(ContractError, match="is 8x9 pixels, the model eats 8x8"):
        ShardFeed(shards, exact)
    assert BandSpec(shards.bands("sentinel2")[0]).required


def test_it_says_what_it_draws_from_by_the_index_alone(
    packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = packed(Toy(5, sizes=(8,), radar=False))
    both = JoinedFeed([ShardFeed(shards, contract(), index=index) for index in ([0, 1], [2, 4])])
    whole = ShardFeed(shards, contract(), index=[0, 1, 2, 4])
    assert len(whole.contents()[0].keys) == 4
    assert difference(both.contents(), whole.contents()) == ""
    fewer = ShardFeed(shards, contract(), index=[0, 1, 4])
    monkeypatch.setattr(shards, "array", None)  # no pixel is read
    assert difference(whole.contents(), fewer.contents()) == "of 4 records 1 went"
