from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning.loggers

from swath.errors import ConfigError
from swath.training.copies import RUNS, Copies, check_copies, flat
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


class Told:
    """A logger in place of MLflow's: it notes what it is told, and breaks when asked to."""

    made: list[Told] = []  # noqa: RUF012  # one list for all, emptied by each test

    def __init__(self, run_id: str | None = None, **others: Any) -> None:
        self.version = run_id or f"run-{len(self.made)}"
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.ended, self.broken, self.asked = "", False, others
        self.made.append(self)

    @property
    def experiment(self) -> object:
        if self.asked["tracking_uri"] == "http://nowhere":
            raise RuntimeError("no answer\nfrom there")
        return self

    def log_metrics(self, numbers: dict[str, float], step: int) -> None:
        if self.broken:
            raise ConnectionError("gone")
        self.lines.append((step, numbers))

    def save(self) -> None: ...

    def finalize(self, status: str) -> None:
        self.ended = status


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("mlflow")
    module.__spec__ = importlib.machinery.ModuleSpec("mlflow", None)
    module.get_tracking_uri = lambda: "sqlite:///mlflow.db"  # type: ignore[attr-defined]  # as MLflow has it
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setattr(pytorch_lightning.loggers, "MLFlowLogger", Told)
    Told.made.clear()
    return module


def test_a_resumed_run_goes_on_where_its_copy_is(mlflow: ModuleType, tmp_path: Path) -> None:
    with Copies(["mlflow"], tmp_path) as copies:
        copies({"step": 1, "loss": 2.0})
    with Copies(["mlflow"], tmp_path) as copies:
        copies({"step": 2, "loss": 1.0})
    first, second = Told.made
    assert json.loads((tmp_path / RUNS).read_text()) == {"mlflow": "run-0"}
    assert (first.version, second.version) == ("run-0", "run-0")
    assert first.asked["tracking_uri"] == "sqlite:///mlflow.db", (
        "MLflow refuses the files Lightning would choose"
    )
    assert first.lines + second.lines == [(1, {"loss": 2.0}), (2, {"loss": 1.0})]
    assert (first.ended, second.ended) == ("success", "success")


def test_a_logger_that_does_not_start_is_one_line_and_one_that_breaks_ends_no_run(
    mlflow: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), Copies(["mlflow"], tmp_path) as copies:
        copies({"step": 1, "loss": 2.0})
        raise ZeroDivisionError
    assert Told.made[-1].ended == "failed"
    with Copies(["mlflow"], tmp_path) as copies:
        Told.made[-1].broken = True
        copies({"step": 1, "loss": 2.0})
        copies({"step": 2, "loss": 1.0})
    assert [r.getMessage() for r in caplog.records] == ["mlflow gets no more copies of this run: gone"]
    mlflow.get_tracking_uri = lambda: "http://nowhere"
    with pytest.raises(ConfigError) as found:
        Copies(["mlflow"], tmp_path)
    assert "mlflow does not start: no answer; check MLFLOW_TRACKING_URI, or delete" in str(found.value)


@pytest.mark.filterwarnings("default")  # theirs of their own dependencies
@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_the_real_ones_take_the_numbers(
    name: str, tmp_path: Path, feed: Any, small: Any, objective: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name, reason=f"{name} is no dependency of swath; install it to run this")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    result = fit(objective, feed, small(steps=4, loggers=(name,)), tmp_path / "run")
    run = json.loads((tmp_path / "run" / RUNS).read_text())[name]
    if name == "wandb":
        assert list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{run}"))
        return
    client = importlib.import_module("mlflow").MlflowClient()
    lines = {r["step"]: r["loss"] for r in result.records if "loss" in r}
    assert {m.step: m.value for m in client.get_metric_history(run, "loss")} == pytest.approx(lines)
