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
from swath.tasks.metrics import Confusion


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 4))
def test_scores_are_those_of_scikit_learn_over_the_whole_set(seed, k, batches):
    draw = np.random.default_rng(seed)
    held = draw.permutation(k)[: draw.integers(1, k + 1)]  # some classes may be absent
    truth = draw.choice(held, 60)
    guess = np.where(draw.random(60) < 0.5, truth, draw.integers(0, k, 60))
    marked = np.where(draw.random(60) < 0.2, IGNORE, truth)
    marked[0] = truth[0]
    collected = Confusion([f"c{i}" for i in range(k)])
    for part in np.array_split(np.arange(60), batches):
        collected.update(torch.from_numpy(guess[part]), torch.from_numpy(marked[part]))
    got = collected.compute()

    a, b = marked[marked != IGNORE], guess[marked != IGNORE]
    present = sorted(set(a.tolist()))
    assert got.overall_accuracy == pytest.approx(reference.accuracy_score(a, b))
    f1 = reference.f1_score(a, b, labels=present, average="macro", zero_division=0)
    assert got.macro_f1 == pytest.approx(f1)
    miou = reference.jaccard_score(a, b, labels=present, average="macro", zero_division=0)
    assert got.miou == pytest.approx(miou)
    np.testing.assert_array_equal(got.confusion, reference.confusion_matrix(a, b, labels=range(k)))
    assert got.count == len(a) and [c.support for c in got.classes] == np.bincount(a, minlength=k).tolist()
    assert got.absent == tuple(f"c{i}" for i in range(k) if i not in present)
    assert bool(got.note) == bool(got.absent)
    json.dumps(got.to_dict(), allow_nan=False)


def test_an_absent_class_is_named_and_its_false_positives_still_cost():
    collected = Confusion(["a", "b", "c"])
    collected.update(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1]))
    got = collected.compute()
    assert got.absent == ("c",) and "leave out c" in got.note
    assert got.overall_accuracy == 0.75 and got.miou == pytest.approx((1 + 0.5) / 2)
    assert got.to_dict()["classes"][2]["recall"] is None
    assert set(got.summary()) == {"overall_accuracy", "macro_f1", "miou"}


def test_nothing_to_score_is_an_error():
    with pytest.raises(InputError, match="nothing was scored"):
        Confusion(["a", "b"]).compute()
    empty = Confusion(["a", "b"])
    empty.update(torch.tensor([0]), torch.tensor([IGNORE]))
    with pytest.raises(InputError, match="no labelled pixel"):
        empty.compute()
    with pytest.raises(InputError, match="predictions are"):
        empty.update(torch.tensor([0]), torch.tensor([[0]]))
