"""GDAL's cache of blocks is bounded while a scene is mapped, in every thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import rasterio
from rasterio._env import get_gdal_config

from swath.data.gdal import CACHE_BYTES, bounded_cache, cache_bytes, guard


def now() -> int:
    with rasterio.Env():
        return int(get_gdal_config("GDAL_CACHEMAX"))


def use_gdal() -> int:
    with guard("a", "read"):
        pass
    return now()


def test_all_threads_share_the_bound_and_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    before = now()
    with bounded_cache(), ThreadPoolExecutor(1) as pool:
        assert use_gdal() == pool.submit(use_gdal).result() == now() == cache_bytes() == CACHE_BYTES
    assert now() == before != CACHE_BYTES
