from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from swath.errors import ConfigError, WeightsError
from swath.models.features import Features
from swath.scenes.features import FeatureMap


class Encoder(nn.Module):
    """Two levels, of strides 4 and 8; at each date without data all is 0."""

    def features(self, pixels, valid, days=None, wavelengths=None):
        b, t, _, h, w = pixels.shape
        seen = valid.flatten(2).any(2).float()
        ones = torch.arange(1.0, t + 1)[None, :] * seen  # the value of a date is its number
        maps = [
            ones[:, :, None, None, None, None].expand(b, t, 2, d, h // s, w // s) for d, s in ((3, 4), (5, 8))
        ]
        return Features(tuple(maps), (4, 8), torch.full((b, 7), 2.0))


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()


@pytest.mark.parametrize("network", [Encoder(), Wrapped()])
def test_the_mean_of_dates_and_groups_that_hold_data(network: nn.Module) -> None:
    pixels = torch.zeros(1, 3, 2, 16, 24)
    valid = torch.ones_like(pixels, dtype=torch.bool)
    valid[:, 1] = False
    fine = FeatureMap(network, 0)(pixels, valid, None, ())
    assert fine.shape == (1, 3, 4, 6) and (fine == 2.0).all()  # of dates 1 and 3
    assert FeatureMap(network, -1)(pixels, valid, None, ()).shape == (1, 5, 2, 3)
    assert (FeatureMap(network)(pixels, torch.zeros_like(valid), None, ()) == 0).all()
    pooled = FeatureMap(network, pooled=True)(pixels, valid, None, ())
    assert pooled.shape == (1, 7, 1, 1) and (pooled == 2.0).all()


def test_how_many_and_how_large(fakes: SimpleNamespace) -> None:
    square, wide = fakes.contract(size=(16, 16)), fakes.contract(size=(16, 24))
    assert FeatureMap(Encoder(), 0).shape(1, square) == (3, 4)
    assert FeatureMap(Encoder(), 1).shape(2, wide) == (5, 8)
    assert FeatureMap(Encoder(), pooled=True).shape(1, square) == (7, 16)
    with pytest.raises(ConfigError, match="windows of 16x24 pixels make no square cells; leave it out"):
        FeatureMap(Encoder(), pooled=True).shape(1, wide)
    for level in (2, -3):
        with pytest.raises(ConfigError, match=f"there is no level {level}, the encoder has 2; use 0 to 1"):
            FeatureMap(Encoder(), level).shape(1, square)


def test_a_network_that_encodes_nothing() -> None:
    with pytest.raises(WeightsError, match="Linear has no encoder"):
        FeatureMap(nn.Linear(2, 2))
