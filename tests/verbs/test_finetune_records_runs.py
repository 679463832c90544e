"""How fine-tunings on records run: stopped and gone on with, ended early, and in two processes."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from planted_layout import TRAINING, UNET, VIT, tune

import swath
from swath.training import run as training_run
from swath.training.metrics_log import read_metrics
from swath.verbs.finetune import FinetuneResult
from swath.weights.file import load, same_state

pytestmark = pytest.mark.usefixtures("planted")
WRITE = runpy.run_path(str(Path(__file__).parents[1] / "data/layouts/conftest.py"))
BUILD: dict[str, Callable[[Path], dict[str, Any]]] = WRITE["BUILD"]


@pytest.mark.parametrize(
    ("task", "loss", "head", "dates"),
    [
        ("classification", {"mixup": 0.2}, {}, 1),
        ("segmentation", {"auxiliary": 0.5}, {"kind": "linear"}, 1),
        ("dated", {}, {"kind": "linear"}, 3),
    ],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    task: str,
    loss: dict[str, Any],
    head: dict[str, Any],
    dates: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stopped(BaseException):
        """As a kill would."""

    more = {
        "loss": loss,
        "head": head,
        "dates": dates,
        "training": {"steps": 12, "validate_every": 3, "checkpoint_every": 4, "patience": 9},
    }
    whole = tune(tmp_path / "whole", task, VIT, **more)
    save = training_run.Keeper._save

    def stop_after_eight(self: Any, trainer: Any, step: int) -> None:
        save(self, trainer, step)
        if step == 8:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(training_run.Keeper, "_save", stop_after_eight)
        with pytest.raises(Stopped):
            tune(tmp_path / "halves", task, VIT, **more)
    options = {"run": {"folder": str(tmp_path / "halves"), "resume": True}}
    resumed = swath.finetune(str(tmp_path / "halves" / "config.yaml"), **options)
    assert same_state(load(resumed.weights).state, load(whole.weights).state)
    assert not any(name.startswith("auxiliary") for name in load(whole.weights).state)
    assert resumed.validation == whole.validation


def test_it_stops_when_the_validation_no_longer_improves(tmp_path: Path) -> None:
    result = tune(
        tmp_path / "run", "segmentation", UNET,
        training={"steps": 60, "validate_every": 1, "patience": 2, "learning_rate": 0.0, "warmup_steps": 0},
    )  # fmt: skip
    # Nothing learns at a rate of 0: the first validation stays the best.
    assert (result.step, result.steps) == (1, 3)
    assert [r["step"] for r in read_metrics(tmp_path / "run/metrics.jsonl") if "validation" in r] == [1, 2, 3]


@pytest.mark.slow  # starts two processes
def test_two_processes_end_as_one(tmp_path: Path) -> None:
    root = tmp_path / "otbtf"
    root.mkdir()
    BUILD["otbtf"](root)

    def trained(devices: int) -> FinetuneResult:
        return swath.finetune(
            run={"folder": str(tmp_path / f"run{devices}")},
            model=VIT,
            data={
                "layout": {"name": "otbtf", "root": str(root)},
                "parts": {"train": ["A"], "validation": ["B"]},
                "window": 16,
                "normalise": {"kind": "standard", "scope": "fixed"},
            },
            training={
                **TRAINING,
                "steps": 4,
                "validate_every": 2,
                "batch_size": 4 // devices,
                "devices": devices,
                "device": "cpu",
            },
        )

    one, two = trained(1), trained(2)
    a, b = load(one.weights).state, load(two.weights).state
    for state in (a, b):
        # What is added to all keys alike changes no attention: its gradient is rounding alone, which Adam makes large.
        bias = state["encoder.blocks.0.attn.qkv.bias"]
        bias[len(bias) // 3 : 2 * len(bias) // 3] = 0
    assert a.keys() == b.keys() and all(torch.allclose(a[k], b[k], atol=1e-5) for k in a)
    # Of 8 records, 4 are scored by each process, and all of them once.
    assert one.validation == two.validation
    logs = [[r for r in read_metrics(Path(x.folder) / "metrics.jsonl") if "loss" in r] for x in (one, two)]
    assert [r["loss"] for r in logs[0]] == pytest.approx([r["loss"] for r in logs[1]], abs=1e-5)
