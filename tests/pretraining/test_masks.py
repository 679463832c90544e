from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.pretraining.masks import kept, random_tokens


@pytest.mark.parametrize(("tokens", "count"), [(576, 57), (1024, 102), (64, 6), (8, 1), (1, 1)])
def test_kept_rounds_as_published_and_keeps_one(tokens: int, count: int) -> None:
    assert kept(tokens, 0.9) == count


@given(st.integers(1, 4), st.integers(1, 30), st.floats(0.0, 0.99), st.integers(0, 999))
def test_only_valid_tokens_are_drawn(b: int, n: int, ratio: float, seed: int) -> None:
    gen = torch.Generator().manual_seed(seed)
    noise, valid = torch.rand(b, n, generator=gen), torch.rand(b, n, generator=gen) > 0.4
    mask = random_tokens(noise, valid, ratio)
    for i in range(b):
        entries = mask.keep[i] if mask.keep_valid is None else mask.keep[i][mask.keep_valid[i]]
        count = int(valid[i].sum())
        assert len(entries) == (kept(count, ratio) if count else 0)
        assert valid[i][entries].all()
        visible = torch.zeros(n, dtype=torch.bool).scatter(0, entries, True)
        assert torch.equal(mask.hidden[i], valid[i] & ~visible)
        if mask.hidden[i].any() and visible.any():
            assert noise[i][visible].max() <= noise[i][mask.hidden[i]].min()


@given(st.integers(1, 30), st.floats(0.0, 0.99), st.integers(0, 999))
def test_all_valid_equals_no_validity(n: int, ratio: float, seed: int) -> None:
    noise = torch.rand(2, n, generator=torch.Generator().manual_seed(seed))
    a, b = random_tokens(noise, None, ratio), random_tokens(noise, torch.ones(2, n, dtype=torch.bool), ratio)
    assert torch.equal(a.keep, b.keep) and torch.equal(a.hidden, b.hidden) and b.keep_valid is None


def test_ratio_is_checked() -> None:
    with pytest.raises(ValueError, match="mask ratio"):
        random_tokens(torch.rand(1, 4), None, 1.0)
