"""From files to cubes, contracts and parts."""

from __future__ import annotations

import datetime as dt
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_layout import Toy

from swath.bands import sensor
from swath.contract import BandSpec
from swath.cube import Cube, Encoding, Sample
from swath.data.collection import Collection
from swath.data.layouts.base import Item
from swath.data.spec import SceneSpec
from swath.errors import ConfigError, InputError
from swath.feed.normalise import normalise
from swath.feed.pixel_size import to_gsd
from swath.feed.windows import RecordFeed
from swath.verbs.options import LayoutOptions, ModelOptions, NormaliseOptions, PixelData, RunOptions
from swath.verbs.packing import pack
from swath.verbs.pretrain import PretrainConfig, make_feed
from swath.verbs.scene_data import (
    contract_of,
    fixed_normalisation,
    from_records,
    read_patches,
    read_pretraining,
    read_scene,
)

DN = Encoding("dn", 1.0, 0.0)
PATCH = "S2A_MSIL2A_20170617T113321_36_85"


def cube(pixels: np.ndarray, valid: np.ndarray | None = None, encoding: Encoding = DN) -> Cube:
    t, c, _, _ = pixels.shape
    return Cube(
        pixels=pixels,
        valid=np.ones(pixels.shape, bool) if valid is None else valid,
        bands=sensor("landsat7").bands[:c],
        dates=(None,) * t,
        encodings=((encoding,) * c,) * t,
        gsd=30.0,
        source="cube",
    )


def random_cube(seed: int = 0, width: int = 12, t: int = 1) -> Cube:
    draw = np.random.default_rng(seed)
    return cube(
        draw.normal(seed, 2, (t, 2, 8, width)).astype(np.float32), draw.random((t, 2, 8, width)) > 0.3
    )


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_fixed_statistics_are_of_the_valid_pixels_of_all_cubes_in_the_columns(kind: Any) -> None:
    cubes = [random_cube(0), random_cube(5, 20, t=1)]
    contract = contract_of(cubes, NormaliseOptions(kind, "fixed", (2, 7)), 4)
    norm = contract.normalisation
    assert (norm.kind, norm.scope) == (kind, "fixed")
    for c in range(2):
        x = np.concatenate([q.pixels[0, c, :, 2:7][q.valid[0, c, :, 2:7]] for q in cubes]).astype(float)
        want = (x.mean(), x.std()) if kind == "standard" else (x.min(), x.max() - x.min())
        np.testing.assert_allclose((norm.centre[c], norm.spread[c]), want, rtol=1e-6)
    # What lies elsewhere may be anything.
    other = cubes[0].pixels.copy()
    other[..., 7:] = 1e9
    again = contract_of(
        [replace(cubes[0], pixels=other), cubes[1]], NormaliseOptions(kind, "fixed", (2, 7)), 4
    )
    assert again == contract


def test_statistics_are_in_the_unit_of_the_contract() -> None:
    given = random_cube()
    contract = contract_of([given], NormaliseOptions(), 4)
    scaled = replace(given, encodings=((Encoding("dn", 2.0, 10.0),) * 2,))
    norm = fixed_normalisation(contract, [scaled], "minmax")
    x = given.pixels[0, 0][given.valid[0, 0]].astype(float)
    np.testing.assert_allclose(norm.centre[0], x.min() * 2 + 10, rtol=1e-6)
    np.testing.assert_allclose(norm.spread[0], (x.max() - x.min()) * 2, rtol=1e-6)


def test_without_statistics_the_network_eats_physical_values() -> None:
    """Reflectance that is stored as 1,000 to 5,000 is 0.1 to 0.5 of light, whoever stored it."""
    stored = np.random.default_rng(0).uniform(1000, 5000, (1, 2, 8, 12)).astype(np.float32)
    given = cube(stored, encoding=Encoding("reflectance", 1e-4, 0.0))
    contract = contract_of([given], NormaliseOptions("identity"), 4)
    assert contract.encoding == Encoding("reflectance", 1.0, 0.0)
    batch = RecordFeed([contract.convert(given)], contract, 8, seed=0).take(0, 2)
    eaten = normalise(batch)
    assert float(eaten.min()) > 0.09 and float(eaten.max()) < 0.51
    # With statistics the scale cancels, and what is stored stays as it is.
    assert contract_of([given], NormaliseOptions("standard"), 4).encoding.scale == 1e-4


def test_bands_without_a_spread_are_refused_unless_they_are_optional() -> None:
    pixels = np.stack([np.random.default_rng(0).normal(size=(1, 8, 12)), np.full((1, 8, 12), 7.0)], 1)
    fixed = NormaliseOptions(scope="fixed", columns=(0, 5))
    with pytest.raises(
        InputError, match=r"band B2 has one value, 7, in all pixels of columns 0 to 4, so there"
    ):
        contract_of([cube(pixels)], fixed, 4)
    valid = np.ones(pixels.shape, bool)
    valid[:, 1, :, :5] = False
    with pytest.raises(
        InputError, match=r"band B2 has no valid pixel of columns 0 to 4.*; leave the band out"
    ):
        contract_of([cube(pixels, valid)], fixed, 4)
    contract = contract_of([cube(pixels, valid)], NormaliseOptions(), 4)
    bands = (contract.bands[0], BandSpec(contract.bands[1].band, required=False))
    norm = fixed_normalisation(replace(contract, bands=bands), [cube(pixels, valid)], "standard", (0, 5))
    assert (norm.centre[1], norm.spread[1]) == (0.0, 1.0)
    assert fixed_normalisation(contract, [cube(pixels)], "identity").kind == "identity"


def test_columns_must_be_within_every_scene() -> None:
    with pytest.raises(ConfigError, match="columns 0 to 12 are not all within cube, which has 12"):
        contract_of([random_cube()], NormaliseOptions(scope="fixed", columns=(0, 13)), 4)


def test_units_are_not_mixed() -> None:
    mixed = replace(random_cube(), encodings=((DN, Encoding("reflectance", 1.0, 0.0)),))
    with pytest.raises(InputError, match="mixes units: dn, reflectance; choose bands of one unit"):
        contract_of([mixed], NormaliseOptions(), 4)


def test_windows_keep_to_columns_and_out_of_what_is_held_out(land: Any) -> None:
    spec = SceneSpec(land.scene, sensor="landsat7")
    data = PixelData((spec, spec), hold_out=("2,3,5,6",), columns=(0, 50), window=16)
    read = read_pretraining(data)
    first, second = read.areas
    assert first is not None and second is not None
    assert not first[:, 50:].any() and not second[:, 50:].any()
    assert not first[2:7, 3:9].any() and second[2:7, 3:9].all()
    assert first.sum() == 40 * 50 - 30
    assert [c.shape for c in read.held_out] == [(1, 3, 5, 6)]
    assert read_pretraining(PixelData((spec,), window=16)).areas == (None,)


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 10)] * 2), max_size=3), st.booleans())
def test_boxes_held_out_of_a_scene_are_not_measured(
    measured: tuple[Cube, SceneSpec], boxes: list[tuple[int, int, int, int]], some: bool
) -> None:
    cube, spec = measured
    columns = (5, 90) if some else ()
    data = PixelData(
        (spec,),
        hold_out=tuple(",".join(map(str, box)) for box in boxes),
        window=8,
        normalise=NormaliseOptions("standard", "fixed", columns),
    )
    norm = read_pretraining(data).contract.normalisation
    known = cube.valid[0].copy()
    for row, col, height, width in boxes:
        known[:, row : row + height, col : col + width] = False
    if some:
        known[:, :, :5] = known[:, :, 90:] = False
    for c in range(3):
        x = cube.pixels[0, c][known[c]].astype(float)
        np.testing.assert_allclose((norm.centre[c], norm.spread[c]), (x.mean(), x.std()), rtol=1e-9)


def test_of_several_scenes_boxes_are_those_of_the_first(land: Any) -> None:
    spec = SceneSpec(land.scene, sensor="landsat7")
    fixed = NormaliseOptions("standard", "fixed")
    data = PixelData((spec, spec), hold_out=("2,3,30,60",), window=8, normalise=fixed)
    found = read_pretraining(data).contract.normalisation
    first, second = read_scene(spec), read_scene(spec)
    known = first.valid[0, 0].copy()
    known[2:32, 3:63] = False
    x = np.concatenate([first.pixels[0, 0][known], second.pixels[0, 0][second.valid[0, 0]]]).astype(float)
    np.testing.assert_allclose(found.centre[0], x.mean(), rtol=1e-9)
    # Statistics of whole scenes are of whole scenes, whatever is held out.
    scope = replace(data, normalise=NormaliseOptions("standard", "scene"))
    assert (
        read_pretraining(scope).cubes[0].statistics
        == read_pretraining(replace(scope, hold_out=())).cubes[0].statistics
    )


def test_a_scene_that_is_held_out_whole_has_nothing_to_measure(land: Any) -> None:
    spec = SceneSpec(land.scene, sensor="landsat7")
    data = PixelData(
        (spec,), hold_out=("0,0,40,112",), window=8, normalise=NormaliseOptions("standard", "fixed")
    )
    with pytest.raises(InputError, match="band B2 has no valid pixel, so there is nothing to normalise by"):
        read_pretraining(data)


@pytest.fixture(scope="module")
def measured(land: Any) -> tuple[Cube, SceneSpec]:
    spec = SceneSpec(land.scene, sensor="landsat7")
    return read_scene(spec), spec


def test_what_is_held_out_is_not_measured() -> None:
    normalise = NormaliseOptions("standard", "fixed")
    cubes = read_patches("demo:bigearthnet")
    names = [Path(cube.source).name for cube in cubes]
    given = PixelData(patches="demo:bigearthnet", hold_out=(PATCH,), window=16, normalise=normalise)
    rest = [cube for cube, of in zip(cubes, names, strict=True) if of != PATCH]
    alone = from_records(rest, replace(given, hold_out=())).contract.normalisation
    assert from_records(cubes, given).contract.normalisation == alone
    assert from_records(cubes, replace(given, hold_out=())).contract.normalisation != alone


def test_patches_are_held_out_by_name(tmp_path: Path) -> None:
    normalise = NormaliseOptions("minmax", "record")
    given = PixelData(patches="demo:bigearthnet", hold_out=(PATCH,), window=16, normalise=normalise)
    read = read_pretraining(given)
    assert len(read.cubes) == 5 and [c.source for c in read.held_out] == [PATCH]
    with pytest.raises(ConfigError, match=r"data.hold_out: there is no patch nobody; name some of S2"):
        read_pretraining(replace(given, hold_out=("nobody",)))
    with pytest.raises(ConfigError, match="every patch is held out"):
        read_pretraining(replace(given, hold_out=tuple(c.source for c in (*read.cubes, *read.held_out))))
    with pytest.raises(InputError, match="no such folder; give a folder of patches"):
        read_patches(str(tmp_path / "none"))
    with pytest.raises(InputError, match="holds no patch folders"):
        read_patches(str(tmp_path))


def test_records_of_a_layout_are_held_out_by_their_whole_id(tmp_path: Path) -> None:
    build = runpy.run_path(str(Path(__file__).parents[1] / "data/layouts/conftest.py"))["BUILD"]
    layout = LayoutOptions("otbtf", str(tmp_path), build["otbtf"](tmp_path))
    read = read_pretraining(PixelData(layout=layout, hold_out=("B/00001",), window=16))
    assert [c.source for c in read.held_out] == ["B/00001"]
    assert {"A/00001", "B/00000"} < {c.source for c in read.cubes}
    with pytest.raises(ConfigError, match=r"data.hold_out: there is no patch 00001; name some of A/00000"):
        read_pretraining(PixelData(layout=layout, hold_out=("00001",), window=16))


def test_a_scene_without_a_valid_pixel_is_refused(tmp_path: Path, raster: Callable[..., str]) -> None:
    path = raster(tmp_path / "a.tif", np.zeros((1, 8, 8), np.uint8), names=("B2",), unit="dn", nodata=0)
    with pytest.raises(InputError, match="holds no valid pixel; check its no-data value"):
        read_scene(SceneSpec(path, sensor="landsat7"))


def series(name: str, dates: int, clouded: int) -> Cube:
    """A record of a layout: 3 bands of 12 x 12 pixels, the last dates under cloud."""
    pixels = np.random.default_rng(dates).integers(1, 99, (dates, 3, 12, 12)).astype(np.uint16)
    valid = np.ones(pixels.shape, bool)
    valid[dates - clouded :] = False
    bands = sensor("sentinel2").select(("B02", "B03", "B04"))
    days = tuple(dt.date(2020, 1, 1) + dt.timedelta(5 * t) for t in range(dates))
    row = (Encoding("reflectance", 1e-4, 0.0, "L2A"),) * 3
    return Cube(pixels, valid, bands, days, (row,) * dates, gsd=10.0, source=name).with_statistics()


def test_records_of_long_series_are_learned_from_by_a_few_clear_dates() -> None:
    cubes = [series("a", 7, 4), series("b", 9, 5), series("c", 6, 1)]
    data = PixelData(
        layout=LayoutOptions("worldcereal", "nowhere"), dates=3, hold_out=("c",), window=8, min_valid=0.9
    )
    found = from_records(cubes, data)
    # Less than half of a and b is valid, and yet they are learned from: the share is asked of each date.
    assert [c.source for c in found.cubes] == ["a", "b"] and found.contract.max_dates is None
    assert found.held_out[0].dates == tuple(cubes[2].dates[t] for t in (0, 2, 4))
    config = PretrainConfig(RunOptions("nowhere"), ModelOptions("st_swin_mae"), data)
    batch = make_feed(config, found).take(0, 40)
    assert batch.pixels.shape == (40, 3, 3, 8, 8) and batch.valid.all()
    drawn = {tuple(days[:, 0].tolist()) for days in batch.days}
    assert len(drawn) > 2 and max(d for days in drawn for d in days) <= 16
    assert {name.partition("@")[0] for name in batch.ids} == {"a", "b"}


def test_scenes_at_another_pixel_size_keep_their_places(land: Any) -> None:
    """Boxes and columns are those of the files, whatever size is learned from."""
    spec = SceneSpec(land.scene, sensor="landsat7")
    fixed = NormaliseOptions("standard", "fixed", (4, 60))
    options: dict[str, Any] = {"hold_out": ("20,90,16,14",), "columns": (8, 200), "window": 8}
    fine = read_pretraining(PixelData((spec, spec), normalise=fixed, **options))
    found = read_pretraining(PixelData((spec, spec), normalise=fixed, gsd=60.0, **options))
    own, coarse = fine.cubes[0], found.cubes[0]
    assert found.contract.gsd == coarse.gsd == 60.0 and coarse.shape[2:] == (20, 56)
    assert own.grid is not None and coarse.grid is not None
    assert coarse.grid.xy(3, 5) == own.grid.xy(6, 10)
    assert found.held_out[0].grid is not None and fine.held_out[0].grid is not None
    assert found.held_out[0].grid.transform[2::3] == fine.held_out[0].grid.transform[2::3]
    assert found.held_out[0].shape[2:] == (8, 7)
    for wide, narrow in zip(found.areas, fine.areas, strict=True):
        assert wide is not None and narrow is not None
        np.testing.assert_array_equal(wide.repeat(2, 0).repeat(2, 1), narrow)
    # Statistics are those of the pixels that are learned from.
    x = coarse.pixels[:, 0, :, 2:30][coarse.valid[:, 0, :, 2:30]].astype(float)
    norm = found.contract.normalisation
    np.testing.assert_allclose((norm.centre[0], norm.spread[0]), (x.mean(), x.std()), rtol=1e-6)
    assert norm.spread[0] < fine.contract.normalisation.spread[0]
    # 40 rows do not divide by 3, and the last block reaches the edge as what it is: two thirds of one.
    third = read_pretraining(PixelData((spec,), gsd=90.0, window=4, hold_out=("36,0,4,12",)))
    assert third.cubes[0].shape[2:] == (14, 38) and third.held_out[0].shape[2:] == (2, 4)
    finer = read_pretraining(PixelData((spec,), gsd=15.0, window=8, hold_out=("1,2,3,5",)))
    assert finer.held_out[0].shape[2:] == (6, 10) and finer.contract.gsd == 15.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hold_out": ("20,91,16,14",)}, r"data\.hold_out: 91 lies within a pixel of 60 m, which is 2 of .* 90 or 92"),
        ({"hold_out": ("20,90,15,14",)}, r"data\.hold_out: 35 lies within a pixel .* take 34 or 36"),
        ({"columns": (3, 60)}, r"data\.columns: 3 lies within a pixel of 60 m.*take 2 or 4 in its place"),
        ({"normalise": NormaliseOptions(scope="fixed", columns=(0, 7))}, r"normalise\.columns: 7 lies within"),
        ({"normalise": NormaliseOptions(scope="fixed", columns=(0, 113))}, "columns 0 to 112 are not all within"),
        ({"gsd": 45.0}, r"scene of 2000\.tif: has pixels of 30 m, .* set data\.gsd to 30 or 60, or give"),
        ({"gsd": 20.0}, r"which are no whole number of 20 m; set data\.gsd to 30 or 15"),
    ],
)  # fmt: skip
def test_what_cannot_be_brought_to_a_pixel_size_is_told(
    land: Any, options: dict[str, Any], words: str
) -> None:
    spec = SceneSpec(land.scene, sensor="landsat7")
    with pytest.raises((ConfigError, InputError), match=words):
        read_pretraining(PixelData((spec,), **{"gsd": 60.0, "window": 8, **options}))


def test_columns_are_not_measured_where_scenes_mean_different_ones(
    land: Any, tmp_path: Path, raster: Callable[..., str]
) -> None:
    pixels = np.random.default_rng(0).integers(1, 200, (3, 20, 30)).astype(np.uint8)
    path = raster(tmp_path / "a.tif", pixels, names=("B2", "B3", "B4"), unit="dn", res=60.0)
    specs = SceneSpec(land.scene, sensor="landsat7"), SceneSpec(path, sensor="landsat7")
    data = PixelData(specs, gsd=60.0, window=8, columns=(0, 30))
    read = read_pretraining(data)
    assert [None if a is None else a.any(0).sum() for a in read.areas] == [15, None]
    assert {c.gsd for c in read.cubes} == {60.0}
    with pytest.raises(ConfigError, match=r"normalise\.columns: the scenes have pixels of several sizes"):
        read_pretraining(replace(data, normalise=NormaliseOptions(scope="fixed", columns=(0, 30))))


def test_a_scene_without_a_reference_system_has_no_pixel_size(
    tmp_path: Path, raster: Callable[..., str]
) -> None:
    pixels = np.random.default_rng(0).integers(1, 200, (1, 20, 30)).astype(np.uint8)
    path = raster(tmp_path / "a.tif", pixels, names=("B2",), unit="dn", crs=None)
    with pytest.raises(InputError, match=r"a\.tif: does not say how large its pixels are"):
        read_pretraining(PixelData((SceneSpec(path, sensor="landsat7"),), gsd=60.0, window=8))


def test_patches_at_another_pixel_size_are_chosen_by_their_own_pixels() -> None:
    given = PixelData(patches="demo:bigearthnet", window=16, min_valid=1.0, hold_out=(PATCH,))
    own, coarse = read_pretraining(given), read_pretraining(replace(given, gsd=20.0))
    assert [c.source for c in coarse.cubes] == [c.source for c in own.cubes]
    assert {c.shape[2:] for c in (*coarse.cubes, *coarse.held_out)} == {(60, 60)}
    assert coarse.contract.gsd == 20.0
    assert all(c.statistics != o.statistics for c, o in zip(coarse.cubes, own.cubes, strict=True))
    with pytest.raises(InputError, match=r"has pixels of 10 m, .*data\.gsd to 20 or 30"):
        read_pretraining(replace(given, gsd=25.0))


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Cube], str]:
    """Records as a layout reads them, and packed."""
    read = Collection(Toy(9, radar=False, dates=4, sizes=(16,)))
    samples = [read.read(i) for i in range(9)]
    folder = tmp_path_factory.mktemp("toys") / "shards"
    pack(read, folder, about={})
    return [replace(s.cube, source=s.id) for s in samples], str(folder)


@pytest.mark.parametrize("scope", ["record", "fixed"])
@pytest.mark.parametrize(
    "options",
    [
        {"gsd": 20.0},
        {"gsd": 5.0},
        {"dates": 2, "min_valid": 0.75},
        {"dates": 2},
        {"dates": 3, "gsd": 20.0, "min_valid": 0.9},
    ],
)
def test_shards_are_fed_as_a_layout_in_memory_is(
    toys: tuple[list[Cube], str], scope: Any, options: dict[str, Any]
) -> None:
    cubes, folder = toys
    shared = {
        "hold_out": ("item-0004",),
        "window": 6,
        "normalise": NormaliseOptions("standard", scope),
        **options,
    }
    of_layout = PixelData(layout=LayoutOptions("worldcereal", "nowhere"), **shared)
    of_shards = PixelData(shards=(folder,), **shared)
    shares = [float(cube.valid.mean()) for cube in cubes]
    found = from_records(
        [to_gsd(c, of_layout.gsd) for c in cubes], of_layout, shares, [c.source for c in cubes]
    )
    streamed = read_pretraining(of_shards)
    assert streamed.contract.gsd == found.contract.gsd == (options.get("gsd") or 10.0)
    a, b = found.contract.normalisation, streamed.contract.normalisation
    np.testing.assert_allclose((*a.centre, *a.spread), (*b.centre, *b.spread), rtol=1e-9)
    # Streamed sums are rounded differently in the last digit; all else is the same bits.
    found = replace(found, contract=streamed.contract)
    assert [c.dates for c in streamed.held_out] == [c.dates for c in found.held_out]
    np.testing.assert_array_equal(streamed.held_out[0].pixels, found.held_out[0].pixels)
    configs = (
        PretrainConfig(RunOptions("nowhere"), ModelOptions("st_swin_mae"), d) for d in (of_layout, of_shards)
    )
    wanted, given = (make_feed(c, d).take(3, 20) for c, d in zip(configs, (found, streamed), strict=True))
    assert wanted.ids == given.ids
    for name in ("pixels", "valid", "days", "gain", "bias"):
        np.testing.assert_array_equal(getattr(given, name), getattr(wanted, name))


@pytest.mark.parametrize("first", ["named", "other"])
def test_sets_that_call_their_cube_differently_are_measured_together(tmp_path: Path, first: str) -> None:
    cubes = {"named": random_cube(1), "other": random_cube(2)}
    cubes["other"] = replace(cubes["other"], pixels=cubes["other"].pixels + 20_000)

    class One:
        info = Toy.info

        def __init__(self, name: str) -> None:
            self.name = name
            self.items = (Item(name, name, name, ""),)

        def read(self, index: int) -> Sample:
            return Sample({self.name: cubes[self.name]}, self.name)

    for name in cubes:
        pack(Collection(One(name)), tmp_path / name, about={})
    names = sorted(cubes, key=lambda name: name != first)
    data = PixelData(
        shards=tuple(str(tmp_path / name) for name in names),
        window=4,
        normalise=NormaliseOptions("standard", "fixed"),
    )
    wanted = contract_of(list(cubes.values()), data.normalise, 4).normalisation
    found = read_pretraining(data).contract.normalisation
    np.testing.assert_allclose(found.centre, wanted.centre, rtol=1e-9)
    np.testing.assert_allclose(found.spread, wanted.spread, rtol=1e-9)


def test_dates_are_not_chosen_of_patches() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.dates: is 2; .* a number of dates of scenes, shards or a layout"
    ):
        PixelData(patches="x", dates=2)


def test_dates_of_packed_series_are_drawn_anew_and_clear(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole dates lie under cloud, in records of several lengths; and some records have too few clear ones."""
    cubes = [series("a", 7, 4), series("b", 9, 5), series("c", 6, 1), series("d", 8, 6)]

    class Series:
        info = Toy.info
        items = tuple(Item(c.source, c.source, c.source, "") for c in cubes)

        def read(self, index: int) -> Sample:
            return Sample({"s2": cubes[index]}, cubes[index].source)

    pack(Collection(Series()), tmp_path / "shards", about={})
    data = PixelData(shards=(str(tmp_path / "shards"),), dates=3, hold_out=("c",), window=8, min_valid=0.9)
    found = read_pretraining(data)
    assert found.held_out[0].dates == tuple(cubes[2].dates[t] for t in (0, 2, 4))
    config = PretrainConfig(RunOptions("nowhere"), ModelOptions("st_swin_mae"), data)
    batch = make_feed(config, found).take(0, 40)
    assert batch.pixels.shape == (40, 3, 3, 8, 8) and batch.valid.all()
    said = "1 of 3 records have no window of 8 pixels a side with 3 dates of which at least 0.9 of the pixels are valid"
    assert caplog.text.count(said) == 1
    assert len({tuple(days[:, 0].tolist()) for days in batch.days}) > 2
    assert {name.partition("@")[0] for name in batch.ids} == {"a", "b"}
    with pytest.raises(InputError, match="has 6 dates, and 7 are asked for"):
        make_feed(
            replace(config, data=replace(data, hold_out=(), dates=7)),
            read_pretraining(replace(data, hold_out=(), dates=7)),
        )
