"""Weights that a card cannot judge are found before a cell runs; those that learned labels before are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import own_folder
import planted_sets as sets
import pytest
import torch

from swath.data.part_spec import PartsSpec
from swath.errors import ContractError, SwathError, WeightsError
from swath.models.unet import UNet, UNetConfig
from swath.verbs import run_many
from swath.verbs.card import CardConfig, run
from swath.verbs.card_plan import first_of
from swath.verbs.card_weights import FROZEN, TUNED, check_weights
from swath.verbs.labelled_options import LabelledData
from swath.verbs.options import LayoutOptions
from swath.weights.build import meta_for
from swath.weights.file import load, save
from swath.weights.meta import MapClass

ALL = (*FROZEN, *TUNED)
CLASSES = (MapClass("land", "#c8b37a", 0), MapClass("water", "#2a6fdb", 1))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    root = own_folder.lakes(tmp_path_factory.mktemp("lakes"), images=10)
    parts: Any = {"by": "blocks", "block": 4000.0, "shares": {"train": 0.6, "validation": 0.2, "test": 0.2}}
    return LabelledData(layout=LayoutOptions("folder", root), window=32, parts=PartsSpec(**parts))


def unet(path: Path) -> str:
    """Weights of a U-Net that was fine-tuned for segmentation: it has no encoder that others could take."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(bands=4, classes=2))
    eats = sets.contract(own_folder.BANDS, 32)
    save(path, network, meta_for(network, contract=eats, task="segmentation", classes=CLASSES))
    return str(path)


def words(path: Path) -> str:
    path.write_text("these are no weights, whatever the name says\n" * 9)
    return str(path)


def unsaid(path: Path) -> str:
    """An encoder that does not say what it eats."""
    file = sets.encoder_weights(path.with_name("said.safetensors"), sets.contract(own_folder.BANDS, 32))
    loaded = load(file)
    save(path, loaded.state, replace(loaded.meta, contract=None))
    return str(path)


def others(path: Path) -> str:
    """An encoder that needs a band which the data lack."""
    return sets.encoder_weights(path, sets.contract(("B02", "B03", "B11"), 32))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (words, WeightsError, "no safetensors file"),
        (unet, WeightsError, "hold a unet, which has no encoder"),
        (unsaid, WeightsError, "say nothing of their input"),
        (others, ContractError, "B11"),
    ],
)
def test_weights_of_the_wrong_kind_are_found_before_anything_is_made_or_run(
    make: Any, kind: type[SwathError], message: str, data: LabelledData, tmp_path: Path, monkeypatch: Any
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a cell ran")

    monkeypatch.setattr(run_many, "_answer", never)
    good = sets.encoder_weights(tmp_path / "good.safetensors", sets.contract(own_folder.BANDS, 32))
    bad = make(tmp_path / "bad.safetensors")
    with pytest.raises(kind) as caught:
        run(CardConfig(str(tmp_path / "card"), data, (good, bad)))
    assert str(caught.value).startswith(f"{bad}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value) and not (tmp_path / "card").exists()


def test_bands_are_checked_where_a_frozen_encoder_is_asked_for(data: LabelledData, tmp_path: Path) -> None:
    file = sets.encoder_weights(tmp_path / "mae.safetensors", sets.contract(own_folder.BANDS, 32))
    fewer = replace(data, bands=("B08", "B04"))
    first = first_of(fewer)
    with pytest.raises(
        SwathError, match=r"mae\.safetensors: data\.bands: a frozen encoder .* other than random"
    ):
        check_weights([file], ALL, fewer, first)
    assert check_weights([file], TUNED, fewer, first) == ()


def test_weights_that_learned_labels_before_are_named(data: LabelledData, tmp_path: Path) -> None:
    eats, first = sets.contract(own_folder.BANDS, 32), first_of(data)
    plain = sets.encoder_weights(tmp_path / "mae.safetensors", eats)
    tuned, _ = sets.task_weights(
        tmp_path / "tuned.safetensors", eats, "segmentation", ("a", "b"), provenance={"data": "lakes"}
    )
    assert check_weights([plain], ALL, data, first) == ()
    (note,) = check_weights([plain, tuned], ALL, data, first)
    assert note.startswith(f"{tuned} learned segmentation from labels of lakes before")
