"""Any layout's records are divided by where and when they are, while they are packed or afterwards."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_layout import Toy

from swath.cube import Grid, Place, Sample
from swath.data.collection import Collection
from swath.data.split_parts import Box, by_blocks
from swath.errors import ConfigError, InputError, SwathError
from swath.feed.shard_check import damaged
from swath.feed.shards import Shards
from swath.verbs.dividing import Divider, footprint, of_sample, redivide
from swath.verbs.packing import PACKING, pack, packing_report
from swath.verbs.split_options import SplitOptions

SHARES = {"train": 0.6, "test": 0.4}
ABOUT = {"layout": "toy", "split": None, "options": {}}


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@dataclass
class Spread(Toy):
    """Records 100 m apart in rows of 12, in one reference system; `zones` of them, or no grid at all."""

    zones: int = 1
    grids: bool = True
    places: bool = True
    when: bool = True

    def read(self, index: int) -> Sample:
        sample = super().read(index)
        x, y = 5e5 + 100 * (index % 12), 5e6 - 100 * (index // 12)

        def moved(name: str) -> Any:
            cube = sample.cubes[name]
            crs = f"EPSG:{32633 + index % self.zones}"
            grid = Grid(crs, (10.0, 0.0, x, 0.0, -10.0, y), *cube.shape[2:]) if self.grids else None
            place = Place(10 + index / 100, 50.0) if self.places else None
            dates = cube.dates if self.when else (None,) * len(cube.dates)
            return replace(cube, grid=grid, place=place, dates=dates, gsd=10.0)

        return replace(sample, cubes={name: moved(name) for name in sample.cubes})


def packed(layout: Toy, folder: Path, options: SplitOptions | None = None, **rest: Any) -> Shards:
    collection = Collection(layout, limit=0.5, report=packing_report(folder))
    divider = None if options is None else Divider(options)
    pack(collection, folder, about=ABOUT, shard_bytes=4096, divider=divider, **rest)
    return Shards(folder)


def parts(shards: Shards) -> list[str | None]:
    return [shards.split(i) for i in range(len(shards))]


BLOCKS = SplitOptions("blocks", SHARES, block=400.0, seed=2)


def test_blocks_are_those_of_the_footprints_and_bad_records_are_in_no_part(tmp_path: Path) -> None:
    layout = Spread(96, bad=(7, 40))
    shards = packed(layout, tmp_path / "s", BLOCKS)
    good = [i for i in range(96) if i not in layout.bad]
    wanted: list[str | None] = [None] * 96
    items = [of_sample(layout.read(i)) for i in good]
    made = by_blocks(items, SHARES, block=400.0, seed=2).names(len(good))
    for i, name in zip(good, made, strict=True):
        wanted[i] = name
    assert parts(shards) == wanted
    assert {"train", "test", None} == set(wanted) and wanted[7] is None
    # The official parts stay, and what divided the records is said.
    assert [n.decode() for n in shards.columns["official"].tolist()] == [i.split for i in layout.items]
    assert shards.manifest["split_by"] == {"kind": "blocks", "shares": SHARES, "block": 400.0, "seed": 2}
    assert len(shards.select(split="train")) == wanted.count("train")
    assert damaged(tmp_path / "s") == []


def test_divided_afterwards_is_divided_while_packing(tmp_path: Path) -> None:
    layout = Spread(60, bad=(7,))
    shards = packed(layout, tmp_path / "later")
    before = parts(shards)
    random = SplitOptions("random", SHARES)
    redivide(tmp_path / "later", Divider(random))
    redivide(tmp_path / "later", Divider(BLOCKS))
    later, at_once = Shards(tmp_path / "later"), packed(layout, tmp_path / "once", BLOCKS)
    assert parts(later) == parts(at_once) != before
    assert [n.decode() for n in later.columns["official"].tolist()] == before
    assert later.manifest["split_by"] == at_once.manifest["split_by"]
    assert damaged(tmp_path / "later") == []
    names = {Path(e["name"]).name for e in later.manifest["index"].values()}
    assert names == {p.name for p in (tmp_path / "later" / "index").iterdir()}


def test_a_refused_division_changes_nothing(tmp_path: Path) -> None:
    packed(Spread(60), tmp_path / "s")
    before = {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="leaves no item to"):
        redivide(tmp_path / "s", Divider(replace(BLOCKS, block=1e6)))
    assert {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()} == before
    # While packing: what is packed stays, and another division goes on with it.
    with pytest.raises(InputError, match=r"leaves no item to .*the good records packed so far \(60\) stay"):
        packed(Spread(60), tmp_path / "t", replace(BLOCKS, block=1e6))
    assert [p.name for p in (tmp_path / "t").iterdir()] == [PACKING]
    read: list[int] = []

    class Counted(Spread):
        def read(self, index: int) -> Sample:
            read.append(index)
            return super().read(index)

    assert parts(packed(Counted(60), tmp_path / "t", BLOCKS)) == parts(
        packed(Spread(60), tmp_path / "u", BLOCKS)
    )
    assert set(read) == {0}


def test_dates_and_groups_and_random(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = Spread(30, dates=1, bad=(4,))
    by_date = SplitOptions("dates", starts={"train": "start", "test": "2020-01-21"})
    found = parts(packed(layout, tmp_path / "dates", by_date))
    assert found == ["train" if i < 20 else "test" for i in range(4)] + [None] + [
        "train" if i < 20 else "test" for i in range(5, 30)
    ]
    by_group = packed(layout, tmp_path / "groups", SplitOptions("groups", SHARES))
    groups = by_group.columns["group"].tolist()
    assert len({(g, p) for g, p in zip(groups, parts(by_group), strict=True)}) == 10
    with caplog.at_level(logging.WARNING):
        packed(layout, tmp_path / "random", SplitOptions("random", SHARES))
    assert caplog.text.count("neighbours that look alike lie in several parts") == 1


def test_a_list_and_regions(tmp_path: Path) -> None:
    layout = Spread(24)
    listed = tmp_path / "parts.csv"
    listed.write_text("id,part\n" + "".join(f"item-{i:04},{'ab'[i % 2]}\n" for i in range(20)))
    shards = packed(layout, tmp_path / "list", SplitOptions("list", file=str(listed)))
    assert parts(shards) == [*("ab"[i % 2] for i in range(20)), None, None, None, None]
    corners = [(5e5 - 5, 5e6 + 5), (5e5 + 350, 5e6 + 5), (5e5 + 350, 5e6 - 500), (5e5 - 5, 5e6 - 500)]
    features = [
        {
            "type": "Feature",
            "properties": {"split": name},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[(x + dx, y) for x, y in [*corners, corners[0]]]],
            },
        }
        for name, dx in (("train", 0), ("test", 600))
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    path = tmp_path / "r.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    found = parts(packed(layout, tmp_path / "regions", SplitOptions("regions", file=str(path))))
    # A record is 80 m high and 90 m wide.
    assert found[:12] == ["train"] * 3 + [None] * 3 + ["test"] * 3 + [None] * 3


def test_blocks_of_several_reference_systems_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        packed(Spread(96, zones=2), tmp_path / "s", BLOCKS)
    assert "records lie in 2 reference systems" in caplog.text


@pytest.mark.parametrize(
    ("layout", "options", "words"),
    [
        (Spread(9, grids=False, places=False), BLOCKS, "split_by: record item-0000 has no place on the map"),
        (
            Spread(9, grids=False, places=False),
            SplitOptions("blocks", SHARES, block=1.0),
            "divide by groups or a list",
        ),
        (Spread(9, when=False), SplitOptions("dates", starts={"a": "start"}), "item-0000 has no date"),
        (Spread(9), SplitOptions("list", file="nowhere.csv"), "nowhere.csv: there is no such file"),
        (Spread(9), SplitOptions("regions", file="nowhere.gpkg"), "nowhere.gpkg: there is no such file"),
        (Spread(9), SplitOptions("dates", starts={"a": "2020-13-01"}), "split_by: starts hold no date"),
        (Spread(9), SplitOptions("blocks", SHARES), "split_by: block is missing"),
        (Spread(9), SplitOptions("random", {"train": 0.5}), "are not above 0 with a sum of 1"),
        (Spread(9), SplitOptions("regions"), "split_by: file is missing"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_packed(
    layout: Spread, options: SplitOptions, words: str, tmp_path: Path
) -> None:
    with pytest.raises(SwathError, match=words) as caught:
        packed(layout, tmp_path / "s", options)
    assert "\n" not in str(caught.value) and not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kind": "chance"}, "split_by.kind: is 'chance'; use one of blocks, groups"),
        ({"kind": "csv"}, "split_by.kind: is 'csv'"),
        ({"block": 100.0}, "split_by: block is given, but not by what to divide; give split_by.kind"),
    ],
)
def test_options_that_are_none(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SplitOptions(**given)
    assert str(caught.value).startswith(words)


def test_what_is_stated_is_kept_and_defaults_are_not() -> None:
    assert replace(BLOCKS, buffer=0.0).stated()["buffer"] == 0.0
    assert SplitOptions("random", SHARES).stated() == {"kind": "random", "shares": SHARES}


def test_footprints() -> None:
    grid = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 8, 9)
    assert footprint(grid, None, None, (8, 9)) == Box("EPSG:32633", 5e5, 5e6 - 80, 5e5 + 90, 5e6)
    assert footprint(replace(grid, crs=""), None, 10.0, (8, 9)) is None
    assert footprint(None, Place(10.0, 60.0), None, (8, 9)) is None
    box = footprint(None, Place(10.0, 60.0), 10.0, (30, 40))
    assert box is not None and box.plane == "EPSG:4326"
    # 250 m each way, whichever way the record is turned; a degree of longitude is half as long at 60 degrees.
    np.testing.assert_allclose(box.high - box.low, 500 / 111_320)
    np.testing.assert_allclose(box.right - box.left, 1000 / 111_320)
