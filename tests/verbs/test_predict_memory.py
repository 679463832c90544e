"""What `--plan` states as the ceiling of memory is kept by all processes of the command together."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio import Affine
from rasterio.windows import Window

from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.models.unet import UNet, UNetConfig
from swath.weights.build import meta_for
from swath.weights.file import save
from swath.weights.meta import MapClass

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peaks here"),
]
HEIGHT, WIDTH, BANDS = 12_000, 3_000, ("B02", "B04")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Weights, and 144 MB of tiled 16-bit pixels."""
    folder = tmp_path_factory.mktemp("large")
    torch.manual_seed(0)
    network = UNet(UNetConfig(bands=2, classes=3, width=2, levels=1))
    contract = contract_for(
        "sentinel2", BANDS, Encoding("reflectance", 1e-4),
        Normalisation("standard", "fixed", (0.3,) * 2, (0.2,) * 2), size=(256, 256),
    )  # fmt: skip
    classes = tuple(MapClass(name) for name in "abc")
    save(folder / "w.safetensors", network, meta_for(network, contract=contract, classes=classes))
    draw = np.random.default_rng(0)
    strip = draw.integers(1, 9000, (2, 1000, WIDTH)).astype(np.uint16)
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", count=2, height=HEIGHT, width=WIDTH, dtype="uint16",
        crs="EPSG:32633", transform=Affine(10, 0, 6e5, 0, -10, 5e6), nodata=0, tiled=True, blockxsize=512,
        blockysize=512,
    ) as file:  # fmt: skip
        for row in range(0, HEIGHT, 1000):
            # All is read, but the network runs over a quarter: this is about memory, and not about time.
            file.write(strip if row % 4000 == 0 else strip * 0, window=Window(0, row, WIDTH, 1000))
            strip = np.roll(strip, 137, axis=2)
    return str(folder / "w.safetensors"), str(folder / "scene.tif")


def tree_of(root: int) -> set[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold anything; the parent is the second word behind it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, todo = set(), [root]
    while todo:
        found.add(todo.pop())
        todo += [c for pid in found for c in children.get(pid, []) if c not in found and c not in todo]
    return found


def peak_of(pid: int) -> int:
    """The most that a process has had resident, bytes; 0 where it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


@pytest.mark.parametrize("workers", [1, 2])
def test_all_processes_together_stay_below_the_stated_ceiling(
    files: tuple[str, str], tmp_path: Path, workers: int, record_property: Callable[[str, object], None]
) -> None:
    weights, scene = files
    words = [
        sys.executable,
        "-m",
        "swath",
        "predict",
        "--weights",
        weights,
        "--input",
        scene,
        "--precision",
        "fp32",
    ]
    words += ["--input.sensor", "sentinel2", "--input.unit", "reflectance", "--input.scale", "1e-4"]
    words += ["--input.bands", "[" + ",".join(BANDS) + "]", "--threads", "1", "--workers", str(workers)]
    words += ["--output", str(tmp_path / "map.tif"), "--overlap", "32", "--json"]
    stated = json.loads(subprocess.run([*words, "--plan"], check=True, capture_output=True, text=True).stdout)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in tree_of(process.pid):
            peaks[pid] = max(peaks.get(pid, 0), peak_of(pid))
        time.sleep(0.5)
    made = json.loads(process.communicate()[0])
    assert process.returncode == 0 and made["pixels"] == HEIGHT * WIDTH
    assert sum(peak > 100 << 20 for peak in peaks.values()) >= workers + (workers > 1)
    # Peaks of single processes, as if all had them at once: more than there ever was.
    together = sum(peaks.values())
    record_property("peak_and_ceiling_bytes", (together, stated["memory_bytes"]))
    assert together <= stated["memory_bytes"]
