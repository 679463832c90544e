from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swath.bands import SENSORS, sensor
from swath.weights.band_match import match

S2, L7, L8 = sensor("sentinel2"), sensor("landsat7"), sensor("landsat8")


def test_bands_of_one_sensor_are_found_by_name_alone() -> None:
    found = match(S2.select(["B02", "B03", "B04", "B8A"]), S2.select(["B04", "B08", "B02"]))
    assert found.index == (2, None, 0)  # B08 lies around B8A, and is another band
    assert not found.same
    assert found.rows() == [
        ("bands kept", 2, "B04, B02"),
        ("bands new, at 0", 1, "B08"),
        ("bands dropped", 2, "B03 of sentinel2, B8A of sentinel2"),
    ]


def test_bands_of_two_sensors_are_found_by_wavelength_the_nearest_first() -> None:
    have, want = L8.bands, S2.select(["B02", "B08", "B8A", "B05", "B12"])
    found = match(have, want)
    names = [None if i is None else have[i].name for i in found.index]
    assert names == ["B2", None, "B5", None, "B7"]  # B8A is nearer to B5 than B08 is
    assert "B8A from B5 of landsat8" in found.rows()[0][2]
    wide = match(L7.select(["B4"]), S2.select(["B08"]))
    assert wide.index == (0,)
    assert match(L7.select(["B8"]), S2.select(["B03"])).index == (None,)  # panchromatic
    s30 = SENSORS["hls_s30"].bands
    assert match(s30, S2.bands).same


def test_radar_and_spectrometers() -> None:
    radar = SENSORS["sentinel1"].bands
    assert match(radar, radar[::-1]).index == (1, 0)
    assert match(S2.bands, radar).index == (None, None)
    line = sensor("hyperspectral")
    have, want = line.select(["500nm", "510nm", "520nm"]), line.select(["498nm", "523nm", "700nm"])
    assert match(have, want).index == (0, 2, None)
    assert match(have, S2.select(["B02"])).index == (0,)


@given(st.sampled_from(list(SENSORS)), st.sampled_from(list(SENSORS)), st.randoms())
def test_every_band_is_taken_once_and_order_changes_nothing(a: str, b: str, random: object) -> None:
    have, want = list(SENSORS[a].bands), list(SENSORS[b].bands)
    found = match(have, want)
    taken = [i for i in found.index if i is not None]
    assert len(set(taken)) == len(taken)
    if a == b:
        assert found.same
    mixed = want[:]
    random.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis' own random
    again = match(have, mixed)
    pairs = {(w.name, i) for w, i in zip(want, found.index, strict=True)}
    assert {(w.name, i) for w, i in zip(mixed, again.index, strict=True)} == pairs
