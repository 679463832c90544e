"""Fine-tuning on records, task by task: it learns, selects, saves what a map needs, resumes, and leaves test alone."""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import own_folder
import pytest
import torch

import swath
from swath.bands import sensor
from swath.cube import Cube, Encoding, Grid, Sample
from swath.data.layouts import registry
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import Listed
from swath.data.legend import LandClass
from swath.errors import ConfigError, SwathError
from swath.training import run as training_run
from swath.training.metrics_log import read_metrics
from swath.verbs import calibrate
from swath.verbs.answerer import Answerer
from swath.verbs.config import load_config
from swath.verbs.finetune import FinetuneResult
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import open_part
from swath.verbs.options import LayoutOptions
from swath.verbs.score_units import Units
from swath.weights.file import load, same_state

WRITE = runpy.run_path(str(Path(__file__).parents[1] / "data/layouts/conftest.py"))
BUILD: dict[str, Callable[[Path], dict[str, Any]]] = WRITE["BUILD"]
BANDS = sensor("sentinel2").select(("B03", "B04", "B08"))
VIT: dict[str, Any] = {"system": "mae", "options": {
    "embed_dim": 16, "depth": 1, "heads": 2, "decoder_embed_dim": 16, "decoder_depth": 1, "decoder_heads": 2,
    "patch_size": 4,
}}  # fmt: skip
UNET: dict[str, Any] = {"system": "unet", "preset": "unet_16", "options": {"levels": 2}}
TRAINING: dict[str, Any] = {
    "steps": 40, "batch_size": 8, "learning_rate": 5e-3, "warmup_steps": 2, "validate_every": 10,
    "checkpoint_every": 10, "log_every": 10, "precision": "fp32", "threads": 1, "monitor": "auto",
}  # fmt: skip


class Planted(Listed):
    """Chips whose brightness says what they are: a planted signal of every kind of target.

    Args:
        root: a folder; nothing is in it.
        split: train, val or test.
        target: the kind.
        dates: of each.
        size: pixels of a side; every fifth chip is two pixels larger.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        "planted", "Planted", ("classification",), {"sentinel2": ("B03", "B04", "B08")},
        (LandClass(3, "dark", (0, 0, 0)), LandClass(5, "bright", (255, 255, 0)), LandClass(9, "green", (0, 200, 0))),
        ("train", "val", "test"), "", "", "", "", "", "", (),
    )  # fmt: skip
    opened: ClassVar[list[str]] = []

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        target: str = "classification",
        dates: int = 1,
        size: int = 16,
    ) -> None:
        self.target, self.dates, self.size = target, dates, size
        items = [
            Item(f"chip-{i:02}", f"/there/{i}", f"tile{i // 4}", ("train", "train", "val", "test")[i % 4])
            for i in range(40)
        ]
        super().__init__(Path(root), items, split)

    @classmethod
    def describe(cls, *, target: str = "classification", **others: object) -> LayoutInfo:
        from dataclasses import replace

        task = {"density": "regression", "amount": "regression"}.get(target, target)
        real = task == "regression"
        quantities: Mapping[str, str] = {"depth": "m"} if real else {}
        return replace(
            cls.info, tasks=(task,), classes=() if real else cls.info.classes, quantities=quantities
        )

    def read(self, index: int) -> Sample:
        item = self.items[index]
        Planted.opened.append(item.id)
        number = int(item.id[-2:])
        draw = np.random.default_rng(number)
        size = self.size + 2 * (number % 5 == 0)
        kinds = draw.integers(0, 3, (size // 4 + 1, size // 4 + 1)).repeat(4, 0).repeat(4, 1)[:size, :size]
        if self.target in ("classification", "amount", "multilabel"):
            kinds[:] = number % 3
        levels = np.array([[500, 500, 500], [3000, 3000, 3000], [500, 3000, 500]])
        pixels = levels[kinds].transpose(2, 0, 1) + draw.normal(0, 100, (self.dates, 3, size, size))
        if self.target == "change":
            pixels[1:] += 2500 * (kinds == 1)
            pixels[0] = 1000
        target: Any = {
            "classification": lambda: np.asarray(number % 3),
            "multilabel": lambda: np.array([number % 3 == 0, number % 3 > 0, number % 3 == 2]).astype(
                np.int64
            ),
            "segmentation": lambda: np.where(draw.random(kinds.shape) < 0.1, -1, kinds),
            "change": lambda: (kinds == 1).astype(np.int64),
            "density": lambda: np.where(kinds == 0, np.nan, kinds * 0.5).astype(np.float32),
            "amount": lambda: np.asarray(0.25 * (number % 3), np.float32),
        }[self.target]()
        grid = Grid("EPSG:32633", (10.0, 0.0, 5e5 + 1000 * number, 0.0, -10.0, 5e6), size, size)
        cube = Cube(
            pixels.clip(1).astype(np.uint16), np.ones(pixels.shape, bool), BANDS, (None,) * self.dates,
            ((Encoding("reflectance", 1e-4, 0.0, "L2A"),) * 3,) * self.dates, gsd=10.0, grid=grid, source=item.where,
        )  # fmt: skip
        return Sample({"sentinel2": cube.with_statistics()}, item.id, target, item.group)


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.LAYOUTS, "planted", "planted:Planted")
    plain = registry.layout_class
    chosen = {"planted": Planted}
    for module in (registry, __import__("swath.verbs.labelled_sources", fromlist=["x"])):
        monkeypatch.setattr(module, "layout_class", lambda name: chosen.get(name) or plain(name))
    Planted.opened.clear()


def tune(folder: Path, target: str, model: dict[str, Any], **more: Any) -> FinetuneResult:
    data = {
        "layout": {"name": "planted", "root": str(folder.parent), "options": {"target": target}},
        "window": 16,
    }
    for name in ("dates", "size"):
        if name in more:
            data["layout"]["options"][name] = more.pop(name)  # type: ignore[index]
    return swath.finetune(
        run={"folder": str(folder)},
        model=model,
        data={**data, **more.pop("data", {})},
        training={**TRAINING, **more.pop("training", {})},
        **more,
    )


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


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        """As a kill would."""

    more = {
        "loss": {"mixup": 0.2},
        "training": {"steps": 12, "validate_every": 3, "checkpoint_every": 4, "patience": 9},
    }
    whole = tune(tmp_path / "whole", "classification", VIT, **more)
    save = training_run.Keeper._save

    def stop_after_eight(self: Any, trainer: Any, step: int) -> None:
        save(self, trainer, step)
        if step == 8:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(training_run.Keeper, "_save", stop_after_eight)
        with pytest.raises(Stopped):
            tune(tmp_path / "halves", "classification", VIT, **more)
    options = {"run": {"folder": str(tmp_path / "halves"), "resume": True}}
    resumed = swath.finetune(str(tmp_path / "halves" / "config.yaml"), **options)
    assert same_state(load(resumed.weights).state, load(whole.weights).state)
    assert resumed.validation == whole.validation


def test_it_stops_when_the_validation_no_longer_improves(tmp_path: Path) -> None:
    result = tune(
        tmp_path / "run", "segmentation", UNET,
        training={"steps": 60, "validate_every": 1, "patience": 2, "learning_rate": 0.0, "warmup_steps": 0},
    )  # fmt: skip
    # Nothing learns at a rate of 0: the first validation stays the best.
    assert (result.step, result.steps) == (1, 3)
    assert [r["step"] for r in read_metrics(tmp_path / "run/metrics.jsonl") if "validation" in r] == [1, 2, 3]


def test_fewer_labels_are_a_part_of_more(tmp_path: Path) -> None:
    short = {"steps": 2, "validate_every": 0}
    seen = []
    for share in (0.1, 0.5):
        Planted.opened.clear()
        tune(tmp_path / str(share), "segmentation", UNET, training=short, data={"label_fraction": share})
        seen.append({i for i in Planted.opened if int(i[-2:]) % 4 < 2})
    assert len(seen[0]) == 2 and len(seen[1]) == 10 and seen[0] < seen[1]


@pytest.mark.slow  # three runs
def test_pretrained_weights_go_on_with_other_bands(tmp_path: Path) -> None:
    first = tune(tmp_path / "a", "classification", VIT, training={"steps": 3})
    second = tune(
        tmp_path / "b", "classification", {"system": "auto"}, weights=first.weights,
        training={"steps": 2}, data={"bands": ["B08", "B04"]},
    )  # fmt: skip
    assert "kept" in second.transfer
    contract = load(second.weights).meta.contract
    assert contract is not None and [s.band.name for s in contract.bands] == ["B08", "B04"]
    third = tune(
        tmp_path / "c", "classification", {"system": "auto"}, weights=first.weights, training={"steps": 2}
    )
    assert load(third.weights).meta.contract == load(first.weights).meta.contract
    assert load(third.weights).meta.provenance["pretrained"]["sha256"] == load(first.weights).sha256


@pytest.mark.slow  # a few runs
def test_a_part_of_the_network_learns(tmp_path: Path) -> None:
    first = tune(tmp_path / "a", "classification", VIT, training={"steps": 3})
    given = {"model": {"system": "auto"}, "weights": first.weights}
    frozen = tune(tmp_path / "b", "classification", **given, training={"steps": 3, "freeze": "encoder"})
    adapted = tune(tmp_path / "c", "classification", **given, training={"steps": 3}, lora={"rank": 2})
    before, still, moved = (load(r.weights).state for r in (first, frozen, adapted))
    inner = [name for name in before if name.startswith("encoder.")]
    assert inner and all(before[name].equal(still[name]) for name in inner)
    assert not any("lora" in name for name in moved) and before.keys() == moved.keys()
    changed = {name for name in inner if not before[name].equal(moved[name])}
    assert changed and all("attn" in name or "mlp" in name for name in changed)


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


@pytest.mark.slow  # starts two processes
def test_two_processes_end_as_one(tmp_path: Path) -> None:
    root = tmp_path / "otbtf"
    root.mkdir()
    BUILD["otbtf"](root)

    def trained(devices: int) -> FinetuneResult:
        return swath.finetune(
            run={"folder": str(tmp_path / f"run{devices}")},
            model=VIT,
            data={
                "layout": {"name": "otbtf", "root": str(root)},
                "parts": {"train": ["A"], "validation": ["B"]},
                "window": 16,
                "normalise": {"kind": "standard", "scope": "fixed"},
            },
            training={
                **TRAINING,
                "steps": 4,
                "validate_every": 2,
                "batch_size": 4 // devices,
                "devices": devices,
                "device": "cpu",
            },
        )

    one, two = trained(1), trained(2)
    a, b = load(one.weights).state, load(two.weights).state
    assert a.keys() == b.keys() and all(torch.allclose(a[k], b[k], atol=1e-5) for k in a)
    # Of 8 records, 4 are scored by each process, and all of them once.
    assert one.validation == two.validation
    logs = [[r for r in read_metrics(Path(x.folder) / "metrics.jsonl") if "loss" in r] for x in (one, two)]
    assert [r["loss"] for r in logs[0]] == pytest.approx([r["loss"] for r in logs[1]], abs=1e-5)


@pytest.mark.shared_data
def test_real_chips_keep_their_elevation_bands_whole(shared_data: Path) -> None:
    from swath.data.part_spec import PartsSpec
    from swath.verbs.labelled_options import RecordData
    from swath.verbs.labelled_records import open_part
    from swath.verbs.options import LayoutOptions

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
