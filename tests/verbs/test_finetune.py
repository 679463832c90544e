"""Fine-tuning through its verb: it continues pretrained weights, resumes bit for bit, and never sees the east."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import swath
from swath.errors import ConfigError, ContractError, InputError, WeightsError
from swath.training import run as training_run
from swath.weights.file import load, same_state


def test_the_weights_carry_classes_contract_and_where_they_come_from(chain: Any) -> None:
    loaded, source = load(chain.finetuned.weights), load(chain.pretrained.weights)
    meta = loaded.meta
    assert meta.architecture == "st_swin_unet"
    assert [(c.value, c.name, c.colour) for c in meta.classes] == [
        (3, "forest", "#006400"),
        (5, "town", "#c80000"),
        (9, "water", "#0000c8"),
    ]
    assert meta.contract == source.meta.contract
    assert meta.provenance["pretrained"]["sha256"] == source.sha256
    assert meta.provenance["pretrained"]["steps"] == 6
    assert meta.provenance["labels"] == "labels.tif"
    assert meta.provenance["never_seen"] == "columns from 80 on"
    assert meta.provenance["step"] == chain.finetuned.step


def test_encoder_and_decoder_carry_over(chain: Any) -> None:
    text = chain.finetuned.transfer
    assert "layers." in text.split("resized")[0] and "layers_up." in text.split("resized")[0]
    assert chain.finetuned.summary().startswith(text)
    assert set(chain.finetuned.validation) == {"overall_accuracy", "macro_f1", "miou"}


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        """As a kill would."""

    save = training_run.Keeper._save

    def stop_after_four(self: Any, trainer: Any, step: int) -> None:
        save(self, trainer, step)
        if step == 4:
            raise Stopped

    options = chain.land.finetuning(tmp_path / "run", chain.pretrained.weights)
    with monkeypatch.context() as patch:
        patch.setattr(training_run.Keeper, "_save", stop_after_four)
        with pytest.raises(Stopped):
            swath.finetune(**options)
    options["run"]["resume"] = True
    result = swath.finetune(**options)
    assert same_state(load(result.weights).state, load(chain.finetuned.weights).state)
    assert result.validation == chain.finetuned.validation
    with pytest.raises(ConfigError, match=r"the run began with data.window 16, not 8"):
        swath.finetune(**options, **{"data.window": 8})


def altered(land: Any, to: Path, where: np.ndarray, raster: Callable[..., str]) -> dict[str, Any]:
    """Other pixels and other labels where `where` [H,W], also with other statistics."""
    with rasterio.open(land.scene) as file:
        pixels = file.read()
    with rasterio.open(land.labels) as file:
        labels = file.read(1)
    pixels = np.where(where & (pixels > 0), 255 - pixels // 3, pixels).astype(np.uint8)
    turned = np.select([labels == 3, labels == 5, labels == 9], [9, 3, 5], 3)
    labels = np.where(where, turned, labels).astype(np.uint8)
    return {
        "data.scene.files": raster(
            to / Path(land.scene).name, pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0
        ),
        "data.labels": raster(to / Path(land.labels).name, labels, nodata=0),
    }


@pytest.mark.parametrize("pretrained", [True, False])
def test_nothing_in_the_east_changes_a_bit(
    chain: Any, tmp_path: Path, raster: Callable[..., str], pretrained: bool
) -> None:
    weights = chain.pretrained.weights if pretrained else ""
    columns = np.broadcast_to(np.arange(112), (40, 112))

    def trained(name: str, where: np.ndarray) -> Any:
        options = chain.land.finetuning(tmp_path / name / "run", weights)
        return swath.finetune(**options, **altered(chain.land, tmp_path / name, where, raster))

    plain = trained("none", columns < 0)
    # The buffer belongs to no part: it changes nothing either.
    east = trained("east", columns >= 64)
    assert same_state(load(east.weights).state, load(plain.weights).state)
    assert load(east.weights).meta == load(plain.weights).meta
    assert east.validation == plain.validation
    assert east.step == plain.step
    # The validation block scores and selects, but trains nothing.
    block = trained("block", (columns >= 48) & (columns < 64))
    assert block.validation != plain.validation
    assert load(block.weights).meta.contract == load(plain.weights).meta.contract
    if block.step == plain.step:
        assert same_state(load(block.weights).state, load(plain.weights).state)
    west = trained("west", columns < 40)
    assert not same_state(load(west.weights).state, load(plain.weights).state)


def test_weights_that_normalise_by_scene_are_fixed_to_the_columns_learned_from(
    chain: Any, tmp_path: Path
) -> None:
    options = chain.land.pretraining(tmp_path / "mae", steps=2)
    options["data"]["normalise"] = {"kind": "minmax", "scope": "scene"}
    mae = swath.pretrain(**options)
    assert load(mae.weights).meta.contract.normalisation.scope == "scene"  # type: ignore[union-attr]
    tuned = swath.finetune(**chain.land.finetuning(tmp_path / "unet", mae.weights, steps=2))
    norm = load(tuned.weights).meta.contract.normalisation  # type: ignore[union-attr]
    with rasterio.open(chain.land.scene) as file:
        west = file.read()[:, :, :48].astype(float)
    assert (norm.kind, norm.scope) == ("minmax", "fixed")
    assert norm.centre == tuple(float(x[x > 0].min()) for x in west)
    assert norm.spread == tuple(float(x[x > 0].max() - x[x > 0].min()) for x in west)


def test_a_plain_unet_trains_from_scratch_with_weighted_classes_and_dice(land: Any, tmp_path: Path) -> None:
    options = land.finetuning(tmp_path / "run", steps=2)
    options["model"] = {"system": "unet", "preset": "unet_16", "options": {"levels": 2}}
    options["loss"] = {"class_weight_power": 0.5, "label_smoothing": 0.1, "dice": 0.5}
    result = swath.finetune(**options)
    assert load(result.weights).meta.architecture == "unet"
    assert result.transfer == ""
    assert load(result.weights).meta.provenance["pretrained"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data.window": 64}, "112 columns leave 0 to train on"),
        ({"data.east_start": 112}, "columns leave .* 0 to score"),
        ({"data.east_start": -1}, "data.east_start: is -1"),
        ({"data.window": 0}, "data.window: is 0"),
        ({"data.normalise": {"scope": "scene"}}, "show the network what it is scored on"),
        ({"data.normalise": {"columns": [0, 112]}}, "show the network what it is scored on"),
        ({"data.classes": []}, "data.classes: no classes are named"),
        ({"model": {"system": "unet", "preset": "unet_16", "options": {"levels": 2}}}, "cannot continue it"),
        ({"model.options": {"embed_dim": 16}}, "embed_dim is to be 16, but the pretrained weights have 8"),
        ({"training.monitor": "f1"}, "training.monitor: the validation gives no 'f1'; use overall_accuracy"),
    ],
)
def test_what_does_not_fit_is_said_before_a_folder_is_made(
    chain: Any, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    options = chain.land.finetuning(tmp_path / "new" / "run", chain.pretrained.weights)
    if isinstance(change.get("model"), dict):
        options["model"] = change.pop("model")
    with pytest.raises((ConfigError, InputError, WeightsError, ContractError), match=words):
        swath.finetune(**options, **change)
    assert not (tmp_path / "new").exists()
