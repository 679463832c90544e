"""A run that waits for a better validation ends when it has waited long enough, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from swath.errors import ConfigError
from swath.training import run as training_run
from swath.training.config import TrainConfig
from swath.training.run import fit


class Scripted:
    """A validation whose numbers are written down, by the steps that were done."""

    def __init__(self, *numbers: float) -> None:
        self.numbers, self.calls = numbers, 0

    def __call__(self, objective: nn.Module) -> dict[str, float]:
        self.calls += 1
        return {"score": self.numbers[self.calls - 1]}


WAITING: dict[str, Any] = {"monitor": "score", "validate_every": 5, "checkpoint_every": 10, "steps": 60}


def test_it_ends_after_so_many_validations_without_a_better_one(
    tmp_path: Any, feed: Any, small: Any, objective: Any
) -> None:
    validate = Scripted(0.1, 0.3, 0.2, 0.3, 0.4, 0.4, 0.1, 0.2, 9.0)
    result = fit(objective, feed, small(**WAITING, patience=3), tmp_path / "run", validate=validate)
    assert (result.steps, result.step, result.interrupted) == (40, 25, False)
    assert result.metrics == {"score": 0.4} and validate.calls == 8


def test_less_may_be_better_and_nan_never_is(tmp_path: Any, feed: Any, small: Any, objective: Any) -> None:
    validate = Scripted(3.0, 2.0, float("nan"), 2.5, 0.0)
    config = small(**WAITING, patience=2, monitor_mode="min")
    result = fit(objective, feed, config, tmp_path / "run", validate=validate)
    assert (result.steps, result.step) == (20, 10)


def test_without_patience_it_goes_to_its_end(tmp_path: Any, feed: Any, small: Any, objective: Any) -> None:
    validate = Scripted(*[1.0 - i / 100 for i in range(12)])
    result = fit(objective, feed, small(**WAITING), tmp_path / "run", validate=validate)
    assert (result.steps, result.step) == (60, 5)


def test_a_resumed_run_has_waited_already_and_an_ended_one_stays_so(
    tmp_path: Any, feed: Any, small: Any, new_objective: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        """As a kill would."""

    numbers = (0.5, 0.9, 0.8, 0.7, 0.6)
    whole, halves = new_objective(), new_objective()
    config = small(**WAITING, patience=3)
    straight = fit(whole, feed, config, tmp_path / "whole", validate=Scripted(*numbers))
    save = training_run.Keeper._save

    def stop_after_twenty(self: Any, trainer: Any, step: int) -> None:
        save(self, trainer, step)
        if step == 20:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(training_run.Keeper, "_save", stop_after_twenty)
        with pytest.raises(Stopped):
            fit(halves, feed, config, tmp_path / "halves", validate=Scripted(*numbers))
    again = new_objective()
    resumed = fit(again, feed, config, tmp_path / "halves", resume=True, validate=Scripted(numbers[-1]))
    assert (resumed.steps, resumed.step) == (straight.steps, straight.step) == (25, 10)
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert a.equal(b)
    ended = new_objective()
    once_more = fit(ended, feed, config, tmp_path / "halves", resume=True, validate=Scripted())
    assert (once_more.steps, once_more.step, once_more.interrupted) == (25, 10, False)


def test_it_needs_something_to_wait_for() -> None:
    with pytest.raises(ConfigError, match=r"patience: it waits for a number of the validation"):
        TrainConfig(patience=2)
    with pytest.raises(ConfigError, match=r"patience: -1 is negative"):
        TrainConfig(patience=-1)
