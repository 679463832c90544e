"""Finding STAC items: a file, a search result, a static catalogue or an API, by path or address."""

from __future__ import annotations

import datetime as dt
import http.client
import importlib
import json
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from swath.errors import ConfigError, InputError
from swath.scenes.sources.retry import retrying
from swath.scenes.sources.spec import RetryOptions, SearchOptions, SourceSpec

log = logging.getLogger(__name__)
Item = Mapping[str, Any]
_TIMEOUT = 60


def find_items(spec: SourceSpec) -> list[tuple[Item, str]]:
    """The items of a spec, each with where it comes from.

    A file or address may hold one item, a search result, a catalogue that is walked, or an API that is searched.
    Items of files and static catalogues are chosen by `spec.search` here, those of an API by the API and again here.

    Raises:
        InputError: it cannot be read, is no STAC, or holds more items than `spec.search.max_items`.
    """
    found: list[tuple[Item, str]] = []
    for path in spec.paths:
        data = read_json(path, spec.retry)
        for item, where in _items(data, path, spec):
            if keep(item, spec.search):
                found.append((item, where))
                if len(found) > spec.search.max_items:
                    raise InputError(
                        f"holds more than {spec.search.max_items} items that fit",
                        where=path,
                        mend="narrow the search, or raise search.max_items",
                    )
    return found


def read_json(path: str, retry: RetryOptions) -> Mapping[str, Any]:
    """A JSON object at a path or an http(s) address.

    Raises:
        InputError: there is none.
    """
    if path.startswith(("http://", "https://")):
        text = retrying(lambda: _fetch(path), retry, remote=True)
    elif "://" in path:
        raise InputError("is no address of JSON", where=path, mend="use https://, or a copy on this machine")
    else:
        try:
            text = Path(path).read_bytes()
        except OSError as err:
            raise InputError(f"cannot be read ({err.strerror})", where=path, mend="check the path") from err
    try:
        data = json.loads(text)
    except ValueError as err:
        raise InputError(f"is not readable as JSON ({err})", where=path, mend="fetch it anew") from err
    if not isinstance(data, dict):
        raise InputError("is no JSON object", where=path, mend="name an item, a search result or a catalogue")
    return data


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as err:
        raise InputError(f"cannot be fetched (HTTP {err.code})", where=url, mend="check the address") from err
    except (OSError, ValueError, http.client.HTTPException) as err:
        raise InputError(f"cannot be fetched ({err})", where=url, mend="check the address") from err


def _items(data: Mapping[str, Any], where: str, spec: SourceSpec) -> Iterator[tuple[Item, str]]:
    kind = data.get("type")
    if kind == "Feature":
        yield data, where
    elif kind == "FeatureCollection":
        yield from _pages(data, where, spec.retry)
    elif any(link.get("rel") == "search" for link in _links(data)):
        yield from _search(where, spec)
    elif kind in ("Catalog", "Collection"):
        yield from _walk(data, where, spec.retry)
    else:
        raise InputError(
            f"is no STAC (its type is {kind!r})",
            where=where,
            mend="name an item, a search result or a catalogue",
        )


def _pages(data: Mapping[str, Any], where: str, retry: RetryOptions) -> Iterator[tuple[Item, str]]:
    """The items of a search result. An API gives a long one in pages, each of which links to the next."""
    seen: set[str] = set()
    while where not in seen:
        seen.add(where)
        features = data.get("features")
        if not isinstance(features, list) or not all(isinstance(f, dict) for f in features):
            raise InputError("is a search result without items", where=where, mend="fetch it anew")
        for feature in features:
            # A result of a search says where each item is at home; hrefs are relative to that.
            yield feature, _home(feature, where)
        links = [link for link in _links(data) if link.get("rel") == "next"]
        if not links or not features:
            return
        href, method = links[0].get("href"), str(links[0].get("method", "GET")).upper()
        if "://" not in where or method != "GET" or not isinstance(href, str):
            # Of a file that somebody saved, that page may be all that is wanted; yet it is said.
            log.warning("%s is one page of a longer search result; the other pages are left out", where)
            return
        where = _joined(where, href)
        if where not in seen:
            data = read_json(where, retry)


def _links(data: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    links = data.get("links")
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def _home(item: Item, otherwise: str) -> str:
    for link in _links(item):
        href = link.get("href")
        if link.get("rel") == "self" and isinstance(href, str) and ("://" in href or href.startswith("/")):
            return _joined(otherwise, href)
    return otherwise


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"catalogues of STAC need {name.replace('_', '-')}", mend='pip install "swath[stac]"'
        ) from None


def _walk(data: Mapping[str, Any], where: str, retry: RetryOptions) -> Iterator[tuple[Item, str]]:
    """All items below a static catalogue or collection, in the order of its links."""
    seen, left = {where}, [(data, where)]
    while left:
        catalog, home = left.pop(0)
        for link in _links(catalog):
            if link.get("rel") not in ("item", "child") or not isinstance(link.get("href"), str):
                continue
            path = _joined(home, link["href"])
            if path in seen:
                continue
            seen.add(path)
            below = read_json(path, retry)
            if below.get("type") == "Feature":
                yield below, path
            else:
                left.append((below, path))


def _joined(home: str, href: str) -> str:
    if "://" in home:
        return urljoin(home, href)  # "/items/a.json" is of that server, and never of this machine
    return href if "://" in href else os.path.normpath(Path(home).parent / href)


def _search(where: str, spec: SourceSpec) -> Iterator[tuple[Item, str]]:
    """What an API answers."""
    client, retries = _module("pystac_client"), _module("urllib3.util.retry")
    search = spec.search
    if not (search.bbox or search.datetime or search.collections):
        raise InputError(
            "is an API, and nothing says what to search",
            where=where,
            mend="set search.bbox, datetime, collections",
        )
    policy = retries.Retry(
        total=spec.retry.times,
        backoff_factor=spec.retry.wait,
        backoff_max=spec.retry.longest,
        status_forcelist=(408, 429, 500, 502, 503, 504),
        allowed_methods=None,  # a search by POST changes nothing
    )
    errors = (_module("pystac_client.exceptions").APIError, _module("pystac").STACError, OSError, ValueError)
    try:
        io = _module("pystac_client.stac_api_io").StacApiIO(max_retries=policy, timeout=_TIMEOUT)
        api = client.Client.open(where, stac_io=io)
        found = api.search(
            bbox=list(search.bbox) or None,
            datetime=search.datetime or None,
            collections=list(search.collections) or None,
        )
        for item in found.items_as_dicts():
            yield item, _home(item, where)
    except errors as err:
        raise InputError(
            f"cannot be searched ({err})", where=where, mend="check the address and the search"
        ) from err


def keep(item: Item, search: SearchOptions) -> bool:
    """Whether an item fits a search: collection, time, place, clouds."""
    properties = item.get("properties")
    if not isinstance(properties, dict):
        return True  # what is wrong with it is said when it is parsed
    if search.collections and item.get("collection") not in search.collections:
        return False
    if search.max_cloud is not None:
        cloud = properties.get("eo:cloud_cover")
        if not isinstance(cloud, (int, float)) or not cloud <= search.max_cloud:
            return False
    if search.datetime:
        start, end = interval(search.datetime)
        first = properties.get("datetime") or properties.get("start_datetime")
        last = properties.get("datetime") or properties.get("end_datetime") or first
        if not isinstance(first, str) or not isinstance(last, str):
            return False
        if not (_time(last) >= start and _time(first) <= end):
            return False
    box = item.get("bbox")
    if search.bbox and isinstance(box, list) and len(box) in (4, 6):
        west, south, east, north = box if len(box) == 4 else (box[0], box[1], box[3], box[4])
        if north < search.bbox[1] or south > search.bbox[3]:
            return False
        return _share_longitudes(west, east, search.bbox[0], search.bbox[2])
    return True


def _share_longitudes(west: float, east: float, left: float, right: float) -> bool:
    """Whether two ranges of longitude meet; those with west > east go across the antimeridian."""
    span, width = (east - west) % 360.0, (right - left) % 360.0
    # A whole turn is not nothing.
    span, width = span or (360.0 if east != west else 0.0), width or 360.0
    return (left - west) % 360.0 <= span or (west - left) % 360.0 <= width


_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


def interval(text: str) -> tuple[dt.datetime, dt.datetime]:
    """First and last instant of a STAC datetime; open ends are the ends of time.

    Raises:
        ConfigError: it is none.
    """
    parts = text.split("/")
    if len(parts) > 2:
        raise ConfigError(f"'{text}' is no interval", where="search.datetime", mend="write start/end")
    start = dt.datetime.min if parts[0] in ("", "..") else _ends(parts[0])[0]
    end = dt.datetime.max if parts[-1] in ("", "..") else _ends(parts[-1])[1]
    if start > end:
        raise ConfigError(f"'{text}' ends before it begins", where="search.datetime", mend="turn it round")
    return start, end


def _ends(text: str) -> tuple[dt.datetime, dt.datetime]:
    match = _DATE.fullmatch(text.strip())
    try:
        if match is None:
            return _time(text), _time(text)
        year, month, day = int(match[1]), match[2], match[3]
        start = dt.datetime(year, int(month or 1), int(day or 1))
        if day:
            end = start + dt.timedelta(days=1)
        elif month:
            end = dt.datetime(year + int(month) // 12, int(month) % 12 + 1, 1)
        else:
            end = dt.datetime(year + 1, 1, 1)
        return start, end - dt.timedelta(microseconds=1)
    except (ValueError, InputError):
        raise ConfigError(
            f"'{text}' is no time", where="search.datetime", mend="write 2020-06-01 or 2020-06-01T10:00:00Z"
        ) from None


def _time(text: str) -> dt.datetime:
    """An instant in UTC, without its zone."""
    try:
        found = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"'{text}' is no time", where="datetime", mend="fetch the item anew") from None
    return found if found.tzinfo is None else found.astimezone(dt.UTC).replace(tzinfo=None)
