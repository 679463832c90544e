"""Peak memory is flat in both directions, and below what the plan states."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, sys
import numpy as np, torch
from swath.bands import sensor
from swath.contract import Normalisation, contract_for
from swath.cube import Cube, Encoding, Grid
from swath.data.legend import LandClass
from swath.memory import peak_resident
from swath.scenes import ClassLayers, CogSink, Engine, make_plan, predict_scene
from swath.scenes.estimate import estimate

torch.set_num_threads(1)
height, width, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
NAMES, DN = ("B2", "B3", "B4"), Encoding("dn")

class Made:
    source, bands = "made", sensor("landsat7").select(NAMES)
    grid = Grid("EPSG:32119", (30, 0, 6e5, 0, -30, 2e5), height, width)
    def __init__(self):
        self.height, self.width = height, width
    def read(self, row, col, h, w):
        y, x = np.arange(row, row + h)[:, None], np.arange(col, col + w)
        pixels = np.broadcast_to(((y * 7 + x * 13) % 251).astype(np.uint16), (1, 3, h, w)).copy()
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        valid = np.broadcast_to(inside, pixels.shape).copy()
        return Cube(pixels, valid, self.bands, (None,), ((DN,) * 3,), source="made")

contract = contract_for("landsat7", NAMES, DN, Normalisation(), size=(64, 64))
net = torch.nn.Conv2d(3, 4, 3, padding=1)
call = lambda pixels, **_: net(pixels[:, 0])
layers = ClassLayers(tuple(LandClass(i, str(i), (i, i, i)) for i in range(4)))
plan = make_plan(height, width, (64, 64), overlap=8, block=512)
engine = Engine(Made(), call, contract, plan)
stated = estimate(engine, layers, stored_bands=3, stored=2, workers=1, threads=1)
predict_scene(Made(), call, contract, plan, CogSink(path, Made.grid, layers))
peak = peak_resident()
print(json.dumps([peak, stated.memory_bytes]))
"""


@pytest.mark.slow
def test_peak_memory_is_flat_and_below_the_stated_ceiling(tmp_path: Path) -> None:
    peaks = []
    for height, width in ((1536, 1536), (1536, 12288), (12288, 1536)):
        words = [sys.executable, "-c", CODE, str(height), str(width), str(tmp_path / f"{height}_{width}.tif")]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        peak, ceiling = json.loads(done.stdout)
        assert peak <= ceiling
        peaks.append(peak)
    assert max(peaks) <= 1.05 * peaks[0], peaks
