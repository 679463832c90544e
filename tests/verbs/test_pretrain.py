"""Pretraining through its verb: what it leaves, that it resumes bit for bit, and what it never looks at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

import swath
from swath.errors import ConfigError, InputError, OutputError
from swath.training import run as training_run
from swath.training.checkpoint import checkpoint_path, load_checkpoint
from swath.verbs.config import load_config
from swath.verbs.pretrain import PretrainConfig
from swath.weights.build import build_loaded
from swath.weights.file import load, same_state


def test_a_run_leaves_its_config_metrics_checkpoints_weights_and_page(chain: Any) -> None:
    folder = Path(chain.pretrained.folder)
    assert {p.name for p in folder.iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "checkpoints",
        "weights.safetensors",
        "report.html",
        "reconstructions.npz",
    }
    config = load_config(PretrainConfig, [folder / "config.yaml"], verb="pretrain")
    assert config == load_config(PretrainConfig, [], chain.land.pretraining(folder))
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "loss" in r] == [2, 4, 6]
    assert chain.pretrained.held_out_loss == pytest.approx(records[-1]["validation"]["held_out_loss"])
    assert "<html" in (folder / "report.html").read_text("utf-8")
    assert f"weights {chain.pretrained.weights}" in chain.pretrained.summary()


def test_the_weights_say_what_they_eat_and_where_they_come_from(chain: Any) -> None:
    loaded = load(chain.pretrained.weights)
    meta = loaded.meta
    assert meta.architecture == "st_swin_mae"
    assert meta.contract is not None
    assert [s.band.name for s in meta.contract.bands] == ["B2", "B3", "B4"]
    assert meta.contract.encoding.unit == "dn"
    assert meta.contract.size == (16, 16)
    assert (meta.contract.min_dates, meta.contract.max_dates) == (1, 1)
    norm = meta.contract.normalisation
    with rasterio.open(chain.land.scene) as file:
        west = file.read()[:, :, :48].astype(float)
    assert (norm.kind, norm.scope) == ("standard", "fixed")
    np.testing.assert_allclose(norm.centre, [x[x > 0].mean() for x in west])
    np.testing.assert_allclose(norm.spread, [x[x > 0].std() for x in west])
    given = {k: meta.provenance[k] for k in ("recipe", "data", "steps", "seed", "mask_ratio")}
    assert given == {
        "recipe": "pretrain",
        "data": ["scene of 2000.tif"],
        "steps": 6,
        "seed": 0,
        "mask_ratio": 0.5,
    }
    assert loaded.parameters >= chain.pretrained.parameters


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

    options = chain.land.pretraining(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(training_run.Keeper, "_save", stop_after_four)
        with pytest.raises(Stopped):
            swath.pretrain(**options)
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    with pytest.raises(OutputError, match="exists and is not empty; give another folder, or set"):
        swath.pretrain(**options)
    options["run"]["resume"] = True
    with pytest.raises(
        ConfigError, match=r"the run began with mask.ratio 0.5, not 0.75; resume with the same"
    ):
        swath.pretrain(**{**options, "mask": {"ratio": 0.75, "window": 2}})
    result = swath.pretrain(**options)
    assert result.steps == 6
    assert same_state(load(result.weights).state, load(chain.pretrained.weights).state)
    # Once more does no step and gives the same again.
    assert same_state(load(swath.pretrain(**options).weights).state, load(result.weights).state)


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(chain: Any, tmp_path: Path) -> None:
    state = load(chain.pretrained.weights).state
    again = swath.pretrain(**chain.land.pretraining(tmp_path / "again"))
    assert same_state(load(again.weights).state, state)
    other = swath.pretrain(**chain.land.pretraining(tmp_path / "other", seed=1))
    assert not same_state(load(other.weights).state, state)


def test_a_taken_folder_is_refused_before_anything_is_read_and_overwritten_when_asked(
    land: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    options = land.pretraining(folder, steps=2, warmup_steps=1)
    options["data"]["scenes"] = ["none.tif"]
    with pytest.raises(OutputError, match="exists and is not empty"):
        swath.pretrain(**options)
    (folder / "weights.safetensors").write_bytes(b"old")
    options = land.pretraining(folder, steps=2, warmup_steps=1)
    options["run"]["overwrite"] = True
    swath.pretrain(**options)
    assert (folder / "notes.txt").read_text() == "mine"
    assert load(folder / "weights.safetensors").meta.provenance["steps"] == 2


def changed(land: Any, to: Path, columns: slice, raster: Callable[..., str]) -> str:
    with rasterio.open(land.scene) as file:
        pixels = file.read()
    pixels[:, :, columns] = np.where(pixels[:, :, columns] > 0, 255 - pixels[:, :, columns] // 2, 0)
    return raster(to / Path(land.scene).name, pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0)


def test_pixels_outside_the_columns_change_no_bit(
    chain: Any, tmp_path: Path, raster: Callable[..., str]
) -> None:
    before = load(chain.pretrained.weights)
    for columns, same in ((slice(48, None), True), (slice(40, 48), False)):
        folder = tmp_path / f"{columns.start}"
        options = chain.land.pretraining(folder / "run")
        options["data"]["scenes"] = [
            {"files": changed(chain.land, folder, columns, raster), "sensor": "landsat7"}
        ]
        after = load(swath.pretrain(**options).weights)
        assert same_state(after.state, before.state) is same
        assert (after.meta.contract == before.meta.contract) is same


@pytest.mark.parametrize("patches", [False, True])
def test_spectralgpt_pretrains_on_scenes_and_patches(land: Any, tmp_path: Path, patches: bool) -> None:
    options = land.pretraining(tmp_path / "run", steps=2, warmup_steps=1)
    size = {"embed_dim": 24, "depth": 1, "heads": 2, "decoder_embed_dim": 12, "decoder_depth": 1}
    options["model"] = {"system": "spectralgpt", "options": {**size, "decoder_heads": 2}}
    options["mask"] = {"ratio": 0.75, "loss": "three_target"}
    if patches:
        data = {
            "patches": "demo:bigearthnet",
            "normalise": {"kind": "minmax", "scope": "record"},
            "window": 16,
        }
        options["data"] = {**data, "hold_out": ["S2A_MSIL2A_20170617T113321_36_85"]}
    result = swath.pretrain(**options)
    meta = load(result.weights).meta
    assert meta.architecture == "spectralgpt"
    assert len(meta.provenance["data"]) == (5 if patches else 1)
    assert np.isfinite(result.loss)


SMALL_SWIN = {
    "patch_size": [1, 2, 2],
    "window": [1, 4, 4],
    "embed_dim": 8,
    "depths": [1, 1],
    "heads": [1, 2],
}
SMALL_MAE = {
    "embed_dim": 24,
    "depth": 1,
    "heads": 2,
    "patch_size": 4,
    "decoder_embed_dim": 12,
    "decoder_depth": 1,
    "decoder_heads": 2,
}
SMALL_SYSTEMS: dict[str, dict[str, Any]] = {
    "mae": {"options": SMALL_MAE},
    "swin_mae": {
        "options": {**SMALL_SWIN, "window": [1, 2, 2]},
        "mask": {"ratio": 0.75, "window": 2},
    },
    "satmae": {
        "options": {**SMALL_MAE, "group_dim": 8, "decoder_group_dim": 4, "groups": [["B2", "B3"], ["B4"]]},
        "mask": {"scope": "each"},
    },
}
SMALL_VIT = {"embed_dim": 24, "depth": 1, "heads": 2, "patch_size": 4}
HEADS = {"hidden": 16, "embedding": 8}
SMALL_SYSTEMS |= {
    "beit": {
        "options": {**SMALL_VIT, "codes": 8, "cells": 2},
        "mask": {"ratio": 0.4, "min_block": 2},
        "tokenizer": {"tokens": 64, "iterations": 3},
    },
    "simclr": {"options": SMALL_VIT, "contrast": HEADS},
    "moco-v3": {"options": SMALL_VIT, "contrast": HEADS},
    "moco-v2": {
        "model": {"preset": "swin_t"},
        "options": SMALL_SWIN,
        "contrast": {**HEADS, "version": "v2", "queue": 16},
    },
}
ARCHITECTURES = {
    "satmae": "mae",
    "swin_mae": "st_swin_mae",
    "simclr": "vit",
    "moco-v3": "vit",
    "moco-v2": "swin3d",
}


@pytest.mark.parametrize("system", SMALL_SYSTEMS)
def test_every_system_pretrains_and_its_weights_load(land: Any, tmp_path: Path, system: str) -> None:
    options = land.pretraining(tmp_path / "run", steps=2, warmup_steps=1)
    given = dict(SMALL_SYSTEMS[system])
    options["model"] = {
        "system": system.split("-")[0],
        "options": given.pop("options"),
        **given.pop("model", {}),
    }
    options |= {"mask": {}, **given}
    result = swath.pretrain(**options)
    loaded = load(result.weights)
    assert loaded.meta.architecture == ARCHITECTURES.get(system, system)
    assert np.isfinite(result.loss) and result.held_out_loss is not None
    network: Any = build_loaded(loaded)
    features = network.features(torch.zeros(1, 1, 3, 16, 16))
    assert features.pooled.shape[0] == 1 and features.pooled.isfinite().all()
    if system == "beit":
        assert loaded.state["visual_tokens.codes"].any(dim=1).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data.window": 64}, "no window of 64x64 pixels fits"),
        ({"data.hold_out": ["0,0,8"]}, "data.hold_out: '0,0,8' is no box; write row,column,height,width"),
        ({"data.hold_out": ["30,0,16,16"]}, "is not inside 40x112 pixels"),
        ({"data.columns": [5]}, "data.columns: .5. is no range of columns"),
        ({"data.normalise.columns": [0, 200]}, "columns 0 to 199 are not all within"),
        ({"data.normalise": {"scope": "scene"}}, "columns are chosen, but the scope is scene"),
        ({"data.patches": "demo:bigearthnet"}, "data names scenes and patches"),
        ({"model.system": "st_swin_unet"}, "unknown system 'st_swin_unet'"),
        ({"model.options": {"embed_dmi": 8}}, "did you mean embed_dim"),
        ({"training.monitor": "miou"}, "the validation gives no 'miou'; use held_out_loss, or null"),
        ({"training.device": "cuda"}, "no CUDA device is there"),
    ],
)
def test_what_does_not_fit_is_said_before_a_folder_is_made(
    land: Any, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    if "training.device" in change and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises((ConfigError, InputError), match=words):
        swath.pretrain(**land.pretraining(tmp_path / "new" / "run"), **change)
    assert not (tmp_path / "new").exists()


def test_a_start_that_fails_takes_its_folder_away(
    land: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise InputError("cannot")

    monkeypatch.setattr(training_run, "StepLoader", broken)
    with pytest.raises(InputError, match="cannot"):
        swath.pretrain(**land.pretraining(tmp_path / "new" / "run"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="cannot"):
        swath.pretrain(**land.pretraining(tmp_path / "mine"))
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_spectrometer_of_224_bands_pretrains_spectralgpt(
    tmp_path: Path, raster: Callable[..., str]
) -> None:
    """By wavelength: 75 groups of three bands; those without any light (water vapour) are invalid throughout."""
    nm = [round(420 + 9.05 * i, 2) for i in range(224)]
    pixels = np.random.default_rng(0).integers(1, 4000, (224, 24, 24), dtype=np.uint16)
    pixels[130:136] = 0
    file = raster(tmp_path / "enmap.tif", pixels, names=[f"{x} nm" for x in nm], unit="reflectance", nodata=0)
    size = {"embed_dim": 24, "depth": 1, "heads": 2, "decoder_embed_dim": 12, "decoder_depth": 1}
    result = swath.pretrain(
        run={"folder": str(tmp_path / "run")},
        model={"system": "spectralgpt", "options": {**size, "decoder_heads": 2}},
        data={
            "scenes": [{"files": file, "sensor": "hyperspectral", "scale": 1e-4, "offset": 0.0}],
            "window": 16,
            "normalise": {"kind": "minmax", "scope": "scene"},
        },
        mask={"ratio": 0.9, "loss": "three_target"},
        training={"steps": 2, "batch_size": 2, "precision": "fp32", "threads": 1},
    )
    loaded = load(result.weights)
    assert loaded.meta.config["wavelengths"] == nm
    assert loaded.state["pos_embed_spectral"].shape == (1, 75, 24)
    assert loaded.meta.contract is not None
    assert loaded.meta.contract.bands[0].band.name == "420nm"
    assert np.isfinite(result.loss)


@pytest.mark.slow
def test_the_queue_and_the_copy_of_a_stopped_run_go_on_to_the_same_bits(
    land: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        """As a kill would."""

    save = training_run.Keeper._save

    def stop_after_four(self: Any, trainer: Any, step: int) -> None:
        save(self, trainer, step)
        if step == 4:
            raise Stopped

    def options(folder: Path) -> dict[str, Any]:
        given = dict(SMALL_SYSTEMS["moco-v2"])
        model = {"system": "moco", **given.pop("model"), "options": given.pop("options")}
        return {**land.pretraining(folder), "model": model, "mask": {}, **given}

    whole = swath.pretrain(**options(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(training_run.Keeper, "_save", stop_after_four)
        with pytest.raises(Stopped):
            swath.pretrain(**options(tmp_path / "parts"))
    again = options(tmp_path / "parts")
    again["run"]["resume"] = True
    result = swath.pretrain(**again)
    assert same_state(load(result.weights).state, load(whole.weights).state)
    states = [
        load_checkpoint(checkpoint_path(tmp_path / name / "checkpoints", 6))["state_dict"]
        for name in ("whole", "parts")
    ]
    assert int(states[0]["objective.queue_at"]) == 24 % 16
    assert states[0]["objective.queue_holds"].all()
    assert same_state(*states)
