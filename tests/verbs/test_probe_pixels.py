"""Records that are asked about at another pixel size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import sensor
from swath.cube import Cube, Encoding
from swath.errors import ConfigError, InputError
from swath.verbs.probe_pixels import brought, check_reach

BANDS = sensor("sentinel2").select(("B02",))


def cube(side: int = 4) -> Cube:
    pixels = np.arange(side * side, dtype=np.float32).reshape(1, 1, side, side)
    encoding = Encoding("reflectance", 1.0, 0.0)
    return Cube(
        pixels, np.ones(pixels.shape, bool), BANDS, (None,), ((encoding,),), gsd=10.0, source="a record"
    )


@given(gsd=st.floats(9.2, 10.8), factor=st.integers(2, 5))
def test_what_a_contract_of_that_size_takes_stays_as_it_is(gsd: float, factor: int) -> None:
    one = cube()
    unknown = replace(one, gsd=None)
    assert brought(one, gsd) is one and brought(one, 0.0) is one and brought(unknown, gsd) is unknown
    check_reach(10.0, gsd, "a record", per_pixel=True)
    coarse = brought(one, 10.0 * factor)
    assert coarse.gsd == 10.0 * factor and coarse.shape[2:] == (-(-4 // factor),) * 2
    check_reach(10.0, 10.0 * factor, "a record", per_pixel=False)
    with pytest.raises(ConfigError, match="a record has a label for each pixel of 10 m"):
        check_reach(10.0, 10.0 * factor, "a record", per_pixel=True)
    with pytest.raises(InputError, match="a record: has pixels of 10 m"):
        check_reach(10.0, 10.0 * factor + 5, "a record", per_pixel=True)
