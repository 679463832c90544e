"""A STAC item as plain JSON: which file holds which bands, the date, and what its numbers mean.

What is read: `raster:bands` (extension 1.x) or `bands` (STAC 1.1) for scale, offset, unit and no-data;
`eo:bands`, `bands` or the asset's key for band names; `s2:processing_baseline` (or `processing:baseline`); and
`earthsearch:boa_offset_applied`, which beats the offset of `raster:bands`: items of Earth Search v1 name -0.1
there even where it was taken off the pixels already (its maintainers call the property the truth).

Only values are read, so the item may come from a file, from pystac (`item.to_dict()`) or from an API's answer.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin

from swath.bands import SENSORS, Band, Sensor
from swath.cube import Encoding, Unit
from swath.data.sentinel2_meta import OFFSET_SINCE, baseline_of, encoding_of
from swath.data.spec import Resampling, SceneSpec
from swath.errors import InputError

# Words of `unit` (openEO and UDUNITS spellings) for the units there are.
UNIT_WORDS: Mapping[str, Unit] = {
    "db": "decibel",
    "decibel": "decibel",
    "decibels": "decibel",
    "k": "kelvin",
    "kelvin": "kelvin",
    "kelvins": "kelvin",
    "reflectance": "reflectance",
    "dn": "dn",
    "digital number": "dn",
    "digital numbers": "dn",
}
# Names of Earth Search's assets that are no common names.
_RED_EDGES = {"rededge1": "B05", "rededge2": "B06", "rededge3": "B07"}
_SENSORS = {
    "sentinel-2": "sentinel2",
    "sentinel-1": "sentinel1",
    "landsat-5": "landsat5",
    "landsat-7": "landsat7",
    "landsat-8": "landsat8",
    "landsat-9": "landsat9",
}


@dataclass(frozen=True)
class AssetBand:
    """One band of one asset.

    Attributes:
        name: as the item names it; `None` when it names none.
        encoding: what its numbers mean, or None where the item does not say.
        nodata: or None.
        known: which keys say so, for people.
    """

    name: str | None
    encoding: Encoding | None
    nodata: float | None
    known: str


@dataclass(frozen=True)
class Asset:
    """One file of an item; bands in file order."""

    key: str
    href: str
    bands: tuple[AssetBand, ...]


@dataclass(frozen=True)
class StacItem:
    """One item.

    Attributes:
        id: its id.
        where: its file, for messages.
        sensor: name of a sensor of `swath.bands`, or None where the item does not say one that is known.
        level: "L1C", "L2A" or None.
        baseline: Sentinel-2's processing baseline as written, or None.
        date: of acquisition, or None.
        assets: those that are rasters.
    """

    id: str
    where: str
    sensor: str | None
    level: str | None
    baseline: str | None
    date: dt.date | None
    assets: tuple[Asset, ...]

    def asset_of(self, file: str) -> Asset | None:
        """The asset whose href ends in this file's name."""
        name = PurePosixPath(file.replace("\\", "/")).name
        found = [a for a in self.assets if PurePosixPath(a.href.split("?")[0]).name == name]
        return found[0] if len(found) == 1 else None

    def by_band(self, device: Sensor) -> dict[Band, tuple[Asset, int]]:
        """(asset, band within it from 1) of each band of the sensor; the first asset that holds one counts."""
        result: dict[Band, tuple[Asset, int]] = {}
        for asset in self.assets:
            for index, own in enumerate(asset.bands, start=1):
                band = band_named(device, own.name)
                if band is not None and own.encoding is not None and own.encoding.unit != "dn":
                    result.setdefault(band, (asset, index))
        return dict(sorted(result.items(), key=lambda pair: device.bands.index(pair[0])))


def band_named(device: Sensor, name: str | None) -> Band | None:
    """The sensor's band of that name, or None."""
    if name is not None and device.name in ("sentinel2", "hls_s30"):
        name = _RED_EDGES.get(name.lower(), name)
    try:
        return None if name is None else device.band(name)
    except InputError:
        return None


def is_item(data: object) -> bool:
    """Whether parsed JSON is a STAC item."""
    return isinstance(data, dict) and data.get("type") == "Feature" and "stac_version" in data


def read_item(path: Path | str) -> StacItem:
    """The item in a JSON file. Raises InputError when it cannot be read or is none."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no such file", where=path, mend="check the path") from None
    except (OSError, ValueError) as err:
        raise InputError(f"is not readable as JSON ({err})", where=path, mend="fetch it anew") from err
    if not is_item(data):
        raise InputError(
            "is no STAC item (type Feature, with a stac_version)", where=path, mend="name an item's JSON"
        )
    return parse_item(data, str(path))


def parse_item(data: Mapping[str, Any], where: str) -> StacItem:
    """The values of an item.

    Args:
        data: its JSON.
        where: its file or URL; relative hrefs are resolved against it.

    Raises:
        InputError: it has no assets, or a date, baseline, scale or offset that is none.
    """
    properties = data.get("properties")
    assets = data.get("assets")
    if not isinstance(properties, Mapping):
        raise InputError("has no properties", where=where, mend="fetch the item anew")
    if not isinstance(assets, Mapping) or not assets:
        raise InputError("has no assets", where=where, mend="fetch the item anew")
    device = _sensor(data, properties)
    level = _level(data, properties)
    baseline = properties.get("s2:processing_baseline", properties.get("processing:baseline"))
    baseline = None if baseline is None else str(baseline)
    rows = []
    for key, asset in assets.items():
        if not isinstance(asset, Mapping) or not isinstance(asset.get("href"), str):
            raise InputError(f"asset '{key}' has no href", where=where, mend="fetch the item anew")
        if not _is_raster(asset):
            continue
        bands = _bands(key, asset, properties, device, level, baseline, where)
        rows.append(Asset(str(key), _resolved(asset["href"], where), bands))
    return StacItem(
        str(data.get("id", "")), where, device, level, baseline, _date(properties, where), tuple(rows)
    )


def find_item(path: str) -> StacItem | None:
    """The item beside a raster that names it among its assets; None if there is none.

    Looked for, in this order: the file's name with .json, shortened part by part (A_B_C.json, A_B.json,
    A.json), the folder's name with .json, and item.json. No folder is listed.
    """
    if path.startswith("/vsi") or "://" in path:
        return None
    file = Path(path)
    stems = [file.stem]
    while any(mark in stems[-1] for mark in "_.-"):
        cut = max(stems[-1].rfind(mark) for mark in "_.-")
        if cut <= 0:
            break
        stems.append(stems[-1][:cut])
    for stem in dict.fromkeys([*stems, file.absolute().parent.name, "item"]):
        candidate = file.parent / f"{stem}.json"
        if not candidate.is_file():
            continue
        try:
            data = json.loads(candidate.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # some other JSON: only an item is a word on units
        if is_item(data):
            item = parse_item(data, str(candidate))
            if item.asset_of(path) is not None:
                return item
    return None


def _resolved(href: str, where: str) -> str:
    if where.startswith(("http://", "https://")):
        return urljoin(where, href)  # "/a.tif" is of that server, and never of this machine
    if "://" in href or href.startswith("/"):
        return href
    base = where.rsplit("/", 1)[0] if "/" in where else "."
    return f"{base}/{href.removeprefix('./')}"


def _is_raster(asset: Mapping[str, Any]) -> bool:
    kind = str(asset.get("type", ""))
    roles = asset.get("roles") or []
    if "thumbnail" in roles or "overview" in roles or "metadata" in roles:
        return False
    suffix = PurePosixPath(asset["href"].split("?")[0]).suffix.lower()
    return "tiff" in kind or "jp2" in kind or suffix in (".tif", ".tiff", ".jp2", ".vrt")


def _sensor(data: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    collection = str(data.get("collection", "")).lower()
    if collection.startswith("hls"):
        return "hls_s30" if "s30" in collection else "hls_l30" if "l30" in collection else None
    for key in ("constellation", "platform"):
        value = str(properties.get(key, "")).lower().replace("_", "-")
        for start, name in _SENSORS.items():
            if value.startswith(start):
                return name
    return None


def _level(data: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    for value in (
        properties.get("processing:level"),
        properties.get("s2:product_type"),
        data.get("collection"),
    ):
        text = str(value or "").upper()
        if text.endswith(("L1C", "MSI1C")):
            return "L1C"
        if text.endswith(("L2A", "MSI2A")) or text == "L2":
            return "L2A" if "2A" in text else "L2"
    return None


def _date(properties: Mapping[str, Any], where: str) -> dt.date | None:
    value = properties.get("datetime") or properties.get("start_datetime")
    if value is None:
        return None
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        raise InputError(f"datetime '{value}' is no date", where=where, mend="fetch the item anew") from None


def _bands(
    key: str,
    asset: Mapping[str, Any],
    properties: Mapping[str, Any],
    device: str | None,
    level: str | None,
    baseline: str | None,
    where: str,
) -> tuple[AssetBand, ...]:
    common = [b for b in asset.get("bands") or [] if isinstance(b, Mapping)]
    raster = [b for b in asset.get("raster:bands") or [] if isinstance(b, Mapping)]
    optical = [b for b in asset.get("eo:bands") or [] if isinstance(b, Mapping)]
    count = max(len(common), len(raster), len(optical), 1)
    rows = []
    for i in range(count):
        named: dict[str, Any] = {}
        for part in (optical, common):
            named |= part[i] if i < len(part) else {}
        numbers = {**asset, **named, **(raster[i] if i < len(raster) else {})}
        name = _name(key if count == 1 else None, named, device)
        own = f"{where}: asset {key}"
        encoding, known = _encoding(numbers, name, asset, properties, device, level, baseline, own)
        nodata = _number(numbers, ("nodata",), own)
        rows.append(AssetBand(name, encoding, nodata, known))
    return tuple(rows)


def _name(key: str | None, named: Mapping[str, Any], device: str | None) -> str | None:
    """The band's name: the first of its keys that the sensor knows, else what the item says."""
    said = [named.get("name"), key, named.get("eo:common_name"), named.get("common_name")]
    texts = [str(s) for s in said if s]
    if device is not None:
        for text in texts:
            band = band_named(SENSORS[device], text)
            if band is not None:
                return band.name
    return texts[0] if texts else None


def _encoding(
    numbers: Mapping[str, Any],
    name: str | None,
    asset: Mapping[str, Any],
    properties: Mapping[str, Any],
    device: str | None,
    level: str | None,
    baseline: str | None,
    where: str,
) -> tuple[Encoding | None, str]:
    """What the numbers mean and which keys say so; None where nothing does."""
    roles: Sequence[Any] = asset.get("roles") or []
    if "visual" in roles or str(asset.get("title", "")).lower().startswith("true color"):
        return Encoding("dn", level=level), "an image for the eye (role visual)"
    scale = _number(numbers, ("scale", "raster:scale"), where)
    offset = _number(numbers, ("offset", "raster:offset"), where)
    word = str(numbers.get("unit") or "").strip().lower()
    unit = UNIT_WORDS.get(word)
    band = band_named(SENSORS[device], name) if device is not None else None
    if (
        unit is None
        and word in ("", "1", "none")
        and ("reflectance" in roles or _is_reflectance(device, band))
    ):
        unit = "reflectance"
    if unit is None:
        return None, ""
    applied = properties.get("earthsearch:boa_offset_applied", properties.get("sentinel:boa_offset_applied"))
    if device == "sentinel2" and unit == "reflectance":
        if applied is True and scale is not None:
            return Encoding(unit, scale, 0.0, level), "raster:bands, offset applied already"
        if scale is None and baseline is not None:
            plain = encoding_of(baseline_of(baseline, where), level, offset_applied=applied is True)
            return plain, f"processing baseline {baseline}" + (", offset applied already" if applied else "")
        if offset is None and baseline is not None and baseline_of(baseline, where) >= OFFSET_SINCE:
            raise InputError(
                f"names a scale, but no offset, for baseline {baseline}",
                where=where,
                mend="state unit, scale and offset",
            )
    if scale is None and unit == "reflectance":
        return None, ""  # whole numbers that are reflectance have a scale: that it is 1 must be said
    return Encoding(unit, 1.0 if scale is None else scale, offset or 0.0, level), "raster:bands"


def _is_reflectance(device: str | None, band: Band | None) -> bool:
    """Optical bands of levels that are always delivered as scaled reflectance."""
    return device == "sentinel2" and band is not None


def _number(values: Mapping[str, Any], keys: Sequence[str], where: str) -> float | None:
    for key in keys:
        value = values.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise InputError(f"{key} {value!r} is no number", where=where, mend="fetch the item anew")
        try:
            return float(value)  # "nan" and "inf" are words for no-data that STAC allows
        except ValueError:
            raise InputError(
                f"{key} '{value}' is no number", where=where, mend="fetch the item anew"
            ) from None
    return None


def item_spec(item: StacItem, bands: Sequence[str] = (), *, resampling: Resampling = "nearest") -> SceneSpec:
    """The files of an item's bands (empty: all that it says the unit of), one file per band.

    What the numbers mean is stated in the spec, as the item has it.

    Raises:
        InputError: the item names no sensor that is known, or lacks a band, or a band has no file of its own.
    """
    if item.sensor is None:
        raise InputError(
            "names no sensor that swath knows", where=item.where, mend="name its files, sensor and bands"
        )
    device = SENSORS[item.sensor]
    found = item.by_band(device)
    wanted = list(device.select(bands)) or list(found)
    missing = [b.name for b in wanted if b not in found]
    if missing or not wanted:
        has = ", ".join(b.name for b in found) or "none"
        raise InputError(
            f"has no asset of known unit for band {', '.join(missing) or 'any'} (it has {has})",
            where=item.where,
            mend="choose bands that it has, or name its files and state their unit",
        )
    rows = [(asset, asset.bands[index - 1]) for asset, index in (found[b] for b in wanted)]
    several = next((asset.key for asset, _ in rows if len(asset.bands) > 1), None)
    if several is not None:
        raise InputError(
            f"asset '{several}' holds several bands", where=item.where, mend="name that file and its bands"
        )
    encodings = [row.encoding for _, row in rows if row.encoding is not None]
    units = {e.unit for e in encodings}
    if len(units) > 1:
        raise InputError(
            f"mixes units: {', '.join(sorted(units))}", where=item.where, mend="choose bands of one unit"
        )
    nodata = {row.nodata for _, row in rows if row.nodata is not None}
    return SceneSpec(
        tuple(asset.href for asset, _ in rows),
        sensor=item.sensor,
        bands=tuple(b.name for b in wanted),
        dates=() if item.date is None else (item.date.isoformat(),),
        unit=encodings[0].unit,
        scale=(tuple(e.scale for e in encodings),),
        offset=(tuple(e.offset for e in encodings),),
        level=item.level,
        nodata=nodata.pop() if len(nodata) == 1 else None,
        resampling=resampling,
    )
