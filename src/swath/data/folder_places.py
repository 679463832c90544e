"""Which files of a folder make one image: places, each with its dates, bands and masks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swath.bands import sensor
from swath.data.folder_spec import FolderSpec
from swath.data.patterns import Found, compile_pattern, match_files
from swath.data.spec import SceneSpec
from swath.errors import ConfigError, InputError


@dataclass(frozen=True)
class ImagePlace:
    """One image, before it is opened: its name, how to open it, and its files relative to the folder."""

    name: str
    scene: SceneSpec
    files: tuple[str, ...]


def find_places(spec: FolderSpec, root: Path, names: Sequence[str]) -> list[ImagePlace]:
    """All images of a folder, by name.

    Raises:
        InputError: the pattern fits nothing, a band or mask of a date is missing, or a band is none of the sensor.
        ConfigError: the spec contradicts itself.
    """
    if not isinstance(spec.images, str):
        return _from_list(spec, root)
    pattern = compile_pattern(spec.images)
    if spec.stack_dates > 1 and pattern.fields & {"date", "band"}:
        raise ConfigError(
            "stack_dates is for files that hold all dates and bands",
            where="stack_dates",
            mend="leave {date} and {band} out of images",
        )
    if spec.dates and "date" in pattern.fields:
        raise ConfigError("dates are in the files' names", where="dates", mend="leave dates out")
    masks = _masks(spec, root, names)
    by_place: dict[str, list[Found]] = {}
    for found in match_files(pattern, names, root):
        by_place.setdefault(found.place, []).append(found)
    return [_place(spec, root, name, found, masks) for name, found in by_place.items()]


def _from_list(spec: FolderSpec, root: Path) -> list[ImagePlace]:
    files = [str(root / name) for name in spec.images]
    twice = sorted({f for f in files if files.count(f) > 1})
    if twice:
        raise ConfigError(f"images lists {twice[0]} twice", where="images", mend="list each file once")
    if spec.masks:
        raise ConfigError("masks need a pattern of images", where="masks", mend="write images as a pattern")
    if spec.files_are == "places":
        return [
            ImagePlace(name, _scene(spec, (path,), spec.dates, spec.bands), (name,))
            for name, path in zip(spec.images, files, strict=True)
        ]
    rows = tuple((f,) for f in files) if spec.files_are == "dates" else (tuple(files),)
    return [ImagePlace("", _scene(spec, rows, spec.dates, spec.bands), tuple(spec.images))]


def _masks(spec: FolderSpec, root: Path, names: Sequence[str]) -> dict[tuple[str, dt.date | None], str]:
    if not spec.masks:
        return {}
    pattern = compile_pattern(spec.masks, "masks")
    if "band" in pattern.fields:
        raise ConfigError("masks have a band", where="masks", mend="name the band in plain text")
    return {(f.place, f.date): f.path for f in match_files(pattern, names, root, "masks")}


def _place(
    spec: FolderSpec,
    root: Path,
    name: str,
    found: Sequence[Found],
    masks: dict[tuple[str, dt.date | None], str],
) -> ImagePlace:
    dates: dict[dt.date | None, list[Found]] = {}
    for f in found:
        dates.setdefault(f.date, []).append(f)
    label = f"{root / name}" if name else str(root)
    bands = spec.bands
    if found[0].band:
        if not bands:
            device = sensor(spec.sensor)
            # In the sensor's own order, whatever the files are called.
            named = {device.band(f.band).name for f in found}
            bands = tuple(n for n in device.names if n in named)
        rows = tuple(_date_files(spec, row, bands, label, date) for date, row in dates.items())
    else:
        rows = tuple((row[0].path,) for row in dates.values())
    days = spec.dates or tuple(d.isoformat() for d in dates if d is not None)
    mask_files = []
    for date in dates if spec.masks else ():
        mask = masks.get((name, date))
        if mask is None:
            raise InputError(
                f"there is no mask of {date or 'this image'}", where=label, mend="add it, or correct masks"
            )
        mask_files.append(mask)
    scene = _scene(spec, rows, days, bands, tuple(mask_files))
    return ImagePlace(name, scene, tuple(Path(f.path).relative_to(root).as_posix() for f in found))


def _date_files(
    spec: FolderSpec, row: Sequence[Found], bands: Sequence[str], label: str, date: dt.date | None
) -> tuple[str, ...]:
    """One file per band, in the order of the bands; bands that are not asked for are not opened."""
    device = sensor(spec.sensor)
    by_band: dict[str, Found] = {}
    for f in row:
        try:
            band = device.band(f.band).name
        except InputError:
            continue  # such as a mask or preview beside the bands that are named
        if band in by_band:
            raise InputError(
                f"is band {band} of {date or 'an image'}, and so is {by_band[band].path}",
                where=f.path,
                mend="make the pattern tell them apart",
            )
        by_band[band] = f
    wanted = [b.name for b in device.select(bands)]
    lacking = [b for b in wanted if b not in by_band]
    if lacking:
        raise InputError(
            f"band {', '.join(lacking)}{f' of {date}' if date else ''} has no file "
            f"(there are {', '.join(by_band) or 'none'})",
            where=label,
            mend="add the file, or leave the band out of bands",
        )
    return tuple(by_band[b].path for b in wanted)


def _scene(
    spec: FolderSpec,
    files: tuple[str, ...] | tuple[tuple[str, ...], ...],
    dates: Sequence[str],
    bands: Sequence[str],
    masks: tuple[str, ...] = (),
) -> SceneSpec:
    return SceneSpec(
        files,
        sensor=spec.sensor,
        bands=tuple(bands),
        stack_dates=spec.stack_dates,
        dates=tuple(dates),
        unit=spec.unit,
        scale=spec.scale,
        offset=spec.offset,
        level=spec.level,
        nodata=spec.nodata,
        mask_band=spec.mask_band,
        mask_files=masks,
        mask_values=spec.mask_values,
        mask_bits=spec.mask_bits,
        resampling=spec.resampling,
    )
