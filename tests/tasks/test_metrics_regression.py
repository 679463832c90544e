from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from swath.errors import ConfigError, InputError
from swath.tasks.metrics_regression import RegressionScorer


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 4))
def test_scores_are_those_of_scikit_learn_over_the_whole_set(seed, k, batches):
    draw = np.random.default_rng(seed)
    truth = draw.normal(3, 2, (9, k, 4, 5)).astype(np.float32)
    guess = truth + draw.normal(0, 1, truth.shape).astype(np.float32)
    marked = np.where(draw.random(truth.shape) < 0.2, np.nan, truth).astype(np.float32)
    collected = RegressionScorer([f"o{i}" for i in range(k)])
    for part in np.array_split(np.arange(9), batches):
        collected.update(torch.from_numpy(guess[part]), torch.from_numpy(marked[part]))
    got = collected.compute()
    known = np.isfinite(marked)
    assert got.mse == pytest.approx(reference.mean_squared_error(truth[known], guess[known]), rel=1e-5)
    assert got.mae == pytest.approx(reference.mean_absolute_error(truth[known], guess[known]), rel=1e-5)
    each = [reference.r2_score(truth[:, i][known[:, i]], guess[:, i][known[:, i]]) for i in range(k)]
    assert got.r2 == pytest.approx(np.mean(each), rel=1e-5)
    assert [o.r2 for o in got.outputs] == pytest.approx(each, rel=1e-5)
    assert got.bias == pytest.approx(float((guess - truth)[known].mean()), abs=1e-5)
    assert got.count == known.sum()
    json.dumps(got.to_dict(), allow_nan=False)


def test_a_constant_reference_has_no_r2_and_that_is_said():
    scorer = RegressionScorer(["density"])
    scorer.update(torch.tensor([0.1, 0.2, 0.4])[:, None], torch.full((3,), 0.3))
    got = scorer.compute()
    assert np.isnan(got.r2) and "density" in got.note and got.to_dict()["r2"] is None


def test_what_is_unknown_does_not_count_and_sizes_must_agree():
    scorer = RegressionScorer(["x"])
    scorer.update(torch.zeros(1, 1, 2, 2), torch.tensor([[[torch.nan, 1.0], [1.0, 3.0]]]))
    assert scorer.compute().mae == pytest.approx(5 / 3)
    with pytest.raises(ConfigError, match="targets are"):
        scorer.update(torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 3))
    with pytest.raises(InputError, match="nothing was scored"):
        RegressionScorer(["x"]).compute()
