from __future__ import annotations

import pytest

from swath.data.layouts.segmunich import CLASSES, SegMunich
from swath.errors import ConfigError

ONLY = pytest.mark.parametrize("built", ["segmunich"], indirect=True)


@ONLY
def test_codes_become_the_published_numbers(built) -> None:
    layout = SegMunich(built.root)
    assert [i.id for i in layout.items] == ["train/12", "train/7", "val/3"]
    sample = layout.read(0)
    assert sample.target[0, :13].tolist() == list(range(13)) and len(CLASSES) == 13
    assert [b.name for b in sample.cube.bands][-3:] == ["B8A", "B11", "B12"]
    # Nothing says what the numbers are, so only the user can.
    assert sample.cube.encodings[0][0].unit == "dn"
    assert SegMunich(built.root, unit="reflectance").read(0).cube.encodings[0][0].scale == 1e-4
    with pytest.raises(ConfigError, match="unit is 'metres'"):
        SegMunich(built.root, unit="metres")
    assert {i.group for i in layout.items} == {"munich"}
