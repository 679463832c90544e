"""Small rasters, written where a test wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
