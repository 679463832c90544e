"""Networks from options."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from swath.contract import InputContract, contract_for
from swath.cube import Encoding
from swath.errors import ConfigError
from swath.models.spectralgpt import SpectralGPT
from swath.models.st_swin import STSwinMAE, STSwinUNet
from swath.models.unet import UNet
from swath.verbs.head_options import HeadOptions
from swath.verbs.networks import configure, presets, pretraining_network
from swath.verbs.options import ModelOptions
from swath.verbs.task_network import task_network
from swath.weights.build import meta_for
from swath.weights.file import Loaded

SMALL: dict[str, Any] = {"embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "decoder_depths": [1]}
MAE = ModelOptions("st_swin_mae", "tiny", SMALL)
UNET = ModelOptions("st_swin_unet", "tiny", {**SMALL, "stem_skip": True})


def map_network(
    model: ModelOptions, data: InputContract, classes: int, source: Loaded | None = None
) -> nn.Module:
    return task_network(source, model, HeadOptions(), data, "segmentation", classes)[0]


@pytest.fixture
def contract() -> InputContract:
    return contract_for("landsat7", ("B2", "B3", "B4"), Encoding("dn", 1.0, 0.0), max_dates=1)


def test_the_data_fix_bands_and_sizes(contract: InputContract) -> None:
    mae = pretraining_network(MAE, contract, 16)
    assert isinstance(mae, STSwinMAE)
    assert (mae.config.bands, mae.config.embed_dim, mae.config.depths) == (3, 8, (1, 1))
    small = {
        "embed_dim": 24,
        "depth": 1,
        "heads": 2,
        "decoder_embed_dim": 12,
        "decoder_heads": 2,
        "decoder_depth": 1,
    }
    gpt = pretraining_network(ModelOptions("spectralgpt", "", small), contract, 20)
    assert isinstance(gpt, SpectralGPT)
    assert gpt.config.image_size == 24  # whole tokens of 8 pixels
    assert gpt.config.wavelengths == contract.wavelengths
    assert gpt.config.temporal is False
    unet = map_network(ModelOptions("unet", "unet_16", {"levels": 2}), contract, 5)
    assert isinstance(unet, UNet)
    assert (unet.config.bands, unet.config.classes) == (3, 5)


def test_options_of_a_unet_go_to_it_or_to_its_backbone(contract: InputContract) -> None:
    network = map_network(UNET, contract, 4)
    assert isinstance(network, STSwinUNet)
    assert network.map_config.stem_skip is True
    assert network.map_config.backbone.embed_dim == 8
    assert network.map_config.classes == 4


def test_the_backbone_of_pretrained_weights_is_kept_and_may_not_be_contradicted(
    contract: InputContract,
) -> None:
    mae = pretraining_network(MAE, contract, 16)
    theirs = Loaded(mae.state_dict(), meta_for(mae, contract=contract), "", Path("w"))
    network = map_network(ModelOptions("st_swin_unet"), contract, 4, theirs)
    assert isinstance(network, STSwinUNet)
    assert network.map_config.backbone == mae.config
    softer = ModelOptions("st_swin_unet", "tiny", {**SMALL, "drop_path": 0.3})
    network = map_network(softer, contract, 4, theirs)
    assert isinstance(network, STSwinUNet)
    assert network.map_config.backbone.drop_path == 0.3
    wider = ModelOptions("st_swin_unet", "tiny", {**SMALL, "embed_dim": 16})
    with pytest.raises(
        ConfigError, match=r"^model: embed_dim is to be 16, but the pretrained weights have 8"
    ):
        map_network(wider, contract, 4, theirs)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            ModelOptions("st_swin_mea"),
            "model.system: unknown system 'st_swin_mea'; did you mean st_swin_mae?",
        ),
        (ModelOptions("zzz"), "model.system: unknown system 'zzz'; use one of st_swin_mae, spectralgpt"),
        (
            ModelOptions("st_swin_mae", "tiyn"),
            "model.preset: unknown preset of st_swin_mae 'tiyn'; did you mean tiny?",
        ),
        (
            ModelOptions("st_swin_mae", "tiny", {"depht": 3}),
            "model.options: unknown option of st_swin_mae 'depht'; did",
        ),
        (ModelOptions("satmae"), "model.options.groups: the bands B2, B3, B4 are not those of the published"),
        (
            ModelOptions("mae", "", {"groups": [["B2", "B3"]]}),
            "model.options.groups: B4 is in no group; put each of B2, B3, B4 into one group",
        ),
        (ModelOptions("mae", "", {"groups": [["B2", "B9"]]}), "model.options.groups: there is no band B9"),
        (ModelOptions("mae", "", {"groups": "B2"}), "model.options.groups: is no list of lists of bands"),
        (
            ModelOptions("st_swin_mae", "tiny", {"bands": 3}),
            "model.options: bands is set by the data; leave it out",
        ),
    ],
)
def test_what_is_unknown_is_said_with_what_was_meant(
    contract: InputContract, model: ModelOptions, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        pretraining_network(model, contract, 16)
    assert str(caught.value).startswith(words)


def test_every_family_has_presets_and_the_first_is_the_default() -> None:
    for system in (
        "st_swin_mae",
        "st_swin_unet",
        "spectralgpt",
        "unet",
        "mae",
        "satmae",
        "beit",
        "simclr",
        "moco",
    ):
        named = presets(system)
        config_of = "st_swin_mae" if system == "st_swin_unet" else system
        assert configure(ModelOptions(config_of)) == next(iter(named.values()))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            ModelOptions("st_swin_mae", "tiny", {"depths": 2}),
            "model.options.depths: 'depths' must be a list of",
        ),
        (
            ModelOptions("st_swin_mae", "tiny", {"patch_size": 2}),
            "'patch_size' must be a list of 3 whole numbers",
        ),
        (ModelOptions("spectralgpt", "", {"depth": "one"}), "'depth' must be a whole number, not 'one'"),
        (ModelOptions("unet", "", {"dropout": "much"}), "'dropout' must be a number, not 'much'"),
        (ModelOptions("st_swin_unet", "tiny", {"stem_width": "wide"}), "'stem_width' must be a whole number"),
    ],
)
def test_options_of_a_wrong_type_are_named(contract: InputContract, model: ModelOptions, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        if model.system in ("unet", "st_swin_unet"):
            map_network(model, contract, 3)
        else:
            pretraining_network(model, contract, 16)


@pytest.mark.parametrize(
    "system", ["spectralgpt", "mae", "beit", "simclr", "moco", "st_swin_mae", "swin_mae"]
)
def test_sizes_that_no_network_has_are_refused_by_name(system: str, contract: InputContract) -> None:
    config = next(iter(presets(system).values()))
    small = SMALL if hasattr(config, "depths") else {"embed_dim": 24, "depth": 1, "heads": 2}
    for field in fields(config):
        usual = getattr(config, field.name)
        if (
            isinstance(usual, bool)
            or not isinstance(usual, int | float)
            or field.name in ("bands", "image_size")
        ):
            continue
        for value in (-1, math.nan, None, "x", 10**5):
            try:
                configure(ModelOptions(system, "", {**small, field.name: value}))
            except ConfigError as err:
                assert field.name in str(err)
            else:
                assert value == 10**5 and isinstance(usual, int)
    for name in ("mlp_ratio", "drop_path"):
        with pytest.raises(ConfigError, match=rf"^model\.options\.{name}: is -1; give"):
            pretraining_network(ModelOptions(system, "", {**small, name: -1}), contract, 16)
