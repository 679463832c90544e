"""Small rasters, products and STAC items, written where a test wants them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

CRS = "EPSG:32633"
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write [C,H,W] (or [H,W]) as a GeoTIFF and return its path."""

    def make(
        name: str,
        pixels: np.ndarray,
        *,
        names: Sequence[str | None] | None = None,
        unit: str | None = None,
        scale: float | None = None,
        offset: float | None = None,
        crs: str | None = CRS,
        res: float = 10.0,
        origin: tuple[float, float] = (500_000.0, 5_000_000.0),
        nodata: float | None = None,
        mask: np.ndarray | None = None,
        **options: Any,
    ) -> str:
        stack = pixels if pixels.ndim == 3 else pixels[None]
        path = tmp_path / name
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                path,
                "w",
                dtype=stack.dtype.name,
                count=len(stack),
                height=stack.shape[1],
                width=stack.shape[2],
                crs=crs,
                transform=Affine(res, 0.0, origin[0], 0.0, -res, origin[1]),
                nodata=nodata,
                **{"driver": "GTiff", **options},
            ) as file,
        ):
            file.write(stack)
            for i, text in enumerate(names or (), start=1):
                if text:
                    file.set_band_description(i, text)
            if unit is not None:
                file.units = [unit] * len(stack)
            if scale is not None:
                file.scales = [scale] * len(stack)
            if offset is not None:
                file.offsets = [offset] * len(stack)
            if mask is not None:
                file.write_mask(mask)
        return str(path)

    return make


@pytest.fixture
def ramp() -> Callable[..., np.ndarray]:
    """Distinct whole numbers from 1 on."""

    def make(*shape: int, dtype: str = "uint16", start: int = 1) -> np.ndarray:
        return (np.arange(int(np.prod(shape))).reshape(shape) + start).astype(dtype)

    return make


S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
RESOLUTION = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B01": 60, "B09": 60, "B10": 60}


@pytest.fixture
def product_xml() -> Callable[..., str]:
    """The metadata of a Sentinel-2 product in ESA's structure; options change or drop one thing."""

    def make(
        level: str = "2A",
        baseline: str | None = "04.00",
        date: str = "2022-03-01",
        *,
        quantification: str | None = "10000",
        offset: str | None = "-1000",
        offset_bands: Sequence[int] = tuple(range(13)),
        offsets: Mapping[int, str] | None = None,
        images: Sequence[str] = (),
        nodata: str | None = "0",
    ) -> str:
        quantity = "QUANTIFICATION_VALUE" if level == "1C" else "BOA_QUANTIFICATION_VALUE"
        tag, parent = (
            ("RADIO_ADD_OFFSET", "Radiometric_Offset_List")
            if level == "1C"
            else ("BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST")
        )
        rows = "".join(f'<{tag} band_id="{i}">{(offsets or {}).get(i, offset)}</{tag}>' for i in offset_bands)
        space = f"https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd"
        files = "".join(f"<IMAGE_FILE>{name}</IMAGE_FILE>" for name in images)
        return (
            f'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<n1:Level-{level}_User_Product xmlns:n1="{space}">'
            "<n1:General_Info><Product_Info>"
            f"<PRODUCT_START_TIME>{date}T10:10:31.024Z</PRODUCT_START_TIME>"
            f"<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL><PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE>"
            + (f"<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>" if baseline else "")
            + '<Datatake datatakeIdentifier="GS2B"><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake>'
            f"<Product_Organisation><Granule_List><Granule>{files}</Granule></Granule_List></Product_Organisation>"
            "</Product_Info><Product_Image_Characteristics>"
            + (
                "<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>"
                f"<SPECIAL_VALUE_INDEX>{nodata}</SPECIAL_VALUE_INDEX></Special_Values>"
                if nodata is not None
                else ""
            )
            + (f'<{quantity} unit="none">{quantification}</{quantity}>' if quantification else "")
            + (f"<{parent}>{rows}</{parent}>" if offset is not None else "")
            + f"</Product_Image_Characteristics></n1:General_Info></n1:Level-{level}_User_Product>"
        )

    return make


@pytest.fixture
def safe_folder(write: Write, product_xml: Callable[..., str], tmp_path: Path) -> Callable[..., Path]:
    """A SAFE folder with small images of every band, of `pixels` 10 m pixels to a side, value 1000 + its number.

    Images are GeoTIFFs inside a file named .jp2, which GDAL reads by content: without losses.
    """

    def make(
        level: str = "2A",
        baseline: str = "04.00",
        date: str = "2022-03-01",
        *,
        pixels: int = 12,
        bands: Sequence[str] = S2_BANDS,
        zipped: bool = False,
        scl: np.ndarray | None = None,
        **xml: Any,
    ) -> Path:
        day = date.replace("-", "")
        root = tmp_path / f"S2B_MSIL{level}_{day}T101031_N{baseline.replace('.', '')}_R022_T32TQM.SAFE"
        inner = f"{root.name}/GRANULE/L{level}_T32TQM_A026030/IMG_DATA"
        for i, short in enumerate(bands):
            name = short if short == "B8A" else f"B{int(short[1:]):02d}"
            if level == "2A" and name == "B10":
                continue
            metres = RESOLUTION.get(name, 20)
            values = np.full((1, pixels * 10 // metres, pixels * 10 // metres), 1000 + i, np.uint16)
            end, sub = (f"_{metres}m", f"/R{metres}m") if level == "2A" else ("", "")
            path = f"{inner}{sub}/T32TQM_{day}T101031_{name}{end}.jp2"
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            write(path, values, res=float(metres))
        if scl is not None:
            path = f"{inner}/R20m/T32TQM_{day}T101031_SCL_20m.jp2"
            write(path, scl, res=20.0)
        (root / f"MTD_MSIL{level}.xml").write_text(product_xml(level, baseline, date, **xml))
        if not zipped:
            return root
        archive = root.with_suffix(".zip")
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    file.write(path, path.relative_to(tmp_path).as_posix())
        return archive

    return make


@pytest.fixture
def stac_item(tmp_path: Path) -> Callable[..., Path]:
    """A STAC item in the structure of Earth Search v1, beside the files it names."""

    def make(
        name: str,
        files: Mapping[str, str],
        *,
        properties: Mapping[str, Any] | None = None,
        raster: Mapping[str, Any] | None = None,
        asset: Mapping[str, Any] | None = None,
        **top: Any,
    ) -> Path:
        item = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": Path(name).stem,
            "collection": "sentinel-2-l2a",
            "properties": {
                "datetime": "2022-03-01T10:10:31Z",
                "constellation": "sentinel-2",
                "platform": "sentinel-2b",
                **(properties or {}),
            },
            "assets": {
                key: {
                    "href": f"./{Path(file).name}",
                    "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                    "roles": ["data", "reflectance"],
                    **({"raster:bands": [dict(raster)]} if raster is not None else {}),
                    **(asset or {}),
                }
                for key, file in files.items()
            },
            **top,
        }
        path = tmp_path / name
        path.write_text(json.dumps(item))
        return path

    return make
