"""Single scenes with labels, run end to end: a change pair, a tile of clouds, and five tiles of land cover.

There are too few to be divided whole: squares within each teach, select and score, and the scores flatter. Where a
network is pretrained first, that sees all squares, without their labels.
"""

from __future__ import annotations

import json
from pathlib import Path

from swath.bench.transfer_rows import (
    WITHIN,
    Setting,
    experiment,
    forest,
    mapped,
    network,
    pretraining,
    steps,
    swin_rows,
    unet,
)
from swath.bench.transfer_table import Experiment
from swath.bench.transfer_water import Words

SEEN = "all pixels without labels, those that are scored too"
TAIZHOU = "cd-landsat"
CLOUDS = "ukis-csmask"
TERRAMIND = "terramind-examples/examples"
TILE = "433D_629L_3_1"
"""With the most classes."""
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
LAND_COVER = (
    (1, "water", "#419bdf"), (2, "trees", "#397d49"), (3, "flooded vegetation", "#7a87c6"), (4, "crops", "#e49635"),
    (5, "built-up", "#c4281b"), (6, "bare", "#a59b8f"), (7, "snow and ice", "#a8ebff"), (8, "clouds", "#616161"),
    (9, "rangeland", "#e3e2c3"),
)  # fmt: skip
"""Esri's land cover, whose numbers the tiles' maps have; the colours are its own."""
_TOKENS = {"embed_dim": 96, "depth": 3, "heads": 4}
_DECODER = {"decoder_embed_dim": 64, "decoder_depth": 1, "decoder_heads": 4}


def _squares(side: int) -> Words:
    shares = {"train": 0.5, "validation": 0.2, "test": 0.3}
    return ("--data.parts", json.dumps({"by": "within", "block": side, "shares": shares}))


def taizhou(data: Path, work: Path, seeds: int) -> Experiment:
    """Change between two Landsat images of a city; 4,227 changed and 17,163 unchanged pixels are known."""
    root = data / TAIZHOU
    layout = ("--data.layout.name", "landsat-change", "--data.layout.root", str(root))
    at = Setting(
        "taizhou", (*layout, *_squares(40), "--data.window", "32", "--data.draw", "windows"),
        steps(100, 16, "2.0e-3", every=50), work, seeds,
        f"Landsat 7, 2000 and 2003, 100 steps of 16 windows of 32 px; squares of 40 px, {WITHIN}", "macro_f1",
        "macro F1", ("--intervals.square", "40"),
    )  # fmt: skip
    first, rows = swin_rows(at, (*layout, "--data.window", "32"), 16, SEEN, patch=2, dates=2)
    folder = root / "Dataset" / "Landsat" / "Taizhou"
    scene = (
        "--input.files", json.dumps([str(folder / "2000TM"), str(folder / "2003TM")]), "--input.files_are", "dates",
        "--input.sensor", "landsat7", "--input.bands", "[B1,B2,B3,B4,B5,B7]", "--input.unit", "dn",
        "--input.scale", "1", "--input.offset", "0",
    )  # fmt: skip
    return experiment(rows, first=(first,), then=(mapped(at, "unet.scratch", scene, "pair"),))


def clouds(data: Path, work: Path, seeds: int) -> Experiment:
    """Cloud, shadow, water and land on a tile of Landsat 5."""
    layout = ("--data.layout.name", "ukis-csmask", "--data.layout.root", str(data / CLOUDS))
    at = Setting(
        "landsat_clouds", (*layout, *_squares(64), "--data.window", "64", "--data.draw", "windows"),
        steps(100, 8, "2.0e-3", every=50), work, seeds,
        f"one tile of 512 px, 100 steps of 8 windows of 64 px; squares of 64 px, {WITHIN}",
        evaluate=("--intervals.square", "64"),
    )  # fmt: skip
    first, rows = swin_rows(at, (*layout, "--data.window", "64"), 16, SEEN, patch=4)
    return experiment(rows, first=(first,))


def terramind(data: Path, work: Path, seeds: int) -> Experiment:
    """Land cover of five places from twelve bands of Sentinel-2, as a folder of one's own.

    What the products added to their numbers the files do not say: they are taken as they are.
    """
    root = data / TERRAMIND
    classes = [{"value": v, "name": name, "color": color} for v, name, color in LAND_COVER]
    spec = {
        "sensor": "sentinel2", "images": "S2L2A/{place}.tif", "bands": list(S2_BANDS), "unit": "reflectance",
        "scale": 1e-4, "offset": 0.0, "level": "L2A",
        "labels": {"kind": "raster", "file": "LULC/{place}.tif", "classes": classes},
    }  # fmt: skip
    layout = (
        "--data.layout.name", "folder", "--data.layout.root", str(root),
        "--data.layout.options", json.dumps({"spec": spec}),
    )  # fmt: skip
    at = Setting(
        "terramind", (*layout, *_squares(32), "--data.window", "32", "--data.draw", "windows"),
        steps(200, 16, "2.0e-3", every=50), work, seeds,
        f"five tiles of 224 px, 200 steps of 16 windows of 32 px; squares of 32 px, {WITHIN}",
        evaluate=("--intervals.unit", "square", "--intervals.square", "32"),
    )  # fmt: skip
    gpt = ("--model.system", "spectralgpt", "--model.options")
    masked = ("--mask.ratio", "0.9", "--mask.loss", "three_target")
    first = pretraining(
        at, "pretrain", (*gpt, json.dumps({**_TOKENS, **_DECODER}), *masked),
        (*layout, "--data.window", "32", "--data.normalise.scope", "fixed"), steps(200, 16, "2.0e-3", every=0),
    )  # fmt: skip
    tuned = (*gpt, json.dumps(_TOKENS), "--head.kind", "conv")
    rows = [
        forest(at),
        unet(at),
        network(at, "spectralgpt.scratch", tuned, "small SpectralGPT from scratch, convolutional head"),
        network(
            at,
            "spectralgpt.pretrained",
            tuned,
            f"the same after 200 steps of pretraining on {SEEN}",
            start=first,
        ),
    ]
    scene = (
        "--input.files", str(root / "S2L2A" / f"{TILE}.tif"), "--input.sensor", "sentinel2",
        "--input.bands", f"[{','.join(S2_BANDS)}]", "--input.unit", "reflectance", "--input.scale", "1e-4",
        "--input.offset", "0", "--input.level", "L2A",
    )  # fmt: skip
    return experiment(rows, first=(first,), then=(mapped(at, "unet.scratch", scene, "tile"),))
