"""Published layouts filled with pixels that say their class, and weights of small networks for them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning
from torch import nn

from swath.contract import InputContract, contract_for
from swath.cube import Encoding
from swath.models.task_network import TaskNetworkConfig
from swath.verbs.head_options import HeadOptions
from swath.verbs.networks import pretraining_network
from swath.verbs.options import ModelOptions
from swath.verbs.task_network import task_network
from swath.weights.build import meta_for
from swath.weights.file import load, save
from swath.weights.meta import MapClass, MapTask, Quantity

VIT = ModelOptions(
    "mae",
    "",
    {
        "embed_dim": 24,
        "depth": 2,
        "heads": 2,
        "decoder_embed_dim": 24,
        "decoder_depth": 1,
        "decoder_heads": 2,
    },
)
EUROSAT = ("SeaLake", "AnnualCrop", "Forest")
EUROSAT_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")


def tif(path: Path, pixels: np.ndarray, *, placed: bool = True, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = (
        {"crs": "EPSG:32633", "transform": Affine(10.0, 0, 500_000, 0, -10.0, 5_000_000)} if placed else {}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", **{"driver": "GTiff", **options}, dtype=pixels.dtype.name, count=len(pixels),
            height=pixels.shape[1], width=pixels.shape[2], **place,
        ) as file:  # fmt: skip
            file.write(pixels)


def eurosat(root: Path, train: int = 8, others: int = 5) -> None:
    """Three classes, each with a spectrum of its own under noise; `train` images of a class teach."""
    draw = np.random.default_rng(0)
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for k, name in enumerate(EUROSAT):
        spectrum = 1500 + 900 * np.cos(np.arange(13) * (k + 1))
        for n in range(train + 2 * others):
            level = (
                spectrum[:, None, None] + draw.normal(0, 500, (13, 1, 1)) + draw.normal(0, 300, (13, 64, 64))
            )
            folder = root / "ds/images/remote_sensing/otherDatasets/sentinel_2/tif" / name
            tif(folder / f"{name}_{n + 1}.tif", level.clip(1, 9999).astype(np.uint16))
            part = "train" if n < train else ("val" if n < train + others else "test")
            names[part].append(f"{name}_{n + 1}.jpg")
    for part, listed in names.items():
        (root / f"eurosat-{part}.txt").write_text("".join(f"{n}\n" for n in listed))


def water(root: Path, chips: int = 9, size: int = 128) -> None:
    """Chips of HLS with dark lakes; a third of them in each of three elevation bands."""
    draw = np.random.default_rng(0)
    rows = ["chip,median_elevation_m,elevation_band,water_fraction"]
    for chip in range(chips):
        lake = np.kron(draw.random((size // 16, size // 16)) < 0.4, np.ones((16, 16))).astype(bool)
        planes = np.zeros((12, size, size), np.int16)
        land = np.array([600, 800, 1000, 2500, 2200, 1600])
        planes[:6] = np.where(lake, 300, land[:, None, None]) + draw.normal(0, 150, (6, size, size)).astype(
            np.int16
        )
        planes[:6] = planes[:6].clip(1, 9999)
        planes[7] = 64
        for folder, name, pixels in (
            ("images", f"{chip}.tif", planes),
            ("labels", f"{chip}.png", lake[None]),
        ):
            path = root / "data" / folder / name
            kind = {"driver": "PNG"} if name.endswith("png") else {}
            tif(path, pixels.astype(np.uint8) if kind else pixels, placed=False, **kind)
        rows.append(f"{chip},{100 + chip}.0,{chip % 3},0.4")
    (root / "chips.csv").write_text("".join(f"{r}\n" for r in rows))


def contract(bands: tuple[str, ...], size: int, sensor: str = "sentinel2", **more: Any) -> InputContract:
    more = {"min_dates": 1, "max_dates": 1, **more}
    return contract_for(sensor, bands, Encoding("reflectance", 1e-4, 0.0), size=(size, size), **more)


def encoder_weights(path: Path, eats: InputContract) -> str:
    """Weights of a small MAE that learned nothing: a random projection, which keeps what is planted."""
    torch.manual_seed(0)
    assert eats.size is not None
    network = pretraining_network(VIT, eats, eats.size[0])
    save(path, network, meta_for(network, contract=eats))
    return str(path)


def task_weights(
    path: Path,
    eats: InputContract,
    task: MapTask,
    names: tuple[str, ...],
    values: tuple[int, ...] = (),
    per_pixel: bool | None = None,
    **about: Any,
) -> tuple[str, nn.Module]:
    """Weights of a small network for a task, untrained but not constant; and the network."""
    torch.manual_seed(0)
    network, _ = task_network(None, VIT, HeadOptions("linear"), eats, task, len(names), per_pixel)
    assert isinstance(network.config, TaskNetworkConfig)
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "head" in name:
                nn.init.normal_(p, std=0.5)
    if task == "regression":
        about["quantities"] = tuple(Quantity(n, "", 2.0, 0.5) for n in names)
    else:
        numbers = values or tuple(range(len(names)))
        about["classes"] = tuple(MapClass(n, "#000000", v) for n, v in zip(names, numbers, strict=True))
    save(path, network, meta_for(network, contract=eats, task=task, **about))
    load(path)
    return str(path), network.eval()
