"""Scores of weights on parts of real layouts, against plain loops over the network's own output."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import planted_sets as sets
import pytest
import torch
from sklearn import metrics

import swath
from swath.cli import main
from swath.cube import CubeBatch, Sample, date_features
from swath.data.layouts.eurosat import EuroSAT
from swath.data.layouts.hls_water import HLSWater
from swath.data.part_spec import PartsSpec
from swath.errors import ConfigError, SwathError
from swath.feed.normalise import normalise
from swath.verbs.evaluate import EvaluateConfig, run
from swath.verbs.evaluate_weights import WeightsScores
from swath.verbs.labelled_options import OptionalData
from swath.verbs.labelled_records import Part, open_part
from swath.verbs.options import LayoutOptions
from swath.verbs.score_units import IntervalOptions
from swath.weights.file import load
from swath.weights.meta import Calibration

WATER = ("B02", "B03", "B04", "B05", "B06", "B07")


def plain(
    network: Any, eats: Any, part: Part, flip: bool = False, quarter: int = 0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The network's output of whole records, one by one, flipped and turned, and their targets."""
    outputs, targets = [], []
    for record in part.records:
        cube = eats.convert(record.cube)
        gain, bias = (torch.as_tensor(np.asarray(x, np.float32))[None] for x in eats.affine(cube))
        batch = CubeBatch(
            torch.from_numpy(np.array(cube.pixels, np.float32))[None], torch.from_numpy(np.array(cube.valid))[None],
            cube.bands, torch.from_numpy(date_features(cube.dates))[None], gain, bias, (record.id,),
        )  # fmt: skip
        x, valid = (
            torch.rot90(t.flip(-1) if flip else t, quarter, (-2, -1)) for t in (normalise(batch), batch.valid)
        )
        with torch.no_grad():
            out = network(x, valid=valid, days=None, wavelengths=batch.wavelengths)
        outputs.append(out[0].numpy())
        assert record.target is not None
        targets.append(np.asarray(record.target))
    return outputs, targets


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Any, OptionalData]:
    root = tmp_path_factory.mktemp("eurosat")
    sets.eurosat(root, train=1, others=4)
    info = EuroSAT.info
    eats = sets.contract(sets.EUROSAT_BANDS, 64, gsd=None)
    weights, network = sets.task_weights(
        root / "w.safetensors", eats, "classification", tuple(c.name for c in info.classes)
    )
    return weights, network, eats, OptionalData(layout=LayoutOptions("eurosat", str(root)))


@pytest.fixture(scope="module")
def water(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Any, OptionalData]:
    root = tmp_path_factory.mktemp("water")
    sets.water(root, chips=6, size=128)
    data = OptionalData(
        layout=LayoutOptions("hls-water", str(root)),
        parts=PartsSpec(by="groups", train=("elevation-0",), test=("elevation-1", "elevation-2")),
        bands=WATER,
    )
    names = tuple(c.name for c in open_part(data, "train").classes)
    eats = sets.contract(WATER, 128, "hls_l30", gsd=None)
    weights, network = sets.task_weights(root / "w.safetensors", eats, "segmentation", names)
    return weights, network, eats, data


def test_classes_of_records_are_scored_as_by_a_loop(eurosat: Any, tmp_path: Path) -> None:
    weights, network, eats, data = eurosat
    out = tmp_path / "s.json"
    found = run(EvaluateConfig(weights, data, precision="fp32", output=str(out)))
    assert isinstance(found, WeightsScores)
    outputs, targets = plain(network, eats, open_part(data, "test"))
    truth, logits = np.array(targets), torch.from_numpy(np.stack(outputs))
    guess = logits.argmax(1).numpy()
    assert found.scores["overall_accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert found.table["confusion"] == metrics.confusion_matrix(truth, guess, labels=range(10)).tolist()
    probabilities = logits.softmax(1).numpy()
    loss = metrics.log_loss(truth, probabilities, labels=range(10))
    assert found.reliability["surprise"] == pytest.approx(loss, rel=1e-4)
    assert found.records == 12 and found.intervals["unit"] == "record" and found.intervals["units"] == 12
    low, high = found.intervals["intervals"]["overall_accuracy"]
    assert low <= found.scores["overall_accuracy"] <= high
    said = json.loads(out.read_text())
    assert said["weights"] == load(weights).sha256 and said["scores"] == found.scores
    text = found.summary()
    assert "reference down" in text and "95%" in text and "Forest" in text


@pytest.mark.parametrize("name", ["eurosat", "water"])
def test_answers_are_means_over_turned_and_flipped_views(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    weights, network, eats, data = request.getfixturevalue(name)
    out = tmp_path / "s.json"
    found = run(EvaluateConfig(weights, data, turns=True, precision="fp32", output=str(out)))
    assert isinstance(found, WeightsScores)
    part, total = open_part(data, "test"), 0.0
    for flip in (False, True):
        for quarter in range(4):
            logits = np.stack(plain(network, eats, part, flip, quarter)[0])
            views = torch.from_numpy(logits).softmax(1)
            if views.ndim == 4:
                views = torch.rot90(views, -quarter, (-2, -1))
                views = views.flip(-1) if flip else views
            total = total + views.numpy() / 8
    truth = np.stack(plain(network, eats, part)[1])
    rows = np.moveaxis(total, 1, -1).reshape(truth.size, -1)
    loss = metrics.log_loss(truth.ravel(), rows, labels=range(rows.shape[1]))
    assert found.reliability["surprise"] == pytest.approx(loss, rel=1e-4)
    once = run(EvaluateConfig(weights, data, precision="fp32"))
    assert isinstance(once, WeightsScores)
    assert abs(once.reliability["surprise"] - loss) > 1e-4 * loss, "the network must not be the same turned"
    assert "answers are means over turned and flipped views" in found.notes


def test_maps_of_records_are_scored_as_by_a_loop(water: Any) -> None:
    weights, network, eats, data = water
    found = run(
        EvaluateConfig(weights, data, precision="fp32", intervals=IntervalOptions(unit="square", square=32))
    )
    outputs, targets = plain(network, eats, open_part(data, "test"))
    guess, truth = np.stack(outputs).argmax(1).ravel(), np.stack(targets).ravel()
    assert isinstance(found, WeightsScores)
    assert found.table["confusion"] == metrics.confusion_matrix(truth, guess, labels=range(2)).tolist()
    assert found.scores["miou"] == pytest.approx(metrics.jaccard_score(truth, guess, average="macro"))
    assert found.intervals["units"] == 4 * 16 and "square of 32 pixels" in found.summary()
    groups = run(EvaluateConfig(weights, data, precision="fp32"))
    assert isinstance(groups, WeightsScores)
    assert groups.intervals["unit"] == "group" and groups.intervals["units"] == 2 and groups.notes
    assert groups.scores == found.scores


def test_what_was_never_seen_is_said(water: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, _, _, data = water
    plainly = run(EvaluateConfig(weights, data, precision="fp32"))
    assert not any("no valid input" in note for note in plainly.notes)
    read = HLSWater.read

    def blinded(self: HLSWater, index: int) -> Sample:
        sample = read(self, index)
        (name, cube) = next(iter(sample.cubes.items()))
        valid = cube.valid.copy()
        valid[..., :10] = False
        return replace(sample, cubes={name: replace(cube, valid=valid)})

    monkeypatch.setattr(HLSWater, "read", blinded)
    found = run(EvaluateConfig(weights, data, precision="fp32"))
    assert found.notes[-1].startswith(f"{4 * 128 * 10} labelled values have no valid input")


def test_what_calibration_promises_is_checked(water: Any, tmp_path: Path) -> None:
    weights, _, eats, data = water
    conformal = {"classes": {"level": 0.9, "threshold": 0.6, "blocks": 20}}
    names = tuple(c.name for c in load(weights).meta.classes)
    path, network = sets.task_weights(
        tmp_path / "c.safetensors", eats, "segmentation", names,
        calibration=Calibration(2.5, {"conformal": conformal}),
    )  # fmt: skip
    found = run(EvaluateConfig(path, data, precision="fp32", intervals=IntervalOptions(unit="record")))
    assert isinstance(found, WeightsScores)
    outputs, targets = plain(network, eats, open_part(data, "test"))
    probabilities = [torch.from_numpy(o / 2.5).softmax(0).numpy() for o in outputs]
    truth = np.stack(targets)
    held = [
        float((1 - np.take_along_axis(p, t[None], 0)[0] <= 0.6).mean())
        for p, t in zip(probabilities, targets, strict=True)
    ]
    sets_of = found.reliability["conformal"]["classes"]
    assert sets_of["coverage"] == pytest.approx(np.mean(held), abs=1e-4) and sets_of["level"] == 0.9
    assert sets_of["mean_size"] == pytest.approx(
        float((1 - np.stack(probabilities) <= 0.6).sum(1).mean()), abs=1e-3
    )
    right = np.take_along_axis(np.stack(probabilities), truth[:, None], 1)
    assert found.reliability["surprise"] == pytest.approx(-np.log(right).mean(), rel=1e-3)
    assert found.reliability["temperature"] == 2.5 and "promise 90%" in found.summary()


def test_quantities_come_in_their_unit(tmp_path: Path) -> None:
    import runpy

    build = runpy.run_path(str(Path(__file__).parents[1] / "data/layouts/conftest.py"))["BUILD"]
    options = {**build["phileo"](tmp_path), "task": "building"}
    data = OptionalData(layout=LayoutOptions("phileo", str(tmp_path), options))
    part = open_part(data, "test")
    cube = part.records[0].cube
    bands = tuple(b.name for b in cube.bands)
    eats = sets.contract(bands, cube.shape[2], gsd=None)
    weights, network = sets.task_weights(
        tmp_path / "w.safetensors", eats, "regression", ("building density",)
    )
    found = run(EvaluateConfig(weights, data, precision="fp32"))
    assert isinstance(found, WeightsScores)
    outputs, targets = plain(network, eats, part)
    said, truth = 2 * np.stack(outputs).ravel() + 0.5, np.stack(targets).ravel()
    known = np.isfinite(truth)
    assert found.scores["mae"] == pytest.approx(np.abs(said - truth)[known].mean(), rel=1e-4)
    assert "building density" in found.summary() and found.reliability == {}


def test_a_scene_scores_as_its_map_does(chain: Any) -> None:
    land = chain.land.finetuning("unused")["data"]
    data = {k: land[k] for k in ("scene", "labels", "classes", "window", "east_start") if k in land}
    found = swath.evaluate(weights=chain.finetuned.weights, data=data, precision="fp32")
    mapped = swath.evaluate(map=chain.map, **chain.scoring, min_coverage=1)
    assert isinstance(found, WeightsScores)
    assert found.table["confusion"] == mapped.scores["confusion"] and found.notes
    assert found.scores["miou"] == pytest.approx(mapped.miou)
    nearer = swath.evaluate(
        weights=chain.finetuned.weights, data={**data, "east_start": 64, "window": 8}, precision="fp32"
    )
    assert any("never saw columns from 80 on" in note for note in nearer.notes)


def test_words_of_the_command_line(eurosat: Any, tmp_path: Path, capsys: Any) -> None:
    weights, _, _, data = eurosat
    recipe = tmp_path / "data.yaml"
    recipe.write_text(f"data: {{layout: {{name: eurosat, root: '{data.layout.root}'}}}}\n")
    assert main(["evaluate", weights, str(recipe), "--part", "validation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["part"] == "validation"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": OptionalData()}, "are to be scored on nothing"),
        ({"map": "map.tif"}, "both weights and a map"),
        ({"weights": "", "data": OptionalData()}, "nothing to score"),
        ({"columns": (0, 5)}, "columns: is for maps"),
        ({"threads": -1}, "threads: is -1; give 0 or more"),
        ({"batch_size": 0}, "batch_size: is 0; give 1 or more"),
        ({"intervals": IntervalOptions(unit="square")}, "has no squares"),
        ({"intervals": IntervalOptions(unit="group")}, "not all records say their group"),
    ],
)
def test_what_cannot_be_scored_is_said(eurosat: Any, change: dict[str, Any], words: str) -> None:
    weights, _, _, data = eurosat
    with pytest.raises(SwathError, match=words):
        run(EvaluateConfig(**{"weights": weights, "data": data, **change}))


def test_weights_of_another_kind_are_refused(eurosat: Any, water: Any, tmp_path: Path) -> None:
    weights, _, eats, data = eurosat
    with pytest.raises(ConfigError, match="the data are for segmentation, the weights for classification"):
        run(EvaluateConfig(weights, water[3]))
    other, _ = sets.task_weights(tmp_path / "o.safetensors", eats, "classification", ("a", "b"))
    with pytest.raises(ConfigError, match=r"data.classes: the data name AnnualCrop.*; the weights a, b"):
        run(EvaluateConfig(other, data))
    encoder = sets.encoder_weights(tmp_path / "e.safetensors", eats)
    with pytest.raises(SwathError, match="answers nothing yet; fine-tune them first"):
        run(EvaluateConfig(encoder, data))


@pytest.mark.parametrize("wrong", [{"square": 0}, {"resamples": 5}, {"level": 1.0}])
def test_options_of_intervals_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="intervals"):
        IntervalOptions(**wrong)


def written(name: str, root: Path, **options: Any) -> LayoutOptions:
    import runpy

    build = runpy.run_path(str(Path(__file__).parents[1] / "data/layouts/conftest.py"))["BUILD"]
    return LayoutOptions(name, str(root), {**build[name](root), **options})


def test_several_labels_of_records_are_scored_as_by_a_loop(tmp_path: Path) -> None:
    data = OptionalData(layout=written("bigearthnet", tmp_path), cube="sentinel2")
    part = open_part(data, "test")
    cube = part.records[0].cube
    eats = sets.contract(tuple(b.name for b in cube.bands), cube.shape[2], gsd=None)
    names = tuple(c.name for c in part.classes)
    weights, network = sets.task_weights(tmp_path / "w.safetensors", eats, "multilabel", names)
    found = run(EvaluateConfig(weights, data, precision="fp32"))
    outputs, targets = plain(network, eats, part)
    assert isinstance(found, WeightsScores)
    probabilities, truth = 1 / (1 + np.exp(-np.stack(outputs))), np.stack(targets)
    micro = metrics.average_precision_score(truth, probabilities, average="micro")
    assert found.scores["map_micro"] == pytest.approx(micro, rel=1e-5) and found.reliability == {}


def test_change_is_scored_as_by_a_loop(tmp_path: Path) -> None:
    data = OptionalData(layout=written("oscd", tmp_path), parts=PartsSpec(validation_share=0.5))
    part = open_part(data, "test")
    cube = part.records[0].cube
    eats = sets.contract(
        tuple(b.name for b in cube.bands), min(cube.shape[2:]), gsd=None, min_dates=2, max_dates=2
    )
    names = tuple(c.name for c in part.classes)
    weights, network = sets.task_weights(tmp_path / "w.safetensors", eats, "change", names)
    found = run(EvaluateConfig(weights, data, precision="fp32"))
    assert isinstance(found, WeightsScores) and found.task == "change"
    if cube.shape[2] == cube.shape[3]:  # one window is the whole record
        outputs, targets = plain(network, eats, part)
        truth, guess = np.stack(targets).ravel(), np.stack(outputs).argmax(1).ravel()
        expected = metrics.confusion_matrix(truth[truth >= 0], guess[truth >= 0], labels=range(2))
        assert found.table["confusion"] == expected.tolist()
    known = sum(int((np.asarray(r.target) >= 0).sum()) for r in part.records)
    assert found.table["count"] == known
