from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from swath.errors import InputError
from swath.tasks.config import IGNORE
from swath.tasks.metrics_multilabel import MultilabelScorer


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_scores_are_those_of_scikit_learn_over_the_whole_set(seed, k, batches, ties):
    draw = np.random.default_rng(seed)
    truth = (draw.random((40, k)) < 0.3).astype(np.int64)
    truth[0] = 1
    truth[:, draw.integers(k)] *= draw.integers(2)  # a class may be absent
    if not truth.any():
        truth[0, 0] = 1
    logits = draw.normal(size=(40, k)).round(1 if ties else 6)
    marked = truth.copy()
    marked[5] = IGNORE
    collected = MultilabelScorer([f"c{i}" for i in range(k)])
    for part in np.array_split(np.arange(40), batches):
        collected.update(torch.from_numpy(logits[part]), torch.from_numpy(marked[part]))
    got = collected.compute()
    kept = np.arange(40) != 5
    a, p = truth[kept], torch.from_numpy(logits[kept]).float().sigmoid().numpy()
    present = [i for i in range(k) if a[:, i].any()]
    each = [reference.average_precision_score(a[:, i], p[:, i]) for i in present]
    assert got.map_macro == pytest.approx(np.mean(each))
    assert got.map_micro == pytest.approx(reference.average_precision_score(a.ravel(), p.ravel()))
    guess = p > 0.5
    f1 = [reference.f1_score(a[:, i], guess[:, i], zero_division=0) for i in present]
    assert got.f1_macro == pytest.approx(np.mean(f1))
    assert got.f1_micro == pytest.approx(reference.f1_score(a.ravel(), guess.ravel(), zero_division=0))
    assert got.count == 39 and got.absent == tuple(f"c{i}" for i in range(k) if i not in present)
    json.dumps(got.to_dict(), allow_nan=False)


def test_batches_that_differ_in_what_they_hold_are_not_averaged():
    # One batch holds all positives: the mean of per-batch average precisions would be another number.
    logits = torch.tensor([[3.0], [2.0], [1.0], [4.0], [-1.0], [0.5]])
    truth = torch.tensor([[1], [1], [1], [0], [0], [0]])
    whole, parts = MultilabelScorer(["a"]), MultilabelScorer(["a"])
    whole.update(logits, truth)
    for i in range(0, 6, 3):
        parts.update(logits[i : i + 3], truth[i : i + 3])
    assert parts.compute() == whole.compute()
    assert whole.compute().map_macro == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3)


def test_records_without_labels_do_not_count_and_absent_classes_are_named():
    scorer = MultilabelScorer(["a", "b"])
    scorer.update(torch.tensor([[1.0, -1.0], [-5.0, 5.0]]), torch.tensor([[1, 0], [IGNORE, IGNORE]]))
    got = scorer.compute()
    assert got.count == 1 and got.map_macro == 1.0 and got.absent == ("b",) and "leave out b" in got.note


def test_nothing_to_score_is_an_error():
    with pytest.raises(InputError, match="nothing was scored"):
        MultilabelScorer(["a"]).compute()
    empty = MultilabelScorer(["a"])
    empty.update(torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(InputError, match="no record bears"):
        empty.compute()
