"""What a scene is made of, in plain values: a config can hold it, and importing it loads no other library."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, ClassVar, Literal

from swath.errors import ConfigError

Unit = Literal["dn", "reflectance", "decibel", "kelvin"]
Resampling = Literal["nearest", "bilinear"]
DEMO_PREFIX = "demo:"


@dataclass(frozen=True)
class SceneSpec:
    """Which files make a scene and how their numbers are to be read. Nothing is guessed from pixels.

    Attributes:
        files: one file; or several, one per band or one per date (`files_are` says which); or one list per
            date of one file per band. "demo:landsat" is embedded (`swath.data.demo.DEMO_SOURCES` has all).
        sensor: name of the sensor, such as "sentinel2"; not needed for embedded scenes.
        bands: names of the bands. Files whose bands bear names (GDAL descriptions, such as "B04") are read by
            name, and `bands` then chooses among them; files without names need one per band, in file order.
        files_are: what a plain list of several files runs along.
        stack_dates: dates within one file, time-major: all bands of the first date, then of the second, ….
        dates: acquisition dates, ISO 8601 ("2020-06-01"), in order; empty when unknown.
        unit: of the physical values. Needed unless the SAFE folder, a STAC item beside the files or the files' own
            tags say it (`swath.data.units`).
        scale: physical = stored * scale + offset; one for all, one per date, or a list per date of one per band;
            null: what the metadata says, else 1.
        offset: see scale; null: what the metadata says, else 0.
        level: processing level, such as "L2A"; one for all, or one per date.
        nodata: the stored number that means no data, in place of the one the files name.
        mask_band: number (from 1) of a band of each date's file that says what a pixel is, such as Fmask or the
            scene classification; 0: none.
        mask_files: in place of mask_band, one file per date whose first band says what a pixel is; it may be
            coarser than the bands by a whole factor, as the scene classification at 20 m beside 10 m bands.
        mask_values: values of the mask that make a pixel invalid, such as those of clouds and their shadows. For an
            embedded scene, both replace what it has (of "demo:series-landsat5" 4, with shadow 2 and cloud 4).
        mask_bits: bits of the mask, from 0, that make a pixel invalid where set, such as 1 and 3 for cloud and
            shadow in HLS's Fmask.
        resampling: how coarser bands (20 m, 60 m) are brought to the finest grid.
        sparse: blocks that a TIFF leaves out are meant to be 0. Otherwise a file that lacks blocks and names no
            no-data value is refused: it may not have been written to its end.
    """

    SHORTHAND: ClassVar[str] = "files"

    files: str | tuple[str, ...] | tuple[tuple[str, ...], ...]
    sensor: str | None = None
    bands: tuple[str, ...] = ()
    files_are: Literal["bands", "dates"] = "bands"
    stack_dates: int = 1
    dates: tuple[str, ...] = ()
    unit: Unit | None = None
    scale: float | tuple[float, ...] | tuple[tuple[float, ...], ...] | None = None
    offset: float | tuple[float, ...] | tuple[tuple[float, ...], ...] | None = None
    level: str | tuple[str, ...] | None = None
    nodata: float | None = field(default=None, metadata={"finite": False})
    mask_band: int = 0
    mask_files: tuple[str, ...] = ()
    mask_values: tuple[int, ...] = ()
    mask_bits: tuple[int, ...] = ()
    resampling: Resampling = "nearest"
    sparse: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", _plain_files(self.files))
        for name in ("bands", "dates", "mask_files"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, str) else tuple(str(v) for v in value)
            object.__setattr__(self, name, value)
        for name in ("scale", "offset", "level"):
            value = getattr(self, name)
            if isinstance(value, (list, tuple)):
                plain = tuple(tuple(v) if isinstance(v, (list, tuple)) else v for v in value)
                object.__setattr__(self, name, plain)
        object.__setattr__(self, "mask_values", tuple(int(v) for v in self.mask_values))
        object.__setattr__(self, "mask_bits", tuple(int(v) for v in self.mask_bits))
        says = len(self.mask_values) + len(self.mask_bits)
        if self.mask_band < 0 or bool(self.mask_band or self.mask_files) != bool(says):
            raise ConfigError(
                f"mask_band is {self.mask_band} with {len(self.mask_values)} mask_values "
                f"({len(self.mask_files)} mask_files, {len(self.mask_bits)} mask_bits)",
                where="scene",
                mend="give both: a band's number from 1 or files, and values or bits that make a pixel invalid",
            )
        if self.mask_band and self.mask_files:
            raise ConfigError(
                "both mask_band and mask_files are given", where="scene", mend="give one of them"
            )
        if any(not 0 <= bit < 64 for bit in self.mask_bits):
            raise ConfigError(
                f"mask_bits are {self.mask_bits}", where="scene", mend="count bits from 0 to 63"
            )
        if self.files_are not in ("bands", "dates"):
            raise ConfigError(
                f"files_are is '{self.files_are}'", where="scene", mend="use 'bands' or 'dates'"
            )
        if self.resampling not in ("nearest", "bilinear"):
            raise ConfigError(
                f"resampling is '{self.resampling}'", where="scene", mend="use 'nearest' or 'bilinear'"
            )
        if self.stack_dates < 1:
            raise ConfigError(f"stack_dates is {self.stack_dates}", where="scene", mend="use 1 or more")
        for date in self.dates:
            try:
                dt.date.fromisoformat(date)
            except ValueError:
                raise ConfigError(
                    f"'{date}' is not a date", where="scene", mend="write dates as 2020-06-01"
                ) from None

    @property
    def file_table(self) -> tuple[tuple[str, ...], ...]:
        """Files as [date][band or stack]; a stack of several dates is one row."""
        if isinstance(self.files, str):
            return ((self.files,),)
        rows: list[tuple[str, ...]] = []
        flat: list[str] = []
        for item in self.files:
            if isinstance(item, str):
                flat.append(item)
            else:
                rows.append(item)
        if rows and flat:
            raise ConfigError(
                "files mixes single files and lists of files",
                where="scene",
                mend="give one list of files, or one list per date",
            )
        if rows:
            return tuple(rows)
        return (tuple(flat),) if self.files_are == "bands" else tuple((f,) for f in flat)

    @property
    def name(self) -> str:
        """A short name for messages: the first file."""
        return self.file_table[0][0]

    @property
    def demo(self) -> str | None:
        """The name of an embedded scene, or None."""
        first = self.file_table[0][0]
        return first.removeprefix(DEMO_PREFIX) if first.startswith(DEMO_PREFIX) else None


def _plain_files(files: Any) -> str | tuple[str, ...] | tuple[tuple[str, ...], ...]:
    """Strings and tuples only, whatever lists and paths were given."""
    if isinstance(files, (str, PathLike)):
        name = str(fspath(files))
        if not name:
            raise ConfigError("no file is named", where="scene", mend="set files")
        return name
    if not isinstance(files, Sequence) or not files:
        raise ConfigError("no file is named", where="scene", mend="set files")
    plain: list[Any] = []
    for item in files:
        if isinstance(item, (str, PathLike)):
            plain.append(str(fspath(item)))
        elif isinstance(item, Sequence) and item:
            plain.append(tuple(str(fspath(f)) for f in item))
        else:
            raise ConfigError(
                "a date has no files", where="scene", mend="list at least one file for each date"
            )
    return tuple(plain)
