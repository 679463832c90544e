from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pytest

from swath.bands import sensor
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Cube, Encoding

BANDS = ("B2", "B3", "B4")


@pytest.fixture
def contract() -> InputContract:
    return contract_for("landsat7", BANDS, Encoding("dn"), Normalisation("standard", "scene"))


@pytest.fixture
def cube(contract: InputContract) -> Callable[..., Cube]:
    """A cube whose pixels say where they are: value = 10000·date + 1000·band + 40·row + column."""

    def make(dates: int = 1, height: int = 30, width: int = 40, name: str = "scene") -> Cube:
        t, c, r, x = np.indices((dates, 3, height, width))
        pixels = (10_000 * t + 1_000 * c + 40 * r + x).astype(np.float32)
        valid = np.ones(pixels.shape, bool)
        when = tuple(dt.date(2020, 1 + i, 1) for i in range(dates))
        bands = sensor("landsat7").select(BANDS)
        encodings = ((Encoding("dn"),) * 3,) * dates
        made = Cube(pixels, valid, bands, when, encodings, source=name).with_statistics()
        return contract.convert(made)

    return make
