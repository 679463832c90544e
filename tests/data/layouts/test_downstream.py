"""What holds for every layout with labels: its items, its truth about itself, and its ends when files are bad."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from swath.cube import Sample
from swath.data.layouts.base import Layout
from swath.data.layouts.registry import layout_class, open_layout
from swath.errors import ConfigError, InputError, SwathError


def same(a: Sample, b: Sample) -> bool:
    return (
        (a.id, a.group, a.weight, list(a.cubes)) == (b.id, b.group, b.weight, list(b.cubes))
        and np.array_equal(np.asarray(a.target), np.asarray(b.target), equal_nan=a.target is not None)
        and all(
            np.array_equal(x.pixels, y.pixels, equal_nan=x.pixels.dtype.kind == "f")
            and np.array_equal(x.valid, y.valid)
            and (x.bands, x.dates, x.encodings, x.grid) == (y.bands, y.dates, y.encodings, y.grid)
            for x, y in zip(a.cubes.values(), b.cubes.values(), strict=True)
        )
    )


def test_it_is_as_it_says(built) -> None:
    layout = open_layout(built.name, built.root, **built.options)
    info = layout_class(built.name).info
    assert isinstance(layout, Layout) and info.name == built.name
    for field in (
        "title",
        "tasks",
        "sensors",
        "size",
        "dates",
        "items",
        "unit",
        "licence",
        "source",
        "files",
    ):
        assert getattr(info, field), field
    ids = [i.id for i in layout.items]
    assert ids == sorted(set(ids)) and len(ids) > 1
    for i, item in enumerate(layout.items):
        sample = layout.read(i)
        assert (sample.id, sample.weight) == (item.id, 1.0) and item.group in (None, sample.group)
        assert item.split is None or item.split in info.splits
        for name, cube in sample.cubes.items():
            assert tuple(b.name for b in cube.bands) == tuple(info.sensors[name])
            assert cube.statistics is not None and cube.valid.any()
        if info.classes and "multilabel" not in info.tasks and sample.target is not None:
            assert sample.target.dtype == np.int64
            assert sample.target.min() >= -1 and sample.target.max() < len(info.classes)
            if sample.target.ndim == 2:
                assert sample.target.shape == next(iter(sample.cubes.values())).shape[2:]


def test_its_parts_are_whole_and_apart(built) -> None:
    info = layout_class(built.name).info
    everything = {i.id: i for i in open_layout(built.name, built.root, **built.options).items}
    seen: set[str] = set()
    for split in info.splits:
        items = open_layout(built.name, built.root, split, **built.options).items
        assert items and not seen & {i.id for i in items} and {i.split for i in items} == {split}
        seen |= {i.id for i in items}
    if info.splits:
        assert {i for i, item in everything.items() if item.split} <= seen
    with pytest.raises(ConfigError, match="no split 'moon'"):
        open_layout(built.name, built.root, "moon", **built.options)
    with pytest.raises(ConfigError, match="no split 'moon'"):
        layout_class(built.name)(built.root, "moon", **built.options)


def test_neither_order_on_disk_nor_odd_files_change_anything(built, tmp_path: Path) -> None:
    before = open_layout(built.name, built.root, **built.options)
    other = tmp_path / "copied backwards"
    files = sorted((p for p in built.root.rglob("*") if p.is_file()), reverse=True)
    for path in files:
        to = other / path.relative_to(built.root)
        to.parent.mkdir(parents=True, exist_ok=True)
        (to.parent / f"._{to.name}").write_bytes(b"\0\5\26\7 Mac OS X")
        (to.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        shutil.copyfile(path, to)
        (to.parent / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    after = open_layout(built.name, other, **built.options)
    assert [(i.id, i.group, i.split) for i in before.items] == [(i.id, i.group, i.split) for i in after.items]
    assert all(same(before.read(i), after.read(i)) for i in range(len(before.items)))


def test_listing_opens_no_pixels(built) -> None:
    if built.name == "otbtf":
        pytest.skip("how many patches there are is told by the height of its one raster of labels")
    before = [i.id for i in open_layout(built.name, built.root, **built.options).items]
    for path in built.root.rglob("*"):
        if path.suffix in {".tif", ".png", ".bmp", ".nc", ".npz", ".jp2", ".HDR"} or "TM" in path.name:
            path.write_bytes(b"")
    assert [i.id for i in open_layout(built.name, built.root, **built.options).items] == before


def read_everything(built) -> list[Sample]:
    layout = open_layout(built.name, built.root, **built.options)
    return [layout.read(i) for i in range(len(layout.items))]


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "gone"])
def test_each_bad_file_is_one_line_that_names_it(built, damage: str) -> None:
    """Or, where the file is not needed, the same samples."""
    before = read_everything(built)
    where = {i.id: i.where for i in open_layout(built.name, built.root, **built.options).items}
    files = sorted(p for p in built.root.rglob("*") if p.is_file())
    for path in files[:: 1 + len(files) // (16 if len(files) < 40 else 6)]:  # some of many files of one kind
        whole = path.read_bytes()
        path.unlink()
        if damage != "gone":
            path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not this\n"}[damage])
        try:
            after = read_everything(built)
        except SwathError as error:
            line = str(error)
            assert "\n" not in line and error.where and error.mend, line
            assert path.stem.split("_")[0].split(".")[0] in line or path.parent.name in line, (
                path.name,
                line,
            )
        else:
            by_id = {s.id: s for s in after}
            # A list, or a label of a part that was not asked for, may fall away; nothing that is left may change.
            for sample in before:
                if sample.id in by_id:
                    assert same(sample, by_id[sample.id]), path.name
            lost = {where[s.id] for s in before if s.id not in by_id}
            assert path.suffix in {".txt", ".csv"} or lost <= {str(path)}, path.name
        path.write_bytes(whole)


def test_an_empty_and_an_absent_folder(built, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError) as caught:
        open_layout(built.name, empty, **built.options)
    assert str(empty) in str(caught.value) and caught.value.mend
    with pytest.raises(InputError, match="no such folder"):
        open_layout(built.name, tmp_path / "absent", **built.options)
    with pytest.raises(ConfigError, match="options"):
        open_layout(built.name, built.root, colour="blue")
