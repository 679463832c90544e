"""A real `swath finetune` on labels of each date, killed again and again, ends as one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio import Affine

from swath.training.checkpoint import checkpoints
from swath.training.metrics_log import read_metrics
from swath.weights.file import load, same_state

KILLS = 4
SIDE = 48
DATES = ("20230512", "20230701", "20230815")


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A folder of five places on three dates, with a map of classes for each."""
    root = tmp_path / "fields"
    for place in range(5):
        for t, date in enumerate(DATES):
            draw = np.random.default_rng((place, t))
            kinds = draw.integers(0, 2, (SIDE // 8, SIDE // 8)).repeat(8, 0).repeat(8, 1)
            pixels = np.stack([800 + 1500 * kinds, 2500 - 1200 * kinds]) + draw.normal(
                0, 300, (2, SIDE, SIDE)
            )
            for name, values in ((f"{date}.tif", pixels), (f"labels_{date}.tif", 1 + kinds[None])):
                path = root / f"site{place}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with rasterio.open(
                    path, "w", driver="GTiff", dtype="uint16", count=len(values), height=SIDE, width=SIDE,
                    crs="EPSG:32633", transform=Affine(10, 0, 5e5 + 5000 * place, 0, -10, 5e6), nodata=0,
                ) as file:  # fmt: skip
                    file.write(values.clip(1).astype(np.uint16))
    spec: dict[str, Any] = {
        "sensor": "sentinel2", "images": "{place}/{date:%Y%m%d}.tif", "bands": ["B04", "B08"], "unit": "reflectance",
        "scale": 1e-4, "offset": 0.0, "level": "L2A",
        "labels": {
            "kind": "raster", "file": "{place}/labels_{date:%Y%m%d}.tif",
            "classes": [{"value": 1, "name": "bare"}, {"value": 2, "name": "green"}],
        },
    }  # fmt: skip
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec))
    return {
        "verb": "finetune",
        "model": {"system": "unet", "options": {"width": 8}},
        "data": {
            "layout": {"name": "folder", "root": str(root)},
            "parts": {"by": "groups", "train": ["site[0-3]"], "validation": ["site4"]},
            "window": 32,
            "draw": "windows",
            "dates": 2,
        },
        "training": {
            "steps": 300, "batch_size": 2, "warmup_steps": 10, "checkpoint_every": 4, "validate_every": 50,
            "device": "cpu", "threads": 1, "augment": {"band_dropout": 0.1},
        },
    }  # fmt: skip


def start(options: dict[str, Any], folder: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**options, "run": {"folder": str(folder)}}), "utf-8")
    words = [sys.executable, "-m", "swath", "finetune", str(path), "--run.resume", str(resume).lower()]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(options: dict[str, Any], folder: Path, *, resume: bool) -> None:
    process = start(options, folder, resume=resume)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()


@pytest.mark.slow  # starts six processes
def test_kills_at_random_moments_change_no_bit(config: dict[str, Any], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finished(config, whole, resume=False)
    draw = np.random.default_rng(4)
    for _ in range(KILLS):
        found = checkpoints(parts / "checkpoints")
        before = found[0][0] if found else 0
        process = start(config, parts, resume=True)
        deadline = time.monotonic() + 240
        while process.poll() is None and not any(s > before for s, _ in checkpoints(parts / "checkpoints")):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(float(draw.uniform(0, 0.3)))
        assert process.poll() is None, "it ended before it was killed often enough"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finished(config, parts, resume=True)
    a, b = load(whole / "weights.safetensors"), load(parts / "weights.safetensors")
    assert same_state(a.state, b.state) and a.meta.task == "segmentation"
    looks = [[r for r in read_metrics(f / "metrics.jsonl") if "validation" in r] for f in (whole, parts)]
    assert [(r["step"], r["validation"]) for r in looks[0]] == [
        (r["step"], r["validation"]) for r in looks[1]
    ]
