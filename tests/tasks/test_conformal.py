from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import ConfigError, InputError
from swath.tasks import conformal
from swath.tasks.conformal import (
    BlockValues,
    Threshold,
    class_scores,
    class_sets,
    label_scores,
    possible_labels,
    sure_labels,
    threshold,
    value_scores,
)


@given(
    st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=6), min_size=1, max_size=6),
    st.floats(0.05, 0.95),
)
def test_the_threshold_is_that_of_a_loop(blocks, level):
    found = threshold([torch.tensor(b, dtype=torch.float64) for b in blocks], level)
    n = len(blocks)

    def reached(value: float) -> float:
        return sum(sum(s <= value for s in b) / len(b) for b in blocks) / (n + 1)

    everything = sorted({s for b in blocks for s in b})
    fitting = [v for v in everything if reached(v) >= level - 1e-12]
    assert found.value == (fitting[0] if fitting else math.inf)


def test_one_score_a_block_is_the_plain_split_conformal_quantile():
    draw = np.random.default_rng(0)
    scores = draw.random(99)
    found = threshold([torch.tensor([s]) for s in scores], 0.9)
    assert found.value == pytest.approx(np.sort(scores)[math.ceil(0.9 * 100) - 1])


def test_blocks_that_are_drawn_alike_are_covered_as_often_as_promised():
    draw = np.random.default_rng(1)
    level, n, tried = 0.8, 30, 400

    def block(size: int) -> np.ndarray:
        # A block's own level of error is what its pixels share; blocks have unequal sizes.
        return np.abs(draw.normal(size=size)) * np.exp(draw.normal()) + np.exp(draw.normal())

    covered, plain = [], []
    for _ in range(tried):
        blocks = [block(int(draw.integers(1, 80))) for _ in range(n)]
        found = threshold([torch.from_numpy(b) for b in blocks], level)
        new = block(50)
        covered.append((new <= found.value).mean())
        plain.append((new <= np.quantile(np.concatenate(blocks), level)).mean())
    error = np.std(covered) / math.sqrt(tried)
    # At least the level, and by no more than one block of n + 1 above it.
    assert level - 3 * error <= np.mean(covered) <= level + 1 / (n + 1) + 3 * error


def test_sets_hold_the_truth_as_often_as_they_say():
    draw = torch.Generator().manual_seed(0)

    def blocks(count: int):
        for _ in range(count):
            logits = torch.randn(40, 4, generator=draw) * 2 + torch.randn(4, generator=draw)
            yield logits.softmax(1), torch.multinomial((logits / 3).softmax(1), 1, generator=draw)[:, 0]

    found = threshold([class_scores(p, t) for p, t in blocks(200)], 0.9)
    held = [float(class_sets(p, found).gather(1, t[:, None]).float().mean()) for p, t in blocks(200)]
    assert np.mean(held) == pytest.approx(0.9, abs=4 * np.std(held) / math.sqrt(200))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 8), st.integers(-1, 1)), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 8),
)
def test_sets_of_labels_are_those_of_a_loop(rows, limit):
    p = torch.tensor([[v / 8 for v, _ in row] for row in rows], dtype=torch.float64)
    target = torch.tensor([[t for _, t in row] for row in rows])
    possible, sure = label_scores(p, target)
    found = Threshold(0.9, limit / 8, 9)
    may, must = possible_labels(p, found), sure_labels(p, found)
    for i, row in enumerate(rows):
        bears = {k for k, (_, t) in enumerate(row) if t == 1}
        lacks = {k for k, (_, t) in enumerate(row) if t == 0}
        assert float(possible[i]) == max((1 - row[k][0] / 8 for k in bears), default=0)
        assert float(sure[i]) == max((row[k][0] / 8 for k in lacks), default=0)
        # A score up to the threshold is a promise that was kept, and no other is.
        in_set, certain = ({k for k in range(3) if s[i, k]} for s in (may, must))
        assert (bears <= in_set) == (float(possible[i]) <= limit / 8)
        assert (not certain & lacks) == (float(sure[i]) <= limit / 8)


def test_sets_of_labels_keep_their_promise_in_new_blocks():
    draw = torch.Generator().manual_seed(0)

    def blocks(count: int):
        for _ in range(count):
            logits = torch.randn(30, 5, generator=draw) * 2 + torch.randn(5, generator=draw)
            yield logits.sigmoid(), (torch.rand(30, 5, generator=draw) < (logits / 2).sigmoid()).long()

    level, n = 0.9, 200
    scores = [label_scores(p, t) for p, t in blocks(n)]
    possible, sure = (threshold([s[i] for s in scores], level) for i in (0, 1))
    held = [
        (
            float((possible_labels(p, possible) | (t == 0)).all(1).float().mean()),
            float((~sure_labels(p, sure) | (t == 1)).all(1).float().mean()),
        )
        for p, t in blocks(n)
    ]
    for values in zip(*held, strict=True):
        assert np.mean(values) == pytest.approx(level, abs=4 * np.std(values) / math.sqrt(n))


def test_too_few_blocks_promise_nothing_and_say_how_many_would():
    few = threshold([torch.rand(100) for _ in range(8)], 0.9)
    assert math.isinf(few.value) and "give 9 or more" in few.note
    assert class_sets(torch.rand(2, 3), few).all() and possible_labels(torch.rand(2, 3), few).all()
    assert not sure_labels(torch.rand(2, 3), few).any()
    enough = threshold([torch.rand(100) for _ in range(9)], 0.9)
    assert math.isfinite(enough.value) and enough.note == ""


def test_big_blocks_are_thinned_by_seed(monkeypatch):
    monkeypatch.setattr(conformal, "PER_BLOCK", 10)
    kept = []
    for seed in (0, 0, 1):
        values = BlockValues(seed)
        values.add("a", torch.arange(60))
        values.add("a", torch.arange(60, 100))
        values.add("b", torch.arange(3))
        values.add("c", torch.arange(0))
        assert values.blocks == ("a", "b") and len(values.rows("b")) == 3
        kept.append(values.rows("a").tolist())
    assert kept[0] == kept[1] != kept[2] and len(set(kept[0])) == 10 and max(kept[0]) > 50


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="no label"):
        threshold([torch.zeros(0)], 0.9)
    with pytest.raises(ConfigError, match="level"):
        threshold([torch.zeros(3)], 1.0)
    assert value_scores(torch.tensor([1.0]), torch.tensor([3.0])).tolist() == [2.0]
