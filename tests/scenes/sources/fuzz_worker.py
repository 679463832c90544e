"""Maps damaged copies of GeoTIFFs and judges what came of each; run as a program of its own, which may crash.

    python fuzz_worker.py FOLDER SEED START COUNT

A line of JSON per variant: its number, how it was damaged, and what came of it ("named error", "holes", "same",
"local", "other place"), or "fault" with what is wrong.
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio import Affine

from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.data.legend import LandClass
from swath.errors import SwathError
from swath.scenes.layers import ClassLayers
from swath.scenes.mapping import predict_scene
from swath.scenes.sink import CogSink
from swath.scenes.sources.opening import open_source
from swath.scenes.sources.spec import SourceSpec
from swath.scenes.windows import make_plan

SIDE, BLOCK, REACH = 320, 64, 2
SHAPES = ("plain", "deflate", "lzw", "striped", "apart")
CONTRACT = contract_for(
    "sentinel2",
    ("B02", "B04"),
    Encoding("dn"),
    Normalisation("standard", "fixed", (4000.0,) * 2, (3000.0,) * 2),
)
LAYERS = ClassLayers(tuple(LandClass(i, f"c{i}", (i, i, i)) for i in range(3)), probabilities=True, bits=16)


class Conv(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(3))

    def forward(self, pixels, valid=None, days=None, wavelengths=None):
        return torch.nn.functional.conv2d(pixels[:, 0], self.weight, padding=REACH) / 5


@dataclass
class Original:
    path: Path
    data: bytes
    blocks: list[tuple[int, int, slice, slice]]  # first byte, end, rows, columns
    table: int  # where the offsets of blocks lie in the file
    decoded: np.ndarray
    map: np.ndarray


def write(path: Path, kind: str) -> None:
    # Smooth pixels with some noise, so that compressed blocks are not noise alone.
    y, x = np.mgrid[:SIDE, :SIDE]
    rng = np.random.default_rng(1)
    pixels = np.stack(
        [2000 + 9 * x + rng.integers(0, 50, x.shape), 3000 + 7 * y + rng.integers(0, 50, x.shape)]
    )
    options = {
        "plain": {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK},
        "deflate": {
            "tiled": True,
            "blockxsize": BLOCK,
            "blockysize": BLOCK,
            "compress": "deflate",
            "predictor": 2,
        },
        "lzw": {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "lzw"},
        "striped": {"compress": "deflate", "blockysize": 16},
        "apart": {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "band"},
    }[kind]
    options.setdefault("interleave", "pixel")
    with rasterio.open(
        path, "w", driver="GTiff", height=SIDE, width=SIDE, count=2, dtype="uint16", nodata=0, crs="EPSG:32633",
        transform=Affine(10, 0, 600000, 0, -10, 5000000), **options,
    ) as file:  # fmt: skip
        file.write(pixels.astype(np.uint16))
        file.descriptions = ("B02", "B04")


def load(path: Path) -> Original:
    blocks, data = [], path.read_bytes()
    with rasterio.open(path) as file:
        for index in (1, 2) if file.profile["interleave"] == "band" else (1,):
            for (row, col), window in file.block_windows(index):
                place = int(file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=index))
                size = int(file.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=index))
                rows, cols = window.toslices()
                blocks.append((place, place + size, rows, cols))
        decoded = file.read()
    table = data.find(np.array([b[0] for b in blocks], "<u4").tobytes())
    assert table > 0
    return Original(path, data, blocks, table, decoded, run(path, path.with_suffix(".map.tif"))[0])


def run(path: Path, output: Path) -> tuple[np.ndarray, list, object]:
    """The map [bands,H,W], its holes, and the grid."""
    spec = SourceSpec(str(path), sensor="sentinel2", unit="dn")
    with open_source(spec) as scene:
        if scene.height * scene.width > 4 * SIDE * SIDE:
            raise AssertionError(f"opened as {scene.height}x{scene.width} pixels")
        plan = make_plan(scene.height, scene.width, (64, 64), overlap=16, block=256)
        sink = CogSink(output, scene.grid, LAYERS, overwrite=True)
        summary = predict_scene(scene, Conv(), CONTRACT, plan, sink, max_holes=0.999)
        grid = scene.grid
    with rasterio.open(output) as file:
        return file.read(), list(summary.holes), grid


def damage(original: Original, rng: np.random.Generator) -> tuple[bytes, str, list[int]]:
    """Damaged bytes, how, and which bytes were touched."""
    data, kind = bytearray(original.data), rng.integers(0, 10)
    if kind < 2:
        end = int(rng.integers(1, len(data)))
        return bytes(data[:end]), "cut", list(range(end, len(data)))
    if kind < 4:
        places = [original.table + 4 * int(rng.integers(len(original.blocks)))]
        data[places[0] : places[0] + 4] = bytes(4)
        return bytes(data), "no offset", places
    if kind < 7:  # somewhere in the directories, or in what they point at
        inside = {i for first, end, _, _ in original.blocks for i in range(first, end)}
        header = [i for i in range(len(data)) if i not in inside]
        places = [int(rng.choice(header))]
        how = "header bit"
    else:
        places, how = [int(p) for p in rng.integers(0, len(data), int(rng.integers(1, 4)))], "bits"
    for place in places:
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data), how, places


def decoded_by(path: Path) -> np.ndarray | None:
    """Pixels as rasterio alone reads them, block by block; -1 where it cannot."""
    try:
        with rasterio.open(path) as file:
            if (file.height, file.width, file.count) != (SIDE, SIDE, 2):
                return None
            found = np.full((2, SIDE, SIDE), -1, np.int64)
            for _, window in file.block_windows(1):
                for index in (1, 2):
                    rows, cols = window.toslices()
                    try:
                        found[index - 1, rows, cols] = file.read(index, window=window)
                    except rasterio.errors.RasterioError:
                        continue
            return found
    except (rasterio.errors.RasterioError, ValueError, OSError):
        return None


def grown(mask: np.ndarray) -> np.ndarray:
    framed = np.pad(mask, REACH)
    offsets = range(2 * REACH + 1)
    return np.any([framed[i : i + SIDE, j : j + SIDE] for i in offsets for j in offsets], axis=0)


def judge(original: Original, path: Path, places: list[int], how: str) -> tuple[str, str]:
    try:
        found, holes, grid = run(path, path.with_suffix(".map.tif"))
    except SwathError as err:
        text = str(err)
        return ("named error", text) if "\n" not in text else ("fault", "an error of several lines")
    if how == "no offset":
        return "fault", "a tile without its place was read"
    in_blocks = all(any(a <= p < b for a, b, _, _ in original.blocks) for p in places)
    pixels = decoded_by(path)
    same_grid = grid.transform == (10, 0, 600000, 0, -10, 5000000) and grid.crs == "EPSG:32633"
    if found.shape != original.map.shape or pixels is None or not same_grid:
        return ("fault" if in_blocks else "other place"), f"{grid}"
    harmed = (pixels != original.decoded).any(0)
    if in_blocks:
        reach = np.zeros_like(harmed)
        for place in places:
            for a, b, rows, cols in original.blocks:
                if a <= place < b:
                    reach[rows, cols] = True
        if (harmed & ~reach).any():
            return "fault", "damage outside of the damaged blocks"
    for hole in holes:
        harmed[hole.row : hole.row + hole.height, hole.col : hole.col + hole.width] = True
    changed = (found != original.map).any(0)
    if (changed & ~grown(harmed)).any():
        # The no-data value is a text in the directory: another one makes other pixels invalid.
        with rasterio.open(path) as file:
            said = (file.nodata, file.descriptions, file.scales, file.offsets)
        if not in_blocks and said != (0.0, ("B02", "B04"), (1.0, 1.0), (0.0, 0.0)):
            return "other meaning", f"{said}"
        return "fault", "the map differs out of reach of the damage"
    return ("holes" if holes else "local" if changed.any() else "same"), f"{len(holes)} holes"


def main(folder: Path, seed: int, start: int, count: int) -> None:
    torch.set_num_threads(1)
    originals = []
    for kind in SHAPES:
        path = folder / f"{kind}-{start}.tif"
        write(path, kind)
        originals.append(load(path))
    for number in range(start, start + count):
        original = originals[number % len(originals)]
        rng = np.random.default_rng((seed, number))
        data, how, places = damage(original, rng)
        path = folder / f"v{number}.tif"
        path.write_bytes(data)
        print(json.dumps({"number": number, "doing": how}), flush=True)  # in case it crashes
        try:
            outcome, text = judge(original, path, places, how)
        except Exception:
            outcome, text = "fault", traceback.format_exc()[-1500:]
        shape = SHAPES[number % len(SHAPES)]
        print(
            json.dumps({"number": number, "shape": shape, "how": how, "outcome": outcome, "text": text}),
            flush=True,
        )
        if outcome != "fault":
            for left in folder.glob(f"v{number}.*"):
                left.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:5]))
