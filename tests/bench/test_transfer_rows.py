"""Experiments on sets of few images: who is compared with whom, and that the data are what the notes say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swath.bench import transfer, transfer_floods, transfer_scenes, transfer_series
from swath.bench.transfer_docs import TITLES
from swath.bench.transfer_rows import WITHIN
from swath.data.layouts.registry import open_layout
from swath.verbs.registry import find
from swath.verbs.run_many import Run, check_order

NAMES = [name for name in transfer.EXPERIMENTS if not name.startswith(("water", "otbtf"))]


def value(run: Run, option: str) -> str:
    """The last one counts, as on the command line."""
    words = list(run.words)
    return words[len(words) - words[::-1].index(option)]


@pytest.mark.parametrize("name", NAMES)
def test_rows_differ_in_nothing_but_what_they_are(name: str, tmp_path: Path) -> None:
    experiment = transfer.EXPERIMENTS[name](tmp_path / "data", tmp_path / "work", 2)
    check_order(experiment.runs)
    names = {run.name for run in experiment.runs}
    assert all(len(cell.runs) == 2 and names.issuperset(cell.runs) for cell in experiment.cells)
    measures = [cell.measure for cell in experiment.cells]
    assert all(TITLES[m.split(".")[0]] for m in measures)  # what the page knows a set by
    assert measures[0].endswith(".forest") and len(set(measures)) == len(measures)
    assert {cell.baseline for cell in experiment.cells[1:]} == {measures[0]}
    scored = [run for run in experiment.runs if run.words[0] in ("finetune", "evaluate", "baseline")]
    for option in ("--data.parts", "--data.window", "--data.layout.name", "--data.layout.root"):
        assert len({value(run, option) for run in scored}) == 1
    tuned = [run for run in experiment.runs if run.words[0] == "finetune"]
    assert len({(value(r, "--training.steps"), value(r, "--training.batch_size")) for r in tuned}) == 1
    flatters = json.loads(value(scored[0], "--data.parts"))["by"] == "within"
    assert all((WITHIN in cell.note) == flatters for cell in experiment.cells)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_one_that_the_verbs_take(name: str, tmp_path: Path) -> None:
    from swath.verbs.config import load_config

    experiment = transfer.EXPERIMENTS[name](tmp_path / "data", tmp_path / "work", 1)
    for run in experiment.runs:
        verb, *words = run.words
        if verb == "baseline":
            words = ["--method", *words]
        options = {k.removeprefix("--"): v for k, v in zip(words[::2], words[1::2], strict=True)}
        load_config(find(verb).load().config, [], options, verb=verb)


def test_what_scores_of_the_floods_is_not_pretrained_on(tmp_path: Path) -> None:
    for folder, chips in zip(
        transfer_floods.FOLDERS, (("India_1", "USA_2", "Paraguay_3"), ("Spain_4",)), strict=True
    ):
        for chip in chips:
            for layer in ("S1Hand", "LabelHand"):
                path = (
                    tmp_path / folder / {"S1Hand": "S1", "LabelHand": "Labels"}[layer] / f"{chip}_{layer}.tif"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    for _ in range(2):  # links that are there stay
        experiment = transfer_floods.radar(tmp_path, tmp_path / "work", 1)
    assert json.loads(value(experiment.runs[0], "--data.hold_out")) == ["India_1", "USA_2"]
    layout = open_layout("sen1floods11", tmp_path / "work" / "chips", sensors=("sentinel1",))
    assert [item.group for item in layout.items] == ["India", "Paraguay", "Spain", "USA"]


@pytest.mark.shared_data
def test_the_data_are_where_the_experiments_look(shared_data: Path) -> None:
    pytest.importorskip("h5py")
    assert (
        len(open_layout("worldcereal", shared_data / transfer_series.FOLDER / transfer_series.SITE).items)
        == 1
    )
    assert len(open_layout("worldcereal", shared_data / transfer_series.FOLDER).items) == 2
    assert len(open_layout("landsat-change", shared_data / transfer_scenes.TAIZHOU).items) == 1
    assert len(open_layout("ukis-csmask", shared_data / transfer_scenes.CLOUDS).items) == 1
    assert (shared_data / transfer_scenes.TERRAMIND / "S2L2A" / f"{transfer_scenes.TILE}.tif").exists()
