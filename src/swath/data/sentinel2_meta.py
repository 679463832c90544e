"""What the XML of a Sentinel-2 product says: level, processing baseline, date, and how numbers become reflectance.

    reflectance = (number + offset) / quantification

Since baseline 04.00 (January 2022, and all of Collection 1) the numbers carry an offset, in the XML as -1000 per
band; older products have none. Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), user
product metadata: QUANTIFICATION_VALUE and RADIO_ADD_OFFSET of L1C, BOA_QUANTIFICATION_VALUE and BOA_ADD_OFFSET
of L2A.
"""

from __future__ import annotations

import datetime as dt
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass

from swath.bands import sensor
from swath.cube import Encoding
from swath.errors import InputError

OFFSET_SINCE = (4, 0)
QUANTIFICATION = 10_000.0
OFFSET = -1000.0
_LEVELS = {"Level-1C": "L1C", "Level-2A": "L2A", "Level-2Ap": "L2A"}
_MEND = "fetch the product anew, or state unit, scale and offset"


@dataclass(frozen=True)
class Sentinel2Product:
    """One product, as its XML describes it.

    Attributes:
        level: "L1C" or "L2A".
        baseline: (4, 0) of "04.00".
        date: of sensing.
        spacecraft: such as "Sentinel-2A"; empty when unknown.
        quantification: what numbers are divided by.
        offsets: band name -> number added before dividing.
        images: paths of the images within the product, without their suffix, as the XML lists them.
        nodata: the number of pixels without data; None when the XML names none.
    """

    level: str
    baseline: tuple[int, int]
    date: dt.date
    spacecraft: str
    quantification: float
    offsets: Mapping[str, float]
    images: tuple[str, ...]
    nodata: float | None

    @property
    def baseline_text(self) -> str:
        """As ESA writes it: "04.00"."""
        return f"{self.baseline[0]:02d}.{self.baseline[1]:02d}"

    def encoding(self, band: str) -> Encoding:
        """How the numbers of a band become reflectance."""
        name = sensor("sentinel2").band(band).name
        return Encoding(
            "reflectance", 1.0 / self.quantification, self.offsets[name] / self.quantification, self.level
        )


def baseline_of(text: str, where: object) -> tuple[int, int]:
    """(4, 0) of "04.00". Raises InputError for anything else."""
    major, _, minor = text.strip().partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise InputError(f"processing baseline '{text}' is no number such as 04.00", where=where, mend=_MEND)
    return int(major), int(minor)


def encoding_of(baseline: tuple[int, int], level: str | None, *, offset_applied: bool = False) -> Encoding:
    """The encoding where only the baseline is known, as in a STAC item without scales.

    Args:
        baseline: of the product.
        level: "L1C", "L2A" or unknown.
        offset_applied: the offset was taken off the pixels already.
    """
    shifted = baseline >= OFFSET_SINCE and not offset_applied
    return Encoding("reflectance", 1.0 / QUANTIFICATION, OFFSET / QUANTIFICATION if shifted else 0.0, level)


def parse_product(text: bytes, where: object) -> Sentinel2Product:
    """The metadata file MTD_MSIL1C.xml or MTD_MSIL2A.xml.

    Args:
        text: its bytes.
        where: its name, for messages.

    Raises:
        InputError: it is no such XML, or lacks what units need; nothing is assumed in its place.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as err:
        raise InputError(f"is not readable as XML ({err})", where=where, mend=_MEND) from err
    level = _LEVELS.get(_text(root, "PROCESSING_LEVEL", where))
    if level is None:
        raise InputError(
            f"is of level '{_text(root, 'PROCESSING_LEVEL', where)}'",
            where=where,
            mend="use an L1C or L2A product",
        )
    baseline = baseline_of(_text(root, "PROCESSING_BASELINE", where), where)
    when = _text(root, "PRODUCT_START_TIME", where)
    try:
        date = dt.date.fromisoformat(when[:10])
    except ValueError:
        raise InputError(f"PRODUCT_START_TIME '{when}' is no date", where=where, mend=_MEND) from None
    quantity, offset = (
        ("QUANTIFICATION_VALUE", "RADIO_ADD_OFFSET")
        if level == "L1C"
        else ("BOA_QUANTIFICATION_VALUE", "BOA_ADD_OFFSET")
    )
    quantification = _number(_text(root, quantity, where), quantity, where)
    if quantification <= 0:
        raise InputError(f"{quantity} is {quantification:g}, not above 0", where=where, mend=_MEND)
    craft = root.find(".//SPACECRAFT_NAME")
    return Sentinel2Product(
        level,
        baseline,
        date,
        "" if craft is None else (craft.text or "").strip(),
        quantification,
        _offsets(root, offset, baseline, where),
        tuple((e.text or "").strip() for e in root.iter("IMAGE_FILE")),
        _nodata(root, where),
    )


def _text(root: ElementTree.Element, tag: str, where: object) -> str:
    found = root.find(f".//{tag}")
    if found is None or not (found.text or "").strip():
        raise InputError(f"names no {tag}", where=where, mend=_MEND)
    return (found.text or "").strip()


def _number(text: str, tag: str, where: object) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{tag} '{text}' is no number", where=where, mend=_MEND)
    return value


def _offsets(
    root: ElementTree.Element, tag: str, baseline: tuple[int, int], where: object
) -> dict[str, float]:
    """Per band; bands are numbered 0 to 12 in the sensor's order, B8A after B08."""
    names = sensor("sentinel2").names
    rows = list(root.iter(tag))
    if not rows:
        if baseline >= OFFSET_SINCE:
            raise InputError(
                f"is of baseline {baseline[0]:02d}.{baseline[1]:02d}, but names no {tag}",
                where=where,
                mend=_MEND,
            )
        return dict.fromkeys(names, 0.0)
    offsets: dict[str, float] = {}
    for row in rows:
        number = row.get("band_id", "")
        if not number.isdigit() or int(number) >= len(names):
            raise InputError(f"{tag} is of band '{number}', not 0 to 12", where=where, mend=_MEND)
        offsets[names[int(number)]] = _number((row.text or "").strip(), tag, where)
    lacking = [n for n in names if n not in offsets and not (tag == "BOA_ADD_OFFSET" and n == "B10")]
    if lacking:
        raise InputError(f"{tag} of {', '.join(lacking)} is missing", where=where, mend=_MEND)
    return offsets


def _nodata(root: ElementTree.Element, where: object) -> float | None:
    for special in root.iter("Special_Values"):
        if (special.findtext("SPECIAL_VALUE_TEXT") or "").strip() == "NODATA":
            index = (special.findtext("SPECIAL_VALUE_INDEX") or "").strip()
            return _number(index, "SPECIAL_VALUE_INDEX of NODATA", where)
    return None
