from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.errors import InputError
from swath.tasks.block_scores import ClassBlocks, MultilabelBlocks, RegressionBlocks, by_block
from swath.tasks.config import IGNORE
from swath.tasks.metrics import ClassScorer
from swath.tasks.metrics_multilabel import MultilabelScorer
from swath.tasks.metrics_regression import RegressionScorer

NAMES = ("a", "b", "c")


def batches(kind: str, seed: int):
    """(output, target, blocks) of twelve records in four blocks, in two batches."""
    draw = torch.Generator().manual_seed(seed)
    names = [f"block {i % 4}" for i in range(12)]
    if kind == "classes":
        output = torch.randn(12, 3, 4, 5, generator=draw)
        target = torch.randint(IGNORE, 3, (12, 4, 5), generator=draw)
    elif kind == "labels":
        # Few distinct values, so that there are ties.
        output = torch.randint(-3, 4, (12, 3), generator=draw).float()
        target = torch.randint(0, 2, (12, 3), generator=draw)
        target[0] = IGNORE
    else:
        output = torch.randn(12, 3, generator=draw, dtype=torch.float64)
        target = torch.randn(12, 3, generator=draw, dtype=torch.float64)
        target[torch.rand(12, 3, generator=draw) < 0.2] = torch.nan
    return [(output[:7], target[:7], names[:7]), (output[7:], target[7:], names[7:])]


def flat(value, name=""):
    """{path: leaf} of nested plain values."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in items for k, v in flat(part, f"{name}.{key}").items()}
    return {name: value}


SCORERS = {"classes": ClassScorer, "labels": MultilabelScorer, "values": RegressionScorer}


@pytest.mark.parametrize("kind", SCORERS)
def test_all_blocks_together_are_what_the_scorer_says(kind):
    plain, blocks = SCORERS[kind](NAMES), by_block(SCORERS[kind](NAMES))
    for output, target, names in batches(kind, 1):
        plain.update(output, target)
        blocks.update(output, target, names)
    assert flat(blocks.compute().to_dict()) == pytest.approx(flat(plain.compute().to_dict()))
    assert set(blocks.blocks) == {f"block {i}" for i in range(4)}


@pytest.mark.parametrize("kind", SCORERS)
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_drawn_blocks_score_as_if_their_records_were_repeated(kind, seed):
    times = np.random.default_rng(seed).multinomial(4, [0.25] * 4)
    drawn, blocks = SCORERS[kind](NAMES), by_block(SCORERS[kind](NAMES))
    for output, target, names in batches(kind, seed):
        blocks.update(output, target, names)
        for b, name in enumerate(names):
            for _ in range(times[int(name.split()[1])]):
                drawn.update(output[b : b + 1], target[b : b + 1])
    row = torch.tensor([[times[int(name.split()[1])] for name in blocks.blocks]])
    found = blocks.resampled(torch.cat([torch.ones_like(row), row]))
    expected = drawn.compute()
    for name, value in expected.summary().items():
        assert float(found[name][1]) == pytest.approx(value, nan_ok=True), name
    for row_of in getattr(expected, "outputs", None) or expected.classes:
        for key, values in found.items():
            metric, _, name = key.partition(".")
            if name == row_of.name:
                said = getattr(row_of, metric)
                assert float(values[1]) == pytest.approx(said, nan_ok=True), key
    # The first set is the whole.
    whole = blocks.compute().summary()
    assert {k: float(found[k][0]) for k in whole} == pytest.approx(whole, nan_ok=True)


def test_blocks_without_a_label_are_not_drawn():
    blocks = ClassBlocks(NAMES)
    target = torch.tensor([[0, 1], [IGNORE, IGNORE]])
    blocks.update_classes(torch.zeros_like(target), target, ["here", "nothing"])
    assert blocks.blocks == ("here",)
    values = RegressionBlocks(("v",))
    values.update(torch.zeros(2, 1), torch.tensor([[0.0], [torch.nan]]), ["here", "nothing"])
    assert values.blocks == ("here",)
    labels = MultilabelBlocks(NAMES)
    labels.update(torch.zeros(2, 3), torch.tensor([[0, 1, 0], [IGNORE] * 3]), ["here", "nothing"])
    assert labels.blocks == ("here",)


def test_garbage_is_refused():
    with pytest.raises(InputError, match="predictions are"):
        ClassBlocks(NAMES).update_classes(torch.zeros(2, 3), torch.zeros(2, 4), ["a", "b"])
    with pytest.raises(InputError, match=r"of 1 block$"):
        MultilabelBlocks(NAMES).update(torch.zeros(2, 3), torch.zeros(2, 3), ["a"])
    for empty in (ClassBlocks(NAMES), MultilabelBlocks(NAMES), RegressionBlocks(NAMES)):
        with pytest.raises(InputError, match="nothing was scored"):
            empty.compute()
    with pytest.raises(InputError, match="keeps no blocks"):
        by_block(object())


def test_numbers_are_plain():
    blocks = by_block(ClassScorer(NAMES))
    for output, target, names in batches("classes", 3):
        blocks.update(output, target, names)
    json.dumps(blocks.compute().to_dict(), allow_nan=False)
