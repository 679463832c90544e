"""A small scene with labels, and what the verbs make of it: pretrained, fine-tuned, mapped; once per session. And a
layout that is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from planted_layout import Planted
from rasterio import Affine

import swath
from swath.data.layouts import registry
from swath.verbs import labelled_sources
from swath.verbs.evaluate import EvaluateResult
from swath.verbs.finetune import FinetuneResult
from swath.verbs.predict import PredictResult
from swath.verbs.pretrain import PretrainResult

HEIGHT, WIDTH, WINDOW = 40, 112, 16
EAST = 80  # columns: west 0-48, validation 48-64, buffer 64-80
BANDS = ("B2", "B3", "B4")
CLASSES = [
    {"value": 3, "name": "forest", "color": [0, 100, 0]},
    {"value": 5, "name": "town", "color": [200, 0, 0]},
    {"value": 9, "name": "water", "color": [0, 0, 200]},
]
MODEL: dict[str, Any] = {
    "system": "st_swin_mae",
    "preset": "tiny",
    "options": {
        "patch_size": [1, 2, 2],
        "window": [1, 4, 4],
        "embed_dim": 8,
        "depths": [1, 1],
        "heads": [1, 2],
        "decoder_depths": [1],
    },
}
TRAINING: dict[str, Any] = {
    "steps": 6,
    "batch_size": 4,
    "warmup_steps": 1,
    "learning_rate": 1e-2,
    "validate_every": 3,
    "checkpoint_every": 2,
    "log_every": 2,
    "precision": "fp32",
    "threads": 1,
}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_raster(
    path: Path,
    pixels: np.ndarray,
    *,
    names: Sequence[str] = (),
    unit: str = "",
    crs: str | None = "EPSG:32119",
    x: float = 600_000.0,
    res: float = 30.0,
    nodata: float | None = None,
) -> str:
    """[C,H,W] or [H,W] as a GeoTIFF of 30 m or `res`."""
    stack = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=stack.dtype.name,
        count=len(stack),
        height=stack.shape[1],
        width=stack.shape[2],
        crs=crs,
        transform=Affine(res, 0.0, x, 0.0, -res, 200_000.0),
        nodata=nodata,
    ) as file:
        file.write(stack)
        for i, name in enumerate(names, 1):
            file.set_band_description(i, name)
        if unit:
            file.units = [unit] * len(stack)
    return str(path)


@pytest.fixture(scope="session")
def raster() -> Callable[..., str]:
    return write_raster


def scene_pixels() -> np.ndarray:
    """[3,H,W] uint8: three kinds of land in blobs, with noise; 0 is no-data."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 3, (HEIGHT // 8, WIDTH // 8)).repeat(8, 0).repeat(8, 1)
    means = np.array([[40, 30, 120], [110, 120, 90], [60, 20, 10]])
    noise = draw.normal(0, 8, (3, HEIGHT, WIDTH))
    pixels = (means[coarse].transpose(2, 0, 1) + noise).clip(1, 255).astype(np.uint8)
    pixels[:, :3, :5] = 0
    pixels[2, 20, 30] = 0
    return pixels


def scene_labels() -> np.ndarray:
    """[H,W] uint8 of CLASSES' values; 0 is unlabelled."""
    coarse = np.random.default_rng(0).integers(0, 3, (HEIGHT // 8, WIDTH // 8)).repeat(8, 0).repeat(8, 1)
    labels = np.array([3, 5, 9], np.uint8)[coarse]
    labels[30:33] = 0
    return labels


@dataclass(frozen=True)
class Land:
    """Files of a scene and its labels."""

    folder: Path
    scene: str
    labels: str

    @property
    def spec(self) -> dict[str, Any]:
        return {"files": self.scene, "sensor": "landsat7"}

    def pretraining(self, folder: object, **training: Any) -> dict[str, Any]:
        """Options of a pretraining on the west."""
        return {
            "run": {"folder": str(folder)},
            "model": MODEL,
            "data": {
                "scenes": [self.spec],
                "hold_out": ["20,90,16,16"],
                "columns": [0, 48],
                "window": WINDOW,
                "normalise": {"scope": "fixed", "columns": [0, 48]},
            },
            "mask": {"ratio": 0.5, "window": 2},
            "training": {**TRAINING, **training},
        }

    def finetuning(self, folder: object, weights: str = "", **training: Any) -> dict[str, Any]:
        """Options of a fine-tuning on the west."""
        given = {"decay_rule": "finetune", "monitor": "overall_accuracy", "ema_decay": 0.5}
        return {
            "run": {"folder": str(folder)},
            "weights": weights,
            "model": {**MODEL, "system": "st_swin_unet", "options": {**MODEL["options"], "stem_skip": True}},
            "data": {
                "scene": self.spec,
                "labels": self.labels,
                "classes": CLASSES,
                "window": WINDOW,
                "east_start": EAST,
            },
            "training": {**TRAINING, **given, **training},
        }


@pytest.fixture(scope="session")
def land(tmp_path_factory: pytest.TempPathFactory) -> Land:
    """In a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("my land")
    return Land(
        folder,
        write_raster(folder / "scene of 2000.tif", scene_pixels(), names=BANDS, unit="dn", nodata=0),
        write_raster(folder / "labels.tif", scene_labels(), nodata=0),
    )


@dataclass(frozen=True)
class Chain:
    """What each verb returned."""

    land: Land
    pretrained: PretrainResult
    finetuned: FinetuneResult
    predicted: PredictResult
    evaluated: EvaluateResult

    @property
    def map(self) -> str:
        return self.predicted.map

    @property
    def scoring(self) -> dict[str, Any]:
        return {"labels": self.land.labels, "classes": CLASSES, "columns": [EAST, WIDTH]}


@pytest.fixture(scope="session")
def chain(land: Land) -> Chain:
    """Pretrain, fine-tune, predict and evaluate, through the functions of the package."""
    folder = land.folder / "runs"
    mae = swath.pretrain(**land.pretraining(folder / "mae"))
    unet = swath.finetune(**land.finetuning(folder / "unet", mae.weights))
    mapped = swath.predict(
        weights=unet.weights, input=land.scene, output=str(folder / "map.tif"), precision="fp32",
        **{"input.sensor": "landsat7"},
    )  # fmt: skip
    scored = swath.evaluate(
        map=mapped.map,
        labels=land.labels,
        classes=CLASSES,
        columns=[EAST, WIDTH],
        output=str(folder / "scores.json"),
    )
    return Chain(land, mae, unet, mapped, scored)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout "planted" is known, and nothing of it was opened yet."""
    monkeypatch.setitem(registry.LAYOUTS, "planted", "planted:Planted")
    plain = registry.layout_class
    for module in (registry, labelled_sources):
        monkeypatch.setattr(
            module, "layout_class", lambda name: {"planted": Planted}.get(name) or plain(name)
        )
    Planted.opened.clear()
