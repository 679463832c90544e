"""Small copies of published data sets in their exact structure, from the pixels of the embedded sample.

`BUILD[name](folder)` writes one and returns the options to open it with; a test that takes `built` runs once for
each of them.
"""

from __future__ import annotations

import functools
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from swath.data.demo import open_demo_bigearthnet

UTM = "EPSG:32633"


@functools.cache
def _mosaic() -> np.ndarray:
    """[12,240,360] of Sentinel-2 L2A, uint16: the six patches side by side; nothing is 0."""
    p = [s.cube.pixels[0] for s in open_demo_bigearthnet()]
    rows = [np.concatenate(p[:3], axis=2), np.concatenate(p[3:], axis=2)]
    return np.maximum(np.concatenate(rows, axis=1), 1)


def real(bands: int, height: int, width: int, start: int = 0) -> np.ndarray:
    """[bands,height,width] of real reflectance x 1e4 (bands repeat after twelve; `start` shifts the place)."""
    m = _mosaic()
    rows = (np.arange(height) + 31 * start) % m.shape[1]
    cols = (np.arange(width) + 17 * start) % m.shape[2]
    return m[np.arange(bands) % 12][:, rows][:, :, cols]


def tif(
    path: Path,
    pixels: np.ndarray,
    *,
    crs: str | None = UTM,
    res: float = 10.0,
    origin: tuple[float, float] = (500_000.0, 5_000_000.0),
    names: tuple[str, ...] = (),
    **options: Any,
) -> Path:
    """Write [C,H,W] or [H,W]."""
    stack = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {} if crs is None else {"crs": crs, "transform": Affine(res, 0, origin[0], 0, -res, origin[1])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(
            path,
            "w",
            **{"driver": "GTiff", **options},
            dtype=stack.dtype.name,
            count=len(stack),
            height=stack.shape[1],
            width=stack.shape[2],
            **place,
        )
    with file:
        file.write(stack)
        for i, name in enumerate(names, start=1):
            file.set_band_description(i, name)
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def eurosat(root: Path) -> dict[str, Any]:
    for i, name in enumerate(("SeaLake_3", "AnnualCrop_2", "AnnualCrop_10", "Forest_1")):
        place = root / "ds/images/remote_sensing/otherDatasets/sentinel_2/tif" / name.split("_")[0]
        tif(place / f"{name}.tif", real(13, 64, 64, i).astype(np.uint16))
    text(root / "eurosat-train.txt", "SeaLake_3.jpg", "AnnualCrop_10.jpg")
    text(root / "eurosat-val.txt", "AnnualCrop_2.jpg")
    text(root / "eurosat-test.txt", "Forest_1.jpg")
    return {}


def sen1floods11(root: Path) -> dict[str, Any]:
    hand, weak = (root / "v1.1/data/flood_events" / k for k in ("HandLabeled", "WeaklyLabeled"))
    degrees: dict[str, Any] = {"crs": "EPSG:4326", "res": 8.983152841195184e-05}
    parts = {"train": "Ghana_24", "valid": "Sri-Lanka_7", "test": "Mekong_9", "bolivia": "Bolivia_5"}
    for i, (part, chip) in enumerate(parts.items()):
        place = {**degrees, "origin": (10.0 + i, 20.0 + i)}
        s1 = -real(2, 64, 64, i).astype(np.float32) / 100
        s1[:, :3] = np.nan
        s2 = real(13, 64, 64, i).astype(np.int16)
        s2[:, -2:] = 0
        label = (real(1, 64, 64, i)[0] > 900).astype(np.int16)
        label[:, :5] = -1
        tif(hand / f"S1Hand/{chip}_S1Hand.tif", s1, nodata=np.nan, names=("VV", "VH"), **place)
        s2_names = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
        tif(hand / f"S2Hand/{chip}_S2Hand.tif", s2, nodata=0, names=s2_names, **place)
        tif(hand / f"LabelHand/{chip}_LabelHand.tif", label, **place)
        text(
            root / f"v1.1/splits/flood_handlabeled/flood_{part}_data.csv",
            f"{chip}_S1Hand.tif,{chip}_LabelHand.tif",
        )
    tif(weak / "S1Weak/USA_1_S1Weak.tif", s1, nodata=np.nan, names=("VV", "VH"), **degrees)
    tif(weak / "S2IndexLabelWeak/USA_1_S2IndexLabelWeak.tif", label, **degrees)
    tif(weak / "S1OtsuLabelWeak/USA_1_S1OtsuLabelWeak.tif", 1 - np.abs(label), **degrees)
    return {}


def hls_water(root: Path) -> dict[str, Any]:
    for i, chip in enumerate((0, 10, 2)):
        planes = real(12, 128, 128, i).astype(np.int16)
        planes[0, 0, 0] = -9999
        planes[7] = 64
        planes[7, 5] = 64 | 2  # cloud
        planes[7, 6] = 64 | 8  # cloud shadow
        planes[7, 7] = 64 | 32  # water
        planes[10] = np.resize(np.array([0, 10, 80, 95, 100], np.int16), (128, 128))
        tif(root / f"data/images/{chip}.tif", planes, crs=None)
        label = (planes[4] < 1500).astype(np.uint8)
        tif(root / f"data/labels/{chip}.png", label, crs=None, driver="PNG")
        tif(root / f"data/labels/{chip}_1.png", label, crs=None, driver="PNG")
    head = "chip,median_elevation_m,elevation_band,water_fraction"
    text(root / "chips.csv", head, "0,114.0,0,0.986", "10,120.0,0,0.1", "2,300.0,5,0.2")
    return {}


def oscd(root: Path) -> dict[str, Any]:
    bands = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
    top = "Onera Satellite Change Detection dataset - "
    cities = {"saclay_e": "Train", "beirut": "Train", "saclay_w": "Test"}
    for i, (city, part) in enumerate(cities.items()):
        size = (40, 56 + i)
        folder = root / f"{top}Images" / city
        for date in (1, 2):
            planes = real(13, *size, i + date)
            for band, plane in zip(bands, planes, strict=True):
                tif(folder / f"imgs_{date}_rect/{band}.tif", plane)
        text(folder / "dates.txt", "date_1 : 20160316", "date_2 : 20171011")
        change = ((planes[3] > 600) * 255).astype(np.uint8)
        tif(root / f"{top}{part} Labels" / city / "cm/cm.png", change, crs=None, driver="PNG")
    return {"cities": tuple(cities)}


def hls_burn_scars(root: Path) -> dict[str, Any]:
    for i, (part, name) in enumerate(
        (("training", "T10SEH.2018190"), ("training", "T10SEH.2018245"), ("validation", "T12STF.2020003"))
    ):
        stem = f"subsetted_512x512_HLS.S30.{name}.v1.4"
        planes = real(6, 64, 64, i).astype(np.float32) / 1e4
        planes[:, 0, :4] = -9999
        mask = (planes[3] < 0.1).astype(np.int16)
        mask[0, :4] = -1
        tif(root / part / f"{stem}_merged.tif", planes, nodata=-9999, res=30.0)
        tif(root / part / f"{stem}.mask.tif", mask, nodata=-1, res=30.0)
    return {}


def multi_temporal_crops(root: Path) -> dict[str, Any]:
    rows = ["chip_id,tile,first_img_date,middle_img_date,last_img_date"]
    for i, (part, chip) in enumerate(
        (("training", "002_011"), ("training", "002_010"), ("validation", "101_001"))
    ):
        planes = np.concatenate([real(6, 224, 224, i + t) for t in range(3)]).astype(np.int16)
        planes[:, :2] = -9999
        crops = np.resize(np.arange(14, dtype=np.uint8), (224, 224))
        place: dict[str, Any] = {"crs": "EPSG:5070", "res": 30.0}
        tif(root / f"{part}_chips/chip_{chip}_merged.tif", planes, nodata=-9999, **place)
        tif(root / f"{part}_chips/chip_{chip}.mask.tif", crops, nodata=0, **place)
        rows.append(f"chip_{chip},15TXG,2022-03-2{i},2022-06-01,2022-09-15")
    text(root / "training_data.txt", "chip_002_011", "chip_002_010")
    text(root / "validation_data.txt", "chip_101_001")
    text(root / "chips_df.csv", *rows)
    return {}


def segmunich(root: Path) -> dict[str, Any]:
    codes = np.array([0, 21, 22, 23, 31, 5, 32, 33, 41, 13, 14, 11, 12], np.uint8)
    for part, ids in (("train", ("7", "12")), ("val", ("3",))):
        for i, name in enumerate(ids):
            tif(root / part / f"img/{name}.tif", real(10, 128, 128, i), crs=None, interleave="pixel")
            tif(root / part / f"label/{name}.tif", np.resize(codes, (128, 128)), crs=None)
        text(root / f"dataset/{part}.txt", *ids)
    return {}


PHILEO_REGIONS = (
    "europe_1",
    "europe_10",
    "denmark-1_0",
    "tanzania-1_0",
    "uganda-1_0",
    "isreal-1_0",
    "japan_2",
)


def phileo(root: Path, *, patches: int = 6) -> dict[str, Any]:
    for i, tile in enumerate(PHILEO_REGIONS):
        for part, n in (("train", patches), ("val", 3), ("test", 2)):
            planes = np.stack([real(10, 128, 128, i + k) for k in range(n)]).transpose(0, 2, 3, 1)
            planes = planes.copy()
            planes[:, 0, :3] = 0
            codes = np.array([10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100], np.uint8)
            cover = np.resize(codes, (n, 128, 128, 1))
            # Of each file every other patch is without buildings.
            share = np.where(np.arange(n)[:, None, None, None] % 2, planes[..., :1] / 300, 0).clip(0, 100)
            np.save(root / f"{tile}_{part}_s2.npy", planes.astype(np.uint16))
            np.save(root / f"{tile}_{part}_label_lc.npy", cover)
            np.save(root / f"{tile}_{part}_label_building.npy", share.astype(np.float32))
    return {}


def landsat_change(root: Path) -> dict[str, Any]:
    for i, (city, second) in enumerate((("Taizhou", "2003"), ("Nanjing", "2002"))):
        for year, day in (("2000", "20000317"), (second, f"{second}0206")):
            planes = (real(6, 40, 50, i + int(year)) // 40).clip(0, 255).astype(np.uint8)
            at = root / "Dataset/Landsat" / city / f"{year}TM"
            names = tuple(
                f"Resize (ETM+ Meta (Band {b}):L71119038_038{day}_MTL.txt)" for b in (1, 2, 3, 4, 5, 7)
            )
            tif(at, planes, driver="ENVI", names=names, crs="EPSG:32651", res=30.0)
            at.with_suffix(".hdr").rename(at.with_name(f"{at.name}.HDR"))
            at.with_name(f"{at.name}.aux.xml").unlink(missing_ok=True)
        changed = np.zeros((40, 50), np.uint8)
        changed[:5], unchanged = 255, np.roll(changed, 9, axis=0)
        unchanged[9:14] = 255
        tif(at.parent / "change.bmp", changed, crs=None, driver="BMP")
        tif(at.parent / "unchanged.bmp", unchanged, crs=None, driver="BMP")
    return {}


def ukis_csmask(root: Path) -> dict[str, Any]:
    for i, name in enumerate(("landsat7", "landsat5")):
        image = real(6, 512, 512, i).transpose(1, 2, 0).astype(np.float32) / 1e4
        image[0, 0, 0] = np.nan
        np.savez(root / f"{name}.npz", img=image, msk=np.resize(np.arange(5, dtype=np.uint8), (512, 512, 1)))
    return {}


def otbtf(root: Path) -> dict[str, Any]:
    folder = root / "test/data"
    for i, part in enumerate("AB"):
        n = 7 + i
        labels = (np.arange(n, dtype=np.uint8) % 6)[:, None]
        eight = (real(4, 16 * n, 16, i) // 40).clip(0, 255).astype(np.uint8)
        lossless = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
        tif(folder / f"Sentinel-2_B4328_10m_patches_{part}.jp2", eight, crs=None, **lossless)
        tif(folder / f"Sentinel-2_B4328_10m_labels_{part}.tif", labels, crs=None)
        tif(folder / f"s2_20m_patches_{part}.tif", real(6, 8 * n, 8, i).astype(np.int16), crs=None)
        tif(folder / f"s2_10m_labels_{part}.tif", labels[::-1].copy(), crs=None)
    return {}


BUILD: dict[str, Callable[[Path], dict[str, Any]]] = {
    "eurosat": eurosat,
    "sen1floods11": sen1floods11,
    "hls-water": hls_water,
    "oscd": oscd,
    "hls-burn-scars": hls_burn_scars,
    "multi-temporal-crops": multi_temporal_crops,
    "segmunich": segmunich,
    "phileo": phileo,
    "landsat-change": landsat_change,
    "ukis-csmask": ukis_csmask,
    "otbtf": otbtf,
}

# Tests are imported one by one, without a package around them.
Builders = runpy.run_path(str(Path(__file__).with_name("pretraining_builders.py")))["Builders"]
BUILDERS = Builders(tif, real, text)
BUILD |= BUILDERS.all()


@pytest.fixture
def builders() -> Any:
    """Writers of the sets for pretraining, part by part."""
    return BUILDERS


class Built(NamedTuple):
    """A data set on the disk: its layout's name, folder and options."""

    name: str
    root: Path
    options: dict[str, Any]


@pytest.fixture
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Built:
    """One small data set; a test that parametrises it by name (indirectly) gets that one."""
    root = tmp_path / "data set"
    root.mkdir()
    return Built(request.param, root, BUILD[request.param](root))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "built" in metafunc.fixturenames and not any(
        "built" in str(mark.args[0]).split(",") for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("built", BUILD, indirect=True)


@pytest.fixture
def tif_writer() -> Callable[..., Path]:
    return tif


@pytest.fixture
def real_pixels() -> Callable[..., np.ndarray]:
    return real
