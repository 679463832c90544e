"""The comparison on real data: which commands, and what is made of their answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swath.bench import transfer, transfer_water, transfer_water_lines
from swath.bench.record import write
from swath.bench.transfer_table import Cell, records_of, rows_like, whole
from swath.errors import ConfigError
from swath.verbs.run_many import Answer, Run, check_order


def test_bands_of_elevation_are_divided_whole(data: Path) -> None:
    root = data / transfer_water.FOLDER
    parts = transfer_water.parts(root)
    assert (parts["train"], parts["validation"], parts["test"]) == (
        ["elevation-0"], ["elevation-1"], ["elevation-2"],
    )  # fmt: skip
    assert transfer_water.others(root) == ["8", "9"]


@pytest.mark.parametrize("name", [name for name in transfer.EXPERIMENTS if name.startswith("water")])
def test_every_row_learns_from_the_same_labels(data: Path, tmp_path: Path, name: str) -> None:
    experiment = transfer.EXPERIMENTS[name](data, tmp_path / "work", 2)
    check_order(experiment.runs)  # each comes after what it needs
    names = {run.name for run in experiment.runs}
    assert all(needed in names for cell in experiment.cells for needed in cell.runs)
    assert all(cell.baseline in {c.measure for c in experiment.cells} for cell in experiment.cells)

    def value(run: Run, option: str) -> str:
        return run.words[run.words.index(option) + 1]

    learning = [run for run in experiment.runs if run.words[0] in ("finetune", "probe", "baseline")]
    assert learning
    options = ("--data.parts", "--data.label_fraction")
    assert len({tuple(value(run, o) for o in options) for run in learning}) == 1
    for run in learning:
        assert value(run, "--data.label_seed") == run.name.rpartition("-")[2]
    assert len({value(run, "--data.window") for run in learning if run.words[0] != "baseline"}) <= 1
    for run in experiment.runs:
        if run.words[0] == "pretrain":
            # Chip 8 selects, chip 9 scores: one pretraining says that it sees those that select.
            unseen = ["9"] if run.name == "wider-st_swin" else ["8", "9"]
            assert json.loads(value(run, "--data.hold_out")) == unseen


def test_records_hold_every_seed_and_the_baseline(tmp_path: Path) -> None:
    def answer(iou: float) -> Answer:
        return Answer(
            {"table": {"classes": [{"name": "no water", "iou": 0.9}, {"name": "water", "iou": iou}]}}, 3.0, 1
        )

    cells = [
        Cell("a", "IoU", ("a0", "a1"), transfer_water.finetuned_iou, "whole", baseline="b"),
        Cell("b", "IoU", ("b0", "b1"), transfer_water.finetuned_iou, "plain", baseline="b"),
    ]
    answers = {"a0": answer(0.4), "a1": answer(0.6), "b0": answer(0.3), "b1": answer(0.2)}
    first, second = records_of(cells, answers, "make bench-transfer", 1)
    assert (first["value"], first["baseline"], first["ratio"], first["runs"]) == (0.5, 0.25, 2.0, [0.4, 0.6])
    assert "standard deviation 0.1414" in first["note"] and "3 s a run" in first["note"]
    assert second["ratio"] == 1.0
    path = tmp_path / "results" / "transfer.json"
    write(path, [first, second])
    write(path, [{**first, "value": 0.1}])
    assert [(r["measure"], r["value"]) for r in json.loads(path.read_text())] == [("b", 0.25), ("a", 0.1)]


def test_of_an_interrupted_comparison_whole_rows_are_recorded() -> None:
    def cell(name: str, baseline: str) -> Cell:
        return Cell(name, "IoU", (f"{name}0", f"{name}1"), transfer_water.finetuned_iou, "", baseline)

    cells = [cell("a", "b"), cell("b", "b"), cell("c", "d"), cell("d", "")]
    answer = Answer({}, 1.0, 1)
    assert whole(cells, dict.fromkeys(("a0", "a1", "b0", "b1", "c0", "c1", "d1"), answer)) == cells[:2]
    assert whole(cells, dict.fromkeys(("a0", "a1", "b0"), answer)) == []


def test_a_probe_is_scored_on_the_test_part() -> None:
    rows = [{"name": "no water", "iou": 0.9}, {"name": "water", "iou": 0.25}]
    assert transfer_water.probed_iou({"probes": [{"test": {"classes": rows}}]}) == 0.25


def test_the_lines_have_the_labels_of_the_networks(data: Path, tmp_path: Path) -> None:
    def labels(run: Run) -> tuple[str, ...]:
        options = ("--data.parts", "--data.label_fraction", "--data.label_seed", "--data.layout.root")
        return tuple(run.words[run.words.index(o) + 1] for o in options)

    networks = transfer_water.water(data, tmp_path, 3, 25).runs
    lines = transfer_water_lines.water_lines(data, tmp_path, 3, 25)
    learning = {labels(run) for run in networks if run.words[0] == "finetune"}
    assert {labels(run) for run in lines.runs} == learning and len(learning) == 3
    assert [cell.measure for cell in lines.cells] == ["water.iou.line.index.25", "water.iou.line.forest.25"]


def test_a_line_says_which_index_was_chosen() -> None:
    def answer(index: str) -> Answer:
        table = {"classes": [{"name": "water", "iou": 0.2}]}
        return Answer({"table": table, "notes": [f"{index} above -0.3 is class number 1"]}, 1.0, 1)

    cell = Cell(
        "a", "IoU", ("0", "1", "2"), transfer_water.finetuned_iou, "x", "", transfer_water_lines.chosen_index
    )
    answers = {"0": answer("MNDWI"), "1": answer("NDWI"), "2": answer("MNDWI")}
    (record,) = records_of([cell], answers, "make bench-transfer", 1)
    assert record["note"].startswith("x; chosen: MNDWI 2 of 3, NDWI 1 of 3; mean of 3 seeds")


def test_some_rows_need_fewer_runs_and_keep_their_baseline(data: Path, tmp_path: Path) -> None:
    experiment = transfer.EXPERIMENTS["water-10"](data, tmp_path, 2)
    chosen = rows_like(experiment, ["*probe.mae.pretrained*", "*unet*longer*"])
    assert [cell.measure.removeprefix("water.iou.") for cell in chosen.cells] == [
        "finetuned.unet.scratch.10", "finetuned.unet.scratch.longer.10",
        "linear_probe.mae.pretrained.10", "linear_probe.mae.random.10",
    ]  # fmt: skip
    check_order(chosen.runs)
    pretrained = [run.name for run in chosen.runs if run.words[0] == "pretrain"]
    assert sorted(pretrained) == ["pretrain-mae", "random-mae"]
    assert set(chosen.runs) < set(experiment.runs)
    with pytest.raises(ConfigError, match=r"no row is like '.*unett"):
        rows_like(experiment, ["*unet*", "*unett*"])
