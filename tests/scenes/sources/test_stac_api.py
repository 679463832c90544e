"""A real STAC API, searched through pystac-client; `make test-stac-api` starts one and says where it is."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from file_servers import file_server
from rasterio.warp import transform

from swath.errors import InputError
from swath.scenes.sources.opening import kind_of, open_source
from swath.scenes.sources.spec import SearchOptions, SourceSpec

API = os.environ.get("SWATH_STAC_API", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not API, reason="needs a STAC API: make test-stac-api starts one"),
    # pystac-client announces what its next version will do; nothing that is used here.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # A server in a thread of this process is closed while a client's last connection is still half open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def post(path: str, data: object) -> None:
    request = urllib.request.Request(
        f"{API}{path}", json.dumps(data).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status in (200, 201)


@pytest.fixture(scope="module")
def items(make: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict]]:
    """Twelve items of one tile and four of its neighbour, in the API; their files on a server, as the API cannot name
    files of this machine.
    """
    folder = tmp_path_factory.mktemp("api")
    with file_server(folder) as (url, _):
        yield _posted(make, folder, url)


def _posted(make: SimpleNamespace, folder: Path, url: str) -> list[dict]:
    post(
        "/collections",
        {
            "type": "Collection", "id": "tiles", "stac_version": "1.0.0", "description": "tiles", "license": "other",
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
            "links": [],
        },
    )  # fmt: skip
    found = []
    for number in range(16):
        x = 600000.0 + (640.0 if number >= 12 else 0.0)
        date = f"2022-{number % 12 + 1:02d}-05"
        lon, lat = transform(make.utm, "EPSG:4326", [x, x + 640], [5000000.0 - 640, 5000000.0])
        pixels = make.numbers(64, 64, number)
        make.tif(folder / f"{number}.tif", pixels, origin=(x, 5000000.0), nodata=0)
        item = make.item(
            f"tile-{number}", date, {"blue": f"{url}/{number}.tif"}, collection="tiles",
            bbox=(lon[0], lat[0], lon[1], lat[1]), properties={"eo:cloud_cover": 5 * number},
        )  # fmt: skip
        post("/collections/tiles/items", item)
        found.append(item)
    return found


def search(**options: object) -> SourceSpec:
    return SourceSpec(API, bands=("B02",), search=SearchOptions(collections=("tiles",), **options))  # type: ignore[arg-type]


def test_its_items_make_the_scene_of_the_same_items_in_a_file(
    items: list[dict], make: SimpleNamespace, tmp_path: Path
) -> None:
    assert kind_of(search()) == "stac"
    result = make.json(tmp_path / "result.json", make.collection(items))
    with open_source(search()) as found, open_source(SourceSpec(result, bands=("B02",))) as expected:
        assert found.grid == expected.grid and found.dates == expected.dates and len(found.dates) == 12
        a, b = found.read_all(), expected.read_all()
    np.testing.assert_array_equal(a.pixels, b.pixels)
    np.testing.assert_array_equal(a.valid, b.valid)


def test_time_place_and_clouds_choose(items: list[dict]) -> None:
    with open_source(search(datetime="2022-03-01/2022-06-30")) as scene:
        assert [d.month for d in scene.dates if d is not None] == [3, 4, 5, 6]
    west, south, east, north = items[12]["bbox"]
    inside = (west + 0.6 * (east - west), south + 0.2 * (north - south), east, north)
    with open_source(search(bbox=inside)) as scene:
        assert len(scene.dates) == 4 and scene.width < 40
    with open_source(search(max_cloud=12)) as scene:
        assert len(scene.dates) == 3
    with pytest.raises(InputError, match="more than 5 items"):
        open_source(search(max_items=5))
    with pytest.raises(InputError, match="no item fits"):
        open_source(search(datetime="1999"))
    with pytest.raises(InputError, match="nothing says what to search"):
        open_source(API)
