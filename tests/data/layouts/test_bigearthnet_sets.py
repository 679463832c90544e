"""BigEarthNet v1 and v2 as sets: classes, pairs, lists and maps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.layouts.corine import DROPPED, GROUPS, LEVEL3, NAMES_19, groups_of_codes, multi_hot
from swath.data.layouts.registry import open_layout
from swath.errors import ConfigError, InputError


def test_the_43_classes_fall_into_19_groups_but_for_eleven() -> None:
    codes = [c for members in GROUPS.values() for c in members]
    assert len(LEVEL3) == 43 and len(GROUPS) == 19 and len(codes) == len(set(codes)) == 32
    assert set(codes) | {c.value for c in LEVEL3 if c.name in DROPPED} == {c.value for c in LEVEL3}
    assert len(DROPPED) == 11 and "Airports" in DROPPED and "Bare rock" in DROPPED
    target = multi_hot(["Vineyards", "Olive groves", "Airports", "Sea and ocean"], 19, "x")
    assert [NAMES_19[i] for i in np.flatnonzero(target)] == ["Permanent crops", "Marine waters"]
    assert multi_hot(["Airports"], 19, "x").sum() == 0 and multi_hot(["Airports"], 43, "x").sum() == 1
    with pytest.raises(InputError, match="unknown classes: Vineyard"):
        multi_hot(["Vineyard"], 19, "x")
    with pytest.raises(InputError, match="unknown classes: Arable land"):
        multi_hot(["Arable land"], 43, "x")


def test_codes_of_a_map() -> None:
    codes = np.array([[211, 213, 142], [0, 999, 523]], np.uint16)
    assert groups_of_codes(codes, "x").tolist() == [[2, 2, -1], [-1, -1, 18]]
    with pytest.raises(InputError, match="no CORINE codes: 7"):
        groups_of_codes(np.array([7]), "x")


def test_v1_with_both_class_lists_and_pairs(tmp_path: Path, builders: Any) -> None:
    builders.bigearthnet(tmp_path)
    layout = open_layout("bigearthnet", tmp_path, "val", s1=True)
    sample = layout.read(0)
    assert sample.id == "S2A_MSIL2A_20170613T101031_87_48" and sample.group == "T33UUP"
    assert sample.target is not None and [NAMES_19[i] for i in np.flatnonzero(sample.target)] == [
        "Arable land",
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
    ]
    assert sample.cubes["sentinel1"].shape == (1, 2, 120, 120)
    assert sample.cubes["sentinel1"].encodings[0][0].unit == "decibel"
    wide = open_layout("bigearthnet", tmp_path, "val", classes=43).read(0)
    assert wide.target is not None and wide.target.shape == (43,) and list(wide.cubes) == ["sentinel2"]
    # Without lists, pairs are in the labels of Sentinel-1.
    for part in ("train", "val", "test"):
        (tmp_path / f"{part}.csv").unlink()
    everything = open_layout("bigearthnet", tmp_path, s1=True)
    again = everything.read([i.id for i in everything.items].index(sample.id))
    np.testing.assert_array_equal(again.cubes["sentinel1"].pixels, sample.cubes["sentinel1"].pixels)
    label = next((tmp_path / "BigEarthNet-S1-v1.0").glob("*_87_48/*.json"))
    label.write_text("{")
    lonely = open_layout("bigearthnet", tmp_path, s1=True)
    with pytest.raises(InputError, match=r"has no patch of Sentinel-1; look in .*87_48_labels_metadata.json"):
        lonely.read([i.id for i in lonely.items].index(sample.id))


def test_v1_wrong_lists_and_options(tmp_path: Path, builders: Any) -> None:
    builders.bigearthnet(tmp_path)
    with pytest.raises(ConfigError, match="use 19 or 43"):
        open_layout("bigearthnet", tmp_path, classes=20)
    (tmp_path / "val.csv").write_text("holiday\n")
    with pytest.raises(InputError, match="'holiday' names no patch"):
        open_layout("bigearthnet", tmp_path, "val")
    (tmp_path / "val.csv").unlink()
    with pytest.raises(InputError, match=r"there is no val.csv"):
        open_layout("bigearthnet", tmp_path, "val")
    shutil.rmtree(tmp_path / "BigEarthNet-S1-v1.0")
    with pytest.raises(InputError, match="holds no folder of Sentinel-1"):
        open_layout("bigearthnet", tmp_path, s1=True)


def test_v2_labels_maps_and_pairs(tmp_path: Path, builders: Any) -> None:
    pytest.importorskip("pyarrow")
    builders.bigearthnet_v2(tmp_path)
    layout = open_layout("bigearthnet-v2", tmp_path, "validation", s1=True)
    sample = layout.read(0)
    assert layout.items[0].group == "T33UUP" and str(sample.cubes["sentinel2"].dates[0]) == "2017-06-13"
    assert sample.target is not None and [NAMES_19[i] for i in np.flatnonzero(sample.target)] == [
        "Arable land",
        "Inland waters",
    ]
    assert str(sample.cubes["sentinel1"].dates[0]) == "2017-06-13"
    mapped = open_layout("bigearthnet-v2", tmp_path, "validation", target="map").read(0)
    assert mapped.target is not None and mapped.target[0, :5].tolist() == [2, 9, 17, -1, -1]
    with pytest.raises(ConfigError, match="target"):
        open_layout("bigearthnet-v2", tmp_path, target="boxes")
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        open_layout("bigearthnet-v2", tmp_path)


def test_v2_patches_without_the_table_are_a_folder_of_ones_own(tmp_path: Path, builders: Any) -> None:
    pytest.importorskip("pyarrow")
    builders.bigearthnet_v2(tmp_path)
    whole = open_layout("bigearthnet-v2", tmp_path).read(1).cube
    (tmp_path / "metadata.parquet").unlink()
    with pytest.raises(
        InputError, match=r"metadata.parquet: the table .* is missing; fetch it from https://\S+; .*folder"
    ):
        open_layout("bigearthnet-v2", tmp_path)
    plain = {"sensor": "sentinel2", "unit": "reflectance", "scale": 1e-4, "offset": 0.0, "level": "L2A"}
    files = "BigEarthNet-S2/*/{place}/S2A_MSIL2A_{date:%Y%m%dT%H%M%S}_*_{band}.tif"
    own = open_layout(
        "folder", tmp_path, spec={**plain, "images": files, "bands": [b.name for b in whole.bands]}
    )
    cube = own.read(1).cube
    assert len(own.items) == 3 and cube.dates == whole.dates
    np.testing.assert_array_equal(cube.pixels, whole.pixels)
    np.testing.assert_array_equal(cube.valid, whole.valid)


def test_v2_a_table_of_something_else(tmp_path: Path, builders: Any) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    row = {"patch_id": "S2A_1", "labels": ["Pastures"], "split": "train", "s1_name": "x"}
    for change, says in (
        ({"patch_id": "S2A_1"}, "'S2A_1' is none of reBEN's"),
        ({"split": None}, "none of reBEN's"),
    ):
        pq.write_table(pa.Table.from_pylist([row | change]), tmp_path / "metadata.parquet")
        with pytest.raises(InputError, match=says):
            open_layout("bigearthnet-v2", tmp_path)
    pq.write_table(pa.Table.from_pylist([{"patch_id": "x"}]), tmp_path / "metadata.parquet")
    with pytest.raises(InputError, match="lacks column labels, split, s1_name"):
        open_layout("bigearthnet-v2", tmp_path)


@pytest.mark.shared_data
def test_the_real_v1_patches(shared_data: Path) -> None:
    root = shared_data / "bigearthnet-example"
    if not root.is_dir():
        pytest.skip("the BigEarthNet example is not there")
    layout = open_layout("bigearthnet", root, s1=True)
    assert len(layout.items) == 6
    for i in range(6):
        sample = layout.read(i)
        assert sample.cubes["sentinel2"].shape == (1, 12, 120, 120) and sample.target is not None
        assert sample.cubes["sentinel1"].grid == sample.cubes["sentinel2"].grid
        assert (
            -25
            < sample.cubes["sentinel1"].statistics.mean[1]
            < sample.cubes["sentinel1"].statistics.mean[0]
            < 0
        )  # type: ignore[union-attr]


@pytest.mark.shared_data
def test_the_real_v2_patch(shared_data: Path, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    source = shared_data / "rico-hdl-samples/integration_tests/tiffs/BigEarthNet"
    if not source.is_dir():
        pytest.skip("the BigEarthNet v2 sample is not there")
    shutil.copytree(source, tmp_path / "v2")
    tile = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    row = {
        "patch_id": f"{tile}_75_43",
        "labels": ["Arable land"],
        "split": "train",
        "s1_name": "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48",
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "v2/metadata.parquet")
    sample = open_layout("bigearthnet-v2", tmp_path / "v2", s1=True).read(0)
    s2 = sample.cubes["sentinel2"]
    # Without an offset: the darkest numbers are far below 1000.
    assert s2.valid.all() and s2.statistics is not None and s2.statistics.minimum[1] == 35
    # The map there is of another patch of the tile: under this name it is refused.
    maps = tmp_path / "v2/Reference_Maps" / tile
    (maps / f"{tile}_26_57").rename(maps / f"{tile}_75_43")
    old = maps / f"{tile}_75_43/{tile}_26_57_reference_map.tif"
    old.rename(old.with_name(f"{tile}_75_43_reference_map.tif"))
    with pytest.raises(InputError, match="covers another grid"):
        open_layout("bigearthnet-v2", tmp_path / "v2", target="map").read(0)
