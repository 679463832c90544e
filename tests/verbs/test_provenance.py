"""What weights say of their run."""

from __future__ import annotations

from typing import Any

import pytest

from swath.training.config import TrainConfig
from swath.training.precision import Precision
from swath.verbs.provenance import learned_before, of_run


def test_a_batch_is_what_a_step_sees_over_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Result:
        precision = Precision("bf16", "cpu", "")

    result: Any = Result()
    training = TrainConfig(batch_size=8, accumulate=3, seed=5)
    alone = of_run("pretrain", training, result)
    assert alone["batch_size"] == 24
    assert alone["batch"] == {"per_pass": 8, "accumulate": 3, "processes": 1}
    assert (alone["recipe"], alone["seed"], alone["precision"]) == ("pretrain", 5, "bf16")
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    several = of_run("finetune", training, result)
    assert several["batch_size"] == 96 and several["batch"]["processes"] == 4
    assert learned_before(None) is None
