"""The files of features, read again by the libraries that people read them with, against the engine's own values."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import random
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import torch
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from swath.cube import Grid
from swath.errors import ConfigError, OutputError
from swath.scenes import target as target_module
from swath.scenes.cells import CellPlan, cell_grid
from swath.scenes.engine import Engine
from swath.scenes.geoparquet import ParquetSink, footprints, geo_metadata
from swath.scenes.layers import FeatureLayers
from swath.scenes.mapping import Course
from swath.scenes.runners.local import run_local
from swath.scenes.sink import CogSink
from swath.scenes.target import Target, told
from swath.scenes.worker import Worker
from swath.scenes.zarr_store import ZarrSink

HEIGHT, WIDTH, CELL, N = 150, 161, 4, 5
DATES = (dt.date(2022, 6, 1), None)
LIMITS = tuple([-2.0] * N), (2.0, 2.0, 2.0, 2.0, -1.0)


class Net(torch.nn.Module):
    def forward(self, pixels, valid, days, wavelengths):
        cells = torch.nn.functional.avg_pool2d(pixels.mean(1), CELL)
        return torch.cat([cells, cells[:, :1] * 2, cells[:, 1:2] - 1], 1)


def layers_of(dtype: str, min_coverage: int = 20) -> FeatureLayers:
    low, high = LIMITS if dtype == "uint8" else ((), ())
    return FeatureLayers(N, dtype, min_coverage, low, high)  # type: ignore[arg-type]  # a parameter is any string


def target(path: Path, scene: Any, layers: FeatureLayers, **options: Any) -> Target:
    grid = cell_grid(scene.grid, CELL)
    options = {"tags": {"MODEL": "net"}, **options}
    if path.suffix == ".parquet":
        return ParquetSink(path, grid, layers, (scene.height / CELL, scene.width / CELL), DATES, **options)
    return (
        ZarrSink(path, grid, layers, DATES, **options)
        if path.suffix == ".zarr"
        else CogSink(path, grid, layers, **options)
    )


def write(
    path: Path, fakes: SimpleNamespace, dtype: str, **options: Any
) -> tuple[Any, FeatureLayers, np.ndarray]:
    """A file of features with holes; (scene, layers, what it should hold [N+1,h,w], NaN where there is no data)."""
    scene = fakes.scene(HEIGHT, WIDTH, holes=0.5)
    plan = CellPlan(-(-HEIGHT // CELL), -(-WIDTH // CELL), (4, 4), 2, 0, 16)
    layers = layers_of(dtype)
    engine = Engine(scene, Net(), fakes.contract(), plan, activation="identity", cell=CELL)
    expected = np.full((N + 1, plan.height, plan.width), np.nan, np.float32)
    for block in engine.blocks():
        b = block.box
        part = expected[:, b.row : b.row + b.height, b.col : b.col + b.width]
        part[N] = block.coverage
        if block.values is not None:
            np.copyto(part[:N], block.values, where=block.coverage >= 20)
    with target(path, scene, layers, **options).begin(plan) as store, Worker(engine, layers) as worker:
        run_local(worker, Course(plan, store, None, "fake").todo, store.put)
    return scene, layers, expected


def error_of(dtype: str, expected: np.ndarray) -> np.ndarray:
    """The largest error that a type of numbers may make of a value."""
    if dtype == "uint8":
        scale = np.array(layers_of(dtype).scales)[:, None, None]
        return np.broadcast_to(scale * 0.501, expected.shape)
    return np.abs(expected) * 2**-11 + 1e-7 if dtype == "float16" else np.zeros_like(expected)


def within_range(dtype: str, expected: np.ndarray) -> np.ndarray:
    if dtype != "uint8":
        return expected
    low, high = (np.array(x, np.float32)[:, None, None] for x in LIMITS)
    return np.clip(expected, low, high)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_geotiff(fakes: SimpleNamespace, tmp_path: Path, dtype: str) -> None:
    scene, _, expected = write(tmp_path / "f.tif", fakes, dtype)
    with rasterio.open(tmp_path / "f.tif") as file:
        assert file.crs == CRS.from_string(scene.grid.crs) and file.transform.a == 28.5 * CELL
        raw = file.read()
        scales, offsets = (np.array(x)[:, None, None] for x in (file.scales, file.offsets))
        assert np.isnan(file.nodata) if dtype != "uint8" else file.nodata == 255
        assert file.tags()["MODEL"] == "net"
        beyond = int(file.tags().get("VALUES_BEYOND_RANGE", 0))
        if dtype == "float16":
            assert file.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "16"
    np.testing.assert_array_equal(raw[N], expected[N])
    values = raw[:N] * scales[:N] + offsets[:N]
    if dtype == "uint8":
        values[raw[:N] == 255] = np.nan
        assert beyond == np.count_nonzero(np.abs(within_range(dtype, expected[:N]) - expected[:N]) > 0) > 0
    wanted = within_range(dtype, expected[:N])
    np.testing.assert_array_equal(np.isnan(values), np.isnan(wanted))
    assert np.nanmax(np.abs(values - wanted) - error_of(dtype, wanted)) <= 0
    assert not [p for p in tmp_path.iterdir() if p.name != "f.tif"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_geoparquet(fakes: SimpleNamespace, tmp_path: Path, dtype: str) -> None:
    scene, layers, expected = write(tmp_path / "f.parquet", fakes, dtype)
    table = pq.read_table(tmp_path / "f.parquet")
    row, col = table["row"].to_numpy(), table["col"].to_numpy()
    known = expected[N] >= 20
    assert len(set(zip(row.tolist(), col.tolist(), strict=True))) == len(table) == known.sum()
    assert known[row, col].all()
    np.testing.assert_array_equal(table["coverage"].to_numpy(), expected[N][row, col])
    vectors = np.stack(table["vector"].to_numpy()).astype(np.float64)
    about = json.loads(table.schema.metadata[b"swath"])
    assert about["tags"]["MODEL"] == "net"
    if dtype == "uint8":
        vectors = vectors * about["scale"] + about["offset"]
        assert int(about["tags"]["VALUES_BEYOND_RANGE"]) > 0
    wanted = within_range(dtype, expected[:N])
    assert (np.abs(vectors.T - wanted[:, row, col]) <= error_of(dtype, wanted)[:, row, col]).all()
    assert table["dates"].to_pylist()[-1] == [dt.date(2022, 6, 1), None]
    # The footprints, by shapely: each is its cell, cut at the scene's edge; together they are what holds data.
    polygons = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapely.is_valid(polygons).all() and shapely.is_ccw(shapely.get_exterior_ring(polygons)).all()
    a, _, c, _, e, f = scene.grid.transform
    for i in (0, len(table) // 2, len(table) - 1):
        left, right = c + a * CELL * col[i], c + a * min(CELL * (col[i] + 1), WIDTH)
        top, bottom = f + e * CELL * row[i], f + e * min(CELL * (row[i] + 1), HEIGHT)
        assert polygons[i].bounds == (left, bottom, right, top)
    assert max(p.area for p in polygons) == pytest.approx((28.5 * CELL) ** 2)
    assert shapely.union_all(polygons).area == pytest.approx(sum(p.area for p in polygons))
    boxes = table["bbox"].to_pylist()
    assert all(tuple(b.values()) == p.bounds for b, p in zip(boxes, polygons, strict=True))
    geo = json.loads(table.schema.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (
        geo["version"] == "1.1.0" and column["encoding"] == "WKB" and column["geometry_types"] == ["Polygon"]
    )
    assert column["bbox"] == pytest.approx(shapely.total_bounds(polygons))
    assert CRS.from_string(json.dumps(column["crs"])) == CRS.from_string(scene.grid.crs)
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert layers.features == table.schema.field("vector").type.list_size


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_zarr(fakes: SimpleNamespace, tmp_path: Path, dtype: str) -> None:
    scene, _, expected = write(tmp_path / "f.zarr", fakes, dtype)
    with xarray.open_zarr(tmp_path / "f.zarr", decode_coords="all") as store:
        values = store["features"].values.astype(np.float64)
        if dtype == "uint8":
            values = values * store["scale"].values[:, None, None] + store["offset"].values[:, None, None]
        np.testing.assert_array_equal(store["coverage"].values, expected[N])
        assert store["features"].dims == ("feature", "y", "x")
        assert store["x"].values[3] == scene.grid.xy(0, 3.5 * CELL)[0]
        assert store["y"].values[2] == scene.grid.xy(2.5 * CELL, 0)[1]
        assert store.attrs["MODEL"] == "net" and store.attrs["dates"] == ["2022-06-01", None]
        assert CRS.from_wkt(store["spatial_ref"].attrs["crs_wkt"]) == CRS.from_string(scene.grid.crs)
    wanted = within_range(dtype, expected[:N])
    np.testing.assert_array_equal(np.isnan(values), np.isnan(wanted))
    assert np.nanmax(np.abs(values - wanted) - error_of(dtype, wanted)) <= 0
    if dtype != "float16":  # which GDAL 3.10 cannot read of a Zarr store
        with rasterio.open(f'ZARR:"{tmp_path / "f.zarr"}":/features') as file:
            assert file.crs == CRS.from_string(scene.grid.crs)
            assert file.transform.a == 28.5 * CELL and file.count == N
    assert not [p for p in tmp_path.iterdir() if p.name != "f.zarr"]


def test_vectors_are_whole_in_a_chunk_that_fits_memory(fakes: SimpleNamespace, tmp_path: Path) -> None:
    import zarr

    sink = ZarrSink(tmp_path / "f.zarr", fakes.scene(4, 4).grid, FeatureLayers(3000), ())
    features, coverage = sink._arrays(
        zarr.open_group(tmp_path / "g", mode="w", zarr_format=2), CellPlan(600, 600, (4, 4), 2, 0, 64)
    )
    assert features.chunks == (3000, 16, 16) and coverage.chunks == (64, 64)


@pytest.mark.parametrize("name", ["f.tif", "f.parquet", "f.zarr"])
def test_an_output_is_replaced_only_when_asked(fakes: SimpleNamespace, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    scene, layers, _ = write(path, fakes, "float32")
    with pytest.raises(OutputError, match="exists already; choose another name"):
        target(path, scene, layers)
    write(path, fakes, "uint8", overwrite=True)
    again = tmp_path / f"again{path.suffix}"
    write(again, fakes, "uint8")
    assert contents(path) == contents(again)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, again.name}


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {"" if p == path else str(p.relative_to(path)): p.read_bytes() for p in files}


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(20, 140),
    width=st.integers(65, 150),
    overlap=st.integers(0, 3),
    holes=st.sampled_from([0.0, 0.5, 0.9]),
    dtype=st.sampled_from(["float32", "float16", "uint8"]),
    suffix=st.sampled_from([".tif", ".parquet", ".zarr"]),
    order=st.randoms(use_true_random=False),
    share=st.floats(0, 1),
)
def test_any_order_and_any_interruption_give_the_same_bytes(
    fakes: SimpleNamespace,
    height: int,
    width: int,
    overlap: int,
    holes: float,
    dtype: str,
    suffix: str,
    order: random.Random,
    share: float,
) -> None:
    scene = fakes.scene(height, width, dates=2, holes=holes)
    plan = CellPlan(-(-height // CELL), -(-width // CELL), (4, 4), overlap, 0, 16)
    layers = layers_of(dtype)
    engine = Engine(scene, Net(), fakes.contract(), plan, 3, activation="identity", cell=CELL)
    todo = list(range(plan.block_count))
    with tempfile.TemporaryDirectory() as folder, Worker(engine, layers) as worker:
        whole, path = Path(folder) / f"whole{suffix}", Path(folder) / f"f{suffix}"
        with target(whole, scene, layers).begin(plan) as store:
            run_local(worker, todo, store.put)
        order.shuffle(todo)
        begun = target(path, scene, layers).begin(plan, {"what": "features"})
        with pytest.raises(KeyboardInterrupt), begun as store:
            run_local(worker, todo[: int(share * len(todo))], store.put)
            raise KeyboardInterrupt
        assert not path.exists()
        with target(path, scene, layers).begin(plan, {"what": "features"}) as store:
            left = Course(plan, store, None, "fake").todo
            assert len(left) == len(todo) - int(share * len(todo))
            run_local(worker, left, store.put)
        assert contents(path) == contents(whole)
        assert {p.name for p in Path(folder).iterdir()} == {path.name, whole.name}


def test_a_folder_that_is_no_store_is_never_thrown_away(fakes: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    path.mkdir()
    (path / "thesis.txt").write_text("the only copy")
    with pytest.raises(OutputError, match="is no Zarr store; choose another name"):
        target(path, fakes.scene(8, 8), layers_of("float32"), overwrite=True)
    (tmp_path / "f.zarr").write_text("a file")
    with pytest.raises(OutputError, match="is no Zarr store"):
        target(tmp_path / "f.zarr", fakes.scene(8, 8), layers_of("float32"), overwrite=True)
    assert (path / "thesis.txt").read_text() == "the only copy"


@pytest.mark.parametrize(("name", "library"), [("f.parquet", "pyarrow"), ("f.zarr", "zarr")])
def test_a_missing_library_is_said_in_one_line(
    fakes: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    real = importlib.import_module

    def without(wanted: str, *rest: Any) -> Any:
        if wanted.split(".")[0] == library:
            raise ImportError(wanted)
        return real(wanted, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ConfigError, match=rf'{library} is not installed; pip install "swath\['):
        target(tmp_path / name, fakes.scene(8, 8), layers_of("float32"))
    assert not list(tmp_path.iterdir())


def test_footprints_turn_left_on_any_grid() -> None:
    row, col = np.array([0, 3], np.int32), np.array([2, 0], np.int32)
    for transform in (
        (10.0, 0.0, 5.0, 0.0, -10.0, 7.0),
        (10.0, 0.0, 5.0, 0.0, 10.0, 7.0),
        (-10.0, 0.0, 5.0, 0.0, -10.0, 7.0),
        (6.0, 8.0, 5.0, 8.0, -6.0, 7.0),
        (0.0, 5.0, 5.0, 5.0, 0.0, 7.0),
    ):
        xy = footprints(Grid("", transform, 4, 4), row, col, (3.5, 2.25))
        rings = shapely.polygons(xy)
        assert shapely.is_ccw(shapely.get_exterior_ring(rings)).all()
        size = abs(transform[0] * transform[4] - transform[1] * transform[3])
        assert [p.area for p in rings] == pytest.approx([0.25 * size, 0.5 * size])


def test_metadata_without_coordinates_or_rows() -> None:
    geo = geo_metadata(None, [])
    assert geo["columns"]["geometry"]["crs"] is None and "bbox" not in geo["columns"]["geometry"]
    assert told({}) == {}


def test_a_store_is_replaced_only_when_all_of_the_next_is_on_the_disk(
    fakes: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.zarr"
    write(path, fakes, "float32")
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="No space left"):
        patch.setattr(target_module.os, "fsync", full)
        write(path, fakes, "float16", overwrite=True)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.zarr"]
