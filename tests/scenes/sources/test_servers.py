"""Real servers: files over HTTP, a static catalogue, an object store; busy answers and broken connections."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from file_servers import file_server

from swath.errors import InputError, ReadError
from swath.scenes.sources.opening import open_source
from swath.scenes.sources.spec import MaskOptions, RetryOptions, SearchOptions, SourceSpec

# A server in a thread of this process is closed while a client's last connection is still half open.
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.slow]
QUICK = RetryOptions(times=6, wait=0.02)
SIDE = 512


@pytest.fixture(scope="module")
def folder(make: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of two tiles, as tiled files, with a static catalogue of relative links."""
    root = tmp_path_factory.mktemp("served")
    tiles = {"tiled": True, "blockxsize": 128, "blockysize": 128, "nodata": 0}
    items = []
    for date in ("2022-06-01", "2022-06-11"):
        for place, x in (("a", 600000.0), ("b", 600000.0 + 10 * (SIDE - 64))):
            name = f"{place}-{date}"
            assets = {}
            for number, key in enumerate(("blue", "red")):
                pixels = make.numbers(SIDE, SIDE, hash_of(name) + number)
                make.tif(
                    root / name / f"{key}.tif", pixels, origin=(x, 5000000.0), compress="deflate", **tiles
                )
                assets[key] = f"./{key}.tif"
            scl = (
                np.random.default_rng(hash_of(name)).integers(1, 12, (SIDE // 2, SIDE // 2)).astype(np.uint8)
            )
            make.tif(root / name / "scl.tif", scl, origin=(x, 5000000.0), size=20.0, compress="deflate")
            assets["scl"] = "./scl.tif"
            item = make.item(name, date, assets, bbox=(16.2, 45.0, 16.5, 45.2))
            item["links"] = [
                {"rel": "root", "href": "../catalog.json"},
                {"rel": "parent", "href": "../catalog.json"},
            ]
            make.json(root / name / f"{name}.json", item)
            items.append(name)
    catalog: dict[str, Any] = {
        "type": "Catalog", "id": "served", "stac_version": "1.0.0", "description": "two tiles, two dates",
        "links": [{"rel": "item", "href": f"./{name}/{name}.json"} for name in items],
    }  # fmt: skip
    make.json(root / "catalog.json", catalog)
    stack = np.stack([make.numbers(SIDE, SIDE, seed) for seed in (1, 2)])
    make.tif(root / "stack.tif", stack, compress="deflate", **tiles)
    return root


def hash_of(text: str) -> int:
    return sum(map(ord, text))


@pytest.fixture
def served(folder: Path) -> Iterator[SimpleNamespace]:
    """A server of its own for each test: of an address that it has read GDAL keeps blocks in memory."""
    with file_server(folder) as (url, trouble):
        yield SimpleNamespace(url=url, trouble=trouble)


def stack_spec(name: str, **options: Any) -> SourceSpec:
    said = {
        "sensor": "sentinel2",
        "bands": ("B02", "B04"),
        "unit": "reflectance",
        "scale": 1e-4,
        "offset": -0.1,
    }
    return SourceSpec(name, **{"retry": QUICK, **said, **options})


def test_a_window_over_http_costs_its_tiles_only(folder: Path, served: SimpleNamespace) -> None:
    served.trouble.reset()
    with (
        open_source(stack_spec(str(folder / "stack.tif"))) as local,
        open_source(stack_spec(f"{served.url}/stack.tif")) as remote,
    ):
        a, b = local.read(130, 130, 100, 100), remote.read(130, 130, 100, 100)
    np.testing.assert_array_equal(a.pixels, b.pixels)
    assert served.trouble.ranged > 0
    assert served.trouble.bytes_sent < (folder / "stack.tif").stat().st_size / 2


@pytest.mark.parametrize("how", ["503", "drop"])
@pytest.mark.parametrize("every", [2, 3])
def test_busy_servers_and_broken_connections_change_no_pixel(
    folder: Path, served: SimpleNamespace, how: str, every: int
) -> None:
    with open_source(stack_spec(str(folder / "stack.tif"))) as local:
        expected = [
            local.read(row, col, 128, 128) for row in range(0, SIDE, 128) for col in range(0, SIDE, 128)
        ]
    served.trouble.reset(every, how)
    with open_source(stack_spec(f"{served.url}/stack.tif")) as remote:
        found = [
            remote.read(row, col, 128, 128) for row in range(0, SIDE, 128) for col in range(0, SIDE, 128)
        ]
    assert served.trouble.failed > 2
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
        np.testing.assert_array_equal(a.valid, b.valid)


def catalog_spec(root: str, **options: Any) -> SourceSpec:
    return SourceSpec(
        f"{root}/catalog.json",
        bands=("B02", "B04"),
        mask=MaskOptions("scl", (3, 8, 9, 10)),
        retry=QUICK,
        **options,
    )


@pytest.mark.parametrize(("every", "how"), [(0, "503"), (3, "503"), (4, "drop")])
def test_a_static_catalogue_makes_the_same_scene_from_afar(
    folder: Path, served: SimpleNamespace, every: int, how: str
) -> None:
    with open_source(catalog_spec(str(folder))) as local:
        expected = local.read_all()
    served.trouble.reset(every, how)
    with open_source(catalog_spec(served.url)) as remote:
        found = remote.read_all()
    assert bool(served.trouble.failed) == bool(every)
    assert expected.shape == (2, 2, SIDE, 2 * SIDE - 64) and expected.dates == found.dates
    np.testing.assert_array_equal(expected.pixels, found.pixels)
    np.testing.assert_array_equal(expected.valid, found.valid)
    assert expected.statistics == found.statistics


def test_a_catalogue_is_searched(served: SimpleNamespace) -> None:
    served.trouble.reset()
    with open_source(catalog_spec(served.url, search=SearchOptions(datetime="2022-06-05/.."))) as scene:
        assert [str(d) for d in scene.dates] == ["2022-06-11"]
    with pytest.raises(InputError, match="more than 3 items"):
        open_source(catalog_spec(served.url, search=SearchOptions(max_items=3)))


def test_what_stays_away_is_a_window_that_cannot_be_read(folder: Path, served: SimpleNamespace) -> None:
    served.trouble.reset()
    retry = RetryOptions(times=1, wait=0.01)
    with open_source(SourceSpec(f"{served.url}/catalog.json", bands=("B02",), retry=retry)) as scene:
        served.trouble.reset(always="b-2022-06-11/blue.tif")
        assert scene.read(0, 0, 64, 64).valid.all()
        with pytest.raises(ReadError, match="2 times"):
            scene.read(0, SIDE + 10, 64, 64)
        served.trouble.reset()
        assert scene.read(0, SIDE + 10, 64, 64).valid.any()
    with pytest.raises(InputError, match=r"404|not exist"):
        open_source(stack_spec(f"{served.url}/nothing.tif"))
    with pytest.raises(InputError, match="HTTP 404"):
        open_source(f"{served.url}/nothing.json")
    assert served.trouble.requests < 40, "what is gone for good is not asked for again and again"


def test_an_object_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch, make: SimpleNamespace, tmp_path: Path
) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for key, value in {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1", "AWS_S3_ENDPOINT": f"{host}:{port}", "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true",
            "NO_PROXY": "127.0.0.1",
        }.items():  # fmt: skip
            monkeypatch.setenv(key, value)
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="scenes")
        for file in sorted(folder.rglob("*.tif")):
            client.upload_file(str(file), "scenes", file.relative_to(folder).as_posix())
        with (
            open_source(stack_spec(str(folder / "stack.tif"))) as local,
            open_source(stack_spec("s3://scenes/stack.tif")) as remote,
        ):
            np.testing.assert_array_equal(local.read_all().pixels, remote.read_all().pixels)
        # Items on this machine whose files are in the store.
        items = []
        for path in sorted(folder.glob("*/*.json")):
            item = json.loads(path.read_text())
            for key, asset in item["assets"].items():
                asset["href"] = f"s3://scenes/{path.parent.name}/{key}.tif"
            items.append(item)
        result = make.json(tmp_path / "result.json", make.collection(items))
        spec = SourceSpec(result, bands=("B02", "B04"), retry=QUICK)
        with (
            open_source(spec) as remote,
            open_source(SourceSpec(str(folder / "catalog.json"), bands=("B02", "B04"))) as local,
        ):
            np.testing.assert_array_equal(local.read_all().pixels, remote.read_all().pixels)
        _zarr_in(client, tmp_path)
        with open_source(SourceSpec("s3://scenes/a.zarr", sensor="sentinel2", retry=QUICK)) as remote:
            np.testing.assert_array_equal(remote.read(0, 0, 64, 64).pixels[0], numbers())
    finally:
        server.stop()


def test_a_store_that_does_not_know_who_asks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for key, value in {
            "AWS_S3_ENDPOINT": f"{host}:{port}", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1", "HOME": str(tmp_path),
            # Nobody listens where a machine in the cloud would be told who it is.
            "CPL_AWS_EC2_API_ROOT_URL": "http://127.0.0.1:9", "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
        }.items():  # fmt: skip
            monkeypatch.setenv(key, value)
        known = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **known)
        client.create_bucket(Bucket="scenes")
        client.upload_file(str(folder / "stack.tif"), "scenes", "stack.tif", {"ACL": "public-read"})
        _zarr_in(client, tmp_path)  # public too
        # Tried again and again, either would take minutes.
        slow = RetryOptions(times=6, wait=30.0)
        specs = (
            stack_spec("s3://scenes/stack.tif", retry=slow),
            SourceSpec("s3://scenes/a.zarr", sensor="sentinel2", retry=slow),
        )
        for spec in specs:
            with pytest.raises(
                InputError, match=r"; set AWS_ACCESS_KEY_ID and .*, or AWS_NO_SIGN_REQUEST=YES if"
            ):
                open_source(spec)
        monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
        for spec in specs:
            with open_source(spec) as scene:
                assert scene.read(0, 0, 8, 8).valid.all()
    finally:
        server.stop()


def numbers() -> Any:
    """[2,64,64] of a Zarr store."""
    return np.random.default_rng(5).integers(1, 9000, (2, 64, 64)).astype(np.uint16)


def _zarr_in(client: Any, tmp_path: Path) -> None:
    """A Zarr store in the object store, which obstore reads."""
    import xarray as xr

    pixels = numbers()
    attrs = {"units": "reflectance", "scale_factor": 1e-4, "crs": "EPSG:32633"}
    data = xr.Dataset(
        {name: (("y", "x"), pixels[i], attrs) for i, name in enumerate(("B02", "B04"))},
        coords={"y": 5000000.0 - 10 * np.arange(64) - 5, "x": 600000.0 + 10 * np.arange(64) + 5},
    )
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    for file in sorted((tmp_path / "a.zarr").rglob("*")):
        if file.is_file():
            client.upload_file(
                str(file),
                "scenes",
                f"a.zarr/{file.relative_to(tmp_path / 'a.zarr').as_posix()}",
                {"ACL": "public-read"},
            )
