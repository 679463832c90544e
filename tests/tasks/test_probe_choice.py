from __future__ import annotations

import math

import pytest
import torch

from swath.errors import InputError
from swath.tasks.probe_choice import choose


def answers(*values: float):
    return [(float(i), lambda x, v=v: x + v) for i, v in enumerate(values)]


def test_the_best_is_taken_and_all_are_told():
    scores = iter([0.2, 0.9, 0.5])
    chosen = choose(answers(1, 2, 3), lambda answer: next(scores), "miou")
    assert (chosen.setting, chosen.score, chosen.note) == (1.0, 0.9, "")
    assert chosen.tried == ((0.0, 0.2), (1.0, 0.9), (2.0, 0.5))
    assert float(chosen.answer(torch.zeros(()))) == 2


def test_errors_are_better_when_small_and_the_end_of_a_sweep_is_said():
    scores = iter([0.5, 0.3, 0.1])
    chosen = choose(answers(1, 2, 3), lambda answer: next(scores), "rmse")
    assert chosen.setting == 2.0 and "the largest" in chosen.note


def test_scores_that_are_no_numbers_choose_nothing():
    scores = iter([math.nan, 0.3])
    assert choose(answers(1, 2), lambda answer: next(scores), "r2").setting == 1.0
    with pytest.raises(InputError, match="is no number"):
        choose(answers(1, 2), lambda answer: math.nan, "r2")
