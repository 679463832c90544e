"""One door to GDAL: its errors become InputError, it prints nothing, and it reads remote files in ranges."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import rasterio
from rasterio._env import get_gdal_config
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from swath.cube import Grid
from swath.data.tiff import TiffLayout, layout_of
from swath.errors import InputError, ReadError

log = logging.getLogger(__name__)
# Without a handler of their own, rasterio's log records would reach stderr through Python's last resort.
logging.getLogger("rasterio").addHandler(logging.NullHandler())
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, MemoryError, UnicodeError)


# Of blocks that were read; GDAL alone would take a share of the machine's memory, in every process.
CACHE_BYTES = 128 << 20
# GDAL's file systems for what is not on this machine, by the scheme of an address.
SCHEMES = {
    "http://": "/vsicurl/http://",
    "https://": "/vsicurl/https://",
    "s3://": "/vsis3/",
    "gs://": "/vsigs/",
    "az://": "/vsiaz/",
    "abfs://": "/vsiaz/",
    "file://": "",
}
_REMOTE = (
    "/vsicurl",
    "/vsis3",
    "/vsigs",
    "/vsiaz",
    "/vsiadls",
    "/vsioss",
    "/vsiswift",
    "/vsihdfs",
    "/vsiwebhdfs",
)
# What is read over a network: only the ranges that are asked for, neighbouring ones in one request, nothing listed;
# a server that is busy is asked again, one that is silent is given up.
REMOTE_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # What came of a connection that broke is kept as if it were all: it must go when the file is closed, or no
    # second try can help.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/",
    "VSI_CACHE": "TRUE",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.2",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
}
# What a store wants to know of whoever reads it, by GDAL's file systems.
_CREDENTIALS = {
    "/vsis3/": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or AWS_NO_SIGN_REQUEST=YES if the "
    "bucket is public",
    "/vsigs/": "set GOOGLE_APPLICATION_CREDENTIALS in the environment, or GS_NO_SIGN_REQUEST=YES if the bucket is "
    "public",
    "/vsiaz/": "set AZURE_STORAGE_CONNECTION_STRING in the environment, or AZURE_STORAGE_ACCOUNT and "
    "AZURE_NO_SIGN_REQUEST=YES if the container is public",
}
# How GDAL, its stores and obstore say that they do not know or do not admit whoever asks. The last is where a machine in
# Amazon's cloud asks who it is, when it has looked everywhere else.
_NOT_ADMITTED = re.compile(
    r"NO_SIGN_REQUEST|credential|Access ?Denied|InvalidAccessKeyId|SignatureDoesNotMatch|Forbidden|Unauthorized"
    r"|HTTP response code:? 40[13]|/latest/api/token",
    re.I,
)


def mend_of(path: str, reason: str) -> str:
    """What to do where something cannot be read for that reason."""
    spelled = vsi_path(path)
    for root, mend in _CREDENTIALS.items():
        if root in spelled and _NOT_ADMITTED.search(reason):
            return mend
    return "check that the file is whole, or fetch it anew"


def cache_bytes() -> int:
    """What `bounded_cache` lets GDAL keep: CACHE_BYTES, or what a person has set in the environment."""
    if "GDAL_CACHEMAX" not in os.environ:
        return CACHE_BYTES
    with rasterio.Env():
        return int(get_gdal_config("GDAL_CACHEMAX"))


@contextlib.contextmanager
def bounded_cache() -> Iterator[None]:
    """GDAL's cache of blocks, which all threads of the process share, is bounded meanwhile."""
    # rasterio takes the number in bytes, sets it at once, and restores it afterwards.
    with rasterio.Env(GDAL_CACHEMAX=cache_bytes()):
        yield


def vsi_path(name: str) -> str:
    """An address as GDAL's virtual file systems spell it; a path stays as it is."""
    for scheme, prefix in SCHEMES.items():
        if name.lower().startswith(scheme):
            return prefix + name[len(scheme) :]
    return name


def zip_of(path: str) -> str | None:
    """The zip of "/vsizip//data/X.SAFE.zip/…", in whatever capitals it is written; None where there is none."""
    if not path.startswith("/vsizip/"):
        return None
    inner = path.removeprefix("/vsizip/")
    end = inner.lower().find(".zip/")
    return None if end < 0 else inner[: end + 4]


def is_remote(name: str) -> bool:
    """Whether reading it goes over a network."""
    path = vsi_path(name)
    return any(root in path for root in _REMOTE)


def _options(path: str) -> dict[str, str]:
    # What a person has set in the environment is meant.
    if not is_remote(path):
        return {}
    return {key: value for key, value in REMOTE_OPTIONS.items() if key not in os.environ}


@contextlib.contextmanager
def guard(path: str, doing: str, error: type[InputError] = InputError) -> Iterator[None]:
    """Turn whatever GDAL raises into one line that names the file."""
    try:
        # An Env routes GDAL's own messages to logging; outside of one they go to stderr.
        with rasterio.Env(**_options(path)), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except GDAL_ERRORS as err:
        reason = _reason(err)
        raise error(f"cannot be {doing} ({reason})", where=path, mend=mend_of(path, reason)) from err


def _reason(err: BaseException) -> str:
    """The most telling text of a chain of errors, without a repeated file name, kept short."""
    innermost = err
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    text = " ".join(str(innermost).split()) or type(innermost).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def require_file(path: str) -> None:
    """Raise InputError when a path on this machine leads to nothing; addresses and names of GDAL's are let through."""
    if ":" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise InputError("there is no such file", where=path, mend="check the path")


def open_raster(path: str, *, sparse: bool = False) -> Any:
    """A rasterio dataset, opened for reading.

    Args:
        path: a file, an address (https://, s3://, …) or a name of GDAL's.
        sparse: the blocks that a TIFF leaves out are meant to be 0.

    Raises:
        InputError: there is no such file, or GDAL cannot read it as a raster.
    """
    path = vsi_path(path)
    local = "://" not in path and not path.startswith("/vsi")
    if local and Path(path).is_dir():
        raise InputError("is a folder, not a raster", where=path, mend="name the file in it")
    require_file(path)
    if local and Path(path).is_file() and Path(path).stat().st_size == 0:
        raise InputError("is an empty file", where=path, mend="fetch it anew")
    layout: TiffLayout | None = None
    if local and Path(path).is_file():
        with guard(path, "read"):
            layout = layout_of(Path(path))
        have = Path(path).stat().st_size
        if layout is not None and layout.needed > have:
            raise InputError(
                f"cannot be read whole: it is cut short ({have} bytes, its directory names {layout.needed} or more)",
                where=path,
                mend="fetch it anew",
            )
    with guard(path, "read as a raster"):
        source = rasterio.open(path)
    try:
        if source.count == 0 or source.width == 0 or source.height == 0:
            raise InputError("holds no raster band", where=path, mend="name one of the rasters within it")
        if layout is not None:
            _check_blocks(source, layout, sparse)
    except InputError:
        source.close()
        raise
    return source


def _check_blocks(source: Any, layout: TiffLayout, sparse: bool) -> None:
    if layout.first < layout.wanted:
        raise InputError(
            f"says it is {source.height}x{source.width} pixels, and has {layout.first} of the {layout.wanted} blocks "
            "for them",
            where=source.name,
            mend="fetch it anew",
        )
    if layout.lost:
        raise InputError(
            f"has lost the place of {layout.lost} of its {layout.blocks} blocks",
            where=source.name,
            mend="fetch it anew",
        )
    if not layout.absent or sparse:
        return
    absent = f"{layout.absent} of its {layout.blocks} blocks"
    if source.nodata is None:
        raise InputError(
            f"lacks {absent}, and names no no-data value for them: was it written to its end?",
            where=source.name,
            mend="fetch it anew, or set sparse: true if they are meant to be 0",
        )
    log.info("%s: lacks %s; they are no-data", source.name, absent)


def require_blocks(source: Any, indexes: Sequence[int], window: tuple[int, int, int, int]) -> None:
    """Raise ReadError if a remote TIFF lacks a block of a window (row, col, height, width).

    Of files on this machine the directories are read when they are opened (`open_raster`).
    """
    if source.driver != "GTiff" or not is_remote(source.name):
        return
    row, col, height, width = window
    together = source.profile.get("interleave") == "pixel"
    for index in indexes[:1] if together else indexes:
        high, wide = source.block_shapes[index - 1]
        for y in range(row // high, (row + height - 1) // high + 1):
            for x in range(col // wide, (col + width - 1) // wide + 1):
                place = source.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=index)
                if place == "0" or (place is None and source.nodata is None):
                    raise ReadError(
                        f"lacks the block at row {y * high}, column {x * wide}",
                        where=source.name,
                        mend="fetch it anew, or set sparse: true if such blocks are meant to be 0",
                    )


def crs_text(source: Any) -> str:
    """The reference system as "EPSG:32119" or WKT; empty when the file names none."""
    if source.crs is None:
        return ""
    with guard(source.name, "read (its reference system)"):
        return str(source.crs.to_string())


def grid_of(source: Any) -> Grid:
    """The grid of an open raster."""
    t = source.transform
    return Grid(crs_text(source), (t.a, t.b, t.c, t.d, t.e, t.f), source.height, source.width)


def probe(source: Any) -> None:
    """Read the last pixel of every band, since a file that was cut short still opens. Raises InputError."""
    window = ((source.height - 1, source.height), (source.width - 1, source.width))
    with guard(source.name, "read to its end"):
        source.read(window=window)
