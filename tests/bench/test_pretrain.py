"""The benchmark of pretraining: its forms compute one loss, and its records say what design §5 asks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swath.bench import pretrain as bench
from swath.bench.pretrain import CASES, FORMS, Trainer, records, write


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> bench.Case:
    """ST-SwinMAE in the tiny size, at two dates."""
    return replace(CASES["st_swinmae_98m"], preset="tiny", shape=(2, 6, 32, 32), batch=(2, 2))


def test_all_forms_train_the_same_model(small: bench.Case) -> None:
    losses = {}
    for name in ("plain", "fp32", "bf16", "bf16_attention", "bf16_checkpointed"):
        trainer = Trainer(small, FORMS[name], "cpu")
        losses[name] = [trainer.step() for _ in range(3)]
        assert trainer.flops > 0 and all(s["seconds"] > 0 for s in losses[name])
    told = {name: [s["loss"] for s in steps] for name, steps in losses.items()}
    assert told["fp32"] == pytest.approx(told["plain"], rel=1e-5)
    assert told["bf16"] == pytest.approx(told["plain"], rel=0.02)
    assert told["bf16_attention"] == pytest.approx(told["bf16"], rel=0.01)
    assert told["bf16_checkpointed"] == pytest.approx(told["bf16"], rel=1e-4)
    assert told["plain"][2] < told["plain"][0]


def test_records_are_medians_against_the_plain_form_and_replace_older_ones(
    small: bench.Case, tmp_path: Path
) -> None:
    steps = {
        "plain": [{"seconds": s, "cpu": 2 * s, "gib": 2.0, "loss": 1.0} for s in (2.0, 4.0, 8.0)],
        "bf16": [{"seconds": s, "cpu": s, "gib": 0.5, "loss": 1.0} for s in (1.0, 2.0, 2.5)],
    }
    facts = {name: {"flops": 1e9, "peak": 1e10, "threads": 2} for name in steps}
    speed, memory = records(small, "cpu", steps, facts)
    assert speed["measure"] == "pretrain.st_swinmae_98m.cpu_bf16"
    assert (speed["value"], speed["baseline"], speed["ratio"]) == (1.0, 0.5, 2.0)
    assert speed["runs"] == [2.0, 1.0, 0.8] and "utilisation 0.100" in speed["note"]
    assert "4.00 times as fast by the processes' own CPU time" in speed["note"]
    assert memory["measure"].endswith(".activation_memory") and memory["ratio"] == 4.0
    path = tmp_path / "results" / "pretrain.json"
    write(path, [{**speed, "value": 9}, {"measure": "another"}])
    write(path, [speed, memory])
    assert [r["measure"] for r in json.loads(path.read_text())] == [
        "another",
        speed["measure"],
        memory["measure"],
    ]


def test_the_models_measured_are_those_named() -> None:
    with torch.device("meta"):
        sizes = {n: sum(p.numel() for p in bench.build(c).parameters()) for n, c in CASES.items()}
    assert 97.5e6 < sizes["st_swinmae_98m"] < 98.5e6
    assert sizes["spectralgpt_base_96"] > 85e6
