"""The STAC item (1.1) of a map or of features: place, time, bands with classes, files beside it, and the model.

Extensions: projection 2, raster 2, classification 2, electro-optical 2 and Machine Learning Model 1.4.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS

from swath import __version__
from swath.cube import Grid
from swath.data.gdal import guard
from swath.data.legend import LandClass
from swath.scenes.layers import Layers
from swath.scenes.stac.footprint import footprint
from swath.scenes.stac.model import EXTENSION as MLM
from swath.scenes.stac.model import class_objects, model_asset, model_properties, relative
from swath.weights.file import Loaded

VERSION = "1.1.0"
_BASE = "https://stac-extensions.github.io"
PROJECTION = f"{_BASE}/projection/v2.0.0/schema.json"
RASTER = f"{_BASE}/raster/v2.0.0/schema.json"
CLASSIFICATION = f"{_BASE}/classification/v2.0.0/schema.json"
OPTICAL = f"{_BASE}/eo/v2.0.0/schema.json"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True, eq=False)
class MapFacts:
    """What the item of a map says beside what the map's own grid and bands tell.

    Attributes:
        dates: of the input; None where unknown.
        sources: addresses or paths of the STAC items it was made from.
        weights: that made it, or None.
        task: they were trained for; "features" for none.
        classes: of the network's answers, in their order; empty: it gives values.
        outputs: how many values it gives then, for each pixel or cell.
        each_date: whether it does so for each date.
    """

    dates: Sequence[dt.date | None] = ()
    sources: Sequence[str] = ()
    weights: Loaded | None = None
    task: str = "segmentation"
    classes: Sequence[LandClass] = ()
    outputs: int = 0
    each_date: bool = False


@dataclass(frozen=True)
class Beside:
    """The small files beside a map, by name.

    Attributes:
        styles: names and colours for GDAL and QGIS.
        holes: the list of what could not be read, or None.
        picture: the quick look, or None.
    """

    styles: Sequence[str] = field(default_factory=tuple)
    holes: str | None = None
    picture: str | None = None


def item_text(
    path: Path,
    grid: Grid,
    layers: Layers,
    facts: MapFacts,
    beside: Beside,
    now: dt.datetime,
    media: str = COG,
) -> str:
    """The item as JSON.

    Args:
        path: where the map will lie.
        grid: of the map.
        layers: its bands.
        facts: what is known of the input and the model.
        beside: files that will lie beside it.
        now: when it was made, in UTC.
        media: type of the file.
    """
    geometry, bbox = footprint(grid)
    properties = {**_times(facts.dates, now), **_projection(grid), "swath:version": __version__}
    kind = "features" if facts.task == "features" else "map"
    assets = _assets(kind, path, media, layers, beside)
    extensions = [PROJECTION, RASTER]
    if layers.classes:
        extensions.append(CLASSIFICATION)
    if facts.weights is not None:
        extensions += [OPTICAL, MLM]
        outputs = len(facts.classes) or facts.outputs
        properties |= model_properties(
            facts.weights, facts.task, facts.classes, outputs, each_date=facts.each_date
        )
        assets["model"] = model_asset(facts.weights, path.parent)
        if layers.temperature is not None:
            properties["swath:calibration"] = _calibration(facts.weights, layers.temperature)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": extensions,
        "id": path.stem,
        "geometry": geometry,
        **({} if bbox is None else {"bbox": bbox}),
        "properties": properties,
        "links": [
            {"rel": "derived_from", "href": relative(s, path.parent), "type": "application/geo+json"}
            for s in facts.sources
        ],
        "assets": assets,
    }
    return json.dumps(item, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _calibration(weights: Loaded, temperature: float) -> dict[str, Any]:
    """By what the map's probabilities were calibrated, and on what that was fitted."""
    said = weights.meta.calibration
    return {"temperature": temperature, **({} if said is None else said.about)}


def is_item_of_ours(path: Path) -> bool:
    """Whether an item was written here, and not by another program or hand."""
    try:
        item = json.loads(path.read_text("utf-8"))
        return bool(item["type"] == "Feature" and "swath:version" in item["properties"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _times(dates: Sequence[dt.date | None], now: dt.datetime) -> dict[str, Any]:
    """Days are whole days in UTC. An item needs a time: where the input's is unknown, it is when the map was made."""
    made = now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = sorted(d for d in dates if d is not None)
    if not known:
        return {"datetime": made, "created": made, "swath:input_dates": "unknown"}
    return {
        "datetime": f"{known[0].isoformat()}T00:00:00Z" if known[0] == known[-1] else None,
        "start_datetime": f"{known[0].isoformat()}T00:00:00Z",
        "end_datetime": f"{known[-1].isoformat()}T23:59:59Z",
        "created": made,
        "swath:input_dates": [None if d is None else d.isoformat() for d in dates],
    }


def _projection(grid: Grid) -> dict[str, Any]:
    found: dict[str, Any] = {"proj:code": None}
    if grid.crs:
        with guard("grid", "placed (its reference system)"):
            crs = CRS.from_user_input(grid.crs)
            known = crs.to_authority()
            if known:
                found["proj:code"] = ":".join(known)
            else:
                found["proj:wkt2"] = crs.to_wkt(version="WKT2_2019")
    return found | {"proj:shape": [grid.height, grid.width], "proj:transform": list(grid.transform)}


def _assets(kind: str, path: Path, media: str, layers: Layers, beside: Beside) -> dict[str, Any]:
    found: dict[str, Any] = {
        kind: {
            "href": f"./{path.name}",
            "title": kind.capitalize(),
            "type": media,
            "roles": ["data"],
            "bands": _bands(layers),
        }
    }
    for name in beside.styles:
        key = "style" if name.endswith(".qml") else "names"
        found[key] = {
            "href": f"./{name}", "title": "QGIS style" if key == "style" else "Class names for GDAL",
            "type": "application/xml", "roles": ["metadata"],
        }  # fmt: skip
    if beside.holes is not None:
        found["holes"] = {
            "href": f"./{beside.holes}", "title": "What could not be read", "type": "application/json",
            "roles": ["metadata"],
        }  # fmt: skip
    if beside.picture is not None:
        found["overview"] = {
            "href": f"./{beside.picture}", "title": "Quick look", "type": "image/png", "roles": ["overview"],
        }  # fmt: skip
    return found


def _bands(layers: Layers) -> list[Mapping[str, Any]]:
    nodata = "nan" if math.isnan(layers.nodata) else int(layers.nodata)
    found: list[Mapping[str, Any]] = []
    for layer in layers.bands:
        band: dict[str, Any] = {
            "name": layer.name,
            "description": layer.meaning,
            "data_type": np.dtype(layers.dtype).name,
            "nodata": nodata,
        }
        if layer.unit:
            band["unit"] = layer.unit
        if layer.scale != 1.0:
            band["raster:scale"] = layer.scale
        if layer.offset != 0.0:
            band["raster:offset"] = layer.offset
        if layers.classes and layer.overview == "mode":
            band["classification:classes"] = class_objects(layers.classes)
        found.append(band)
    return found
