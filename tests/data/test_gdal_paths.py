"""Paths as GDAL writes them."""

from __future__ import annotations

import pytest

from swath.data.gdal import zip_of


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/vsizip//data/X.SAFE.zip/X.SAFE/B02.jp2", "/data/X.SAFE.zip"),
        ("/vsizip//data/X.ZIP/B02.jp2", "/data/X.ZIP"),
        ("/vsizip/X.Zip/inner.zip/B02.jp2", "X.Zip"),
        ("/vsizip//data/X.tar/B02.jp2", None),
        ("/data/X.zip", None),
    ],
)
def test_of_a_path_into_a_zip_the_zip_is_known(path: str, file: str | None) -> None:
    assert zip_of(path) == file
