from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.training.health import effective_rank, health


@given(st.integers(1, 6), st.integers(0, 1000))
def test_the_effective_rank_is_the_number_of_equal_directions(rank: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(40, 40, generator=draw, dtype=torch.float64))[0]
    flat = basis[:, :rank] @ torch.linalg.qr(torch.randn(8, 8, generator=draw, dtype=torch.float64))[0][:rank]
    assert effective_rank(flat) == pytest.approx(rank, abs=1e-6)


def features(seed: int = 0, samples: int = 200, width: int = 16) -> torch.Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed))


def test_random_features_live_and_equal_or_broken_ones_are_collapsed() -> None:
    alive = features()
    told = health(alive)
    assert told.rank > 14 and told.variation == pytest.approx(1.0, abs=0.01) and not told.collapsed
    assert health(torch.ones(50, 16)).collapsed and health(torch.ones(50, 16)).rank < 1e-6
    assert health(torch.zeros(50, 16)).collapsed
    line = features(width=1) * torch.linspace(-1, 1, 16)
    assert health(line).rank == pytest.approx(1.0, abs=1e-4) and health(line).collapsed
    alive[3, 3] = float("nan")
    assert health(alive).collapsed and not health(alive).finite


@pytest.mark.parametrize("mean", [1.0, 10.0, 100.0])
def test_a_mean_that_all_share_is_no_collapse_and_hides_none(mean: float) -> None:
    shared = mean * torch.ones(16)
    told = health(shared + features())
    assert told.rank > 14 and not told.collapsed
    assert told.variation == pytest.approx(1 / (1 + mean**2) ** 0.5, rel=0.05)
    along = features(width=1) * torch.linspace(-1, 1, 16)
    assert health(shared + along).collapsed
    assert health(shared + 1e-4 * mean * features()).collapsed


def test_one_large_feature_is_no_collapse() -> None:
    x = features()
    x[:, 3] *= 1000
    assert health(x).rank > 14 and not health(x).collapsed


@given(st.floats(0.01, 1e4), st.integers(0, 100))
def test_the_unit_of_features_changes_nothing(scale: float, seed: int) -> None:
    x = features(seed, 40, 8) + 1.0
    one, other = health(x), health(scale * x)
    assert other.rank == pytest.approx(one.rank, rel=1e-3)
    assert other.variation == pytest.approx(one.variation, rel=1e-3)


def test_few_samples_are_not_told_to_collapse_for_being_few() -> None:
    for samples in (2, 3):
        assert not health(features(1, samples)).collapsed
        assert health(torch.ones(samples, 16)).collapsed
