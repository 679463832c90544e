"""A run of a verb that goes on over other data, under the same names, is refused before it does a step."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import rasterio

import swath
from swath.errors import InputError


def changed(path: str, rows: slice, columns: slice, value: int) -> None:
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[:, rows, columns] = value
        file.write(pixels)


def test_pretraining(land: Any, tmp_path: Path) -> None:
    scene = shutil.copy(land.scene, tmp_path / "scene.tif")
    options = land.pretraining(tmp_path / "run", steps=2)
    options["data"]["scenes"] = [{"files": str(scene), "sensor": "landsat7"}]
    swath.pretrain(**options)
    changed(scene, slice(8, 12), slice(40, 44), 0)  # no data
    options["run"]["resume"] = True
    with pytest.raises(InputError, match=r"run: the training data are not .*: of 1 record 1 changed in size"):
        swath.pretrain(**options)


@pytest.mark.parametrize(
    ("columns", "words"), [(slice(20, 24), "the training data"), (slice(50, 54), "the validation data")]
)
def test_finetuning(land: Any, tmp_path: Path, columns: slice, words: str) -> None:
    labels = shutil.copy(land.labels, tmp_path / "labels.tif")
    options = land.finetuning(tmp_path / "run", steps=2)
    options["data"]["labels"] = str(labels)
    swath.finetune(**options)
    changed(labels, slice(8, 12), columns, 9)
    options["run"]["resume"] = True
    with pytest.raises(InputError, match=rf"{words} are not .*: of 1 record 1 changed in size, valid"):
        swath.finetune(**options)
