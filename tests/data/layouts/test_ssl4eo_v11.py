from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.layouts.registry import open_layout
from swath.errors import ConfigError, InputError

pytest.importorskip("zarr")


def test_offset_dates_places_and_bands(tmp_path: Path, builders: Any) -> None:
    options = builders.ssl4eo_v11(tmp_path)
    layout = open_layout("ssl4eo-s12-v1.1", tmp_path, "train", **options)
    assert [i.id for i in layout.items] == ["train/000001/00", "train/000001/01"]
    sample = layout.read(0)
    s2, s1 = sample.cubes["s2a"], sample.cubes["s1"]
    assert s2.shape == (4, 12, 24, 24) and s2.pixels.dtype == np.int16 and s2.source.endswith("#0080717")
    encoding = s2.encodings[0][0]
    assert (encoding.unit, encoding.scale, encoding.offset, encoding.level) == (
        "reflectance",
        1e-4,
        -0.1,
        "L2A",
    )
    assert s2.dates[0] == dt.date(2020, 6, 4) and not s2.valid[0, :, 0, 0].any() and s2.valid.mean() > 0.99
    # Stored as S1A, S1A, S1B, S1B; here by day.
    assert [str(d) for d in s1.dates] == ["2020-03-03", "2020-06-07", "2020-09-03", "2020-12-07"]
    stored = -builders.real(2, 24, 24, 2) / 100
    np.testing.assert_array_equal(s1.pixels[0], stored.astype(np.float16))
    assert not s1.valid[3, :, 0, 0].any() and s1.valid[:3].all()
    assert s1.place is not None and (s1.place.lon, s1.place.lat) == (125.6, 42.66)
    assert s1.grid is not None and s1.grid.crs == "EPSG:32651" and s1.grid.xy(0, 0) == (5e5, 4.7e6)


def test_cloud_masks_when_asked(tmp_path: Path, builders: Any) -> None:
    options = builders.ssl4eo_v11(tmp_path) | {"modalities": "s2a"}
    cube = open_layout("ssl4eo-s12-v1.1", tmp_path, mask_clouds=True, **options).read(1).cubes["s2a"]
    assert not cube.valid[1, :, :2].any()  # thin and thick cloud
    assert cube.valid[1, :, 2:].all()  # water stays
    assert open_layout("ssl4eo-s12-v1.1", tmp_path, **options).read(1).cubes["s2a"].valid.all()


def test_chunks_of_several_places_give_the_same(tmp_path: Path, builders: Any) -> None:
    cubes = []
    for chunk in (1, 2):
        builders.zarr_zip(tmp_path / str(chunk), "val", "S2L1C", chunk=chunk)
        layout = open_layout("ssl4eo-s12-v1.1", tmp_path / str(chunk), samples=2)
        cubes.append([layout.read(i).cubes["s2c"] for i in (1, 0, 1)])
    for a, b in zip(*cubes, strict=True):
        assert np.array_equal(a.pixels, b.pixels) and np.array_equal(a.valid, b.valid) and a.dates == b.dates


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"file_id": np.array([["a", "b", "c", "d"]] * 2)}, "file_id 'a' is not the name of a scene of s2a"),
        ({"band": np.array([f"B{i:02d}" for i in range(1, 13)])}, "lacks band B8A"),
        ({"sample": np.array(["1", "2", "3"])}, "holds 3 samples, not 2"),
        ({"bands": np.ones((2, 3, 12, 4, 4), np.int16)}, "bands of a place are .3, 12, 4, 4., with 4 dates"),
    ],
)
def test_each_fault_has_its_own_error(
    tmp_path: Path, builders: Any, changes: dict[str, Any], says: str
) -> None:
    path = builders.zarr_zip(tmp_path, "train", "S2L2A", **changes)
    with pytest.raises(InputError, match=says) as caught:
        open_layout("ssl4eo-s12-v1.1", tmp_path, modalities=["s2a"], samples=2).read(0)
    assert path.name in str(caught.value) and caught.value.mend


def test_other_places_in_the_other_sensor_are_noticed(tmp_path: Path, builders: Any) -> None:
    builders.zarr_zip(tmp_path, "train", "S2L2A")
    builders.zarr_zip(tmp_path, "train", "S1GRD", sample=np.array(["0012333", "0080717"]))
    layout = open_layout("ssl4eo-s12-v1.1", tmp_path, modalities=["s2a", "s1"], samples=2)
    with pytest.raises(InputError, match="holds place 0012333 in row 0, where S2L2A has 0080717"):
        layout.read(0)


def test_without_zarr_it_says_what_to_install(
    tmp_path: Path, builders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    builders.zarr_zip(tmp_path, "train", "S2L2A")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ConfigError, match=r"swath\[zarr\]"):
        open_layout("ssl4eo-s12-v1.1", tmp_path, modalities=["s2a"], samples=2).read(0)
