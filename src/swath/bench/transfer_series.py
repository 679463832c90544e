"""WorldCereal sites: land cover and crops from dense series, clouds as invalid pixels.

Two sites of 640 m lie there whole: one in Flanders with Sentinel-1 and Sentinel-2, one in Tanzania with Sentinel-1
alone. Sites are too few to be divided whole, so that squares of 80 m within each teach, select and score: fields are
larger than that, and the scores flatter. Pretraining sees all squares of a site, without their labels.
"""

from __future__ import annotations

import json
from pathlib import Path

from swath.bench.transfer_rows import WITHIN, Setting, experiment, forest, network, pretraining, steps, unet
from swath.bench.transfer_table import Experiment
from swath.bench.transfer_water import Words

FOLDER = "worldcereal-sites/tests/worldcerealtests/testresources/worldcerealtraining"
SITE = "00002806639B424A"
"""With all dates of Sentinel-2."""
DATES = 8
_SQUARES = {
    "by": "within", "block": 8, "shares": {"train": 0.5, "validation": 0.2, "test": 0.3},
}  # fmt: skip
_FORM = {
    "patch_size": [1, 2, 2],
    "window": [4, 2, 2],
    "depths": [2, 2],
    "heads": [2, 4],
    "decoder_depths": [2],
}
SWIN: Words = (
    "--model.system", "st_swin_unet", "--model.preset", "tiny", "--model.options", json.dumps(_FORM),
)  # fmt: skip
MAE: Words = (
    "--model.system", "st_swin_mae", "--model.preset", "tiny", "--model.options", json.dumps(_FORM),
    "--mask.ratio", "0.5", "--mask.window", "2",
)  # fmt: skip
TRAINING = (*steps(100, 8, "2.0e-3", every=50), "--training.ema_decay", "0.98", "--training.log_every", "10")


def _setting(name: str, root: Path, work: Path, seeds: int, options: dict[str, object], note: str) -> Setting:
    data = (
        "--data.layout.name", "worldcereal", "--data.layout.root", str(root),
        "--data.layout.options", json.dumps(options), "--data.parts", json.dumps(_SQUARES),
        "--data.window", "16", "--data.draw", "windows", "--data.dates", str(DATES),
    )  # fmt: skip
    said = f"{note}; networks learn from {DATES} dates at a time, 100 steps of 8 windows of 16 px; {WITHIN}"
    return Setting(name, data, TRAINING, work, seeds, said, evaluate=("--intervals.square", "8"))


def land_cover(data: Path, work: Path, seeds: int) -> Experiment:
    """Four classes from Sentinel-2: pretrained or not, clouds invalid or taken for what they cover, and a forest."""
    root = data / FOLDER / SITE
    clear: dict[str, object] = {"target": "land_cover"}
    at = _setting(
        "worldcereal.land_cover", root, work, seeds, clear, "one site, 118 dates of Sentinel-2, four classes"
    )
    first = pretraining(
        at, "pretrain", MAE,
        ("--data.layout.name", "worldcereal", "--data.layout.root", str(root), "--data.window", "16",
         "--data.dates", str(DATES), "--data.min_valid", "0.5", "--data.normalise.scope", "fixed"),
        steps(100, 8, "3.0e-3", every=0),
    )  # fmt: skip
    clouded = ("--data.layout.options", json.dumps({**clear, "mask_clouds": False}))
    rows = [
        forest(at),
        unet(at),
        network(at, "st_swin.scratch", SWIN, "ST-SwinUNet from scratch"),
        network(
            at, "st_swin.pretrained", SWIN, start=first,
            words="ST-SwinUNet after 100 steps of ST-SwinMAE on all of the site without labels, what is scored too",
        ),
        network(
            at, "st_swin.clouds_valid", SWIN, "ST-SwinUNet from scratch, clouds not marked as invalid", data=clouded
        ),
    ]  # fmt: skip
    return experiment(rows, first=(first,))


def crops(data: Path, work: Path, seeds: int) -> Experiment:
    """Groups of crops from Sentinel-1, at both sites."""
    options: dict[str, object] = {"target": "crops", "sensors": ["sentinel1"]}
    at = _setting(
        "worldcereal.crops", data / FOLDER, work, seeds, options,
        "two sites, 159 and 60 dates of Sentinel-1, nine groups of crops of which a few are there",
    )  # fmt: skip
    rows = [
        forest(at),
        unet(at),
        network(at, "st_swin.scratch", SWIN, "ST-SwinUNet from scratch"),
    ]
    return experiment(rows)
