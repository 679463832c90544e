from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from swath.cube import Encoding
from swath.data.sentinel2_meta import encoding_of, parse_product
from swath.errors import InputError


@pytest.mark.parametrize(
    ("level", "baseline", "offset", "expected"),
    [
        ("1C", "02.06", None, 0.0),
        ("2A", "02.14", None, 0.0),
        ("2A", "03.01", None, 0.0),
        ("1C", "04.00", "-1000", -0.1),
        ("2A", "05.10", "-1000", -0.1),
    ],
)
def test_what_numbers_mean(
    product_xml: Callable[..., str], level: str, baseline: str, offset: str | None, expected: float
) -> None:
    product = parse_product(product_xml(level, baseline, offset=offset).encode(), "MTD.xml")
    assert product.encoding("B8A") == Encoding("reflectance", 1e-4, expected, f"L{level}")
    assert (product.baseline_text, product.date) == (baseline, dt.date(2022, 3, 1))
    assert product.spacecraft == "Sentinel-2B" and product.nodata == 0


def test_each_band_has_its_own_offset(product_xml: Callable[..., str]) -> None:
    # Number 8 is B8A, not B09.
    product = parse_product(product_xml(offsets={8: "-500"}).encode(), "MTD.xml")
    assert product.encoding("B8A").offset == -0.05
    assert product.encoding("B09").offset == -0.1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"baseline": None}, "names no PROCESSING_BASELINE"),
        ({"baseline": "four"}, "baseline 'four' is no number"),
        ({"offset": None}, "is of baseline 04.00, but names no BOA_ADD_OFFSET"),
        ({"offset": "NaN"}, "BOA_ADD_OFFSET 'NaN' is no number"),
        ({"offset_bands": (0, 1, 2)}, "BOA_ADD_OFFSET of B04, B05"),
        ({"offset_bands": (0, 13)}, "of band '13', not 0 to 12"),
        ({"quantification": None}, "names no BOA_QUANTIFICATION_VALUE"),
        ({"quantification": "0"}, "is 0, not above 0"),
        ({"level": "2B"}, "is of level 'Level-2B'"),
        ({"date": "yesterday"}, "is no date"),
    ],
)
def test_what_is_missing_is_named(
    product_xml: Callable[..., str], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_product(product_xml(**change).encode(), "MTD_MSIL2A.xml")
    assert caught.value.where == "MTD_MSIL2A.xml" and caught.value.mend


def test_no_xml_at_all() -> None:
    with pytest.raises(InputError, match="not readable as XML"):
        parse_product(b"<cut", "MTD.xml")


def test_a_baseline_alone() -> None:
    assert encoding_of((2, 14), "L2A").offset == 0
    assert encoding_of((5, 9), "L2A") == Encoding("reflectance", 1e-4, -0.1, "L2A")
    assert encoding_of((5, 9), "L2A", offset_applied=True).offset == 0
