"""A Zarr store or a netCDF file, through xarray; windows are read from the chunks that they touch.

The numbers are read as stored: `scale_factor` and `add_offset` become the encoding. Chunks that a Zarr store does not
hold are its fill value, as Zarr says; where that is not named as `_FillValue` they are pixels like any other.
"""

from __future__ import annotations

import datetime as dt
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from swath.bands import Band
from swath.cube import Array, BoolArray, Encoding, Grid
from swath.data.gdal import is_remote, mend_of
from swath.data.windowed import Windowed, gsd_of
from swath.errors import ConfigError, InputError, ReadError
from swath.scenes.sources.array_layout import layout_of
from swath.scenes.sources.files import identity_of
from swath.scenes.sources.mosaic import clear_of
from swath.scenes.sources.retry import retrying
from swath.scenes.sources.spec import RetryOptions, SourceSpec

T = TypeVar("T")
_NETCDF = (".nc", ".nc4", ".cdf", ".netcdf")
# What xarray, zarr, numcodecs and HDF5 raise for what they cannot read; they share no class.
_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, IndexError, AttributeError, MemoryError)
# GDAL's variables that say that a store is public, by the scheme of an address.
_PUBLIC = {
    "s3": "AWS_NO_SIGN_REQUEST",
    "gs": "GS_NO_SIGN_REQUEST",
    "az": "AZURE_NO_SIGN_REQUEST",
    "abfs": "AZURE_NO_SIGN_REQUEST",
}


class ArraySource(Windowed):
    """A scene in a Zarr store or netCDF. Use `open_source`.

    Attributes:
        spec: what it was opened from.
    """

    # What is wanted of the chunks, and the chunks.
    COPIES = 2

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        if len(spec.paths) != 1:
            raise ConfigError(
                f"{len(spec.paths)} stores are named", where=spec.name, mend="give one store or file"
            )
        self._remote = is_remote(spec.name)
        self._data = self._opened()
        try:
            self._layout = layout_of(self._data, spec)
        except BaseException:
            self._data.close()
            raise
        super().__init__(gsd_of(self._layout.grid))

    @property
    def source(self) -> str:
        return self.spec.name

    @property
    def grid(self) -> Grid:
        return self._layout.grid

    @property
    def bands(self) -> tuple[Band, ...]:
        return self._layout.bands

    @property
    def dates(self) -> tuple[dt.date | None, ...]:
        return self._layout.dates

    @property
    def encodings(self) -> tuple[tuple[Encoding, ...], ...]:
        return (tuple(p.encoding for p in self._layout.planes),) * len(self.dates)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._layout.dtype

    def identity(self) -> str:
        """Text that is another when the spec is, or what lies on this machine."""
        path = Path(self.spec.name)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        return identity_of(replace(self.spec, retry=RetryOptions()), map(str, files))

    @property
    def files(self) -> tuple[str, ...]:
        """The store or file it is read from."""
        return (self.spec.name,)

    def close(self) -> None:
        self._data.close()

    def _opened(self) -> Any:
        return retrying(
            lambda: _guarded(self.spec.name, "opened", InputError, lambda: open_dataset(self.spec.name)),
            self.spec.retry,
            remote=self._remote,
        )

    def _again(self) -> None:
        self._data.close()
        self._data = self._opened()

    def _read_date(
        self, date: int, window: tuple[int, int, int, int]
    ) -> Iterator[tuple[int, BoolArray, Array]]:
        layout, step = self._layout, self._layout.steps[date]
        clear: BoolArray | None = None
        if layout.mask is not None:
            kinds = self._read(layout.mask, step, [None], window)[0]
            # Where a mask says nothing, the pixel is not known to be clear.
            clear = _valid(kinds, layout.mask_nodata, clear_of(kinds, self.spec.mask))
        places: dict[str, list[int]] = {}
        for band, plane in enumerate(layout.planes):
            places.setdefault(plane.variable, []).append(band)
        for variable, bands in places.items():
            values = self._read(variable, step, [layout.planes[b].place for b in bands], window)
            for band, pixels in zip(bands, values, strict=True):
                yield band, _valid(pixels, layout.planes[band].nodata, clear), pixels

    def _read(
        self, variable: str, step: int | None, places: list[int | None], window: tuple[int, int, int, int]
    ) -> Array:
        """[len(places),h,w] of one date."""
        row, col, height, width = window
        axes = self._layout.axes[variable]
        cut: dict[str, Any] = {axes["y"]: slice(row, row + height), axes["x"]: slice(col, col + width)}
        if "t" in axes:
            cut[axes["t"]] = 0 if step is None else step
        if "c" in axes:
            # One read for all of them: bands may share chunks.
            cut[axes["c"]] = [p or 0 for p in places]
        order = [axes[a] for a in ("c", "y", "x") if a in axes]

        def read() -> Array:
            array = self._data[variable].isel(cut).transpose(*order)
            values: Array = np.asarray(array.values)
            return values if "c" in axes else values[None]

        def guarded() -> Array:
            return _guarded(self.source, f"read at row {row}, column {col}", ReadError, read)

        return retrying(guarded, self.spec.retry, remote=self._remote, again=self._again)


def open_dataset(path: str) -> Any:
    """An xarray data set, its arrays not read, its numbers as stored.

    Raises:
        ConfigError: a library is missing.
        InputError: there is nothing.
    """
    xarray = _module("xarray", "zarr")
    local = not is_remote(path)
    if local and not Path(path).exists():
        raise InputError("there is no such file", where=path, mend="check the path")
    options = {"chunks": None, "mask_and_scale": False, "decode_coords": "all", "decode_timedelta": False}
    if PurePosixPath(path.rstrip("/")).suffix.lower() in _NETCDF:
        if not local:
            raise InputError("is netCDF on another machine", where=path, mend="copy it here, or use Zarr")
        # Version 4 is HDF5, earlier ones are not.
        with Path(path).open("rb") as file:
            hdf = file.read(4) == b"\x89HDF"
        _module("h5netcdf" if hdf else "scipy", "zarr")
        return xarray.open_dataset(path, engine="h5netcdf" if hdf else "scipy", **options)
    storage = _module("zarr.storage", "zarr")
    store: Any = path
    if not local:
        stores = _module("obstore.store", "cloud")
        store = storage.ObjectStore(stores.from_url(path, **_store_options(path)), read_only=True)
    return xarray.open_dataset(store, engine="zarr", **options)


def _store_options(path: str) -> dict[str, Any]:
    """How obstore opens what lies at an address."""
    # It is asked again from here (`retrying`); a store that nobody has told who asks would be asked for minutes.
    options: dict[str, Any] = {"retry_config": {"max_retries": 2, "retry_timeout": dt.timedelta(seconds=30)}}
    if path.startswith("http://"):
        options["client_options"] = {"allow_http": True}
    # One variable for files and arrays: GDAL's.
    public = os.environ.get(_PUBLIC.get(path.split("://")[0].lower(), ""), "")
    if public.upper() in ("YES", "TRUE", "ON", "1"):
        options["skip_signature"] = True
    return options


def _module(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        root = name.split(".")[0]
        raise ConfigError(f"reading it needs {root}", mend=f'pip install "swath[{extra}]"') from None


def _guarded(where: str, doing: str, error: type[InputError], action: Callable[[], T]) -> T:
    try:
        with warnings.catch_warnings():
            # That metadata are not consolidated, or a type is not in Zarr's specification: it is read all the same.
            warnings.simplefilter("ignore")
            return action()
    except Exception as err:
        if not isinstance(err, (*_ERRORS, *_store_errors())):
            raise
        # obstore repeats itself in a second paragraph, for those who look for faults in it.
        reason = " ".join(str(err).split("\n\n")[0].split()) or type(err).__name__
        raise error(
            f"cannot be {doing} ({reason[:160]})",
            where=where,
            mend=mend_of(where, reason),
        ) from err


def _store_errors() -> tuple[type[Exception], ...]:
    """What obstore raises, if it is at work."""
    errors = sys.modules.get("obstore.exceptions")
    return () if errors is None else (errors.BaseError,)


def _valid(pixels: Array, nodata: float | None, clear: BoolArray | None) -> BoolArray:
    valid: BoolArray = np.ones(pixels.shape, np.bool_) if clear is None else clear.copy()
    if nodata is not None and not np.isnan(nodata):
        with np.errstate(invalid="ignore", over="ignore"):
            number = np.asarray(nodata).astype(pixels.dtype)
        # A number that the pixels cannot hold marks none of them; a float's is rounded as theirs were.
        if pixels.dtype.kind == "f" or float(number) == nodata:
            valid &= pixels != number
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels)
    return valid
