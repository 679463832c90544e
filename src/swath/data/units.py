"""What stored numbers mean: told by metadata, or stated; never guessed from values.

Who is asked, in this order, for the unit, the scale and the offset of each band:

1. what is stated (`unit`, `scale`, `offset` of a SceneSpec);
2. the XML of the Sentinel-2 SAFE folder the file lies in;
3. a STAC item beside the file that names it among its assets;
4. the file's own tags (GDAL's unit, scale and offset of a band).

Where two of 2 to 4 speak and contradict each other, that is an error which names both; where none speaks, the
unit must be stated. So digital numbers, reflectance, decibels and 8-bit pictures ("dn") are told apart by words.
"""

from __future__ import annotations

import functools
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from swath.bands import Band, sensor
from swath.cube import UNITS, Encoding, Unit
from swath.data.gdal import zip_of
from swath.data.safe import Safe, find_safe, read_safe
from swath.data.spec import SceneSpec
from swath.data.stac_item import UNIT_WORDS, StacItem, find_item
from swath.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Meaning:
    """An encoding and who says so, for people: "stated", "the SAFE XML (MTD_MSIL2A.xml)"."""

    encoding: Encoding
    known: str


def meaning_of(
    spec: SceneSpec, t: int, dates: int, source: Any, index: int, band: Band, place: int
) -> Meaning:
    """What the numbers of one (date, band) mean.

    Args:
        spec: what is stated.
        t: number of the date.
        dates: how many there are.
        source: the open raster.
        index: of the band within it, from 1.
        band: which it is.
        place: of the band among the scene's.

    Raises:
        InputError: nothing says the unit, or two sources contradict each other, or a number is none.
    """
    where = source.name
    level = _at(spec.level, t, dates, "level", where)
    scale = _per_band(_at(spec.scale, t, dates, "scale", where), place, "scale", where)
    offset = _per_band(_at(spec.offset, t, dates, "offset", where), place, "offset", where)
    try:
        if spec.unit is not None and scale is not None and offset is not None:
            _say_replaced(source, index, scale, offset)
            return Meaning(Encoding(spec.unit, scale, offset, level), "stated")
        found = _agreed([beside(where, band), _from_tags(source, index, spec.unit)], where)
        if found is None:
            if spec.unit is None:
                _ask(source, index, band)
            own = Encoding(spec.unit, _tag(source.scales, index), _tag(source.offsets, index))
            found = Meaning(own, "stated")
        elif spec.unit is not None and spec.unit != found.encoding.unit:
            # Another quantity: the scale of the one that was found is not its scale.
            found = Meaning(Encoding(spec.unit), "stated")
        _say_replaced(source, index, scale, offset)
        had = found.encoding
        encoding = Encoding(
            had.unit,
            had.scale if scale is None else scale,
            had.offset if offset is None else offset,
            had.level if level is None else level,
        )
        same = (encoding.scale, encoding.offset) == (had.scale, had.offset)
        return Meaning(encoding, found.known if same else "stated")
    except InputError as err:
        if err.where is not None:
            raise
        raise InputError(f"band {band.name}: {err.what}", where=where, mend=err.mend) from None


def beside(path: str, band: Band) -> Meaning | None:
    """What the SAFE folder or the STAC item around a file says of a band; None without either."""
    if band.sensor == "sentinel2":
        safe = _safe_of(path)
        if safe is not None:
            return Meaning(safe.product.encoding(band.name), f"the SAFE XML ({safe.meta})")
    item = _item_of(path)
    if item is None:
        return None
    asset = item.asset_of(path)
    for row in asset.bands if asset is not None else ():
        if row.encoding is not None and _is_band(row.name, band):
            return Meaning(row.encoding, f"the STAC item {Path(item.where).name} ({row.known})")
    return None


def _is_band(name: str | None, band: Band) -> bool:
    try:
        return name is not None and sensor(band.sensor).band(name) == band
    except InputError:
        return False


@functools.lru_cache(maxsize=64)
def _safe_at(folder: str, changed: float) -> Safe:
    return read_safe(folder)


def _safe_of(path: str) -> Safe | None:
    folder = zip_of(path) or find_safe(path)
    if folder is None or not Path(folder).exists():
        return None
    return _safe_at(folder, Path(folder).stat().st_mtime)


def _item_of(path: str) -> StacItem | None:
    return None if path.startswith("/vsi") else find_item(path)


def _from_tags(source: Any, index: int, stated: Unit | None) -> Meaning | None:
    """The file's own words; scale and offset alone count only with a unit."""
    unit = UNIT_WORDS.get((source.units[index - 1] or "").strip().lower(), stated)
    if unit is None:
        return None
    scale, offset = _tag(source.scales, index), _tag(source.offsets, index)
    own = (source.units[index - 1] or "").strip() != ""
    if stated is not None and not own and (scale, offset) == (1.0, 0.0):
        return None
    return Meaning(Encoding(unit, scale, offset), "the file's tags")


def _agreed(meanings: list[Meaning | None], where: str) -> Meaning | None:
    known = [m for m in meanings if m is not None]
    if not known:
        return None
    first = known[0]
    for other in known[1:]:
        a, b = first.encoding, other.encoding
        plain = replace(b, level=a.level)
        if not (a.unit == plain.unit and math.isclose(a.scale, b.scale) and math.isclose(a.offset, b.offset)):
            raise InputError(
                f"{first.known} says {say(a)}, but {other.known} say {say(b)}",
                where=where,
                mend="correct the tags, or state unit, scale and offset",
            )
    return first


def say(e: Encoding) -> str:
    """An encoding in a few words: "reflectance = stored x 0.0001 - 0.1"."""
    sign = "-" if e.offset < 0 else "+"
    return f"{e.unit} = stored x {e.scale:g} {sign} {abs(e.offset):g}"


def _ask(source: Any, index: int, band: Band) -> NoReturn:
    tag = (source.units[index - 1] or "").strip()
    said = f"says its unit is '{tag}'" if tag else "does not say its unit"
    eight = source.dtypes[index - 1] == "uint8"
    raise InputError(
        f"band {band.name} {said}"
        + (" (8-bit numbers: a picture for the eye has unit dn)" if eight else "")
        + ", and no SAFE XML or STAC item beside it does",
        where=source.name,
        mend=f"state unit (--unit {', '.join(UNITS)}), and scale and offset if they are not 1 and 0",
    )


def _say_replaced(source: Any, index: int, scale: float | None, offset: float | None) -> None:
    for name, stated, tags, plain in (
        ("scale", scale, source.scales, 1.0),
        ("offset", offset, source.offsets, 0.0),
    ):
        own = tags[index - 1]
        if stated is not None and own not in (plain, stated):
            log.info("%s: stated %s %g is used in place of the file's %g", source.name, name, stated, own)


def _tag(values: Any, index: int) -> float:
    return float(values[index - 1])


def _at(value: Any, t: int, dates: int, name: str, where: str) -> Any:
    """A value that is one for all, or one per date."""
    if not isinstance(value, tuple):
        return value
    if len(value) != dates:
        raise InputError(
            f"{len(value)} values of {name} are stated for {dates} dates",
            where=where,
            mend="state one per date",
        )
    return value[t]


def _per_band(value: Any, place: int, name: str, where: str) -> float | None:
    """A value that is one for all bands of a date, or one per band."""
    if not isinstance(value, tuple):
        return None if value is None else float(value)
    if place >= len(value):
        raise InputError(
            f"{len(value)} values of {name} are stated, one per band is needed",
            where=where,
            mend="state one per band",
        )
    return float(value[place])
