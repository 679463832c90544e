"""A scene in memory, and networks whose maps are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from swath.bands import Band, sensor
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import BandStatistics, Cube, Encoding, Grid, band_statistics
from swath.data.legend import LandClass

NAMES = ("B2", "B3", "B4")
DN = Encoding("dn")


@dataclass
class FakeScene:
    """An array [T,C,H,W] as a scene; what is outside is invalid and holds a number that must not matter."""

    pixels: np.ndarray
    valid: np.ndarray
    source: str = "fake"
    reads: list[tuple[int, int, int, int]] = field(default_factory=list)

    @property
    def grid(self) -> Grid:
        return Grid("EPSG:32119", (28.5, 0.0, 630000.0, 0.0, -28.5, 228000.0), self.height, self.width)

    @property
    def bands(self) -> tuple[Band, ...]:
        return sensor("landsat7").select(NAMES)

    @property
    def dates(self) -> tuple[None, ...]:
        return (None,) * self.pixels.shape[0]

    @property
    def height(self) -> int:
        return self.pixels.shape[2]

    @property
    def width(self) -> int:
        return self.pixels.shape[3]

    def read(self, row: int, col: int, height: int, width: int) -> Cube:
        self.reads.append((row, col, height, width))
        shape = (*self.pixels.shape[:2], height, width)
        pixels = np.full(shape, np.asarray(-9999).astype(self.pixels.dtype))
        valid = np.zeros(shape, bool)
        y0, x0, y1, x1 = (
            max(row, 0),
            max(col, 0),
            min(row + height, self.height),
            min(col + width, self.width),
        )
        there = np.s_[:, :, y0 - row : y1 - row, x0 - col : x1 - col]
        pixels[there] = self.pixels[:, :, y0:y1, x0:x1]
        valid[there] = self.valid[:, :, y0:y1, x0:x1]
        encodings = ((DN,) * len(NAMES),) * shape[0]
        return Cube(pixels, valid, self.bands, self.dates, encodings, source=self.source)

    def statistics(self) -> BandStatistics:
        return band_statistics(self.pixels, self.valid)


def make_scene(height: int, width: int, *, dates: int = 1, holes: float = 0.0, seed: int = 0) -> FakeScene:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(10.0, 2.0, (dates, len(NAMES), height, width)).astype(np.float32)
    valid = np.ones(pixels.shape, bool)
    if holes:
        # One hole over all bands and dates, and single invalid pixels elsewhere.
        valid[:, :, : int(height * holes), : int(width * holes)] = False
        valid &= rng.random(pixels.shape) > holes / 2
        pixels[~valid] = np.nan
    return FakeScene(pixels, valid)


def make_contract(scope: str = "scene", **options: object) -> InputContract:
    return contract_for("landsat7", NAMES, DN, Normalisation("standard", scope), **options)  # type: ignore[arg-type]


class ConvNet(torch.nn.Module):
    """One convolution over the bands of the first date: translation-equivariant, with a reach of `radius`."""

    def __init__(self, classes: int = 4, radius: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        weight = torch.randn(classes, len(NAMES), 2 * radius + 1, 2 * radius + 1, generator=generator)
        self.weight = torch.nn.Parameter(weight)
        self.radius = radius
        self.batches: list[int] = []

    def forward(self, pixels, valid=None, days=None, wavelengths=None):
        assert torch.isfinite(pixels).all()
        self.batches.append(len(pixels))
        return torch.nn.functional.conv2d(pixels.mean(1), self.weight, padding=self.radius)


class ConstantNet(torch.nn.Module):
    def __init__(self, logits: tuple[float, ...] = (0.0, 1.0, 3.0, -2.0)) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, pixels, valid=None, days=None, wavelengths=None):
        b, _, _, h, w = pixels.shape
        return self.logits[None, :, None, None].expand(b, -1, h, w)


CLASSES = (
    LandClass(1, "developed", (215, 48, 39)),
    LandClass(2, "agri & grass <wet>", (246, 213, 92)),
    LandClass(5, "forest", (27, 120, 55)),
    LandClass(6, "wáter", (43, 140, 190)),
)


@pytest.fixture(scope="session")
def fakes() -> SimpleNamespace:
    """What the tests of this folder share; of session scope, so that hypothesis may use it."""
    return SimpleNamespace(
        scene=make_scene, contract=make_contract, ConvNet=ConvNet, ConstantNet=ConstantNet, classes=CLASSES
    )
