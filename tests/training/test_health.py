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


def test_random_features_live_and_equal_or_broken_ones_are_collapsed() -> None:
    draw = torch.Generator().manual_seed(0)
    alive = torch.randn(200, 16, generator=draw)
    told = health(alive)
    assert told.rank > 14 and told.spread == pytest.approx(1.0, abs=0.1) and not told.collapsed
    assert health(torch.ones(50, 16)).collapsed and health(torch.ones(50, 16)).rank == 0
    # Full rank around one far point: dimensions are used, and all samples still look alike.
    near = 100.0 + torch.randn(200, 16, generator=draw)
    assert health(near).rank > 14 and health(near).collapsed
    line = torch.randn(200, 1, generator=draw) * torch.randn(1, 16, generator=draw)
    assert health(line).rank == pytest.approx(1.0, abs=1e-4) and health(line).collapsed
    alive[3, 3] = float("nan")
    assert health(alive).collapsed and not health(alive).finite
