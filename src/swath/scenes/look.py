"""The quick look: a small PNG of a map, for eyes and web pages that read no GeoTIFF."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from swath.scenes.layers import Array, Bytes, Layers, palette

# Tells a quick look from a picture of the same name that is somebody's own.
_OURS = (b"tEXt", b"Software\0swath")
# Dark blue to yellow, even steps of lightness: read in grey as well as in colour.
_RAMP = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float64
)  # fmt: skip


def picture(bands: Array, layers: Layers) -> Bytes:
    """[h,w,4] red, green, blue and opacity of a map's first band: its classes' colours, or a ramp over its values
    between the 2nd and the 98th percentile.
    """
    band = bands[0]
    known = ~np.isnan(band) if band.dtype.kind == "f" else band != layers.nodata
    out = np.zeros((*band.shape, 4), np.uint8)
    out[..., 3] = known * 255
    if layers.classes:
        out[..., :3] = palette(layers.classes)[np.where(known, band, 0).astype(np.uint8)]
    elif known.any():
        low, high = np.percentile(band[known].astype(np.float64), [2, 98])
        share = np.clip((np.where(known, band, low) - low) / max(float(high - low), 1e-30), 0, 1)
        out[..., :3] = _ramp(share)
    return out


def write_png(path: Path, rgba: Bytes) -> None:
    """[h,w,4] 8-bit as a PNG (ISO/IEC 15948)."""
    height, width = rgba.shape[:2]
    rows = np.zeros((height, 1 + 4 * width), np.uint8)  # filter 0 in front of each row
    rows[:, 1:] = rgba.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), _OURS, (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data)
            file.write(struct.pack(">I", zlib.crc32(name + data)))


def is_ours(path: Path) -> bool:
    """Whether a file is a quick look that this module wrote."""
    try:
        with path.open("rb") as file:
            return _OURS[0] + _OURS[1] in file.read(128)
    except OSError:
        return False


def _ramp(share: npt.NDArray[np.float64]) -> Bytes:
    at = share * (len(_RAMP) - 1)
    low = np.minimum(at.astype(int), len(_RAMP) - 2)
    part = (at - low)[..., None]
    mixed: Bytes = np.rint(_RAMP[low] * (1 - part) + _RAMP[low + 1] * part).astype(np.uint8)
    return mixed
