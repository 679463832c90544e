"""Sen1Floods11: water on five chips of Sentinel-1, a flood by itself to score; and on one chip of Sentinel-2.

The chips lie in two folders, as two repositories show them; links in the work folder put them together. The chip of
Paraguay holds labels and not one valid pixel of Sentinel-1, which a set as small as this has to allow (`bad_items`).
"""

from __future__ import annotations

import json
from pathlib import Path

from swath.bench.transfer_rows import WITHIN, Setting, experiment, forest, mapped, steps, swin_rows, unet
from swath.bench.transfer_table import Experiment

FOLDERS = ("sen1floods11-s1-12/app/sample_data", "sen1floods11-spain/sample")
TEACH, SELECT, SCORE = ("Spain", "Ghana", "Paraguay"), ("USA",), ("India",)
MAPPED = "India_900498"


def gathered(data: Path, folder: Path) -> Path:
    """A folder with links to the chips of both."""
    for source in FOLDERS:
        for path in sorted((data / source).glob("*/*.tif")):
            link = folder / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(path.resolve())
    return folder


def radar(data: Path, work: Path, seeds: int) -> Experiment:
    """Learned from two floods and a chip without data, selected on a third, scored on a fourth in another country."""
    root = gathered(data, work / "chips")
    layout = (
        "--data.layout.name", "sen1floods11", "--data.layout.root", str(root),
        "--data.layout.options", json.dumps({"sensors": ["sentinel1"]}), "--data.layout.bad_items", "0.4",
    )  # fmt: skip
    parts = {"by": "groups", "train": list(TEACH), "validation": list(SELECT), "test": list(SCORE)}
    at = Setting(
        "sen1floods11.s1",
        (*layout, "--data.parts", json.dumps(parts), "--data.window", "64", "--data.draw", "windows"),
        steps(100, 8, "2.0e-3", every=50), work, seeds,
        "VV and VH of Spain and Ghana teach, those of the USA select, those of India score; 100 steps of 8 windows "
        "of 64 px",
        evaluate=("--intervals.unit", "square", "--intervals.square", "64"),
    )  # fmt: skip
    held = sorted(p.name.removesuffix("_S1Hand.tif") for p in (root / "S1").glob("*_S1Hand.tif"))
    held = [name for name in held if name.partition("_")[0] in (*SELECT, *SCORE)]
    seen = (*layout, "--data.hold_out", json.dumps(held), "--data.min_valid", "0.5", "--data.window", "64")
    first, rows = swin_rows(at, seen, 8, "the chips that teach", patch=4)
    scene = (
        "--input.files", str(root / "S1" / f"{MAPPED}_S1Hand.tif"), "--input.sensor", "sentinel1",
        "--input.bands", "[VV,VH]", "--input.unit", "decibel", "--input.scale", "1", "--input.offset", "0",
    )  # fmt: skip
    return experiment(rows, first=(first,), then=(mapped(at, "unet.scratch", scene, "india"),))


def optical(data: Path, work: Path, seeds: int) -> Experiment:
    """Thirteen bands of the chip of Spain."""
    parts = {"by": "within", "block": 64, "shares": {"train": 0.5, "validation": 0.2, "test": 0.3}}
    at = Setting(
        "sen1floods11.s2",
        (
            "--data.layout.name", "sen1floods11", "--data.layout.root", str(data / FOLDERS[1]),
            "--data.layout.options", json.dumps({"sensors": ["sentinel2"]}), "--data.parts", json.dumps(parts),
            "--data.window", "64", "--data.draw", "windows",
        ),
        steps(100, 8, "2.0e-3", every=50), work, seeds,
        f"one chip of 512 px, 100 steps of 8 windows of 64 px; squares of 64 px, {WITHIN}",
        evaluate=("--intervals.square", "64"),
    )  # fmt: skip
    return experiment([forest(at), unet(at)])
