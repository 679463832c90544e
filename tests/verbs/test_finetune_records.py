"""Fine-tuning on records, task by task: it learns, selects, says what its weights are, and leaves test alone."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_layout import TRAINING, UNET, VIT, Planted, tune

import swath
from swath.data.part_spec import PartsSpec
from swath.errors import ConfigError, SwathError
from swath.verbs.labelled_options import RecordData
from swath.verbs.labelled_records import open_part
from swath.verbs.options import LayoutOptions
from swath.weights.file import load

pytestmark = pytest.mark.usefixtures("planted")
WRITE = runpy.run_path(str(Path(__file__).parents[1] / "data/layouts/conftest.py"))
RESNET: dict[str, Any] = {"system": "resnet", "options": {"width": 8}}
BUILD: dict[str, Callable[[Path], dict[str, Any]]] = WRITE["BUILD"]


@pytest.mark.slow  # two seconds for each of the tasks
@pytest.mark.parametrize(
    ("target", "model", "more", "score", "least"),
    [
        ("classification", VIT, {}, "overall_accuracy", 0.9),
        ("classification", VIT, {"loss": {"label_smoothing": 0.1, "mixup": 0.2, "cutmix": 1}}, "overall_accuracy", 0.8),
        ("multilabel", VIT, {}, "map_macro", 0.95),
        ("segmentation", UNET, {"loss": {"dice": 0.5, "class_weight_power": 0.5}}, "miou", 0.8),
        ("segmentation", UNET, {"loss": {"focal": 2.0, "class_weights": [1.0, 2.0, 1.0]}}, "miou", 0.8),
        ("change", UNET, {"dates": 2}, "miou", 0.8),
        ("density", UNET, {}, "r2", 0.8),
        ("amount", VIT, {"loss": {"error": "huber", "delta": 0.5}}, "r2", 0.8),
        ("classification", RESNET, {}, "overall_accuracy", 0.9),
        ("multilabel", RESNET, {}, "map_macro", 0.95),
        ("amount", RESNET, {}, "r2", 0.8),
    ],
)  # fmt: skip
def test_each_task_learns_a_planted_signal(
    tmp_path: Path, target: str, model: dict[str, Any], more: dict[str, Any], score: str, least: float
) -> None:
    result = tune(tmp_path / "run", target, model, **more)
    assert result.validation[score] > least
    meta = load(result.weights).meta
    real = target in ("density", "amount")
    assert meta.task == result.task == {"density": "regression", "amount": "regression"}.get(target, target)
    assert [(c.value, c.name) for c in meta.classes] == (
        [] if real else [(3, "dark"), (5, "bright"), (9, "green")]
    )
    assert [(q.name, q.unit) for q in meta.quantities] == ([("depth", "m")] if real else [])
    assert meta.provenance["train_records"] == 20 and meta.provenance["validation_records"] == 10
    tests = {f"chip-{i:02}" for i in range(40) if i % 4 == 3}
    assert Planted.opened and not tests & set(Planted.opened)
    page = Path(result.report).read_text("utf-8")
    assert "the test part was not opened" in page and page.count("data:image/png") >= 4
    assert ("confusion" in page) or real or target == "multilabel" or page.count("data:image/png") >= 5


def test_statistics_are_those_of_the_train_part(tmp_path: Path) -> None:
    result = tune(tmp_path / "run", "classification", VIT, training={"steps": 2, "validate_every": 1})
    contract = load(result.weights).meta.contract
    assert (
        contract is not None
        and contract.size == (16, 16)
        and (contract.min_dates, contract.max_dates) == (1, 1)
    )
    whole = Planted(tmp_path, "train")
    x = np.concatenate([whole.read(i).cube.pixels[:, 0].ravel() for i in range(20)]).astype(float)
    assert contract.normalisation.scope == "fixed"
    assert contract.normalisation.centre[0] == pytest.approx(x.mean(), rel=1e-6)
    assert contract.normalisation.spread[0] == pytest.approx(x.std(), rel=1e-6)


def test_fewer_labels_are_a_part_of_more(tmp_path: Path) -> None:
    short = {"steps": 2, "validate_every": 0}
    seen = []
    for share in (0.1, 0.5):
        Planted.opened.clear()
        tune(tmp_path / str(share), "segmentation", UNET, training=short, data={"label_fraction": share})
        seen.append({i for i in Planted.opened if int(i[-2:]) % 4 < 2})
    assert len(seen[0]) == 2 and len(seen[1]) == 10 and seen[0] < seen[1]


@pytest.mark.slow  # a Swin
def test_several_dates(tmp_path: Path) -> None:
    swin = {
        "system": "st_swin_unet",
        "preset": "tiny",
        "options": {"patch_size": [1, 2, 2], "window": [1, 4, 4], "embed_dim": 8, "depths": [1, 1], "heads": [1, 2],
                    "decoder_depths": [1]},
    }  # fmt: skip
    result = tune(tmp_path / "run", "segmentation", swin, dates=3, training={"steps": 2, "validate_every": 0})
    contract = load(result.weights).meta.contract
    assert contract is not None and (contract.min_dates, contract.max_dates) == (1, None)
    data = {"dates": 2, "draw": "windows"}
    tune(
        tmp_path / "drawn",
        "segmentation",
        swin,
        dates=3,
        training={"steps": 2, "validate_every": 0},
        data=data,
    )


@pytest.mark.parametrize(
    ("target", "more", "words"),
    [
        ("segmentation", {"loss": {"mixup": 0.5}}, "loss.mixup: is for classification, not for segmentation"),
        ("classification", {"loss": {"error": "mae"}}, "loss.error: is for regression"),
        ("segmentation", {"loss": {"class_weights": [1.0]}}, "loss.class_weights: 1 weights for 3 classes"),
        ("segmentation", {"training": {"monitor": "r2"}}, "training.monitor: the validation gives no 'r2'; use"),
        ("density", {"training": {"monitor": "mae"}}, "training.monitor_mode: less mae is better; set it to min"),
        ("segmentation", {"training": {"monitor": "f1"}}, "training.monitor: the validation gives no 'f1'"),
        ("segmentation", {"data": {"parts": {"train": ["tarin"]}}}, "data.parts.train: there is no part 'tarin'"),
        ("segmentation", {"data": {"bands": ["B99"]}}, "data.bands: there is no band B99"),
        ("classification", {"model": UNET}, "model.system: a unet draws maps"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_before_a_folder_is_made(
    tmp_path: Path, target: str, more: dict[str, Any], words: str
) -> None:
    model = more.pop("model", UNET if target != "classification" else VIT)
    with pytest.raises(SwathError) as caught:
        tune(tmp_path / "new" / "run", target, model, **more)
    assert str(caught.value).startswith(words)
    assert not (tmp_path / "new").exists()


def test_published_files_from_a_yaml(tmp_path: Path) -> None:
    root = tmp_path / "oscd"
    root.mkdir()
    options = BUILD["oscd"](root)
    (tmp_path / "oscd.yaml").write_text(
        json.dumps(
            {
                "verb": "finetune",
                "run": {"folder": str(tmp_path / "run")},
                "model": UNET,
                "data": {
                    "layout": {
                        "name": "oscd",
                        "root": str(root),
                        "options": {"cities": list(options["cities"])},
                    },
                    "parts": {"validation_share": 0.5},
                    "window": 16,
                    "draw": "windows",
                },
                "training": {**TRAINING, "steps": 2, "validate_every": 0},
            }
        )
    )
    result = swath.finetune(str(tmp_path / "oscd.yaml"))
    assert result.task == "change" and "miou" in result.validation
    assert "on the validation part: " in result.summary()
    with pytest.raises(ConfigError, match=r"a scene and records"):
        swath.finetune(str(tmp_path / "oscd.yaml"), **{"data.scene.files": "a.tif", "data.labels": "b.tif"})


@pytest.mark.shared_data
def test_real_chips_keep_their_elevation_bands_whole(shared_data: Path) -> None:
    parts = PartsSpec(
        by="groups", train=("elevation-0",), validation=("elevation-*[13579]",), test=("elevation-*[02468]",)
    )
    layout = LayoutOptions("hls-water", str(shared_data / "hls-water-306"))
    data = RecordData(layout=layout, parts=parts, label_fraction=0.1)
    train, validation = open_part(data, "train"), open_part(data, "validation")
    assert len(train) == 15 and set(train.groups) == {"elevation-0"}
    assert len(validation) > 20 and all(str(g)[-1] in "13579" for g in validation.groups)
    assert [b.name for b in train.cubes[0].bands] == ["B02", "B03", "B04", "B05", "B06", "B07"]


@pytest.mark.slow  # real change pairs
@pytest.mark.shared_data
def test_a_real_change_pair_end_to_end(tmp_path: Path, shared_data: Path) -> None:
    result = swath.finetune(
        run={"folder": str(tmp_path / "run")},
        model=UNET,
        data={
            "layout": {"name": "landsat-change", "root": str(shared_data / "cd-landsat")},
            "parts": {
                "by": "within",
                "block": 64,
                "buffer": 16,
                "shares": {"train": 0.6, "validation": 0.2, "test": 0.2},
            },
            "window": 32,
            "draw": "windows",
            "min_valid": 0.5,
        },
        training={**TRAINING, "steps": 30, "validate_every": 0},
    )
    assert result.task == "change" and result.validation["overall_accuracy"] > 0.6  # type: ignore[operator]  # it has one
