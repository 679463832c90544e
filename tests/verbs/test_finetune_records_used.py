"""What weights that were fine-tuned on records are good for: maps, scores, and sets of labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import own_folder
import pytest
from planted_layout import TRAINING, UNET, VIT, tune

import swath
from swath.errors import ConfigError
from swath.verbs import calibrate
from swath.verbs.answerer import Answerer
from swath.verbs.config import load_config
from swath.verbs.finetune import FinetuneResult
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import open_part
from swath.verbs.options import LayoutOptions
from swath.verbs.score_units import Units
from swath.weights.file import load

pytestmark = pytest.mark.usefixtures("planted")


@pytest.mark.slow  # a run and a map
def test_its_weights_draw_maps(tmp_path: Path, raster: Callable[..., str]) -> None:
    import rasterio

    result = tune(tmp_path / "run", "segmentation", UNET)
    kinds = np.random.default_rng(0).integers(0, 3, (12, 12)).repeat(4, 0).repeat(4, 1)
    levels = np.array([[500, 500, 500], [3000, 3000, 3000], [500, 3000, 500]], np.uint16)
    scene = raster(
        tmp_path / "scene.tif", levels[kinds].transpose(2, 0, 1), names=("B03", "B04", "B08"), res=10.0
    )
    stated = {"sensor": "sentinel2", "unit": "reflectance", "scale": 1e-4, "offset": 0.0, "level": "L2A"}
    out = str(tmp_path / "map.tif")
    swath.predict(weights=result.weights, output=out, precision="fp32", input={"files": scene, **stated})
    with rasterio.open(out) as file:
        values = file.read(1)
    assert (values == np.array([3, 5, 9])[kinds]).mean() > 0.9


def test_windows_of_a_scene_are_records_that_parts_divide(tmp_path: Path) -> None:
    given = own_folder.scene(tmp_path)
    split = {"by": "blocks", "block": 400.0, "shares": {"train": 0.5, "validation": 0.25, "test": 0.25}}
    data = {**given, "parts": split}
    found = swath.finetune(run={"folder": str(tmp_path / "run")}, data=data, model=UNET, training=TRAINING)
    assert isinstance(found, FinetuneResult) and found.selected_on == "part"
    about = load(found.weights).meta.provenance
    assert about["data"] == "scene.tif" and about["parts"] == "blocks" and about["train_records"] > 3
    scored = swath.evaluate(weights=found.weights, data=data, threads=1)
    assert scored.scores["miou"] > 0.9 and scored.records > 3
    mapped = swath.predict(
        weights=found.weights, input=given["scene"], output=str(tmp_path / "map.tif"), precision="fp32"
    )
    assert Path(mapped.map).is_file()


def test_windows_are_enlarged_when_they_teach_and_when_they_are_asked_about(tmp_path: Path) -> None:
    result = tune(tmp_path / "run", "classification", VIT, training={"steps": 10, "augment": {"resize": 24}})
    meta = load(result.weights).meta
    assert meta.contract is not None and meta.contract.size == (16, 16) and meta.config["resize"] == 24
    assert meta.config["encoder"]["image_size"] == 24
    data = {"layout": {"name": "planted", "root": str(tmp_path)}, "window": 16}
    scored = swath.evaluate(weights=result.weights, data=data, part="validation", precision="fp32", threads=1)
    for name, value in scored.scores.items():
        assert value == pytest.approx(result.validation[name], abs=1e-6), name
    with pytest.raises(ConfigError, match=r"^training\.augment\.resize: enlarges windows while learning"):
        tune(tmp_path / "map", "segmentation", UNET, training={"augment": {"resize": 24}})


def test_several_labels_get_sets_that_are_checked_and_travel_in_the_weights(tmp_path: Path) -> None:
    result = tune(tmp_path / "run", "multilabel", VIT, training={"steps": 10})
    data = {
        "layout": {"name": "planted", "root": str(tmp_path), "options": {"target": "multilabel"}},
        "window": 16,
    }
    out, more = (
        str(tmp_path / "c.safetensors"),
        {"precision": "fp32", "threads": 1, "intervals": {"unit": "record"}},
    )
    words = {"weights": result.weights, "data": data, "output": out, "level": 0.6, **more}
    found = calibrate.run(load_config(calibrate.CalibrateConfig, [], words))
    assert set(found.thresholds) == set(found.coverage) == {"possible labels", "sure labels"}
    scored = swath.evaluate(weights=out, data=data, **more)
    said = scored.reliability["conformal"]
    assert "sets of possible labels promise 60% and hold" in scored.summary()
    # By hand: each record's probabilities, cut at the thresholds.
    kept = load(out)
    part = open_part(LabelledData(layout=LayoutOptions("planted", str(tmp_path), {"target": "multilabel"}),
                                  window=16), "test")  # fmt: skip
    answerer = Answerer(kept, precision="fp32")
    limits = {name: math.inf if v is None else v for name, v in found.thresholds.items()}
    held: dict[str, list[bool]] = {name: [] for name in limits}
    sizes: dict[str, list[int]] = {name: [] for name in limits}
    for answer in answerer.answers(
        part, LabelledData(layout=LayoutOptions("planted", "x"), window=16), Units("record", {})
    ):
        p, truth = answer.values.double().tolist(), answer.target.tolist()
        may = [v >= 1 - limits["possible labels"] - 1e-9 for v in p]
        must = [v > limits["sure labels"] + 1e-9 for v in p]
        held["possible labels"].append(all(m for m, t in zip(may, truth, strict=True) if t))
        held["sure labels"].append(not any(m for m, t in zip(must, truth, strict=True) if not t))
        sizes["possible labels"].append(sum(may))
        sizes["sure labels"].append(sum(must))
    assert len(held["sure labels"]) == 10
    for name in limits:
        assert said[name]["coverage"] == pytest.approx(np.mean(held[name])), name
        assert said[name]["mean_size"] == pytest.approx(np.mean(sizes[name])), name
