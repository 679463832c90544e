"""Weights that are too sure by a planted factor, through the verb and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import planted_sets as sets
import pytest
import torch

from swath.cli import main
from swath.data.part_spec import PartsSpec
from swath.errors import ConfigError, InputError, OutputError
from swath.verbs.answerer import Answerer
from swath.verbs.calibrate import CalibrateConfig, run
from swath.verbs.calibration_fit import Remembering, cropped, halves
from swath.verbs.evaluate import EvaluateConfig
from swath.verbs.evaluate import run as evaluate
from swath.verbs.evaluate_weights import WeightsScores
from swath.verbs.labelled_options import OptionalData
from swath.verbs.labelled_records import Part, open_part
from swath.verbs.options import LayoutOptions
from swath.verbs.score_units import IntervalOptions, Units
from swath.weights.file import load

WATER = ("B02", "B03", "B04", "B05", "B06", "B07")
PLANTED = 2.5
SQUARES = IntervalOptions(unit="square", square=32)


@pytest.fixture(scope="module")
def overconfident(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, OptionalData]:
    """Labels drawn from what the network says, blended, at a temperature of 2.5: it is that much too sure."""
    root = tmp_path_factory.mktemp("water")
    sets.water(root, chips=6)
    data = OptionalData(
        layout=LayoutOptions("hls-water", str(root)),
        parts=PartsSpec(
            by="groups", train=("elevation-0",), validation=("elevation-1",), test=("elevation-2",)
        ),
        bands=WATER,
    )
    names = tuple(c.name for c in open_part(data, "train").classes)
    weights, _ = sets.task_weights(
        root / "w.safetensors", sets.contract(WATER, 32, "hls_l30", gsd=None), "segmentation", names
    )
    answerer = Answerer(load(weights), precision="fp32")
    draw = torch.Generator().manual_seed(0)
    for name in ("validation", "test"):
        for record in open_part(data, name).records:  # type: ignore[arg-type]
            probabilities = torch.from_numpy(answerer.map(record.cube, PLANTED))
            label = torch.rand(probabilities.shape[1:], generator=draw) < probabilities[1]
            chip = record.id.rpartition("/")[2].removesuffix(".tif")
            sets.tif(
                root / f"data/labels/{chip}.png",
                label[None].numpy().astype(np.uint8),
                placed=False,
                driver="PNG",
            )
    return weights, data


def test_the_planted_temperature_is_found_and_travels_in_the_weights(
    overconfident: Any, tmp_path: Path
) -> None:
    weights, data = overconfident
    out = tmp_path / "c.safetensors"
    found = run(CalibrateConfig(weights, data, str(out), intervals=SQUARES, precision="fp32"))
    assert found.temperature == pytest.approx(PLANTED, rel=0.12)
    assert found.after["calibration_error"] < 0.03 < found.before["calibration_error"]
    assert found.after["surprise"] < found.before["surprise"]
    assert (found.fit_blocks, found.check_blocks) == (16, 16) and "square of 32" in found.unit
    # Two classes whose probabilities cluster: sets may hold more than they promise, and not less.
    assert found.coverage["classes"]["coverage"] > 0.87
    assert f"temperature {found.temperature:.3f}" in found.summary()
    kept = load(out)
    assert kept.meta.calibration is not None and kept.meta.calibration.temperature == found.temperature
    about = kept.meta.calibration.about
    assert (
        about["data"] == "the validation part of hls-water" and about["conformal"]["classes"]["level"] == 0.9
    )
    before = load(weights)
    assert all(torch.equal(before.state[k], kept.state[k]) for k in before.state)
    scored = evaluate(EvaluateConfig(str(out), data, intervals=SQUARES, precision="fp32"))
    assert isinstance(scored, WeightsScores)
    # Places that neither training nor calibration saw.
    assert scored.reliability["conformal"]["classes"]["coverage"] > 0.87
    assert scored.reliability["calibration_error"] < 0.04
    with pytest.raises(OutputError, match="exists"):
        run(CalibrateConfig(weights, data, str(out), intervals=SQUARES))
    with pytest.raises(OutputError, match="is one of the inputs"):
        run(CalibrateConfig(weights, data, weights, intervals=SQUARES, overwrite=True))


def test_the_test_part_is_not_opened(overconfident: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from swath.data.layouts.hls_water import HLSWater

    weights, data = overconfident
    seen: list[str] = []
    plain = HLSWater.read

    def spy(self: HLSWater, index: int) -> Any:
        seen.append(str(self.items[index].group))
        return plain(self, index)

    monkeypatch.setattr(HLSWater, "read", spy)
    run(CalibrateConfig(weights, data, str(tmp_path / "c.safetensors"), intervals=SQUARES, precision="fp32"))
    assert set(seen) == {"elevation-1"}


def test_what_is_far_from_labels_changes_no_answer(overconfident: Any) -> None:
    weights, data = overconfident
    part = open_part(data, "validation")
    answerer = Answerer(load(weights), precision="fp32")
    answerer.size = (16, 16)
    record = part.records[0]
    target = np.full_like(np.asarray(record.target), -1)
    target[20:29, 40:44] = 1
    one = Part("validation", part.meaning, [replace(record, target=target)], (record.id,), (None,), (None,))
    less = cropped(one, (16, 16))
    assert less.records[0].cube.shape[2:] < record.cube.shape[2:]
    known = [
        a.values[:, a.target != -1]
        for p in (one, less)
        for a in answerer.answers(p, data, Units("record", {}), 1.0)
    ]
    assert known[0].shape == (2, 36)
    torch.testing.assert_close(known[0], known[1], atol=1e-6, rtol=0)


def test_quantities_get_intervals(tmp_path: Path) -> None:
    import runpy

    build = runpy.run_path(str(Path(__file__).parents[1] / "data/layouts/conftest.py"))["BUILD"]
    options = {**build["phileo"](tmp_path), "task": "building"}
    data = OptionalData(layout=LayoutOptions("phileo", str(tmp_path), options))
    cube = open_part(data, "validation").records[0].cube
    eats = sets.contract(tuple(b.name for b in cube.bands), cube.shape[2], gsd=None)
    weights, _ = sets.task_weights(tmp_path / "w.safetensors", eats, "regression", ("building density",))
    out = str(tmp_path / "c.safetensors")
    found = run(
        CalibrateConfig(
            weights, data, out, level=0.7, intervals=IntervalOptions(unit="record"), precision="fp32"
        )
    )
    assert found.temperature is None and found.thresholds["building density"] is not None
    assert 0.3 < found.coverage["building density"]["coverage"] <= 1
    scored = evaluate(EvaluateConfig(out, data, intervals=IntervalOptions(unit="record"), precision="fp32"))
    assert isinstance(scored, WeightsScores) and "promise 70%" in scored.summary()


def test_a_scene_by_the_command_line(chain: Any, tmp_path: Path, capsys: Any) -> None:
    land = chain.land.finetuning("unused")["data"]
    recipe = tmp_path / "data.yaml"
    kept = {k: land[k] for k in ("scene", "labels", "classes", "window", "east_start") if k in land}
    recipe.write_text(json.dumps({"data": kept}))
    out = tmp_path / "c.safetensors"
    words = [
        "calibrate",
        chain.finetuned.weights,
        str(recipe),
        "--output",
        str(out),
        "--intervals.unit",
        "square",
    ]
    assert main([*words, "--intervals.square", "8", "--level", "0.6"]) == 0
    assert "checked on" in capsys.readouterr().out
    calibration = load(out).meta.calibration
    assert (
        calibration is not None
        and calibration.temperature
        and "validation block" in calibration.about["data"]
    )
    assert (
        main(["evaluate", str(out), str(recipe), "--intervals.unit", "square", "--intervals.square", "8"])
        == 0
    )
    assert "promise 60%" in capsys.readouterr().out
    assert main([*words, "--intervals.square", "500", "--overwrite", "true"]) == 2
    assert "all labels lie in 1 block" in capsys.readouterr().err


def test_halves_are_whole_blocks_and_squares_lie_together() -> None:
    names = [f"a@{r},{c}" for r in (0, 16) for c in (0, 16, 128, 144)]
    fits, checks = halves(names, Units("square", {}, 16), 0)
    assert fits == {f"a@{r},{c}" for r in (0, 16) for c in (0, 16)} and fits | checks == set(names)
    groups = [f"g{i}" for i in range(9)]
    first, second = halves(groups * 2, Units("group", {}), 1)
    assert (len(first), len(second)) == (5, 4) and not first & second
    assert halves(groups, Units("group", {}), 1)[0] == first != halves(groups, Units("group", {}), 2)[0]
    with pytest.raises(InputError, match="1 block"):
        halves(["x", "x"], Units("record", {}), 0)


def test_a_network_is_asked_once_for_the_same_windows() -> None:
    class Counting(torch.nn.Module):
        calls = 0

        def forward(self, pixels: Any, valid: Any, days: Any, wavelengths: Any) -> Any:
            self.calls += 1
            return pixels.sum(1)

    plain = Counting()
    kept = Remembering(plain)
    x, v = torch.rand(1, 1, 2, 3, 3), torch.ones(1, 1, 2, 3, 3, dtype=torch.bool)
    first = kept(x, v, None, ())
    assert torch.equal(kept(x, v, None, ()), first) and plain.calls == 1
    kept(x, ~v, None, ())
    kept(x + 1, v, torch.zeros(1, 1, 2), ())
    assert plain.calls == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [({"level": 1.0}, "level"), ({"output": "x.pt"}, "output"), ({"threads": -1}, "threads")],
)
def test_options_are_checked(change: dict[str, Any], words: str) -> None:
    data = OptionalData(layout=LayoutOptions("eurosat", "x"))
    with pytest.raises(ConfigError, match=words):
        CalibrateConfig(**{"weights": "w", "data": data, "output": "c.safetensors", **change})
