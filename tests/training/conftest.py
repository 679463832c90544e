from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath.bands import sensor
from swath.contract import InputContract, contract_for
from swath.cube import Cube, Encoding
from swath.feed.windows import WindowFeed
from swath.models.vit import Block
from swath.pretraining.objective import ObjectiveOutput, Part, total
from swath.training.config import TrainConfig

BANDS = ("B2", "B3", "B4")
TRAINING: dict[str, object] = {
    "steps": 12,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "warmup_steps": 3,
    "precision": "fp32",
    "device": "cpu",
    "checkpoint_every": 5,
    "log_every": 2,
    "clip_norm": 1.0,
    "threads": 1,
}


class FakeObjective(nn.Module):
    """Hides pixels by noise, predicts them from the rest; with dropout, to see that its draws are kept."""

    def __init__(self, bands: int = 3, dropout: float = 0.2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = nn.Sequential(
                nn.Conv2d(bands, 8, 3, padding=1), nn.GELU(), nn.Dropout(dropout), nn.Conv2d(8, bands, 1)
            )

    def noise_length(self, pixels_shape: torch.Size) -> int:
        return pixels_shape[-1] * pixels_shape[-2]

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        noise: Tensor,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> ObjectiveOutput:
        assert valid is not None and wavelengths is not None
        b, _, _, h, w = pixels.shape
        hidden = (noise.view(b, 1, 1, h, w) < 0.5) & valid
        x = torch.where(valid & ~hidden, pixels, 0.0).flatten(0, 1)
        out = self.network(x).float().view_as(pixels)
        error = torch.where(hidden, out - pixels, 0.0) ** 2
        parts = {
            "hidden": Part(error.sum(), hidden.sum().float()),
            "seen": Part(
                torch.where(valid & ~hidden, out - pixels, 0.0).abs().sum(),
                (valid & ~hidden).sum().float(),
                0.1,
            ),
        }
        return ObjectiveOutput(total(parts), parts, mask=hidden)


class FakeBlocks(FakeObjective):
    """The same with a transformer block over the pixels of 4 x 4 means, to divide, compile or checkpoint."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.block = Block(8, 2)
        self.network = nn.Sequential(self.network[0], _Mixed(self.block), *self.network[1:])


class _Mixed(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        coarse = nn.functional.avg_pool2d(x, 4)
        mixed = self.block(coarse.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(coarse)
        return x + nn.functional.interpolate(mixed, scale_factor=4.0, mode="nearest-exact")


class FakeSegmenter(nn.Module):
    def __init__(self, bands: int = 3, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.body = nn.Conv2d(bands, 8, 3, padding=1)
            self.head = nn.Conv2d(8, classes, 1)

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        x = pixels if valid is None else torch.where(valid, pixels, 0.0)
        out: Tensor = self.head(torch.relu(self.body(x.mean(1))))
        return out


def make_cube(
    seed: int = 0, height: int = 40, width: int = 48, holes: bool = True
) -> tuple[Cube, np.ndarray]:
    """A scene of three classes that its bands tell apart, and the labels."""
    draw = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    labels = ((rows // 8 + cols // 8) % 3).astype(np.int16)
    pixels = draw.normal(0, 0.1, (1, 3, height, width)).astype(np.float32)
    for c in range(3):
        pixels[0, c] += labels == c
    valid = np.ones(pixels.shape, bool)
    if holes:
        valid[:, :, :5, :5] = False
        pixels[:, :, :5, :5] = np.nan
    bands = sensor("landsat7").select(BANDS)
    encodings = ((Encoding("dn"),) * 3,)
    cube = Cube(pixels, valid, bands, (None,), encodings, source=f"scene{seed}")
    return cube.with_statistics(), labels


@pytest.fixture
def contract() -> InputContract:
    from swath.contract import Normalisation

    return contract_for("landsat7", BANDS, Encoding("dn"), Normalisation("standard", "scene"))


@pytest.fixture
def feed(contract: InputContract) -> WindowFeed:
    cube, labels = make_cube()
    return WindowFeed([contract.convert(cube)], contract, 16, seed=3, labels=[labels], min_valid=0.8)


@pytest.fixture
def small() -> Callable[..., TrainConfig]:
    def make(**changes: object) -> TrainConfig:
        return TrainConfig(**{**TRAINING, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def objective() -> FakeObjective:
    return FakeObjective()


@pytest.fixture
def new_objective() -> type[FakeObjective]:
    return FakeObjective


@pytest.fixture
def new_segmenter() -> type[FakeSegmenter]:
    return FakeSegmenter


@pytest.fixture
def scene() -> Callable[..., tuple[Cube, np.ndarray]]:
    return make_cube
