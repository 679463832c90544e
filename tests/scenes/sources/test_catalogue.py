from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError, InputError
from swath.scenes.sources.catalogue import find_items, interval, keep
from swath.scenes.sources.spec import SearchOptions, SourceSpec


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2022", "2022-01-01", "2022-12-31T23:59:59.999999"),
        ("2022-12", "2022-12-01", "2022-12-31T23:59:59.999999"),
        ("2022-02-28", "2022-02-28", "2022-02-28T23:59:59.999999"),
        ("2022-06-01/2022-07", "2022-06-01", "2022-07-31T23:59:59.999999"),
        ("2022-06-01T10:00:00Z/..", "2022-06-01T10:00:00", None),
        ("2022-06-01T10:00:00+02:00", "2022-06-01T08:00:00", "2022-06-01T08:00:00"),
        ("/2022", None, "2022-12-31T23:59:59.999999"),
    ],
)
def test_intervals(text: str, start: str | None, end: str | None) -> None:
    first, last = interval(text)
    assert first == (dt.datetime.min if start is None else dt.datetime.fromisoformat(start))
    assert last == (dt.datetime.max if end is None else dt.datetime.fromisoformat(end))


@pytest.mark.parametrize("text", ["2022-13", "yesterday", "2022/2021", "2022-01-01/2022-02-01/2022-03-01"])
def test_what_is_no_interval(text: str) -> None:
    with pytest.raises(ConfigError, match=r"search\.datetime"):
        interval(text)


LON = st.integers(-180, 179)


@given(LON, st.integers(1, 100), LON, st.integers(1, 100))
def test_boxes_meet_as_their_degrees_do(west: int, width: int, left: int, span: int) -> None:
    def wrapped(x: int) -> int:
        return (x + 180) % 360 - 180

    one = {(west + i) % 360 for i in range(width + 1)}
    other = {(left + i) % 360 for i in range(span + 1)}
    item = {"properties": {}, "bbox": [west, 0, wrapped(west + width), 1]}
    search = SearchOptions(bbox=(left, 0, wrapped(left + span), 1))
    assert keep(item, search) == bool(one & other)


def test_an_item_must_fit_every_part(make: SimpleNamespace) -> None:
    item = make.item("a", "2022-06-01", {"blue": "b.tif"}, properties={"eo:cloud_cover": 30})
    assert keep(item, SearchOptions())
    assert keep(item, SearchOptions(max_cloud=30, datetime="2022-06", collections=("sentinel-2-l2a",)))
    assert not keep(item, SearchOptions(max_cloud=29.9))
    assert not keep(item, SearchOptions(datetime="2022-05"))
    assert not keep(item, SearchOptions(collections=("other",)))
    del item["properties"]["eo:cloud_cover"]
    assert not keep(item, SearchOptions(max_cloud=100))


def test_what_is_no_stac_is_said(tmp_path: Path, make: SimpleNamespace) -> None:
    for data, text in (
        ({"type": "FeatureCollection"}, "without items"),
        ({"type": "Polygon"}, "no STAC"),
        ([1], "no JSON object"),
    ):
        path = make.json(tmp_path / "a.json", data)
        with pytest.raises(InputError, match=text):
            find_items(SourceSpec(path))
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        find_items(SourceSpec(str(tmp_path / "a.json")))


def test_a_catalogue_that_goes_in_circles_ends(tmp_path: Path, make: SimpleNamespace) -> None:
    item = make.item("i", "2022-06-01", {"blue": "b.tif"})
    make.json(tmp_path / "sub" / "i.json", item)
    links = [{"rel": "child", "href": "../root.json"}, {"rel": "item", "href": "i.json"}]
    make.json(tmp_path / "sub" / "c.json", {"type": "Collection", "links": links})
    root = make.json(
        tmp_path / "root.json", {"type": "Catalog", "links": [{"rel": "child", "href": "./sub/c.json"}]}
    )
    found = find_items(SourceSpec(root))
    assert {data["id"] for data, _ in found} == {"i"} and Path(found[0][1]).parent.name == "sub"


def test_all_pages_of_a_search_result_are_read(
    tmp_path: Path, make: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    def page(name: str, following: str) -> str:
        features = [make.item(name + n, "2022-06-01", {"blue": "b.tif"}) for n in "xy"]
        links = [{"rel": "next", "href": following}] if following else []
        data = {"type": "FeatureCollection", "features": features, "links": links}
        return str(make.json(tmp_path / f"{name}.json", data))

    first = page("a", "b.json")
    page("b", "/c.json")
    page("c", "")
    page("round", "round.json")
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            spec = SourceSpec(f"{address}/a.json")
            found = [data["id"] for data, _ in find_items(spec)]
            circle = [data["id"] for data, _ in find_items(SourceSpec(f"{address}/round.json"))]
            with pytest.raises(InputError, match="more than 3 items"):
                find_items(replace(spec, search=SearchOptions(max_items=3)))
        finally:
            server.shutdown()
    assert found == ["ax", "ay", "bx", "by", "cx", "cy"] and circle == ["roundx", "roundy"]
    # A page that was saved may be all that is wanted; that it is one is said.
    assert [data["id"] for data, _ in find_items(SourceSpec(first))] == ["ax", "ay"]
    assert "one page of a longer search result" in caplog.text
