from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import SENSORS, SIX_BANDS, SPECTRALGPT_BANDS, sensor
from swath.errors import ConfigError, InputError

ALL = [(s.name, b.name) for s in SENSORS.values() for b in s.bands]


def test_importing_it_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'numpy', 'rasterio'}"
    code = f"import sys, swath.bands; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", SENSORS)
def test_every_band_is_found_by_its_own_name_and_has_sane_numbers(name: str) -> None:
    found = sensor(name)
    assert len(set(found.names)) == len(found.bands)
    for band in found.bands:
        assert band.sensor == name and found.band(band.name) is band
        assert found.band(band.name.lower()) is band and found.band(f" {band.name} ") is band
        assert band.center_nm > 400 and band.width_nm >= 0 and band.gsd_m > 0


@pytest.mark.parametrize(
    ("where", "name", "found"),
    [
        ("sentinel2", "B2", "B02"),
        ("sentinel2", "b8a", "B8A"),
        ("sentinel2", "B08A", "B8A"),
        ("sentinel2", "B8", "B08"),
        ("sentinel2", "B1", "B01"),
        ("sentinel2", "B10", "B10"),
        ("sentinel2", "nir", "B08"),
        ("sentinel2", "NIR08", "B8A"),
        ("landsat7", "B01", "B1"),
        ("landsat7", "B07", "B7"),
        ("landsat8", "B010", "B10"),
        ("hls_l30", "B5", "B05"),
        ("sentinel1", "vv", "VV"),
    ],
)
def test_names_are_compared_without_case_and_leading_zeros(where: str, name: str, found: str) -> None:
    assert sensor(where).band(name).name == found


@given(st.sampled_from(ALL))
def test_a_band_is_never_taken_for_another(pair: tuple[str, str]) -> None:
    s = sensor(pair[0])
    assert [b.name for b in s.bands if s.band(b.name).name == pair[1]] == [pair[1]]


@pytest.mark.parametrize("name", ["B0", "B", "", "B99", "8A", "band2", "B1O"])
def test_unknown_names_say_which_are_known(name: str) -> None:
    with pytest.raises(InputError) as caught:
        sensor("sentinel2").band(name)
    line = str(caught.value)
    assert f"'{name}'" in line and "sentinel2" in line and "B01, B02" in line and "\n" not in line


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(InputError, match=r"did you mean green\?"):
        sensor("sentinel2").band("grene")
    with pytest.raises(ConfigError, match=r"did you mean sentinel2\?.*use one of"):
        sensor("sentinel-2")


def test_sensors_are_found_without_case() -> None:
    assert sensor(" Sentinel2 ") is SENSORS["sentinel2"]


def test_selecting_keeps_the_order_and_refuses_repeats() -> None:
    s2 = sensor("sentinel2")
    assert [b.name for b in s2.select(("B12", "B2"))] == ["B12", "B02"]
    assert s2.select(()) == ()
    with pytest.raises(InputError, match=r"B02 of sentinel2 is named twice; name each band once"):
        s2.select(("B02", "blue"))


def test_the_published_band_lists() -> None:
    waves = [b.center_nm for b in sensor("sentinel2").select(SPECTRALGPT_BANDS)]
    assert waves == sorted(waves) and len(waves) == 12 and "B10" not in SPECTRALGPT_BANDS
    six = [b.common for b in sensor("sentinel2").select(SIX_BANDS)]
    assert six == ["blue", "green", "red", "nir08", "swir16", "swir22"]


def test_landsat_numbers_do_not_mean_the_same_band_on_every_satellite() -> None:
    assert sensor("landsat7").band("B4").common == "nir" and sensor("landsat8").band("B4").common == "red"
    assert {b.name for b in sensor("landsat5").bands} == {f"B{i}" for i in range(1, 8)}
    assert sensor("landsat9").names == sensor("landsat8").names
    assert [b.gsd_m for b in sensor("hls_s30").bands] == [30.0] * 13


def test_centres_are_those_published() -> None:
    expected = {"B02": 492.4, "B04": 664.6, "B8A": 864.7, "B11": 1613.7, "B12": 2202.4}
    assert {n: sensor("sentinel2").band(n).center_nm for n in expected} == expected
    # ETM+ band 7: 2.09 to 2.35 micrometres.
    swir = sensor("landsat7").band("B7")
    assert (swir.center_nm, swir.width_nm) == (2220.0, 260.0)
    # 5.405 GHz is 5.55 cm.
    assert sensor("sentinel1").band("VH").center_nm == pytest.approx(5.5466e7, rel=1e-4)


@pytest.mark.parametrize("name", ["423.5nm", "423.5", " Band 1 (423.5 nm)", "423.50 Nanometers"])
def test_bands_of_a_spectrometer_are_named_by_wavelength(name: str) -> None:
    band = sensor("hyperspectral").band(name)
    assert (band.sensor, band.name, band.center_nm) == ("hyperspectral", "423.5nm", 423.5)
    assert sensor("hyperspectral").band(band.name) == band


@pytest.mark.parametrize("name", ["B04", "", "nm", "12nm", "400nm to 500nm", "-423"])
def test_names_without_a_wavelength_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="tells no wavelength"):
        sensor("hyperspectral").band(name)


def test_a_wavelength_is_selected_once() -> None:
    assert [b.center_nm for b in sensor("hyperspectral").select(["900", "500nm"])] == [900.0, 500.0]
    with pytest.raises(InputError, match="500nm of hyperspectral is named twice"):
        sensor("hyperspectral").select(["500.0", "500nm"])


def test_light_is_told_in_nanometres_and_radar_in_centimetres() -> None:
    assert sensor("sentinel2").band("B02").wave == "492.4 nm"
    assert sensor("sentinel1").band("VV").wave == "5.55 cm"
