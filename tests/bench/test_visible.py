"""The benchmark of the encoder that sees visible tokens alone: its budgets, and records against the published form."""

from __future__ import annotations

import pytest
import torch

from swath.bench import visible as bench


def test_a_form_trains_for_steps_or_for_seconds() -> None:
    data = bench.scene()
    before, objective = (bench.build(0, "visible", data.pixels.shape[0]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), objective.parameters(), strict=True))
    assert bench.train(objective, data, seed=0, steps=1)[0] == 1
    steps, spent = bench.train(objective, data, seed=0, steps=0, seconds=1e-9)
    assert steps == 1 and spent > 0
    assert not all(
        torch.equal(a, b) for a, b in zip(before.parameters(), objective.parameters(), strict=True)
    )


def test_records_are_medians_against_the_published_form() -> None:
    rows = {
        "dense": [{"rate": r, "steps": 10.0, "loss": 0.4, "probe": 0.5} for r in (1.0, 2.0, 9.0)],
        "steps": [{"rate": 3.0, "steps": 10.0, "loss": 0.5, "probe": 0.5}] * 3,
        "seconds": [{"rate": 3.0, "steps": 15.0, "loss": 0.2, "probe": 0.6}] * 3,
    }
    found = {r["measure"].removeprefix("pretrain.visible."): r for r in bench.records(rows, 10)}
    assert (found["speed"]["baseline"], found["speed"]["ratio"]) == (2.0, 1.5)
    assert found["loss_same_steps"]["ratio"] == 0.8 and found["loss_same_seconds"]["ratio"] == 2.0
    assert found["probe_same_seconds"]["ratio"] == 1.2
    assert "10 steps against 15" in found["probe_same_seconds"]["note"]


def test_speed_of_a_preset_is_told_beside_the_limit_of_its_operations() -> None:
    (record,) = bench.speed("tiny", side=16, dates=1, batch=1, runs=3)
    assert record["measure"] == "pretrain.visible.speed_tiny_16" and len(record["runs"]) == 3
    assert record["ratio"] == pytest.approx(record["value"] / record["baseline"], rel=0.01)
    assert "times fewer operations" in record["note"]
