"""Two processes on the CPU equal one with the same global batch, and write everything once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from swath.training.checkpoint import checkpoints
from swath.training.launch import Launched, launch
from swath.training.metrics_log import read_metrics

SCRIPT = str(Path(__file__).with_name("distributed_run.py"))
pytestmark = pytest.mark.slow


def run(folder: Path, processes: int, **options: Any) -> dict[str, Any]:
    done = start(folder, processes, **options)
    assert done.code == 0, done.error
    answer: dict[str, Any] = json.loads(done.output)
    assert answer["world"] == processes
    return answer


def start(folder: Path, processes: int, **options: Any) -> Launched:
    return launch([SCRIPT, str(folder), json.dumps(options)], processes)


def losses(folder: Path) -> list[float]:
    return [r["loss"] for r in read_metrics(folder / "metrics.jsonl") if "loss" in r]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "end.pt", weights_only=True)
    return state


def assert_equal_runs(one: Path, two: Path) -> None:
    assert len(losses(one)) == 6
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    for name in a:
        if name.endswith("qkv.bias"):
            # A softmax does not see the keys' bias: its gradient is rounding alone, which AdamW blows up.
            a[name], b[name] = (torch.cat([x.chunk(3)[0], x.chunk(3)[2]]) for x in (a[name], b[name]))
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_equal_one(tmp_path: Path, strategy: str, accumulate: int) -> None:
    """Half of the scene is a hole: the processes mask and count unequal numbers of pixels."""
    one, two = tmp_path / "one", tmp_path / "two"
    run(one, 1, batch_size=4 * accumulate, strategy=strategy)
    run(two, 2, batch_size=2, accumulate=accumulate, strategy=strategy)
    assert_equal_runs(one, two)
    # Written once, and whole: one line per logged step, checkpoints that one process can read.
    steps = [r["step"] for r in read_metrics(two / "metrics.jsonl")]
    assert steps == [0, 2, 4, 6, 8, 10, 12]
    assert [s for s, _ in checkpoints(two / "checkpoints")] == [12, 10]
    assert sorted(p.name for p in two.iterdir()) == ["checkpoints", "end.pt", "metrics.jsonl"]


@pytest.mark.parametrize(("part", "strategy"), [("lora", "fsdp"), ("thaw", "ddp")])
def test_a_part_of_a_network_trains_alike(tmp_path: Path, strategy: str, part: str) -> None:
    """Adapters on frozen blocks, and an encoder that thaws on the way with rates that fall by layer."""
    one, two = tmp_path / "one", tmp_path / "two"
    options: dict[str, Any] = {"part": part, "strategy": strategy, "layer_decay": 0.8}
    if part == "thaw":
        options |= {"freeze": "encoder", "unfreeze_start": 4, "unfreeze_every": 3}
    run(one, 1, batch_size=4, **options)
    run(two, 2, batch_size=2, **options)
    assert_equal_runs(one, two)


@pytest.mark.parametrize(("kind", "strategy"), [("moco", "ddp"), ("moco", "fsdp"), ("beit", "fsdp")])
def test_two_processes_equal_one_where_copies_queues_and_codebooks_move(
    tmp_path: Path, kind: str, strategy: str
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run(one, 1, batch_size=4, strategy=strategy, objective=kind)
    run(two, 2, batch_size=2, strategy=strategy, objective=kind)
    assert_equal_runs(one, two)


@pytest.mark.parametrize(("kind", "strategy"), [("spectralgpt", "fsdp"), ("swin", "ddp"), ("swin", "fsdp")])
def test_both_families_on_series_that_lack_dates_unequally(tmp_path: Path, kind: str, strategy: str) -> None:
    """Samples of different numbers of dates run apart in a Swin, and features are looked at between steps."""
    one, two = tmp_path / "one", tmp_path / "two"
    run(one, 1, batch_size=4, strategy=strategy, objective=kind)
    run(two, 2, batch_size=2, strategy=strategy, objective=kind)
    assert_equal_runs(one, two)
    a, b = (
        [(r["step"], r["look"]["feature"]) for r in read_metrics(folder / "metrics.jsonl") if "look" in r]
        for folder in (one, two)
    )
    assert [step for step, _ in a] == [4, 8, 12]
    assert b == [(step, pytest.approx(value, abs=1e-4)) for step, value in a]
    told = [r["utilisation"] for r in read_metrics(two / "metrics.jsonl") if "utilisation" in r]
    assert told and all(0 <= share <= 1 for share in told)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("worlds", [(1, 2), (2, 1)])
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, worlds: tuple[int, int], strategy: str
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, 1, batch_size=4, strategy=strategy)
    first, then = worlds
    run(parts, first, batch_size=4 // first, strategy=strategy)
    for step, path in checkpoints(parts / "checkpoints"):  # as if it had been killed after step 10
        if step > 10:
            path.unlink()
    run(parts, then, batch_size=4 // then, strategy=strategy, resume=True)
    assert_equal_runs(whole, parts)


def test_another_number_of_samples_per_step_is_refused(tmp_path: Path, capfd: Any) -> None:
    run(tmp_path / "run", 1, batch_size=4)
    done = start(tmp_path / "run", 2, batch_size=4, resume=True)
    assert done.code != 0
    said = capfd.readouterr().err
    assert "a step of the run saw 4 samples, and would now see 8" in said


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_bad_step_of_one_process_is_skipped_by_all(tmp_path: Path, strategy: str) -> None:
    """Sample 14 is infinite: with 4 samples a step it is in step 4, and in one of two processes."""
    one, two = tmp_path / "one", tmp_path / "two"
    run(one, 1, batch_size=4, poison=14, strategy=strategy)
    run(two, 2, batch_size=2, poison=14, strategy=strategy)
    assert_equal_runs(one, two)
    for folder in (one, two):
        assert [r["skipped"] for r in read_metrics(folder / "metrics.jsonl")[1:]] == [0, 1, 1, 1, 1, 1]
        (kept,) = (folder / "bad_steps").glob("*.pt")
        state = torch.load(kept, weights_only=True)
        assert state["step"] == 3
        ids = [name for micro in state["micros"] for name in micro["ids"]]
        assert len(ids) == 4 and [m["first"] for m in state["micros"]] == (
            [12] if folder == one else [12, 14]
        )
        assert all(bool(torch.isfinite(w).all()) for w in state["weights"].values())
