"""STAC items as images: which asset holds which band, what its numbers mean, and its grid if the item says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swath.bands import Band, Sensor, sensor
from swath.cube import Encoding, Grid
from swath.data.gdal import vsi_path
from swath.data.stac_item import Asset, AssetBand, StacItem, band_named, parse_item
from swath.errors import InputError
from swath.scenes.sources.images import Image, Layer
from swath.scenes.sources.mosaic import MosaicSpec
from swath.scenes.sources.planning import plan_mosaic
from swath.scenes.sources.spec import SourceSpec

Item = Mapping[str, Any]


def plan_items(items: Sequence[tuple[Item, str]], spec: SourceSpec) -> MosaicSpec:
    """What STAC items make together.

    Args:
        items: their JSON, and where each comes from (relative hrefs are resolved against it).
        spec: bands, what is stated, the grid, the mask.

    Raises:
        InputError: an item lacks a band, a date or a unit, or does not fit the others.
    """
    if not items:
        raise InputError("no item fits the search", where=spec.name, mend="widen it")
    parsed = [parse_item(data, where) for data, where in items]
    device = _device(parsed, spec)
    images = [_image(item, data, device, spec) for item, (data, _) in zip(parsed, items, strict=True)]
    return plan_mosaic(images, spec, device, spec.name)


def _device(items: Sequence[StacItem], spec: SourceSpec) -> Sensor:
    if spec.sensor is not None:
        return sensor(spec.sensor)
    found = {item.sensor for item in items}
    if len(found) != 1 or None in found:
        several = ", ".join(sorted(str(s) for s in found if s))
        raise InputError(
            f"the items are of several sensors ({several})"
            if several
            else "no item names a sensor that is known",
            where=items[0].where,
            mend="set sensor, such as sensor: sentinel2",
        )
    return sensor(str(next(iter(found))))


def _image(item: StacItem, data: Item, device: Sensor, spec: SourceSpec) -> Image:
    layers: dict[Band, Layer] = {}
    mute: dict[Band, str] = {}
    wanted = device.select(spec.bands)
    for asset in item.assets:
        for index, own in enumerate(asset.bands, start=1):
            band = band_named(device, own.name)
            if band is None or band in layers or (wanted and band not in wanted):
                continue
            encoding = _encoding(own, item, spec)
            if encoding is None:
                mute.setdefault(band, asset.key)
            elif encoding.unit != "dn" or spec.unit == "dn" or own.known.startswith("raster:bands"):
                nodata = own.nodata if spec.nodata is None else spec.nodata
                layers[band] = Layer(vsi_path(asset.href), index, encoding, nodata, _grid(data, asset.key))
    lacking = [b for b in wanted if b not in layers] or [b for b in mute if not layers]
    if lacking:
        silent = [b.name for b in lacking if b in mute]
        names = ", ".join(b.name for b in lacking)
        raise InputError(
            f"does not say what the numbers of {', '.join(silent)} mean"
            if silent
            else f"has no band {names}",
            where=item.where,
            mend="state unit, and scale and offset if they are not 1 and 0"
            if silent
            else "leave it out of bands",
        )
    if not layers:
        keys = ", ".join(a.key for a in item.assets)
        raise InputError(
            f"none of its assets is a band of {device.name} ({keys})", where=item.where, mend="set sensor"
        )
    ordered = tuple(sorted(layers.items(), key=lambda pair: device.bands.index(pair[0])))
    mask = _mask(item, data, spec)
    return Image(item.id, item.date, _order(item, data), ordered, mask, item.where, item.where)


def _encoding(own: AssetBand, item: StacItem, spec: SourceSpec) -> Encoding | None:
    """What is stated, else what the item says."""
    level = spec.level if isinstance(spec.level, str) else item.level
    said = own.encoding
    for name in ("scale", "offset"):
        if isinstance(getattr(spec, name), tuple):
            raise InputError(
                f"one {name} per date is stated", where=item.where, mend="state one for all, or none"
            )
    if spec.unit is None and spec.scale is None and spec.offset is None:
        return (
            said
            if said is None or said.level == level
            else Encoding(said.unit, said.scale, said.offset, level)
        )
    unit = spec.unit or (None if said is None else said.unit)
    if unit is None:
        return None
    # The scale and offset of another unit are those of another quantity.
    base = said if said is not None and said.unit == unit else Encoding(unit)
    scale = base.scale if not isinstance(spec.scale, (int, float)) else float(spec.scale)
    offset = base.offset if not isinstance(spec.offset, (int, float)) else float(spec.offset)
    return Encoding(unit, scale, offset, level)


def _order(item: StacItem, data: Item) -> tuple[str, ...]:
    """By time; of one time the newest processing baseline first; then by id."""
    properties = data["properties"]
    time = str(properties.get("datetime") or properties.get("start_datetime") or "")
    major, _, minor = (item.baseline or "").partition(".")
    newest = (
        f"{99 - int(major):02d}.{99 - int(minor):02d}" if major.isdigit() and minor.isdigit() else "99.99"
    )
    return time, newest, item.id


def _mask(item: StacItem, data: Item, spec: SourceSpec) -> Layer | None:
    if not spec.mask.name:
        return None
    found: list[Asset] = [a for a in item.assets if a.key.lower() == spec.mask.name.lower()]
    if not found:
        keys = ", ".join(a.key for a in item.assets)
        raise InputError(
            f"has no asset {spec.mask.name} (it has {keys})", where=item.where, mend="correct mask.name"
        )
    return Layer(vsi_path(found[0].href), 1)


def _grid(data: Item, key: str) -> Grid | None:
    """The grid that an asset's own metadata state (projection extension), all three of its parts or none."""
    asset, properties = data["assets"][key], data["properties"]

    def said(name: str) -> Any:
        return asset.get(name, properties.get(name))

    shape, transform = said("proj:shape"), said("proj:transform")
    code = said("proj:code") or (f"EPSG:{said('proj:epsg')}" if said("proj:epsg") else None)
    if not (code and isinstance(shape, list) and isinstance(transform, list)):
        return None
    if len(shape) != 2 or len(transform) not in (6, 9) or not all(isinstance(v, int) for v in shape):
        return None
    try:
        a, b, c, d, e, f = (float(v) for v in transform[:6])
    except (TypeError, ValueError):
        return None
    return Grid(str(code), (a, b, c, d, e, f), shape[0], shape[1])
