from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import sensor
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Cube, Encoding
from swath.errors import ContractError, SwathError

GOLDEN = Path(__file__).parent / "golden" / "contract_v1.json"
NAMES = ("B02", "B03", "B04")
REFLECTANCE = Encoding("reflectance", 1e-4, 0.0, "L2A")


def make(
    names: tuple[str, ...] = NAMES,
    *,
    t: int = 1,
    size: tuple[int, int] = (4, 5),
    encoding: Encoding | tuple[Encoding, ...] = REFLECTANCE,
    dtype: str = "uint16",
    where: str = "sentinel2",
    **changes: Any,
) -> Cube:
    """A cube of distinct numbers from 1 on; `encoding` may be one per date."""
    shape = (t, len(names), *size)
    pixels = (np.arange(int(np.prod(shape))) + 1).reshape(shape).astype(dtype)
    rows = encoding if isinstance(encoding, tuple) else (encoding,) * t
    fields: dict[str, Any] = {
        "pixels": pixels,
        "valid": np.ones(shape, bool),
        "bands": sensor(where).select(names),
        "dates": tuple(dt.date(2020, 1, 1 + i) for i in range(t)),
        "encodings": tuple((e,) * len(names) for e in rows),
        "gsd": 10.0,
        "source": "scene.tif",
    }
    return Cube(**{**fields, **changes})


CONTRACT = contract_for("sentinel2", NAMES, REFLECTANCE)


def refused(contract: InputContract, cube: Cube, *says: str) -> None:
    with pytest.raises(ContractError) as caught:
        contract.affine(contract.convert(cube))
    line = str(caught.value)
    assert line.startswith("scene.tif: ") and "\n" not in line and caught.value.mend, line
    for text in says:
        assert text in line, line


def test_what_fits_passes_unchanged_as_float32() -> None:
    cube = make()
    out = CONTRACT.convert(cube)
    assert out.pixels.dtype == np.float32 and out.encodings == ((REFLECTANCE,) * 3,)
    np.testing.assert_array_equal(out.pixels, cube.pixels)
    assert (out.source, out.dates, out.gsd) == (cube.source, cube.dates, cube.gsd)


@given(st.permutations(["B02", "B03", "B04", "B08"]))
def test_bands_are_found_by_name_never_by_position(order: list[str]) -> None:
    straight = make(("B02", "B03", "B04", "B08"))
    index = [straight.bands.index(sensor("sentinel2").band(n)) for n in order]
    shuffled = replace(
        straight, pixels=straight.pixels[:, index], bands=tuple(straight.bands[i] for i in index)
    ).with_statistics()
    contract = contract_for("sentinel2", NAMES, REFLECTANCE, Normalisation("standard", "scene"))
    a, b = contract.convert(straight.with_statistics()), contract.convert(shuffled)
    np.testing.assert_array_equal(a.pixels, b.pixels)
    assert a.statistics == b.statistics and a.bands == b.bands


def test_equal_names_of_another_sensor_do_not_pass() -> None:
    landsat = make(("B2", "B3", "B4"), where="landsat8")
    refused(CONTRACT, landsat, "band B02 of sentinel2 is missing", "B2, B3, B4 of landsat8", "add the band")


def test_a_missing_required_band_is_an_error_and_an_optional_one_is_invalid() -> None:
    cube = make(("B02", "B04"))
    refused(
        CONTRACT, cube, "band B03 is missing", "it has B02, B04 of sentinel2", "weights that do not need B03"
    )
    spare = contract_for(
        "sentinel2", NAMES, REFLECTANCE, Normalisation("standard", "record"), optional=("B03",)
    )
    out = spare.convert(cube.with_statistics())
    assert not out.valid[:, 1].any() and not out.pixels[:, 1].any() and out.valid[:, [0, 2]].all()
    assert out.statistics is not None and out.statistics.count == (20, 0, 20)
    gain, bias = spare.affine(out)
    assert (gain[1], bias[1]) == (0.0, 0.0) and (gain[[0, 2]] > 0).all()
    only = contract_for("sentinel2", ("B08",), REFLECTANCE, optional=("B08",))
    refused(only, cube, "none of the model's bands is there (B08 of sentinel2)")


@given(
    st.floats(1e-5, 1e3),
    st.floats(-1e3, 1e3),
    st.floats(1e-5, 1e3),
    st.floats(-1e3, 1e3),
)
def test_other_scales_of_the_unit_are_converted_to_the_same_physical_values(
    scale: float, offset: float, want_scale: float, want_offset: float
) -> None:
    cube = make(encoding=Encoding("kelvin", scale, offset)).with_statistics()
    want = Encoding("kelvin", want_scale, want_offset)
    out = contract_for("sentinel2", NAMES, want, Normalisation("minmax", "record")).convert(cube)
    physical = cube.pixels * scale + offset
    size = np.abs(physical).max() + abs(want_offset) + abs(offset)
    np.testing.assert_allclose(out.pixels * want_scale + want_offset, physical, atol=1e-6 * size)
    assert out.statistics is not None and cube.statistics is not None
    expected = [v * scale + offset for v in cube.statistics.mean]
    np.testing.assert_allclose(
        [v * want_scale + want_offset for v in out.statistics.mean], expected, atol=1e-9 * size
    )


def test_a_negative_scale_swaps_minimum_and_maximum() -> None:
    want = contract_for("sentinel2", NAMES, Encoding("reflectance", 1.0), Normalisation("minmax", "record"))
    out = want.convert(make(encoding=Encoding("reflectance", -2.0)).with_statistics())
    assert out.statistics is not None
    assert (out.statistics.minimum[0], out.statistics.maximum[0]) == (-40.0, -2.0)
    assert out.statistics.std[0] > 0


def test_an_offset_that_begins_within_a_series_is_undone_date_by_date() -> None:
    # Sentinel-2 from baseline 04.00 on: stored = 1e4 * reflectance + 1000.
    cube = make(t=2, encoding=(REFLECTANCE, replace(REFLECTANCE, offset=-0.1)))
    out = CONTRACT.convert(cube)
    np.testing.assert_array_equal(out.pixels[0], cube.pixels[0])
    np.testing.assert_allclose(out.pixels[1], cube.pixels[1].astype(float) - 1000, rtol=1e-6)
    mixed = contract_for("sentinel2", NAMES, REFLECTANCE, Normalisation("standard", "scene"))
    refused(mixed, cube.with_statistics(), "band B02 changes its scale or offset")


def test_units_and_levels_are_never_guessed() -> None:
    refused(CONTRACT, make(encoding=Encoding("dn")), "band B02 is in dn", "state the file's unit")
    refused(CONTRACT, make(encoding=Encoding("decibel")), "band B02 is in decibel", "eats reflectance")
    refused(CONTRACT, make(encoding=replace(REFLECTANCE, level="L1C")), "band B02 is L1C", "eats L2A")
    refused(CONTRACT, make(encoding=replace(REFLECTANCE, level=None)), "band B02 says no processing level")
    any_level = contract_for("sentinel2", NAMES, replace(REFLECTANCE, level=None))
    assert any_level.convert(make()).encodings[0][0].level is None


@given(st.integers(0, 2**31), st.sampled_from([np.nan, np.inf, -1e30, 7.0]))
def test_invalid_pixels_change_nothing(seed: int, junk: float) -> None:
    valid = np.random.default_rng(seed).random((1, 3, 4, 5)) < 0.5
    pixels = make(dtype="float64").pixels
    contract = contract_for("sentinel2", NAMES, REFLECTANCE, Normalisation("standard", "record"))
    cubes = [
        make(pixels=np.where(valid, pixels, fill), valid=valid).with_statistics() for fill in (junk, 0.0)
    ]
    a, b = (contract.convert(c) for c in cubes)
    np.testing.assert_array_equal(a.pixels, b.pixels)
    np.testing.assert_array_equal(a.valid, valid)
    assert np.isfinite(a.pixels).all() and not a.pixels[~valid].any()
    np.testing.assert_array_equal(contract.affine(a), contract.affine(b))


def test_sizes_dates_and_sampling() -> None:
    fixed = replace(CONTRACT, size=(4, 5), exact_size=True)
    fixed.convert(make())
    refused(fixed, make(size=(5, 4)), "is 5x4 pixels, the model eats 4x5", "cut windows")
    replace(fixed, exact_size=False).convert(make(size=(5, 4)))
    few = replace(CONTRACT, min_dates=2, max_dates=3)
    few.convert(make(t=2))
    refused(few, make(t=1), "has 1 date, the model eats 2 to 3")
    refused(few, make(t=4), "has 4 dates")
    refused(replace(CONTRACT, max_dates=1), make(t=2), "has 2 dates, the model eats 1")
    refused(replace(CONTRACT, min_dates=2), make(t=1), "2 to more")
    metres = replace(CONTRACT, gsd=30.0)
    metres.convert(make(gsd=28.5))
    metres.convert(make(gsd=None))
    refused(metres, make(gsd=10.0), "has 10 m pixels, the model eats 30 m", "resample it to 30 m")


def test_normalisation_is_an_affine_map_per_band() -> None:
    cube = make().with_statistics()
    pixels = cube.pixels.astype(np.float64)
    for kind in ("standard", "minmax"):
        contract = contract_for("sentinel2", NAMES, REFLECTANCE, Normalisation(kind, "record"))  # type: ignore[arg-type]
        out = contract.convert(cube)
        gain, bias = contract.affine(out)
        y = out.pixels * gain[None, :, None, None] + bias[None, :, None, None]
        for c in range(3):
            x = pixels[:, c]
            centre, spread = (x.mean(), x.std()) if kind == "standard" else (x.min(), x.max() - x.min())
            np.testing.assert_allclose(y[:, c], (x - centre) / spread, rtol=1e-6, atol=1e-9)
    gain, bias = CONTRACT.affine(CONTRACT.convert(cube))
    assert gain.tolist() == [1, 1, 1] and bias.tolist() == [0, 0, 0]
    fixed = contract_for(
        "sentinel2", NAMES, REFLECTANCE, Normalisation("standard", centre=(1.0,) * 3, spread=(2.0,) * 3)
    )
    gain, bias = fixed.affine(fixed.convert(make()))
    np.testing.assert_allclose((gain, bias), (np.full(3, 0.5), np.full(3, -0.5)))


def test_a_band_of_one_value_becomes_zero_not_noise() -> None:
    pixels = np.full((1, 3, 4, 5), 0.3, np.float32)
    contract = contract_for("sentinel2", NAMES, REFLECTANCE, Normalisation("minmax", "record"))
    out = contract.convert(make(pixels=pixels).with_statistics())
    gain, bias = (v.astype(np.float32) for v in contract.affine(out))
    assert not (out.pixels * gain[0] + bias[0]).any()


def test_statistics_that_are_needed_must_be_there() -> None:
    for scope in ("scene", "record"):
        contract = contract_for("sentinel2", NAMES, REFLECTANCE, Normalisation("standard", scope))  # type: ignore[arg-type]
        refused(contract, make(), f"normalises by {scope}", "with_statistics")


@pytest.mark.parametrize(
    "build",
    [
        lambda: InputContract((), REFLECTANCE),
        lambda: replace(CONTRACT, bands=CONTRACT.bands * 2),
        lambda: contract_for(
            "sentinel2", NAMES, REFLECTANCE, Normalisation("standard", centre=(1.0,), spread=(1.0,))
        ),
        lambda: Normalisation("zscore"),  # type: ignore[arg-type]
        lambda: Normalisation("standard", "window"),  # type: ignore[arg-type]
        lambda: Normalisation("standard", centre=(float("nan"),), spread=(1.0,)),
        lambda: Normalisation("standard", centre=(1.0,), spread=(0.0,)),
        lambda: Normalisation("minmax", "record", eps=-1.0),
    ],
)
def test_contracts_that_make_no_sense(build: Any) -> None:
    with pytest.raises(ContractError) as caught:
        build()
    assert caught.value.where and caught.value.mend and "\n" not in str(caught.value)


def golden_contract() -> InputContract:
    return contract_for(
        "sentinel2",
        ("B02", "B8A", "B12"),
        Encoding("reflectance", 1e-4, -0.1, "L2A"),
        Normalisation("standard", "fixed", (0.1, 0.2, 0.3), (0.01, 0.02, 0.03), 1e-6),
        optional=("B12",),
        gsd=10.0,
        size=(96, 128),
        min_dates=1,
        max_dates=3,
    )


def test_a_contract_of_format_1_is_read_and_written_as_ever() -> None:
    stored = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert InputContract.from_dict(stored) == golden_contract()
    assert json.loads(json.dumps(golden_contract().to_dict())) == stored


@given(
    st.lists(st.sampled_from(["B01", "B02", "B8A", "B11"]), min_size=1, unique=True),
    st.sampled_from(["identity", "standard", "minmax"]),
    st.none() | st.tuples(st.integers(1, 512), st.integers(1, 512)),
    st.none() | st.integers(1, 9),
)
def test_contracts_survive_json(names: list[str], kind: Any, size: Any, max_dates: int | None) -> None:
    contract = contract_for(
        "sentinel2",
        tuple(names),
        REFLECTANCE,
        Normalisation(kind, "scene"),
        optional=tuple(names[1:]),
        size=size,
        max_dates=max_dates,
    )
    assert InputContract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 2}, "contract format 2 is unknown"),
        ({"format_version": None}, "contract format None"),
        ({"bands": []}, "at least one band"),
        ({"bands": [{}]}, "unreadable"),
        ({"bands": None}, "unreadable"),
        ({"encoding": {"unit": "percent"}}, "percent"),
        ({"encoding": {"unit": "dn", "scale": 0.0}}, "scale"),
        ({"encoding": {"units": "dn"}}, "unreadable"),
        ({"normalisation": {"kind": "zscore"}}, "zscore"),
        ({"normalisation": []}, "unreadable"),
        ({"size": [96]}, "unreadable"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_unreadable_contracts_name_their_file(change: dict[str, Any], says: str) -> None:
    stored = {**json.loads(GOLDEN.read_text(encoding="utf-8")), **change}
    with pytest.raises(ContractError, match=says) as caught:
        InputContract.from_dict(stored, "model.safetensors")
    assert str(caught.value).startswith("model.safetensors: ") and caught.value.mend


def test_missing_keys_and_other_json() -> None:
    stored = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for key in ("format_version", "bands", "encoding", "normalisation", "size"):
        with pytest.raises(ContractError):
            InputContract.from_dict({k: v for k, v in stored.items() if k != key})
    with pytest.raises(SwathError, match="not a contract"):
        InputContract.from_dict([])  # type: ignore[arg-type]


def test_unknown_optional_bands_are_named() -> None:
    with pytest.raises(SwathError, match="B99"):
        contract_for("sentinel2", NAMES, REFLECTANCE, optional=("B99",))
    with pytest.raises(ContractError, match="B08"):
        contract_for("sentinel2", NAMES, REFLECTANCE, optional=("B08",))
