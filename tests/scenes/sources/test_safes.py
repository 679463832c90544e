"""SAFE folders and zips in their real structure, written with GDAL's JPEG 2000 driver."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from swath.bands import sensor
from swath.errors import ConfigError, InputError
from swath.scenes.sources.opening import kind_of, open_source
from swath.scenes.sources.spec import MaskOptions, SourceSpec

SIDE = 60  # pixels of 10 m
RESOLUTIONS = {"B01": 60, "B02": 10, "B04": 10, "B05": 20, "B8A": 20, "SCL": 20}


def write_safe(
    folder: Path, tile: str, date: str, *, origin: tuple[int, int], seed: int, baseline: str = "04.00"
) -> dict[str, np.ndarray]:
    """An L2A product of a few bands; its pixels by band."""
    name = f"S2B_MSIL2A_{date}T101031_N{baseline.replace('.', '')}_R022_{tile}_{date}T130000.SAFE"
    granule = folder / name / "GRANULE" / f"L2A_{tile}_A025000_{date}T101033"
    pixels: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(seed)
    for band, metres in RESOLUTIONS.items():
        side = SIDE * 10 // metres
        high = 12 if band == "SCL" else 9000
        values = rng.integers(1, high, (side, side)).astype(np.uint8 if band == "SCL" else np.uint16)
        file = granule / "IMG_DATA" / f"R{metres}m" / f"{tile}_{date}T101031_{band}_{metres}m.jp2"
        file.parent.mkdir(parents=True, exist_ok=True)
        profile = {"height": side, "width": side, "count": 1, "dtype": values.dtype, "crs": "EPSG:32633"}
        place = Affine(metres, 0, origin[0], 0, -metres, origin[1])
        with rasterio.open(
            file, "w", driver="JP2OpenJPEG", transform=place, QUALITY="100", REVERSIBLE="YES", **profile
        ) as out:
            out.write(values, 1)
        pixels[band] = values
    # Copies at 20 m of bands that are finer, as the products hold them: they must not be taken.
    coarse = granule / "IMG_DATA" / "R20m" / f"{tile}_{date}T101031_B02_20m.jp2"
    shutil.copy(next(granule.rglob("*_B05_20m.jp2")), coarse)
    offsets = "".join(
        f'<BOA_ADD_OFFSET band_id="{i}">-1000</BOA_ADD_OFFSET>' for i in range(len(sensor("sentinel2").bands))
    )
    (folder / name / "MTD_MSIL2A.xml").write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd"><n1:General_Info>
<Product_Info><PRODUCT_START_TIME>{date[:4]}-{date[4:6]}-{date[6:]}T10:10:31.024Z</PRODUCT_START_TIME>
<PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake></Product_Info>
<Product_Image_Characteristics>
<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
<QUANTIFICATION_VALUES_LIST>
<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>
{f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>" if baseline >= "04" else ""}
</Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>"""
    )
    return pixels


def safes(folder: Path) -> tuple[str, ...]:
    return tuple(str(p) for p in sorted(folder.glob("*.SAFE")))


@pytest.mark.parametrize("zipped", [False, True])
def test_bands_of_three_resolutions_on_the_finest_grid(tmp_path: Path, zipped: bool) -> None:
    pixels = write_safe(tmp_path, "T33TWM", "20220301", origin=(600000, 5000000), seed=1)
    (path,) = safes(tmp_path)
    if zipped:
        with zipfile.ZipFile(f"{path}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(path).rglob("*")):
                archive.write(file, file.relative_to(tmp_path))
        shutil.rmtree(path)
        path = f"{path}.zip"
    spec = SourceSpec(path, bands=("B01", "B02", "B05", "B8A"), mask=MaskOptions("SCL", (3, 8, 9)))
    assert kind_of(spec) == "safe"
    with open_source(spec) as scene:
        assert (scene.height, scene.width, scene.gsd, str(scene.dates[0])) == (SIDE, SIDE, 10.0, "2022-03-01")
        cube = scene.read(0, 0, SIDE, SIDE)
        part = open_source(scene.spec).read(7, 11, 23, 31)
    for place, band in enumerate(("B01", "B02", "B05", "B8A")):
        factor = RESOLUTIONS[band] // 10
        full = np.kron(pixels[band], np.ones((factor, factor), np.uint16))
        there = cube.valid[0, place]
        np.testing.assert_array_equal(cube.pixels[0, place][there], full[there])
    clear = ~np.isin(np.kron(pixels["SCL"], np.ones((2, 2), np.uint8)), (3, 8, 9))
    np.testing.assert_array_equal(cube.valid[0, 1], clear)
    np.testing.assert_array_equal(part.pixels, cube.pixels[:, :, 7:30, 11:42])
    e = cube.encodings[0][1]
    assert (e.unit, e.scale, e.offset, e.level) == ("reflectance", 1e-4, -0.1, "L2A")


def test_tiles_are_mosaicked_and_dates_stacked(tmp_path: Path) -> None:
    a = write_safe(tmp_path, "T33TWM", "20211201", origin=(600000, 5000000), seed=1, baseline="03.01")
    b = write_safe(tmp_path, "T33TXM", "20211201", origin=(600540, 5000000), seed=2, baseline="03.01")
    c = write_safe(tmp_path, "T33TWM", "20220301", origin=(600000, 5000000), seed=3)
    with open_source(SourceSpec(safes(tmp_path), bands=("B02", "B05"))) as scene:
        assert (scene.height, scene.width) == (SIDE, 2 * SIDE - 6)
        cube = scene.read(0, 0, scene.height, scene.width)
    assert [str(d) for d in cube.dates] == ["2021-12-01", "2022-03-01"]
    assert [row[0].offset for row in cube.encodings] == [0.0, -0.1]
    np.testing.assert_array_equal(cube.pixels[0, 0, :, :SIDE], a["B02"])
    np.testing.assert_array_equal(cube.pixels[0, 0, :, SIDE:], b["B02"][:, 6:])
    np.testing.assert_array_equal(cube.pixels[1, 0, :, :SIDE], c["B02"])
    assert cube.valid[0].all() and not cube.valid[1, :, :, SIDE:].any()


def test_what_does_not_fit_is_refused(tmp_path: Path, make: SimpleNamespace) -> None:
    write_safe(tmp_path, "T33TWM", "20220301", origin=(600000, 5000000), seed=1)
    (path,) = safes(tmp_path)
    with pytest.raises(InputError, match="has no band B08"):
        open_source(SourceSpec(path, bands=("B02", "B08")))
    with pytest.raises(ConfigError, match="the XML of SAFE"):
        open_source(SourceSpec(path, unit="reflectance"))
    with pytest.raises(ConfigError, match="give sources of one kind"):
        open_source((path, str(make.tif(tmp_path / "a.tif", make.numbers(4, 4)))))
    next(Path(path).glob("MTD*.xml")).unlink()
    with pytest.raises(InputError, match="MTD_MSIL"):
        open_source(path)
