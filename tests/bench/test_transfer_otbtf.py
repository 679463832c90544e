"""OTBTF patches: bands of the ground, with room between them, and rows that learn from the same patches."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from swath.bench.transfer_otbtf import BUFFER, PATCHES, not_taught, otbtf, part_of, probed, scored
from swath.data.layouts.otbtf import OTBTF
from swath.verbs.run_many import Run, check_order


def value(run: Run, option: str) -> str:
    return run.words[run.words.index(option) + 1]


def test_parts_are_bands_with_room_between() -> None:
    parts = [part_of(i) for i in range(PATCHES)]
    assert {name: parts.count(name) for name in ("train", "validation", "test")} == {
        "train": 1560, "validation": 440, "test": 600,
    }  # fmt: skip
    places = {name: [i for i, part in enumerate(parts) if part == name] for name in set(parts)}
    for one in ("train", "validation", "test"):
        for other in {"train", "validation", "test"} - {one}:
            assert min(abs(i - j) for i in places[one] for j in places[other]) == BUFFER + 1


def test_every_row_learns_from_the_same_patches(tmp_path: Path) -> None:
    experiment = otbtf(tmp_path / "data", tmp_path / "work", 2)
    check_order(experiment.runs)
    names = {run.name for run in experiment.runs}
    assert all(len(cell.runs) == 2 and set(cell.runs) <= names for cell in experiment.cells)
    assert {cell.baseline for cell in experiment.cells} <= {cell.measure for cell in experiment.cells}
    labelled = [run for run in experiment.runs if run.words[0] != "pretrain"]
    (parts,) = {value(run, "--data.parts") for run in labelled}
    with Path(json.loads(parts)["file"]).open(encoding="utf-8") as file:
        listed = {row["id"]: row["part"] for row in csv.DictReader(file)}
    assert len(listed) == 2600 and listed["A/00000"] == "train" and listed["A/02999"] == "test"
    for run in experiment.runs:
        if run.words[0] == "pretrain":
            seen = {f"A/{i:05d}" for i in range(PATCHES)} - set(json.loads(value(run, "--data.hold_out")))
            assert seen == {name for name, part in listed.items() if part == "train"}
            assert value(run, "--data.split") == "A"


def test_scores_are_those_of_the_test_part() -> None:
    assert scored({"scores": {"overall_accuracy": 0.75}}) == 0.75
    assert probed({"probes": [{"test": {"scores": {"overall_accuracy": 0.5}}}]}) == 0.5


@pytest.mark.shared_data
def test_the_real_set_has_as_many_patches(shared_data: Path) -> None:
    ids = [item.id for item in OTBTF(shared_data / "otbtf-s2patches", "A").items]
    assert len(ids) == PATCHES and set(not_taught()) < set(ids)
