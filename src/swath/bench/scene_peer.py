"""How others map a scene, as a script that needs torch, numpy and rasterio alone.

    python scene_peer.py loop|terratorch SCENE OUTPUT [--window 224] [--stride 128] [--threads 1]

It runs in an environment of its own, where swath is not installed: TerraTorch needs another torch. Both keep the whole
scene's answers in memory, as TerraTorch's `tiled_inference` does, and write a GeoTIFF of class and confidence. Prints
one line of JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from torch import Tensor, nn

CLASSES = 8
BANDS = 6
BATCH = 16
# Of reflectance, which is stored in ten-thousandths.
MEAN, SPREAD, SCALE = 0.2, 0.1, 1e-4


class PeerNet(nn.Module):
    """[B,6,H,W] -> [B,8,H,W]: a few convolutions, so that what surrounds the network shows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(BANDS, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, CLASSES, 1),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.layers(pixels)
        return out


class Timed:
    """A network that knows how long it has computed, in CPU seconds."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.seconds = network, 0.0

    def __call__(self, pixels: Tensor) -> Tensor:
        began = time.process_time()
        out: Tensor = self.network(pixels)
        self.seconds += time.process_time() - began
        return out


def normalised(stored: np.ndarray[Any, Any]) -> Tensor:
    """What the network eats, of stored numbers."""
    return torch.from_numpy((stored.astype(np.float32) * np.float32(SCALE) - MEAN) / np.float32(SPREAD))


def loop(scene: Any, network: Callable[[Tensor], Tensor], window: int, stride: int) -> Tensor:
    """[K,H,W] probabilities, window by window: what is written first where no library is at hand."""
    height, width = scene.height, scene.width
    rows = [*range(0, max(height - window, 0), stride), max(height - window, 0)]
    cols = [*range(0, max(width - window, 0), stride), max(width - window, 0)]
    places = [(row, col) for row in rows for col in cols]
    total = torch.zeros(CLASSES, height, width)
    count = torch.zeros(height, width)
    for start in range(0, len(places), BATCH):
        batch = places[start : start + BATCH]
        read = [scene.read(window=Window(col, row, window, window)) for row, col in batch]
        out = network(torch.stack([normalised(r) for r in read])).softmax(dim=1)
        for (row, col), p in zip(batch, out, strict=True):
            total[:, row : row + window, col : col + window] += p
            count[row : row + window, col : col + window] += 1
    return total / count


def terratorch(scene: Any, network: Callable[[Tensor], Tensor], window: int, stride: int) -> Tensor:
    """[K,H,W] probabilities by TerraTorch."""
    tiled = importlib.import_module("terratorch.tasks.tiled_inference").tiled_inference
    pixels = normalised(scene.read())[None]
    out: Tensor = tiled(
        lambda x: network(x).softmax(dim=1), pixels, crop=window, stride=stride, delta=0, padding=False,
        batch_size=BATCH,
    )  # fmt: skip
    return out[0]


def write(path: Path, scene: Any, p: Tensor) -> None:
    """Class and confidence, deflated in tiles."""
    shares, classes = p.max(dim=0)
    profile = {
        "driver": "GTiff", "height": scene.height, "width": scene.width, "count": 2, "dtype": "uint8",
        "crs": scene.crs, "transform": scene.transform, "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate", "zlevel": 4,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        out.write(classes.to(torch.uint8).numpy(), 1)
        out.write((shares * 100).round().to(torch.uint8).numpy(), 2)


def peak() -> int:
    """Bytes this process has had resident at most; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM:")), 0)


def main(argv: list[str] | None = None) -> None:
    """Maps one scene and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["loop", "terratorch"])
    parser.add_argument("scene", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--window", type=int, default=224)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.way == "terratorch":
        importlib.import_module("terratorch.tasks.tiled_inference")  # importing is not mapping
    network = Timed(PeerNet().eval())
    before = peak()
    began, clock = time.process_time(), time.perf_counter()
    with torch.no_grad(), rasterio.open(options.scene) as scene:
        way = {"loop": loop, "terratorch": terratorch}[options.way]
        write(options.output, scene, way(scene, network, options.window, options.stride))
    found = {
        "cpu": time.process_time() - began, "seconds": time.perf_counter() - clock, "forward": network.seconds,
        "peak": peak(), "before": before,
    }  # fmt: skip
    sys.stdout.write(json.dumps({**found, "torch": torch.__version__}) + "\n")


if __name__ == "__main__":
    main()
