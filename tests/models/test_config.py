from __future__ import annotations

import json

import pytest

from swath.errors import ConfigError
from swath.models.spectralgpt import PRESETS, SpectralGPTConfig


@pytest.mark.parametrize("name", list(PRESETS))
def test_through_json_and_back(name: str) -> None:
    config = PRESETS[name]
    assert SpectralGPTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="embed_dim"):
        SpectralGPTConfig.from_dict({"embed_dims": 3})


@pytest.mark.parametrize(
    "wrong",
    [{"wavelengths": ()}, {"image_size": 100}, {"heads": 7}, {"positions": "sincos"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_values_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SpectralGPTConfig.from_dict(wrong)
