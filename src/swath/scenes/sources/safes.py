"""Sentinel-2 SAFE folders and zips as a scene: tiles of one date mosaicked, dates stacked."""

from __future__ import annotations

from swath.bands import sensor
from swath.data.safe import Safe, read_safe
from swath.errors import ConfigError, InputError
from swath.scenes.sources.images import Image, Layer
from swath.scenes.sources.mosaic import MosaicSpec
from swath.scenes.sources.planning import plan_mosaic
from swath.scenes.sources.spec import SourceSpec

_MASK = "SCL"


def plan_safes(spec: SourceSpec) -> MosaicSpec:
    """What SAFE products make together. Their XML says what numbers mean, and when they were taken.

    Raises:
        InputError: a product cannot be read, lacks a band, or does not fit the others.
        ConfigError: something is stated that only the XML can say.
    """
    device = sensor(spec.sensor or "sentinel2")
    if device.name != "sentinel2":
        raise ConfigError(f"is {device.name}", where="sensor", mend="leave it out: SAFE is of Sentinel-2")
    stated = [n for n in ("unit", "scale", "offset", "level", "nodata") if getattr(spec, n) is not None]
    if stated:
        raise ConfigError(
            "the XML of SAFE products says what their numbers mean", where=stated[0], mend="leave it out"
        )
    if spec.mask.name and spec.mask.name.upper() != _MASK:
        raise ConfigError(f"is '{spec.mask.name}'", where="mask.name", mend=f"use {_MASK}")
    images = [_image(read_safe(path), masked=bool(spec.mask.name)) for path in spec.paths]
    levels = sorted(
        {image.layers[0][1].encoding.level or "" for image in images if image.layers[0][1].encoding}
    )
    if len(levels) > 1:
        raise InputError(
            f"the products are of levels {' and '.join(levels)}", where=spec.name, mend="give one level"
        )
    return plan_mosaic(images, spec, device, spec.name)


def _image(safe: Safe, *, masked: bool) -> Image:
    if masked and safe.scl is None:
        raise InputError("holds no scene classification", where=safe.path, mend="use an L2A product")
    device, product = sensor("sentinel2"), safe.product
    layers = tuple(
        (device.band(name), Layer(path, 1, product.encoding(name), product.nodata))
        for name, path in safe.images.items()
    )
    mask = Layer(safe.scl, 1) if masked and safe.scl else None
    # The newest processing of one place and date counts first.
    newest = f"{99 - product.baseline[0]:02d}.{99 - product.baseline[1]:02d}"
    name = safe.path.rstrip("/").rsplit("/", 1)[-1]
    return Image(name, product.date, (newest, name), layers, mask, safe.path)
