from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from swath.errors import ConfigError
from swath.training.copies import check_copies, flat
from swath.training.run import fit


def test_tensorboard_gets_the_numbers_of_the_log(tmp_path: Path, feed, small, objective) -> None:  # type: ignore[no-untyped-def]
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = small(steps=4, loggers=("tensorboard",))
    result = fit(objective, feed, config, tmp_path / "run", validate=lambda m: {"held_out": 0.5})
    events = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    lines = {r["step"]: r["loss"] for r in result.records if "loss" in r}
    assert {e.step: e.value for e in events.Scalars("loss")} == pytest.approx(lines)
    assert [(e.step, e.value) for e in events.Scalars("validation.held_out")] == [(4, 0.5)]


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_what_is_not_installed_is_said_with_the_command(name: str) -> None:
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(ConfigError, match=f"{name} is not installed; pip install {name}"):
        check_copies((name,))


def test_only_numbers_are_copied_by_dotted_names() -> None:
    record = {"step": 3, "loss": 1.5, "validation": {"a": 2}, "why": "text", "on": True, "none": None}
    assert dict(flat(record)) == {"step": 3.0, "loss": 1.5, "validation.a": 2.0}
