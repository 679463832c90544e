"""Weights of every task, trained, saved and mapped: the map shows what was learned, in the task's own bands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from torch import Tensor, nn

import swath
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Encoding
from swath.models.spectralgpt import SpectralGPTClassifier, SpectralGPTClassifierConfig
from swath.models.st_swin import STSwinConfig, STSwinUNet, STSwinUNetConfig
from swath.models.unet import UNet, UNetConfig
from swath.tasks.base import Task
from swath.tasks.classification import ClassificationTask
from swath.tasks.config import RegressionConfig, TaskConfig
from swath.tasks.multilabel import MultilabelTask
from swath.tasks.regression import RegressionTask
from swath.tasks.segmentation import SegmentationTask
from swath.weights.build import meta_for
from swath.weights.file import save
from swath.weights.meta import Calibration, MapClass, Quantity

BANDS = ("B2", "B3", "B4")
SIDE, WINDOW = 64, 16
CLASSES = (MapClass("dark", "#202020", 4), MapClass("bright", "#f0f0f0", 7))


def contract(dates: int) -> InputContract:
    fixed = Normalisation("standard", "fixed", (100.0,) * 3, (40.0,) * 3)
    return contract_for(
        "landsat7", BANDS, Encoding("dn"), fixed, size=(WINDOW, WINDOW), min_dates=dates, max_dates=dates
    )


def land(seed: int, cell: int = WINDOW) -> np.ndarray:
    """[3,SIDE,SIDE] uint8: each cell is bright or dark in each band, with noise."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 2, (3, SIDE // cell, SIDE // cell)).repeat(cell, 1).repeat(cell, 2)
    return (60 + 80 * coarse + draw.normal(0, 8, coarse.shape)).clip(1, 255).astype(np.uint8)


def windows(pixels: np.ndarray) -> Tensor:
    """[B,T,C,16,16] normalised, of [T,C,H,W]."""
    x = torch.from_numpy((pixels.astype(np.float32) - 100) / 40)
    t, c, h, w = x.shape
    cut = x.view(t, c, h // WINDOW, WINDOW, w // WINDOW, WINDOW).permute(2, 4, 0, 1, 3, 5)
    return cut.reshape(-1, t, c, WINDOW, WINDOW)


def train(task: Task, pixels: Tensor, target: Tensor, steps: int, rate: float) -> nn.Module:
    torch.manual_seed(0)
    best = torch.optim.AdamW(task.parameters(), lr=rate)
    valid = torch.ones_like(pixels, dtype=torch.bool)
    task.train()
    for _ in range(steps):
        best.zero_grad()
        task(pixels, valid, target=target).loss.backward()
        best.step()
    return task.network.eval()


def window_network(outputs: int) -> SpectralGPTClassifier:
    torch.manual_seed(0)
    wavelengths = contract(1).wavelengths
    return SpectralGPTClassifier(
        SpectralGPTClassifierConfig(
            wavelengths=wavelengths, image_size=WINDOW, embed_dim=16, depth=1, heads=2, num_classes=outputs
        )
    )


def change_network() -> STSwinUNet:
    torch.manual_seed(0)
    backbone = STSwinConfig(
        bands=3, patch_size=(1, 2, 2), embed_dim=8, depths=(1, 1), heads=(1, 2), decoder_depths=(1,), window=(2, 4, 4),
        drop_path=0.0,
    )  # fmt: skip
    return STSwinUNet(STSwinUNetConfig(backbone, classes=2, collapse="concat", dates=2, stem_skip=False))


def mapped(
    folder: Path, network: nn.Module, scenes: list[np.ndarray], raster: Callable[..., str], about: dict[str, Any],
    **options: Any,
) -> tuple[np.ndarray, Any]:  # fmt: skip
    """(bands of the map, its open file's profile and tags) of a scene of so many dates."""
    files = [
        raster(folder / f"{i}.tif", pixels, names=BANDS, unit="dn", nodata=0)
        for i, pixels in enumerate(scenes)
    ]
    spec: dict[str, Any] = {"files": files[0], "sensor": "landsat7"}
    if len(files) > 1:
        dates = [f"200{i}-06-01" for i in range(len(files))]
        spec = {"files": files, "files_are": "dates", "dates": dates, "sensor": "landsat7"}
    meta = meta_for(network, contract=contract(len(files)), licence="CC0-1.0", **about)
    save(folder / "w.safetensors", network, meta)
    made = swath.predict(
        weights=str(folder / "w.safetensors"), input=spec, output=str(folder / "map.tif"), precision="fp32",
        **options,
    )  # fmt: skip
    with rasterio.open(made.map) as file:
        return file.read(), {
            "names": file.descriptions,
            "units": file.units,
            "tags": file.tags(),
            "made": made,
        }


def test_regression_maps_quantities_in_their_units(tmp_path: Path, raster: Callable[..., str]) -> None:
    known, scene = land(1, 8), land(2, 8)

    def truth(pixels: np.ndarray) -> np.ndarray:
        x = pixels.astype(np.float32)
        return np.stack([(x[2] - x[1]) / 80, x.mean(0) / 100])

    torch.manual_seed(0)
    network = UNet(UNetConfig(bands=3, classes=2, width=8, levels=1, norm="batch"))
    # Trained on the second quantity less 1, in halves: gain and bias bring it back.
    target = windows(truth(known)[None])[:, 0] * 40 + 100
    target[:, 1] = (target[:, 1] - 1) * 2
    task = RegressionTask(network, RegressionConfig(("contrast", "brightness")))
    train(task, windows(known[None]), target, 80, 2e-2)
    quantities = (Quantity("contrast"), Quantity("brightness", "percent", 0.5, 1.0))
    bands, said = mapped(
        tmp_path, network, [scene], raster, {"task": "regression", "quantities": quantities}, disagreement=True,
        turns=True,
    )  # fmt: skip
    assert said["names"] == ("contrast", "brightness", "coverage", "sd(contrast)", "sd(brightness)")
    assert said["units"] == (None, "percent", "percent", None, "percent") or said["units"][1] == "percent"
    for got, wanted in zip(bands[:2], truth(scene), strict=True):
        assert 1 - np.var(got - wanted) / np.var(wanted) > 0.9
        assert abs(float((got - wanted).mean())) < 0.1
    assert (bands[2] == 100).all() and (bands[3:] >= 0).all()


def test_change_maps_where_two_dates_differ(tmp_path: Path, raster: Callable[..., str]) -> None:
    known = np.stack([np.concatenate([land(s, 4), land(s + 1, 4)], axis=2) for s in (1, 3)])
    scenes = [land(5, 4), land(6, 4)]

    def truth(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return second[0].astype(int) - first[0].astype(int) > 40

    target = torch.from_numpy(truth(*known)).view(4, 16, 8, 16).permute(0, 2, 1, 3).reshape(-1, 16, 16).long()
    network = change_network()
    train(SegmentationTask(network, TaskConfig(("same", "changed"))), windows(known), target, 60, 2e-2)
    classes = (MapClass("same", "#ffffff", 0), MapClass("changed", "#d73027", 1))
    bands, said = mapped(tmp_path, network, scenes, raster, {"task": "change", "classes": classes})
    assert said["names"] == ("change", "confidence", "coverage")
    assert (bands[0] == truth(*scenes)).mean() > 0.9
    assert said["tags"]["CLASS_1"] == "changed"


def test_one_answer_per_window_becomes_a_map_of_classes(tmp_path: Path, raster: Callable[..., str]) -> None:
    known = np.concatenate([land(s) for s in range(6)], axis=2)
    scene = land(9)
    x = windows(known[None])
    network = window_network(2)
    target = (x[:, 0, 1].mean((-2, -1)) > 0).long()
    train(ClassificationTask(network, TaskConfig(("dark", "bright"))), x, target, 120, 1e-2)
    about = {"task": "classification", "classes": CLASSES}
    bands, said = mapped(tmp_path, network, [scene], raster, about, overlap=0)
    assert said["names"] == ("class", "confidence", "coverage")
    wanted = np.where(scene[1] > 100, 7, 4)
    cells = bands[0].reshape(4, 16, 4, 16)
    assert (cells == cells[:, :1, :, :1]).all()  # without overlap a window is one answer
    assert (bands[0] == wanted).mean() > 0.9


def test_several_labels_at_once_become_probabilities(tmp_path: Path, raster: Callable[..., str]) -> None:
    known = np.concatenate([land(s) for s in range(6)], axis=2)
    scene = land(9)
    x = windows(known[None])
    network = window_network(2)
    target = (x[:, 0, [0, 2]].mean((-2, -1)) > 0).long()
    train(MultilabelTask(network, TaskConfig(("dark", "bright"))), x, target, 120, 1e-2)
    about = {"task": "multilabel", "classes": CLASSES}
    bands, said = mapped(tmp_path, network, [scene], raster, about, overlap=0)
    assert said["names"] == ("p(dark)", "p(bright)", "coverage")
    for got, band in zip(bands[:2], (0, 2), strict=True):
        assert ((got > 50) == (scene[band] > 100)).mean() > 0.9


def test_a_calibrated_map_says_so_and_is_less_sure(tmp_path: Path, raster: Callable[..., str]) -> None:
    """Logits divided by the temperature: the classes stay, and confidence is what it should be by hand."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(bands=3, classes=2, width=4, levels=1)).eval()
    nn.init.normal_(network.head.weight, std=1.0)
    scene, found = land(2), {}
    for name, calibration in (("plain", None), ("cool", Calibration(3.0, {"data": "two valleys"}))):
        about = {"task": "segmentation", "classes": CLASSES, "calibration": calibration}
        folder = tmp_path / name
        found[name], said = mapped(folder, network, [scene], raster, about, overlap=0, bits=16)
        told = said["tags"]
        assert said["made"].temperature == (None if calibration is None else 3.0)
        item = json.loads((folder / "map.stac.json").read_text(encoding="utf-8"))["properties"]
        if calibration is None:
            assert "swath:calibration" not in item
            assert "CALIBRATION_TEMPERATURE" not in told and "CALIBRATED_ON" not in told
        else:
            assert (told["CALIBRATION_TEMPERATURE"], told["CALIBRATED_ON"]) == ("3.0", "two valleys")
            assert item["swath:calibration"] == {"temperature": 3.0, "data": "two valleys"}
            assert "calibrated by temperature 3" in told["BAND_2"]
            assert "calibrated by temperature 3" in said["made"].summary()
    np.testing.assert_array_equal(found["plain"][0], found["cool"][0])
    sure = found["plain"][1].astype(np.float64) / 1e4
    sure = np.clip(sure, None, 1 - 1e-4)
    by_hand = 1 / (1 + np.exp(-np.log(sure / (1 - sure)) / 3))
    middle = sure < 0.99  # beyond, a hundredth of a percent is many logits
    assert middle.any()
    assert np.abs(by_hand - found["cool"][1] / 1e4)[middle].max() < 2e-3
