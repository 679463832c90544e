from __future__ import annotations

import json
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import sensor
from swath.cube import Cube, Encoding, Sample
from swath.data.collection import Collection, Frame
from swath.data.layouts.base import Item, Layout, LayoutInfo
from swath.errors import ConfigError, InputError, OutputError

BANDS = sensor("sentinel2").select(("B02", "B08"))


def cube(value: int, valid: bool = True, size: int = 3) -> Cube:
    shape = (1, 2, size, size)
    encodings = ((Encoding("reflectance", 1e-4),) * 2,)
    pixels = np.full(shape, value, np.uint16)
    made = Cube(pixels, np.full(shape, valid), BANDS, (None,), encodings, gsd=10.0)
    return made.with_statistics()


@dataclass
class Fake:
    """Items that are good (None), raise, or hold nothing."""

    info: ClassVar[LayoutInfo] = LayoutInfo(
        "fake", "Fake", ("segmentation",), {}, (), (), "", "", "", "", "", "", ()
    )
    faults: list[Exception | str | None]
    target: Any = field(default_factory=lambda: np.zeros((3, 3), np.int64))

    @property
    def items(self) -> list[Item]:
        return [Item(f"item-{i:04}", f"/there/{i}", group=f"g{i}") for i in range(len(self.faults))]

    def read(self, index: int) -> Sample:
        fault = self.faults[index]
        if isinstance(fault, Exception):
            raise fault
        item = self.items[index]
        return Sample({"sentinel2": cube(index + 1, fault != "empty")}, item.id, self.target, item.group)


def bad(text: str = "is cut short") -> InputError:
    return InputError(text, where="/there/a.tif", mend="fetch it anew")


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_stand_in_has_the_frame_of_the_good_ones_and_counts_for_nothing(tmp_path: Path) -> None:
    report = tmp_path / "run" / "bad_items.jsonl"
    layout = Fake([bad(), None, None, "empty"])
    assert isinstance(layout, Layout)
    collection = Collection(layout, limit=0.5, report=report)
    good, stand_in = collection.read(1), collection.read(0)
    assert good.weight == 1 and stand_in.weight == 0
    assert collection.frame.fits(good) and collection.frame.fits(stand_in)
    assert (stand_in.id, stand_in.group) == ("item-0000", "g0")
    assert not stand_in.cube.valid.any() and stand_in.cube.encodings == good.cube.encodings
    assert stand_in.cube.statistics is not None and stand_in.cube.statistics.count == (0, 0)
    assert stand_in.target is not None and (stand_in.target == -1).all() and stand_in.target.dtype == np.int64
    assert collection.read(3).weight == 0
    assert lines(report) == [
        {"id": "item-0000", "where": "/there/0", "reason": "/there/a.tif: is cut short; fetch it anew"},
        {"id": "item-0003", "where": "/there/3", "reason": "holds no valid pixel"},
    ]
    assert [b.id for b in collection.bad] == ["item-0000", "item-0003"]


@pytest.mark.parametrize(
    ("target", "unknown"),
    [
        (None, None),
        (np.int64(3), np.int64(-1)),
        (np.zeros(19, np.int64), np.full(19, -1)),
        (np.float32(1.5), np.float32("nan")),
        (np.zeros((2, 2), np.float32), np.full((2, 2), np.nan, np.float32)),
    ],
)
def test_an_unknown_target_has_the_shape_and_type_of_the_known_ones(target: Any, unknown: Any) -> None:
    stand_in = Collection(Fake([None, bad()], target), limit=0.5).read(1)
    if unknown is None:
        assert stand_in.target is None
    else:
        assert stand_in.target is not None and stand_in.target.dtype == unknown.dtype
        np.testing.assert_array_equal(stand_in.target, unknown)


def test_a_target_that_cannot_say_unknown_is_refused() -> None:
    with pytest.raises(InputError, match="uint8 cannot hold 'unknown'"):
        Frame.of(Fake([None], np.zeros(3, np.uint8)).read(0))


def test_a_frame_from_the_caller_saves_the_search() -> None:
    layout = Fake([bad(), bad(), bad()])
    frame = Frame.of(Fake([None]).read(0))
    assert Collection(layout, frame=frame, limit=1.0).read(2).weight == 0
    with pytest.raises(InputError, match="none of its 3 items can be read; among them item-0000: "):
        Collection(layout, limit=1.0).read(2)


@given(
    n=st.integers(1, 60),
    share=st.sampled_from([0.0, 0.01, 0.05, 0.29, 0.5, 1.0]),
    data=st.data(),
)
def test_it_stops_at_the_stated_share_and_not_before(n: int, share: float, data: st.DataObject) -> None:
    broken = data.draw(st.sets(st.integers(0, n - 1), max_size=n - 1))
    order = data.draw(st.permutations(range(n)))
    collection = Collection(Fake([bad() if i in broken else None for i in range(n)]), limit=share)
    allowed = round(share * 100) * n // 100
    assert collection.allowed == allowed
    try:
        weights = {i: collection.read(i).weight for i in [*order, *order]}
    except InputError as err:
        assert len(broken) > allowed and len(collection.bad) == allowed + 1
        assert f"{allowed + 1} of {n} items cannot be read" in str(err)
    else:
        assert len(broken) <= allowed
        assert weights == {i: float(i not in broken) for i in range(n)}


@given(order=st.permutations(range(6)))
def test_stand_ins_do_not_depend_on_what_was_read_before(order: list[int]) -> None:
    collection = Collection(Fake([bad(), None, bad(), None, None, bad()]), limit=0.5)
    shapes = {i: collection.read(i).cube.encodings for i in order}
    assert collection.frame == Frame.of(Fake([None] * 6).read(1)) and len(set(shapes.values())) == 1


def test_the_message_names_the_list(tmp_path: Path) -> None:
    report = tmp_path / "bad_items.jsonl"
    collection = Collection(Fake([None, bad()]), limit=0, report=report)
    assert collection.read(0).weight == 1
    for _ in range(2):  # and it stays stopped
        with pytest.raises(InputError, match=r"bad_items.jsonl: 1 of 2 items cannot be read") as caught:
            collection.read(1)
        assert "\n" not in str(caught.value) and caught.value.mend
    assert len(lines(report)) == 1


def test_what_a_library_raises_is_listed_with_its_kind_but_a_missing_library_is_not_the_items_fault() -> None:
    collection = Collection(Fake([None, ValueError("two\nlines"), ConfigError("install zarr")]), limit=0.5)
    assert collection.read(1).weight == 0
    assert collection.bad[0].reason == "ValueError: two lines"
    with pytest.raises(ConfigError, match="install zarr"):
        collection.read(2)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            collection.read(index)
    with pytest.raises(ConfigError, match=r"^bad_items: is 1\.5; give a share"):
        Collection(Fake([None]), limit=1.5)


def test_threads_list_each_item_once(tmp_path: Path) -> None:
    report = tmp_path / "bad_items.jsonl"
    collection = Collection(Fake([None, *[bad(str(i)) for i in range(40)]]), limit=1.0, report=report)
    with ThreadPoolExecutor(8) as pool:
        samples = list(pool.map(collection.read, [i % 41 for i in range(400)]))
    assert [s.id for s in samples[:41]] == [i.id for i in collection.items]
    assert sorted(row["id"] for row in lines(report)) == [i.id for i in collection.items[1:]]


def _read_all(collection: Collection) -> int:
    return sum(collection.read(i).weight == 0 for i in range(len(collection)))


def test_processes_share_one_list(tmp_path: Path) -> None:
    report = tmp_path / "bad_items.jsonl"
    collection = Collection(Fake([None, *[bad(str(i)) for i in range(30)]]), limit=1.0, report=report)
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        assert pool.map(_read_all, [collection] * 8) == [30] * 8
    assert sorted(row["id"] for row in lines(report)) == [i.id for i in collection.items[1:]]


def test_ranks_count_each_others_bad_items_and_a_broken_line_is_ended(tmp_path: Path) -> None:
    report = tmp_path / "bad_items.jsonl"
    faults = [None, bad(), bad(), *[None] * 17]
    one, two = (Collection(Fake(list(faults)), limit=0.05, report=report) for _ in range(2))
    report.write_text(
        '{"id": "of another set", "where": "", "reason": ""}\nno json\n{"id": "item-0001", "whe'
    )
    assert one.read(1).weight == 0
    with pytest.raises(InputError, match="2 of 20"):
        two.read(2)
    assert [json.loads(r)["id"] for r in report.read_text().splitlines()[3:]] == ["item-0001", "item-0002"]
    assert pickle.loads(pickle.dumps(two)).allowed == 1


def test_a_list_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    collection = Collection(Fake([None, bad()]), limit=1.0, report=tmp_path / "file" / "bad_items.jsonl")
    with pytest.raises(OutputError, match="cannot be written"):
        collection.read(1)
