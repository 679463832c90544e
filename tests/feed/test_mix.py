from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.bands import sensor
from swath.cube import CubeBatch
from swath.errors import ConfigError, InputError
from swath.feed.mix import BLOCK, MixFeed, quotas

WEIGHTS = st.lists(st.floats(0.01, 100), min_size=1, max_size=5)


class Numbers:
    """Sample n holds n."""

    def __init__(self, name: str, size: int = 2) -> None:
        self.name, self.size = name, size

    def take(self, first: int, count: int) -> CubeBatch:
        bands = sensor("landsat7").select(("B2",))
        pixels = (
            torch.arange(first, first + count)
            .float()
            .view(-1, 1, 1, 1, 1)
            .expand(-1, 1, 1, self.size, self.size)
        )
        one = torch.ones(count, 1)
        ids = tuple(f"{self.name}{n}" for n in range(first, first + count))
        return CubeBatch(pixels, pixels >= 0, bands, torch.zeros(count, 1, 2), one, one, ids)


@given(WEIGHTS)
def test_quotas_fill_a_block_in_proportion(weights: list[float]) -> None:
    places = quotas(weights)
    assert places.sum() == BLOCK and (places >= 1).all()
    for got, w in zip(places, weights, strict=True):
        assert abs(got - w / sum(weights) * BLOCK) <= max(1, len(weights))


@given(WEIGHTS, st.integers(0, 5), st.integers(0, 3 * BLOCK), st.integers(1, 7))
def test_samples_are_a_pure_function_of_their_number(
    weights: list[float], seed: int, first: int, count: int
) -> None:
    feeds = [Numbers(chr(97 + i)) for i in range(len(weights))]
    mixed = MixFeed(feeds, weights, seed=seed)
    whole = mixed.take(first, count)
    again = MixFeed(feeds, weights, seed=seed)
    single = [again.take(n, 1) for n in reversed(range(first, first + count))][::-1]
    assert whole.ids == tuple(b.ids[0] for b in single)
    assert torch.equal(whole.pixels, torch.cat([b.pixels for b in single]))


def test_each_feed_goes_through_its_own_numbers_once_in_order() -> None:
    mixed = MixFeed([Numbers("a"), Numbers("b")], [3, 1], seed=2)
    ids = mixed.take(0, 2 * BLOCK).ids
    assert [n for n in ids if n[0] == "a"] == [f"a{i}" for i in range(384)]
    assert [n for n in ids if n[0] == "b"] == [f"b{i}" for i in range(128)]
    assert Counter(n[0] for n in ids[:64]).keys() == {"a", "b"}  # mixed, not one after the other
    assert MixFeed([Numbers("a"), Numbers("b")], [3, 1], seed=3).take(0, 64).ids != ids[:64]


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(InputError, match=r"mix data of the same bands"):
        MixFeed([Numbers("a"), Numbers("b", size=3)], [1, 1]).take(0, BLOCK)
    with pytest.raises(ConfigError, match="not all above 0"):
        MixFeed([Numbers("a"), Numbers("b")], [1, 0])
