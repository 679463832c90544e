"""What a folder of a person's own holds, as a small YAML says it (docs/own-data.md).

    sensor: sentinel2
    images: "{place}/{date:%Y%m%d}_{band}.tif"
    bands: [B02, B03, B04, B8A]
    size: 128
    labels: {kind: vector, file: labels.gpkg, attribute: crop, classes: [{value: 1, name: wheat}, …]}
    split: {kind: blocks, block: 2560, shares: {train: 0.7, validation: 0.15, test: 0.15}}

Every key is checked: an unknown one is an error that names the nearest.
"""

from __future__ import annotations

import colorsys
import dataclasses
import datetime as dt
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from swath.cube import UNITS, Unit
from swath.data.legend import LandClass, check_legend, rgb
from swath.data.spec import Resampling
from swath.data.split_parts import check_shares
from swath.data.vectors import Overlap, Touch
from swath.errors import ConfigError

FILE = "dataset.yaml"
LabelKind = Literal["raster", "numbers", "vector", "csv"]
SplitKind = Literal["blocks", "groups", "regions", "dates", "list", "csv", "random"]


@dataclass(frozen=True)
class LabelSpec:
    """Where labels come from.

    Attributes:
        kind: "raster" of class values, raster of "numbers" (real, NaN or no-data unknown), "vector", or "csv".
        file: a pattern of rasters (with the fields of `images` but band; with {date} labels are of each date), a vector
            file, or a table with the columns file, class and, if parts are listed there, split.
        classes: value, name and colour of each; not for numbers.
        ignore: values that mean no label.
        attribute, layer, crs, touch, overlap: of vectors; see `swath.data.vectors`.
        labelled_only: leave out items without one labelled pixel.
    """

    kind: LabelKind
    file: str
    classes: tuple[LandClass, ...] = ()
    ignore: tuple[int | str, ...] = ()
    attribute: str = ""
    layer: str | None = None
    crs: str | None = None
    touch: Touch = "centre"
    overlap: Overlap = "error"
    labelled_only: bool = False


@dataclass(frozen=True)
class SplitSpec:
    """How items are divided; see `swath.data.split_parts`.

    Attributes:
        kind: the way.
        shares: part -> share, for blocks, groups and random.
        seed: of the draw.
        block, buffer: in units of the reference system (m for UTM), or pixels for images without one.
        file: of regions (vectors), or of a list (csv with id and part).
        attribute: of regions, that names the part.
        starts: part -> first date, for dates; the first part's is "start" for everything before.
    """

    kind: SplitKind
    shares: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    block: float = 0.0
    buffer: float | None = None
    file: str = ""
    attribute: str = ""
    starts: Mapping[str, dt.date] = field(default_factory=dict)


@dataclass(frozen=True)
class FolderSpec:
    """A folder of images, and what is known of them.

    Attributes:
        sensor: such as "sentinel2".
        images: a pattern of files (`swath.data.patterns`), relative to the folder; or a list of files.
        files_are: what a list of files runs along; needed for a list only.
        bands: names; they choose among one-band files or named bands, and name the bands of plain stacks in order.
        stack_dates: dates within one file, time-major; nothing is read as time-major unless this says so.
        dates: of a stack of dates, or of a list of files that are dates.
        unit, scale, offset, level, nodata, resampling: as of `swath.data.spec.SceneSpec`.
        masks: a pattern of mask files, one per place and date.
        mask_band, mask_values, mask_bits: as of SceneSpec.
        size: side of the windows that are items, pixels; 0: whole images are items.
        labels: or None.
        split: or None.
    """

    sensor: str
    images: str | tuple[str, ...]
    files_are: Literal["", "places", "dates", "bands"] = ""
    bands: tuple[str, ...] = ()
    stack_dates: int = 1
    dates: tuple[str, ...] = ()
    unit: Unit | None = None
    scale: float | None = None
    offset: float | None = None
    level: str | None = None
    nodata: float | None = None
    resampling: Resampling = "nearest"
    masks: str = ""
    mask_band: int = 0
    mask_values: tuple[int, ...] = ()
    mask_bits: tuple[int, ...] = ()
    size: int = 0
    labels: LabelSpec | None = None
    split: SplitSpec | None = None


def read_folder_spec(path: Path) -> FolderSpec:
    """The spec in a YAML file. Raises ConfigError naming the file and the key."""
    return folder_spec(read_keys(path), str(path))


def read_keys(path: Path) -> Mapping[str, Any]:
    """The keys of a YAML file, as they stand there. Raises ConfigError naming the file."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", where=path, mend="write it: see docs/own-data.md"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise ConfigError(f"is not readable as YAML ({err})", where=path, mend="correct it") from err
    if not isinstance(data, Mapping):
        raise ConfigError("holds no keys", where=path, mend="write it: see docs/own-data.md")
    return data


def folder_spec(data: Mapping[str, Any], where: str = "folder") -> FolderSpec:
    """The spec of plain values, checked. Raises ConfigError naming the key."""
    values = _known(FolderSpec, data, where)
    for name in ("sensor", "images"):
        if not values.get(name):
            raise ConfigError(f"{name} is missing", where=where, mend=f"say {name}")
    if values.get("labels") is not None:
        values["labels"] = _labels(values["labels"], f"{where}: labels")
    if values.get("split") is not None:
        values["split"] = split_spec(values["split"], f"{where}: split")
    images = values["images"]
    if not isinstance(images, str):
        values["images"] = _texts(images)
        if values.get("files_are") not in ("places", "dates", "bands"):
            raise ConfigError(
                "images is a list, and nothing says what it runs along",
                where=where,
                mend="state files_are: places, dates or bands",
            )
    for name in ("bands", "dates"):
        values[name] = _texts(values.get(name) or ())
    for name in ("mask_values", "mask_bits"):
        values[name] = tuple(_whole(v, f"{where}: {name}") for v in values.get(name) or ())
    for name in ("scale", "offset", "nodata"):
        if values.get(name) is not None:
            values[name] = _number(values[name], f"{where}: {name}")
    for name in ("stack_dates", "size", "mask_band"):
        if name in values:
            values[name] = _whole(values[name], f"{where}: {name}")
    if values.get("size", 0) < 0 or values.get("stack_dates", 1) < 1:
        raise ConfigError(
            "size or stack_dates is too small", where=where, mend="use 0 or more, and 1 or more"
        )
    _one_of(values, "unit", UNITS, where)
    _one_of(values, "resampling", ("nearest", "bilinear"), where)
    if values.get("labels") is not None and values["labels"].kind == "csv" and values.get("size"):
        raise ConfigError(
            "windows of a size cannot share the class of a whole file",
            where=f"{where}: size",
            mend="leave it out",
        )
    return FolderSpec(**values)


def _labels(data: Any, where: str) -> LabelSpec:
    values = _known(LabelSpec, data, where)
    _one_of(values, "kind", get_args(LabelKind), where, needed=True)
    _one_of(values, "touch", get_args(Touch), where)
    _one_of(values, "overlap", get_args(Overlap), where)
    if not values.get("file"):
        raise ConfigError("file is missing", where=where, mend="name the labels")
    if values["kind"] == "vector" and not values.get("attribute"):
        raise ConfigError("attribute is missing", where=where, mend="name the one that says the class")
    rows = values.get("classes") or ()
    values["classes"] = tuple(_class(row, i, len(rows), where) for i, row in enumerate(rows))
    if values["kind"] != "numbers":
        check_legend(values["classes"], where)
    values["ignore"] = tuple(values.get("ignore") or ())
    return LabelSpec(**values)


def _class(row: Any, index: int, count: int, where: str) -> LandClass:
    """{value, name, color}; a bare name has its place as value; colours left out are spread over the wheel."""
    if isinstance(row, str):
        row = {"name": row, "value": index}
    if not isinstance(row, Mapping) or "name" not in row:
        raise ConfigError(f"class {index + 1} has no name", where=where, mend="write {value: 1, name: wheat}")
    colour = row.get("color")
    if colour is None:
        r, g, b = colorsys.hsv_to_rgb(index / max(count, 1), 0.65, 0.85)
        colour = (round(r * 255), round(g * 255), round(b * 255))
    elif isinstance(colour, str):
        try:
            colour = rgb(colour)
        except ConfigError as err:
            raise ConfigError(err.what, where=where, mend=err.mend) from None
    value = _whole(row.get("value", index), f"{where}: value of class {row['name']}")
    return LandClass(value, str(row["name"]), tuple(colour))


def split_spec(data: Any, where: str) -> SplitSpec:
    """The split of plain values, checked. Raises ConfigError naming the key."""
    values = _known(SplitSpec, data, where)
    _one_of(values, "kind", get_args(SplitKind), where, needed=True)
    kind = values["kind"]
    if kind in ("blocks", "groups", "random"):
        shares = values.get("shares") or {}
        if not isinstance(shares, Mapping):
            raise ConfigError("shares are no mapping", where=where, mend="write {train: 0.8, test: 0.2}")
        values["shares"] = {str(k): _number(v, f"{where}: shares") for k, v in shares.items()}
        check_shares(values["shares"], where)
    if kind == "blocks" and not values.get("block"):
        raise ConfigError("block is missing", where=where, mend="say how wide a block is")
    if kind in ("regions", "list") and not values.get("file"):
        raise ConfigError("file is missing", where=where, mend="name the file of regions, or of the list")
    for name in ("block", "buffer"):
        if values.get(name) is not None:
            values[name] = _number(values[name], f"{where}: {name}")
    starts = values.get("starts") or {}
    if kind == "dates" and not starts:
        raise ConfigError("starts are missing", where=where, mend="write {train: start, test: 2022-01-01}")
    try:
        values["starts"] = {
            str(k): dt.date.min if v == "start" else dt.date.fromisoformat(str(v)) for k, v in starts.items()
        }
    except ValueError as err:
        raise ConfigError(f"starts hold no date ({err})", where=where, mend="write 2022-01-01") from None
    return SplitSpec(**values)


def _known(cls: type[Any], data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ConfigError("is no mapping of keys", where=where, mend="see docs/own-data.md")
    names = [f.name for f in dataclasses.fields(cls)]
    for key in data:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            raise ConfigError(
                f"unknown key '{key}'",
                where=where,
                mend=f"did you mean {near[0]}?" if near else f"the keys are {', '.join(names)}",
            )
    return {str(k): v for k, v in data.items()}


def _one_of(
    values: Mapping[str, Any], name: str, known: tuple[str, ...], where: str, needed: bool = False
) -> None:
    value = values.get(name)
    if (value is None and needed) or (value is not None and value not in known):
        raise ConfigError(f"{name} is '{value}'", where=where, mend=f"use one of {', '.join(known)}")


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(v) for v in value)


def _number(value: Any, where: str) -> float:
    try:
        return float(value)  # YAML reads 1e-4 as text
    except (TypeError, ValueError):
        raise ConfigError(f"'{value}' is no number", where=where, mend="write a number") from None


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"'{value}' is no whole number", where=where, mend="write a whole number")
    return value
