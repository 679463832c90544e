"""Options that a system would pass over are refused, and so are masks that leave nothing to see or to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import swath
from swath.errors import ConfigError
from swath.verbs.config import load_config
from swath.verbs.networks import PRETRAINABLE
from swath.verbs.pretrain import PretrainConfig
from swath.verbs.pretrain_checks import BY_AGREEMENT, MASKS, check_options
from swath.verbs.yaml_file import recipes


def test_every_system_is_known_and_every_recipe_says_only_what_is_looked_at() -> None:
    assert {*MASKS, *BY_AGREEMENT} == set(PRETRAINABLE)
    names = [n for n in recipes() if n.startswith(("pretrain-", "demo-pretrain"))]
    assert len(names) > 15
    for name in names:
        check_options(load_config(PretrainConfig, [name], verb="pretrain"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask.ratio": 1.5}, "mask.ratio: 1.5 is not above 0 and below 1"),
        ({"mask.window": 0}, "mask.window: 0 is below 1"),
        ({"model.system": "mae", "mask.window": 2}, "mask.window: mae does not look at it"),
        ({"model.system": "spectralgpt"}, "mask.window: spectralgpt does not look at it"),
        (
            {"mask.decode_part": 0.5},
            "mask.decode_part: st_swin_mae does not look at it; leave it out; it looks at",
        ),
        ({"mask.loss": "token_only"}, "mask.loss: st_swin_mae"),
        ({"views.band_dropout": 0.4}, "views.band_dropout: st_swin_mae does not look at it"),
        ({"contrast.queue": 8}, "contrast.queue: st_swin_mae"),
        ({"tokenizer.tokens": 8}, "tokenizer.tokens: st_swin_mae"),
        ({"contrast.hidden": -3}, "contrast.hidden: -3 is below 1"),
        ({"contrast.embedding": 0}, "contrast.embedding: 0 is below 1"),
        ({"contrast.queue": 0}, "contrast.queue: 0 is below 1"),
        ({"contrast.momentum": 1.5}, "contrast.momentum: 1.5 is not within 0 and 1"),
        ({"model.system": "simclr"}, "mask.ratio: simclr does not look at it; leave it out$"),
        (
            {"data.hold_out": [], "watch.pictures_every": 5},
            "watch.pictures_every: there is no place held out",
        ),
        (
            {"mask.window": 8, "mask.ratio": 0.75},
            "mask.ratio: 0.75 hides all windows of 8 x 8 tokens on a date, of which there are 1",
        ),
    ],
)
def test_what_would_be_passed_over_is_said(
    land: Any, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        swath.pretrain(**land.pretraining(tmp_path / "new" / "run"), **change)
    assert not (tmp_path / "new").exists()


def test_systems_that_reconstruct_nothing_draw_nothing(land: Any, tmp_path: Path) -> None:
    options = land.pretraining(tmp_path / "run")
    options |= {"model": {"system": "simclr"}, "mask": {}, "watch": {"pictures_every": 5}}
    with pytest.raises(ConfigError, match="simclr reconstructs nothing"):
        swath.pretrain(**options)


@pytest.mark.parametrize(
    ("name", "value"), [("version", "v3"), ("version", "v2"), ("queue", 8), ("momentum", 0.9)]
)
def test_simclr_is_no_version_of_moco(name: str, value: object) -> None:
    layout = {"layout": {"name": "eurosat", "root": "x"}}
    plain = {"run": {"folder": "r"}, "model": {"system": "simclr"}, "data": layout}
    given = load_config(PretrainConfig, [], {**plain, f"contrast.{name}": value})
    with pytest.raises(
        ConfigError, match=rf"^contrast\.{name}: simclr does not look at it; .* contrast\.temperature"
    ):
        check_options(given)
    check_options(load_config(PretrainConfig, [], {**plain, "contrast.temperature": 0.2}))
    moco = load_config(PretrainConfig, [], {**plain, "model.system": "moco"})
    assert moco.contrast.version == "v3"  # as config.yaml then says


def test_one_image_a_batch_has_nothing_to_be_compared_with(land: Any, tmp_path: Path) -> None:
    options = land.pretraining(tmp_path / "run")
    options |= {"model": {"system": "simclr"}, "mask": {}}
    options["training"]["batch_size"] = 1
    with pytest.raises(
        ConfigError, match=r"training\.batch_size: simclr compares the images of a batch, and there is"
    ):
        swath.pretrain(**options)
