"""The demo: what it writes, what it leaves alone, and that its commands repeat it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from sklearn import metrics

import swath
from swath.errors import ConfigError, OutputError
from swath.verbs import demo
from swath.verbs.config import load_config
from swath.verbs.registry import find


def test_other_files_in_its_folder_stay(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo.open_folder(folder, overwrite=False)
    demo.open_folder(folder, overwrite=False)
    for name in ("map.tif", "table.json", "notes.txt"):
        (folder / name).write_text("x")
    (folder / "seed-0" / "deep").mkdir(parents=True)
    (folder / "mine").mkdir()
    with pytest.raises(
        OutputError, match="exists and is not empty; give another --output, or --overwrite true"
    ):
        demo.open_folder(folder, overwrite=False)
    demo.open_folder(folder, overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == ["mine", "notes.txt"]
    with pytest.raises(OutputError, match="is a file"):
        demo.open_folder(folder / "notes.txt", overwrite=True)


def test_seeds_are_one_or_more() -> None:
    with pytest.raises(ConfigError, match="seeds: is 0; give 1 or more"):
        demo.DemoConfig(seeds=0)


@pytest.mark.parametrize("value", [True, 3, "a b", [1, 2], ["x y"], {"a": 1}])
def test_values_in_commands_are_read_back_as_they_were(value: Any) -> None:
    (word,) = shlex.split(demo._word(value))
    assert (word if isinstance(value, str) else json.loads(word)) == value


def test_recipes_name_steps_that_fit_quick_and_full_runs() -> None:
    for recipe in ("demo-pretrain-st-swin", "demo-finetune", "demo-sparse", "demo-unet"):
        verb = "pretrain" if "pretrain" in recipe else "finetune"
        config = find(verb).load().config
        plain = load_config(config, [recipe], {"run.folder": "x"}).training
        quick = demo._length(demo.DemoConfig(quick=True), recipe)
        full = demo._length(demo.DemoConfig(full=True), recipe)
        assert demo._length(demo.DemoConfig(), recipe) == {}
        assert load_config(config, [recipe], quick).training.steps < 10
        # Only pretraining gains from more steps.
        longer = load_config(config, [recipe], full).training.steps / plain.steps
        assert longer == (demo.FULL_PRETRAINING if verb == "pretrain" else 1)


def test_pretraining_and_fine_tuning_take_the_same_columns_as_statistics() -> None:
    """Or the pretrained network would have seen the scale of columns that fine-tuning keeps from it."""
    from swath.data.splits import column_split

    tuned = load_config(find("finetune").load().config, ["demo-finetune"]).data
    west = column_split(
        443,
        489,
        window=tuned.window,
        validation=tuned.validation or None,
        east_start=tuned.east_start or None,
    ).columns["west"]
    data = load_config(find("pretrain").load().config, ["demo-pretrain-st-swin"]).data
    assert data.normalise.scope == "fixed"
    assert data.normalise.columns == west


@pytest.mark.slow
def test_a_quick_demo_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = swath.demo(quick=True)
    folder = tmp_path / "runs" / "demo"
    assert result.summary().splitlines()[1] == "map     runs/demo/map.tif  (open it in QGIS)"
    table = json.loads((folder / "table.json").read_text("utf-8"))
    assert "QUICK RUN" in json.dumps(table)
    page = (folder / "report.html").read_text("utf-8")
    assert "swath finetune demo-finetune" in page and "http" not in page.split("<body")[1].split("href")[0]
    with rasterio.open(folder / "map.tif") as file:
        mapped, _, coverage = file.read()
    from swath.data.demo import demo_labels

    with rasterio.open(demo_labels("demo:landclass")) as file:
        labels, known = file.read(1), file.read_masks(1) > 0
    east = np.arange(489) >= 244
    chosen = known & (coverage == 100) & east & (labels > 0)
    scores = swath.evaluate(map="runs/demo/map.tif", labels="demo:landclass", columns=(244, 489))
    assert scores.pixels == int(chosen.sum())
    assert scores.overall_accuracy == pytest.approx(metrics.accuracy_score(labels[chosen], mapped[chosen]))
    with pytest.raises(OutputError, match="exists and is not empty"):
        swath.demo(quick=True)
