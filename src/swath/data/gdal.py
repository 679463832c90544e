"""One door to GDAL: its errors become InputError, and it prints nothing."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from swath.cube import Grid
from swath.data.tiff import bytes_needed
from swath.errors import InputError

# Without a handler of their own, rasterio's log records would reach stderr through Python's last resort.
logging.getLogger("rasterio").addHandler(logging.NullHandler())
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, MemoryError, UnicodeError)


@contextlib.contextmanager
def guard(path: str, doing: str) -> Iterator[None]:
    """Turn whatever GDAL raises into one line that names the file."""
    try:
        # An Env routes GDAL's own messages to logging; outside of one they go to stderr.
        with rasterio.Env(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except GDAL_ERRORS as err:
        reason = _reason(err)
        raise InputError(
            f"cannot be {doing} ({reason})", where=path, mend="check that the file is whole, or fetch it anew"
        ) from err


def _reason(err: BaseException) -> str:
    """The most telling text of a chain of errors, without a repeated file name, kept short."""
    innermost = err
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    text = " ".join(str(innermost).split()) or type(innermost).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def open_raster(path: str) -> Any:
    """A rasterio dataset, opened for reading.

    Raises:
        InputError: there is no such file, or GDAL cannot read it as a raster.
    """
    local = "://" not in path and not path.startswith("/vsi")
    if local and Path(path).is_dir():
        raise InputError("is a folder, not a raster", where=path, mend="name the file in it")
    if local and ":" not in path and not Path(path).exists():
        raise InputError("there is no such file", where=path, mend="check the path")
    if local and Path(path).is_file() and Path(path).stat().st_size == 0:
        raise InputError("is an empty file", where=path, mend="fetch it anew")
    if local and Path(path).is_file():
        with guard(path, "read"):
            need = bytes_needed(Path(path))
        have = Path(path).stat().st_size
        if need is not None and need > have:
            raise InputError(
                f"cannot be read whole: it is cut short ({have} bytes, its directory names {need} or more)",
                where=path,
                mend="fetch it anew",
            )
    with guard(path, "read as a raster"):
        source = rasterio.open(path)
    if source.count == 0 or source.width == 0 or source.height == 0:
        source.close()
        raise InputError("holds no raster band", where=path, mend="name one of the rasters within it")
    return source


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
