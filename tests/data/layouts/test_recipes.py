"""Every recipe of a data set packs the set as it is published, and the shards yield a batch."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.layouts.registry import LAYOUTS, open_layout
from swath.feed.shard_feed import ShardFeed
from swath.feed.shards import Shards
from swath.verbs import pack
from swath.verbs.config import load_config
from swath.verbs.options import PixelData
from swath.verbs.record_data import from_shards
from swath.verbs.yaml_file import recipes

NAMES = sorted(name for name in recipes() if name.startswith("data-"))
HERE = Path(__file__).parent
# Tests are imported one by one, without a package around them.
WRITE = runpy.run_path(str(HERE / "conftest.py"))
SCENES = runpy.run_path(str(HERE / "pretraining_builders.py"))["S2_SCENES"]
BUILD, real, text, tif = WRITE["BUILD"], WRITE["real"], WRITE["text"], WRITE["tif"]
L2A = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
Options = dict[str, Any]


def _ssl4eo(root: Path) -> Options:
    for t, scene in enumerate(SCENES):
        WRITE["BUILDERS"].ssl4eo_date(root / "s2c/0000200" / scene, t)
    return {}


def _major_tom(root: Path) -> Options:
    product = "S2A_MSIL2A_20220706T085611_N0400_R007_T33NZA_20220706T153419"
    folder = root / "S2L2A/0U/0U_199R" / product
    for name, plane in zip(L2A, real(12, 120, 120), strict=True):
        factor = {"B01": 6, "B09": 6}.get(name, 1 if name in ("B02", "B03", "B04", "B08") else 2)
        tif(folder / f"{name}.tif", plane[::factor, ::factor], res=10.0 * factor)
    return {}


def _worldcereal(root: Path) -> Options:
    make = runpy.run_path(str(HERE / "test_worldcereal.py"))["make_site"]
    for name in ("a-site", "b-site"):
        make(root / name)
    return {}


def _folder(root: Path) -> Options:
    for i in range(2):
        tif(root / f"images/p{i}.tif", real(4, 64, 64, i).astype(np.uint16))
        tif(root / f"labels/p{i}.tif", (real(1, 64, 64, i)[0] > 900).astype(np.uint8))
    text(
        root / "dataset.yaml",
        "images: 'images/{place}.tif'",
        "sensor: sentinel2",
        "bands: [B02, B03, B04, B08]",
        "unit: reflectance",
        "scale: 1.0e-4",
        "offset: 0",
        "size: 32",
        "labels:",
        "  kind: raster",
        "  file: 'labels/{place}.tif'",
        "  classes: [{value: 0, name: dry}, {value: 1, name: wet}]",
    )
    return {}


def _phileo(root: Path) -> Options:
    BUILD["phileo"](root)
    for path in sorted(root.glob("*_label_building.npy")):
        np.save(path.with_name(path.name.replace("building", "roads")), np.load(path) / 2)
    return {}


WRITERS: dict[str, Callable[[Path], Options]] = {
    **BUILD,
    "ssl4eo-s12": _ssl4eo,
    "major-tom": _major_tom,
    "worldcereal": _worldcereal,
    "phileo": _phileo,
    "folder": _folder,
}
# What the small copies lack of the published sets: samples in a file, patches in a bucket, cities.
SMALL: dict[str, Options] = {
    "data-ssl4eo-s12-v1.1": {"samples": 2},
    "data-phileo-landcover-50": {"shots": 3},
    "data-oscd": {"cities": ["beirut", "saclay_e", "saclay_w"]},
}


def test_every_layout_has_a_recipe() -> None:
    assert {load_config(pack.PackConfig, [name], verb="pack").layout for name in NAMES} == set(LAYOUTS)


def test_recipes_write_what_the_recipes_of_pretraining_read() -> None:
    found = (path.read_text("utf-8") for name, path in recipes().items() if name.startswith("pretrain-"))
    read = set(re.findall(r"shards/[\w.-]+", "".join(found)))
    assert read and read <= {load_config(pack.PackConfig, [n], verb="pack").output for n in NAMES}


@pytest.mark.slow  # a second for each of some two dozen sets
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_packs_its_set_and_yields_a_batch(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    recipe = load_config(pack.PackConfig, [name], verb="pack")
    root, output = tmp_path / "data", tmp_path / "shards"
    root.mkdir()
    WRITERS[recipe.layout](root)
    options = {**recipe.options, **SMALL.get(name, {})}
    over = {"root": str(root), "output": str(output), "workers": 1, "options": options}
    config = load_config(pack.PackConfig, [name], over, verb="pack")
    result = pack.run(config)
    layout = open_layout(recipe.layout, root, recipe.split or None, **options)
    shards = Shards(output)
    assert result.records == len(layout.items) and result.bad_items == 0
    assert [shards.id(i) for i in range(len(shards))] == [item.id for item in layout.items]
    for cube in sorted({c for group in shards.groups for c in group.cubes}):
        data = from_shards(PixelData(shards=(str(output),), cube=cube, window=8))
        contract = data.contract
        index = shards.select(cube=cube)
        frames = {shards.columns["shape_group"][i] for i in index}
        one = index[shards.columns["shape_group"][index] == min(frames)]
        feed = ShardFeed(shards, contract, 8, cube=cube, index=one, seed=3)
        batch = feed.take(0, 2)
        stored = shards.groups[min(frames)].cubes[cube].pixels.shape
        assert batch.pixels.shape == (2, *stored[:2], 8, 8) and batch.pixels.isfinite().all()
        assert tuple(b.name for b in batch.bands) == tuple(
            b.name for b in layout.read(int(one[0])).cubes[cube].bands
        )
        assert batch.valid.any() and set(batch.ids) <= {item.id for item in layout.items}
        assert (batch.target is None) == (layout.read(int(one[0])).target is None)
