"""What weights say of their task, their quantities and their calibration."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swath.errors import WeightsError
from swath.weights.file import load, save
from swath.weights.meta import TASKS, Calibration, MapClass, Quantity, WeightsMeta, describe

META = WeightsMeta("unet", {"bands": 3}, licence="CC0-1.0")


def test_task_quantities_and_calibration_come_back(tmp_path: Path) -> None:
    for task in TASKS:
        meta = replace(
            META,
            task=task,
            quantities=(Quantity("height", "m", 2.5, -1.0), Quantity("biomass")),
            calibration=Calibration(1.75, {"data": "two valleys", "error": [0.2, 0.03]}),
        )
        save(tmp_path / f"{task}.safetensors", {"a": torch.zeros(2)}, meta)
        assert load(tmp_path / f"{task}.safetensors").meta == meta
    rows = dict(describe(meta, 1, "abc"))
    assert rows["task"] == "change" and rows["quantities"] == "height (m), biomass"
    assert rows["calibration: temperature"] == "1.75" and rows["calibration: about.data"] == "two valleys"


def test_weights_that_say_nothing_more_have_the_header_they_always_had() -> None:
    strings = META.to_strings()
    assert set(strings) == {
        "format_version", "architecture", "contract", "classes", "provenance", "licence"
    }  # fmt: skip
    back = WeightsMeta.from_strings(strings, "w")
    assert (back.task, back.quantities, back.calibration) == (None, (), None)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("task", "segmantation", "task 'segmantation' is unknown"),
        ("task", ["change"], "is unknown"),
        ("quantities", [{"name": "a"}, {"name": "a"}], "two quantities have one name"),
        ("quantities", [{"name": ""}], "no name of a quantity"),
        ("quantities", [{"name": "a", "gain": 0}], "tell nothing"),
        ("quantities", [{"name": "a", "gain": "2"}], "cannot be read"),
        ("quantities", [{"unit": "m"}], "cannot be read"),
        ("quantities", 3, "cannot be read"),
        ("calibration", {"temperature": 0}, "temperature 0 is not above 0"),
        ("calibration", {"temperature": float("nan")}, "not above 0"),
        ("calibration", {"temperature": "hot"}, "cannot be read"),
        ("calibration", {"temperatur": 1}, "cannot be read"),
        ("calibration", [1], "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(key: str, value: object, words: str) -> None:
    with pytest.raises(WeightsError, match=words) as caught:
        WeightsMeta.from_strings({**META.to_strings(), key: json.dumps(value)}, "w.safetensors")
    assert str(caught.value).startswith("w.safetensors: ") and "\n" not in str(caught.value)


def test_a_meta_cannot_be_made_of_nonsense() -> None:
    with pytest.raises(WeightsError, match="use segmentation, classification, multilabel"):
        replace(META, task="maps")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(WeightsError, match="one name"):
        replace(META, quantities=(Quantity("a"), Quantity("a", "m")))
    assert MapClass("water") == MapClass("water", None, None)
