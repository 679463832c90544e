"""What the bench of scenes maps: rasters of any size, networks, and one map from file to file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from torch import Tensor, nn

from swath.bench.scene_peer import CLASSES, MEAN, SPREAD, PeerNet
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Encoding
from swath.data.legend import LandClass
from swath.data.raster import Scene, open_scene
from swath.data.spec import SceneSpec
from swath.models.st_swin import STSwinUNet
from swath.models.swin_config import PRESETS, STSwinUNetConfig
from swath.scenes.adapter import Adapted
from swath.scenes.box import Box
from swath.scenes.engine import WindowNetwork
from swath.scenes.layers import ClassLayers
from swath.scenes.mapping import Summary, predict_scene
from swath.scenes.reading import read_block
from swath.scenes.sink import CogSink
from swath.scenes.windows import Block, Plan, make_plan
from swath.training.precision import choose_precision

NAMES = ("B02", "B03", "B04", "B8A", "B11", "B12")
LEGEND = tuple(LandClass(i, f"class {i}", (30 * i, 255 - 30 * i, 128)) for i in range(CLASSES))
DAYS = ("2022-04-01", "2022-06-01", "2022-08-01")
BATCH = 16
TILE = 512
PATTERN = 4 * TILE  # after so many pixels a scene repeats itself
SWINS = {"small": "small", "base": "swin_b_light_decoder"}


@dataclass(frozen=True)
class Case:
    """One map to be made.

    Attributes:
        network: "convolution", "peer", or a name in SWINS.
        window: side of the windows.
        overlap: of windows; None: the default.
        block: side of the blocks; None: the default.
        precision: the network computes in.
    """

    network: str
    window: int = 224
    overlap: int | None = None
    block: int | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"

    def contract(self) -> InputContract:
        """Six bands of reflectance; statistics are known, so that the scene is read once."""
        fixed = Normalisation("standard", "fixed", (MEAN,) * len(NAMES), (SPREAD,) * len(NAMES))
        size = self.window, self.window
        return contract_for("sentinel2", NAMES, Encoding("reflectance"), fixed, size=size)

    def plan(self, height: int, width: int) -> Plan:
        """Of a scene of that size."""
        window = self.window, self.window
        return make_plan(height, width, window, overlap=self.overlap, block=self.block)

    def build(self, dates: int) -> nn.Module:
        """The network with fresh weights."""
        torch.manual_seed(0)
        if self.network in SWINS:
            backbone = PRESETS[SWINS[self.network]]
            return STSwinUNet(STSwinUNetConfig(backbone=backbone, classes=CLASSES)).eval()
        if self.network == "peer":
            return Adapted(PeerNet(), "BCHW").eval()
        return Adapted(nn.Conv2d(dates * len(NAMES), 2, 3, padding=1), "BSHW").eval()

    @property
    def legend(self) -> tuple[LandClass, ...]:
        """Of the network's classes."""
        return LEGEND[:2] if self.network == "convolution" else LEGEND


def write_scene(path: Path, height: int, width: int, *, sparse: bool = False) -> None:
    """A GeoTIFF of six bands, deflated in tiles of 512; `sparse`: without a single tile, all pixels 0."""
    options = {
        "driver": "GTiff", "height": height, "width": width, "count": len(NAMES), "dtype": "uint16",
        "crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 4e5, 0, -10, 5.8e6), "tiled": True,
        "blockxsize": TILE, "blockysize": TILE, "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    pack = {"SPARSE_OK": "TRUE"} if sparse else {"compress": "deflate", "zlevel": 1, "predictor": 2}
    with rasterio.open(path, "w", **options, **pack, num_threads="ALL_CPUS") as file:
        for i, name in enumerate(NAMES, 1):
            file.set_band_description(i, name)
        if sparse:
            return
        pattern = made_pixels(min(PATTERN, -(-max(height, width) // 64) * 64))
        for row, col in product(range(0, height, PATTERN), range(0, width, PATTERN)):
            h, w = min(PATTERN, height - row), min(PATTERN, width - col)
            file.write(pattern[:, :h, :w], window=Window(col, row, w, h))


def made_pixels(side: int) -> np.ndarray:
    """[C,side,side] uint16: broad forms, edges and noise, so that it deflates to about half, as images do."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side].astype(np.float32) * (2 * np.pi / PATTERN)
    fields = draw.integers(-500, 500, (len(NAMES), side // 64, side // 64)).repeat(64, 1).repeat(64, 2)
    bands = [2000 + 800 * np.sin((i + 2) * x) * np.cos((i + 1) * y) + f for i, f in enumerate(fields)]
    noise = draw.normal(0, 40, (len(NAMES), side, side))
    return np.clip(np.stack(bands) + noise, 0, 10000).astype(np.uint16)


def opened(path: Path, dates: int, *, sparse: bool = False) -> Scene:
    """The file as a scene; several dates are the same file, read once for each."""
    return open_scene(SceneSpec(
        (str(path),) * dates, sensor="sentinel2", files_are="dates", dates=DAYS[:dates],
        unit="reflectance", scale=1e-4, sparse=sparse,
    ))  # fmt: skip


def make_map(case: Case, scene: Scene, network: WindowNetwork, output: Path) -> Summary:
    """From file to file, as `swath predict` does it."""
    sink = CogSink(output, scene.grid, ClassLayers(case.legend), overwrite=True)
    plan = case.plan(scene.height, scene.width)
    return predict_scene(
        scene, network, case.contract(), plan, sink, batch_size=BATCH, precision=case.precision
    )


def all_windows(plan: Plan) -> tuple[Box, ...]:
    """Every window of the scene once, row by row."""
    h, w = plan.window
    return tuple(Box(y, x, h, w) for y in plan.rows.starts for x in plan.cols.starts)


def in_memory(case: Case, scene: Scene) -> Tensor:
    """[T,C,H,W] normalised: what the bare pass is given."""
    box = Box(0, 0, scene.height, scene.width)
    return read_block(scene, case.contract(), None, Block(box, box, (box,))).pixels


def bare_pass(case: Case, network: WindowNetwork, pixels: Tensor, windows: Sequence[Box]) -> None:
    """The forward pass over windows of pixels in memory, in batches as the engine's; what it returns is dropped."""
    precision = choose_precision(case.precision)
    wavelengths = case.contract().wavelengths
    with torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            batch = windows[start : start + BATCH]
            x = torch.stack([pixels[..., w.row : w.row + w.height, w.col : w.col + w.width] for w in batch])
            with precision.autocast():
                network(
                    pixels=x, valid=torch.ones_like(x, dtype=torch.bool), days=None, wavelengths=wavelengths
                )
