"""`swath baseline` on folders of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import own_folder
import pytest
from sklearn import metrics

from swath.cli import main
from swath.data.part_spec import PartsSpec
from swath.errors import SwathError
from swath.verbs.answerer import per_pixel
from swath.verbs.baseline import BaselineConfig, answers, goal_of, learn, run
from swath.verbs.config import load_config
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import open_part
from swath.verbs.options import LayoutOptions
from swath.verbs.score_units import IntervalOptions, units_of

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    root = own_folder.lakes(tmp_path_factory.mktemp("lakes"), images=10)
    parts = PartsSpec(by="blocks", block=2000.0, shares=SHARES)
    return LabelledData(layout=LayoutOptions("folder", root), parts=parts)


@pytest.mark.parametrize("square", [0, 16])
def test_scores_are_those_of_a_loop_over_the_answers(
    lakes: LabelledData, square: int, tmp_path: Path
) -> None:
    intervals = IntervalOptions(unit="square", square=16) if square else IntervalOptions()
    out = tmp_path / "s.json"
    config = BaselineConfig("forest", lakes, trees=10, samples=500, intervals=intervals, output=str(out))
    found = run(config)
    part = open_part(lakes, "test")
    train = open_part(lakes, "train")
    goal = goal_of(part)
    said = list(
        answers(learn(config, train, goal), part, lakes, goal, units_of(part, intervals, per_pixel(part)))
    )
    guess = [int(v) for a in said for v in a.values.argmax(0).flatten()]
    truth = [int(v) for a in said for v in a.target.flatten()]
    assert found.scores["overall_accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert found.intervals["unit"] == ("square of 16 pixels" if square else "block of the ground")
    assert found.scores["miou"] > 0.9 and found.records == len(part)
    held = json.loads(out.read_text())
    assert held["method"] == "forest" and held["scores"] == found.scores
    # The worst record is the one with the largest share of wrong pixels, over all its squares.
    shares: dict[str, list[float]] = {}
    for one in said:
        shares.setdefault(one.record, []).append(float((one.values.argmax(0) != one.target).float().mean()))
    means = {name: sum(v) / len(v) for name, v in shares.items()}
    assert found.worst[0][1] == pytest.approx(max(means.values()), abs=1e-6)
    assert [e for _, e in found.worst] == sorted((e for _, e in found.worst), reverse=True)
    with pytest.raises(SwathError, match="exists"):
        run(config)


def test_methods_are_ordered_as_they_must_be(lakes: LabelledData) -> None:
    scores = {m: run(BaselineConfig(m, lakes, trees=10)).scores["miou"] for m in ("majority", "index")}  # type: ignore[arg-type]  # literals
    assert scores["index"] > 0.9 > 0.5 > scores["majority"]


def test_a_planted_leak_flatters_a_random_split_alone(tmp_path: Path) -> None:
    root = own_folder.planted_leak(tmp_path)
    layout = LayoutOptions("folder", root)
    blocks = PartsSpec(by="blocks", block=4000.0, shares={"train": 0.5, "test": 0.5})
    chance = PartsSpec(by="random", shares={"train": 0.5, "test": 0.5})
    honest, flattered = (
        run(BaselineConfig("forest", LabelledData(layout=layout, parts=p), trees=50)).scores[
            "overall_accuracy"
        ]
        for p in (blocks, chance)
    )
    assert flattered > 0.95 and honest < 0.7


def test_a_scene_by_its_columns_and_by_its_windows(tmp_path: Path) -> None:
    given = own_folder.scene(tmp_path)
    columns = load_config(BaselineConfig, [], {"method": "index", "data": given})
    found = run(columns)
    assert found.scores["miou"] > 0.9 and found.records == 1 and found.intervals["unit"].startswith("square")
    split = {"by": "blocks", "block": 400.0, "shares": {"train": 0.5, "test": 0.5}}
    windows = load_config(BaselineConfig, [], {"method": "index", "data": {**given, "parts": split}})
    found = run(windows)
    assert found.scores["miou"] > 0.9 and found.records > 3
    assert found.intervals["unit"] == "block of the ground"


def test_the_command_line_and_its_one_line_errors(
    lakes: LabelledData, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lakes.layout is not None
    data = [
        "--data.layout.name", "folder", "--data.layout.root", lakes.layout.root, "--data.parts.by", "blocks",
        "--data.parts.block", "2000", "--data.parts.shares", json.dumps(SHARES),
    ]  # fmt: skip
    assert main(["baseline", "majority", *data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "segmentation"
    assert main(["baseline", "magic", *data]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["baseline", "forest", *data, "--trees", "0"]) == 2
