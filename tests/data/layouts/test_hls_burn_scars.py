from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from swath.data.layouts.hls_burn_scars import HLSBurnScars

ONLY = pytest.mark.parametrize("built", ["hls-burn-scars"], indirect=True)


@ONLY
def test_a_scene(built) -> None:
    layout = HLSBurnScars(built.root)
    assert [(i.group, i.split) for i in layout.items] == [
        ("T10SEH", "train"),
        ("T10SEH", "train"),
        ("T12STF", "validation"),
    ]
    sample = layout.read(1)
    cube = sample.cube
    # 2018245 is day 245 of the year.
    assert cube.dates == (dt.date(2018, 9, 2),) and [b.name for b in cube.bands][3] == "B8A"
    assert not cube.valid[:, :, 0, :4].any() and cube.valid.sum() == cube.valid.size - 6 * 4
    assert (cube.encodings[0][0].unit, cube.encodings[0][0].scale) == ("reflectance", 1.0)
    assert (sample.target[0, :4] == -1).all()
    np.testing.assert_array_equal(sample.target[1:], cube.pixels[0, 3, 1:] < 0.1)
    assert cube.gsd == 30
