"""Decoding a part of the places estimates the loss without bias."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from swath.errors import ConfigError
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.pretraining.place_sample import PlaceSample, draw_places
from swath.pretraining.spectralgpt import LOSSES, SpectralGPTObjective, SpectralGPTObjectiveConfig

SUM = replace(LOSSES["three_target"], reduction="sum")
NM = tuple(450.0 + 150 * i for i in range(6))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def objective(
    loss: SpectralGPTObjectiveConfig = LOSSES["three_target"], part: float = 0.5, keys: str = "visible"
) -> SpectralGPTObjective:
    torch.manual_seed(0)
    config = SpectralGPTConfig(
        wavelengths=NM, image_size=8, patch_size=4, embed_dim=16, depth=1, heads=2, decoder_embed_dim=8,
        decoder_depth=2, decoder_heads=2, decoder_keys=keys, temporal=True,
    )  # fmt: skip
    return SpectralGPTObjective(SpectralGPT(config), replace(loss, mask_ratio=0.6, decode_part=part)).double()


def test_places_are_drawn_evenly_and_the_same_in_all_parts() -> None:
    sample = draw_places(draw(4000, 6), 2, 3)
    assert sample is not None
    assert sample.inside.sum(1).eq(2).all()
    assert (sample.inside.double().mean(0) - sample.single).abs().max() < 0.03
    both = (sample.inside[:, 0] & sample.inside[:, 3]).double().mean()
    assert both.item() == pytest.approx(sample.pair, abs=0.02)
    tokens = sample.tokens.reshape(4000, 3, 2)
    assert torch.equal(tokens[:, 1], tokens[:, 0] + 6) and torch.equal(tokens[:, 2], tokens[:, 0] + 12)
    assert draw_places(draw(2, 6), 6, 3) is None


def every_sample(places: int, count: int, parts: int, b: int) -> list[PlaceSample]:
    samples = []
    for chosen in itertools.combinations(range(places), count):
        noise = torch.ones(b, places)
        noise[:, list(chosen)] = 0.0
        sample = draw_places(noise, count, parts)
        assert sample is not None
        samples.append(sample)
    return samples


@pytest.mark.parametrize("count", [2, 3])
def test_the_square_of_a_sum_over_all_samples(count: int) -> None:
    x = draw(1, 5).double() - 0.3
    estimates = [s.square_of_sum(x * s.inside, dim=1) for s in every_sample(5, count, 1, 1)]
    torch.testing.assert_close(torch.stack(estimates).mean(0), x.sum(1).square())


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("loss", [*LOSSES.values(), SUM, replace(SUM, norm_pix_loss=True)])
def test_the_mean_over_all_draws_is_the_whole_loss_and_its_gradient(
    loss: SpectralGPTObjectiveConfig, gaps: bool
) -> None:
    """Over every choice of two of four places: exactly, for each term, with validity, for the gradient too."""
    module = objective(loss)
    x = draw(2, 2, 6, 8, 8).double()
    valid = draw(2, 2, 6, 8, 8, seed=1) > 0.3 if gaps else None
    if valid is not None:
        valid[0, :, :3, :4, :4] = False
        valid[1, 1] = False
    mask = draw(2, 2 * 2 * 4, seed=2)
    module.eval()
    whole = module(x, valid, noise=torch.cat([mask, torch.zeros(2, 4)], 1))
    module.train()
    terms: dict[str, list[Tensor]] = {}
    total = torch.zeros((), dtype=torch.float64)
    choices = list(itertools.combinations(range(4), 2))
    for chosen in choices:
        places = torch.ones(2, 4)
        places[:, list(chosen)] = 0.0
        out = module(x, valid, noise=torch.cat([mask, places], 1))
        total = total + out.loss / len(choices)
        for name, part in out.parts.items():
            assert torch.equal(part.count, whole.parts[name].count)
            terms.setdefault(name, []).append(part.numerator)
    assert len({round(float(t.detach()), 9) for t in terms["token"]}) > 1
    for name, found in terms.items():
        torch.testing.assert_close(torch.stack(found).mean(), whole.parts[name].numerator)
    gradients = [
        torch.autograd.grad(v, list(module.parameters()), allow_unused=True) for v in (total, whole.loss)
    ]
    for a, b in zip(*gradients, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-6)


def test_hidden_tokens_do_not_see_each_other() -> None:
    network = objective().network
    tokens = network.tokenize(draw(1, 1, 6, 8, 8).double())
    keep = torch.tensor([[1, 6]])
    latent = network.encode(tokens, None, keep)
    whole = network.decode(latent, tokens, keep)
    some = network.decode(latent, tokens, keep, asked=torch.tensor([[0, 5]]))
    torch.testing.assert_close(some[:, [0, 1, 5, 6]], whole[:, [0, 1, 5, 6]])
    assert not some[:, [2, 3, 4, 7]].any()
    shown = objective(keys="all", part=1.0).network
    shown.load_state_dict(network.state_dict())  # the same parameters; attention differs
    assert not torch.allclose(shown.decode(latent, tokens, keep), whole)


def test_a_decoder_that_sees_all_cannot_be_asked_for_a_part() -> None:
    with pytest.raises(ConfigError, match='decoder_keys to "visible"'):
        objective(keys="all")
    with pytest.raises(ConfigError, match=r"is not in \(0, 1\]"):
        objective(part=0.0)
    with pytest.raises(ConfigError, match="unknown decoder_keys"):
        SpectralGPTConfig(decoder_keys="some")
