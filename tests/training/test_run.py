from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from swath.cube import CubeBatch
from swath.errors import ConfigError, OutputError, SwathError
from swath.feed.base import Feed
from swath.feed.config import AugmentConfig
from swath.feed.grid import GridFeed
from swath.tasks.config import TaskConfig
from swath.tasks.segmentation import SegmentationTask
from swath.training.checkpoint import checkpoints
from swath.training.evaluate import evaluate
from swath.training.guard import Guard, load_bad_step
from swath.training.metrics_log import read_metrics
from swath.training.run import fit

OF_THE_MOMENT = ("seconds", "samples_per_second", "utilisation", "data_wait", "memory_gib")
AUGMENT = AugmentConfig(resized_crop=0.5, band_dropout=0.3)


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def without_times(path: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in r.items() if k not in OF_THE_MOMENT} for r in read_metrics(path)]


def test_the_loss_falls_and_the_folder_holds_the_truth(tmp_path, feed, small, objective):
    result = fit(objective, feed, small(steps=40), tmp_path / "run")
    losses = [r["loss"] for r in result.records if "loss" in r]
    assert result.steps == result.step == 40 and not result.interrupted
    assert losses[-1] < 0.7 * losses[0]
    assert result.records[0]["run"]["precision"] == "fp32"
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoints", "metrics.jsonl"]
    assert [s for s, _ in checkpoints(tmp_path / "run" / "checkpoints")] == [40, 35]
    assert result.records == tuple(read_metrics(tmp_path / "run" / "metrics.jsonl"))


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path, feed, small, new_objective):
    runs = [new_objective() for _ in range(3)]
    for i, (run, seed) in enumerate(zip(runs, (1, 1, 2), strict=True)):
        torch.manual_seed(i)  # what the process drew before must not matter
        fit(run, feed, small(seed=seed, augment=AUGMENT), tmp_path / str(i))
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])
    assert without_times(tmp_path / "0" / "metrics.jsonl") == without_times(tmp_path / "1" / "metrics.jsonl")


@pytest.mark.parametrize("extra", [{}, {"accumulate": 2, "ema_decay": 0.9}])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, feed, small, new_objective, extra):
    config = small(augment=AUGMENT, **extra)
    whole = new_objective()
    fit(whole, feed, config, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(record: dict[str, object]) -> None:
        if record["step"] == 8:  # after the checkpoint of step 5, with lines of steps 6 and 8 in the log
            raise Killed

    with pytest.raises(Killed):
        fit(new_objective(), feed, config, tmp_path / "parts", callbacks=[kill])
    rest = new_objective()
    result = fit(rest, feed, config, tmp_path / "parts", resume=True)
    assert result.steps == 12
    assert equal(whole, rest)
    assert without_times(tmp_path / "whole" / "metrics.jsonl") == without_times(
        tmp_path / "parts" / "metrics.jsonl"
    )


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, feed, small, new_objective):
    config = small()
    whole = new_objective()
    fit(whole, feed, config, tmp_path / "run")
    newest = checkpoints(tmp_path / "run" / "checkpoints")[0][1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    rest = new_objective()
    fit(rest, feed, config, tmp_path / "run", resume=True)
    assert equal(whole, rest)


def test_resuming_a_finished_run_gives_its_weights_and_trains_no_step(tmp_path, feed, small, new_objective):
    whole, again = new_objective(), new_objective()
    fit(whole, feed, small(ema_decay=0.8), tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    result = fit(again, feed, small(ema_decay=0.8), tmp_path / "run", resume=True)
    assert equal(whole, again) and result.steps == 12 and not result.interrupted
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_resuming_with_other_options_is_refused(tmp_path, feed, small, objective):
    fit(objective, feed, small(), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"began with training\.learning_rate 0\.01, not 0\.1"):
        fit(objective, feed, small(learning_rate=0.1), tmp_path / "run", resume=True)


def test_an_earlier_run_is_not_overwritten_unless_told_to(tmp_path, feed, small, objective):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        fit(objective, feed, small(), tmp_path / "run")
    fit(objective, feed, small(steps=3), tmp_path / "run", overwrite=True)
    fit(objective, feed, small(steps=4), tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert [s for s, _ in checkpoints(tmp_path / "run" / "checkpoints")] == [4]


def test_accumulated_batches_equal_one_whole_batch(tmp_path, feed, small, new_objective):
    """Sums over sums: with holes the batches count different numbers of pixels."""
    whole, parts = new_objective(), new_objective()
    for objective in (whole, parts):
        objective.network[2].p = 0.0  # dropout draws per forward pass, so it cannot be equal
    fit(whole, feed, small(batch_size=8, clip_norm=None), tmp_path / "whole")
    fit(parts, feed, small(batch_size=2, accumulate=4, clip_norm=None), tmp_path / "parts")
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


class Poisoned:
    """A feed whose samples from `first` to `last` are infinite."""

    def __init__(self, feed: Feed, first: int, last: int, by: float = float("inf")) -> None:
        self.feed, self.first, self.last, self.by = feed, first, last, by

    def take(self, first: int, count: int) -> CubeBatch:
        batch = self.feed.take(first, count)
        for n in range(max(first, self.first), min(first + count, self.last + 1)):
            batch.pixels[n - first] = batch.pixels[n - first] * self.by
        return batch


def test_bad_steps_are_skipped_and_too_many_of_them_end_the_run(tmp_path, feed, small, objective, caplog):
    bad = Poisoned(feed, 24, 1000)
    with pytest.raises(
        SwathError,
        match=r"NaN or infinite at step 11 \(5 steps one .*--replay .*step-00000011\.pt; begin a new run with a lower "
        r"training\.learning_rate.* or go on from step 10 past such steps with run\.resume and a larger "
        r"training\.max_bad_steps than 5",
    ):
        fit(objective, bad, small(skip_above=None), tmp_path / "run")
    assert "step 7 is skipped" in caplog.text
    # Every checkpoint is good, for no bad step touched the weights.
    for _, path in checkpoints(tmp_path / "run" / "checkpoints"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(bool(torch.isfinite(x).all()) for x in state.values())
    # The first ones are kept, and the last.
    kept = sorted(path.name for path in (tmp_path / "run" / "bad_steps").glob("*.pt"))
    assert kept == [f"step-{n:08d}.pt" for n in (7, 8, 11)]
    # What the message says to do, works: the samples that are bad end somewhere.
    few = Poisoned(feed, 24, 55)
    fit(objective, few, small(skip_above=None, max_bad_steps=9), tmp_path / "run", resume=True)
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["skipped"] == 6


def test_without_a_checkpoint_none_is_promised(tmp_path, feed, small, objective):
    with pytest.raises(SwathError, match="--replay") as caught:
        fit(
            objective, Poisoned(feed, 0, 10**6), small(max_bad_steps=2, checkpoint_every=50), tmp_path / "run"
        )
    assert "go on from" not in str(caught.value) and "begin a new run" in str(caught.value)


@pytest.mark.parametrize("skipped", [True, False])
def test_a_run_that_learned_nothing_is_an_error(tmp_path, feed, small, objective, skipped):
    class Empty:
        def take(self, first: int, count: int) -> CubeBatch:
            batch = feed.take(first, count)
            batch.valid[:] = False
            return batch

    given = Poisoned(feed, 0, 10**6) if skipped else Empty()
    words = (
        r"none of 12 steps taught anything \(12 were skipped\)"
        if skipped
        else "none of 12 steps taught anything;"
    )
    with pytest.raises(SwathError, match=words):
        fit(objective, given, small(max_bad_steps=100), tmp_path / "run")
    losses = [r["loss"] for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in r]
    assert losses and all(loss is None for loss in losses)
    if not skipped:
        with pytest.raises(
            SwathError, match="none of 100 steps taught anything; look whether the windows hold"
        ):
            fit(objective, given, small(steps=1000, log_every=50), tmp_path / "long")


def test_steps_without_a_gradient_say_nothing_of_what_is_usual(small):
    guard = Guard(small(skip_above=3.0))
    for _ in range(60):
        guard.good(1.0)
    for _ in range(90):
        guard.good(0.0)
    assert guard.fault(1.0, 2.0) == "" and "3 times its median 1" in guard.fault(1.0, 4.0)
    again = Guard(small(skip_above=3.0))
    again.load(guard.state())
    assert again.state() == guard.state() and (again.taught, again.empty) == (60, 90)


def test_a_skipped_step_leaves_weights_and_moments_as_they_were(tmp_path, feed, small, new_objective):
    """A step whose samples are infinite changes nothing but the count of steps."""
    trained = new_objective()
    seen: list[list[torch.Tensor]] = []

    def look(record: dict[str, object]) -> None:
        seen.append([p.detach().clone() for p in trained.parameters()])

    bad = Poisoned(feed, 16, 19)  # step 5
    config = small(log_every=1, steps=8, clip_norm=None)
    result = fit(trained, bad, config, tmp_path / "run", callbacks=[look])
    assert [r["skipped"] for r in result.records if "loss" in r] == [0, 0, 0, 0, 1, 1, 1, 1]
    same = [all(torch.equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in pairwise(seen)]
    assert same == [False, False, False, True, False, False, False]
    kept = load_bad_step(tmp_path / "run" / "bad_steps" / "step-00000005.pt")
    assert kept["step"] == 4 and [m["first"] for m in kept["micros"]] == [16]
    for name, before in zip(trained.state_dict(), seen[3], strict=True):
        assert torch.equal(kept["weights"][name], before)


def test_an_exploding_gradient_is_skipped_once_its_usual_size_is_known(tmp_path, feed, small, objective):
    early, late = Poisoned(feed, 8, 8, 1e4), Poisoned(feed, 100, 100, 1e4)
    config = small(steps=30, log_every=30, skip_above=20.0)
    assert fit(objective, early, config, tmp_path / "early").records[-1]["skipped"] == 0
    result = fit(objective, late, config, tmp_path / "late")
    assert result.records[-1]["skipped"] == 1
    assert (
        "more than 20 times its median"
        in load_bad_step(tmp_path / "late" / "bad_steps" / "step-00000026.pt")["why"]
    )
    assert (
        fit(objective, late, small(steps=30, skip_above=None), tmp_path / "any").records[-1]["skipped"] == 0
    )


def test_fine_tuning_keeps_the_best_weights_of_the_validation(
    tmp_path, contract, feed, small, scene, new_segmenter
):
    cube, labels = scene(1)
    grid = GridFeed([contract.convert(cube)], contract, 16, labels=[labels])
    task = SegmentationTask(new_segmenter(), TaskConfig(("a", "b", "c"), dice=0.5))
    config = small(
        steps=30, validate_every=5, monitor="overall_accuracy", decay_rule="finetune", ema_decay=0.9
    )
    result = fit(task, feed, config, tmp_path / "run", validate=lambda m: evaluate(m, grid).summary())
    shown = {r["step"]: r["validation"]["overall_accuracy"] for r in result.records if "validation" in r}
    assert sorted(shown) == [5, 10, 15, 20, 25, 30]
    assert shown[result.step] == max(shown.values()) == result.metrics["overall_accuracy"]
    assert evaluate(task, grid).overall_accuracy == pytest.approx(max(shown.values()), abs=1e-6)
    assert result.metrics["overall_accuracy"] > 0.6
    assert task.training


def test_best_weights_survive_a_resume(tmp_path, contract, feed, small, new_segmenter):
    config = small(steps=12, validate_every=2, monitor="score", monitor_mode="min", checkpoint_every=5)

    def score(module: nn.Module) -> dict[str, float]:
        return {"score": abs(counter["step"] - 4)}  # best at step 4

    counter = {"step": 0}

    def count(record: dict[str, object]) -> None:
        counter["step"] = int(record["step"])  # type: ignore[call-overload]
        if record["step"] == 8 and "validation" in record and stop:
            raise KeyError("killed")

    stop = True
    task = SegmentationTask(new_segmenter(), TaskConfig(("a", "b", "c")))
    with pytest.raises(KeyError):
        fit(task, feed, config, tmp_path / "run", validate=score, callbacks=[count])
    stop = False
    again = SegmentationTask(new_segmenter(), TaskConfig(("a", "b", "c")))
    result = fit(again, feed, config, tmp_path / "run", resume=True, validate=score, callbacks=[count])
    assert result.step == 4 and result.steps == 12


def test_monitoring_what_is_not_measured_is_refused(tmp_path, feed, small, objective):
    with pytest.raises(ConfigError, match="no validation to monitor"):
        fit(objective, feed, small(monitor="miou"), tmp_path / "run")
    config = small(monitor="miou", validate_every=2)
    with pytest.raises(ConfigError, match=r"no 'miou'.*loss"):
        fit(objective, feed, config, tmp_path / "other", validate=lambda m: {"loss": 1.0})


def test_an_interrupted_run_writes_a_checkpoint_and_goes_on(tmp_path, feed, small, new_objective):
    whole, rest = new_objective(), new_objective()
    fit(whole, feed, small(), tmp_path / "whole")

    def interrupt(record: dict[str, object]) -> None:
        if record["step"] == 6:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    result = fit(new_objective(), feed, small(), tmp_path / "parts", callbacks=[interrupt])
    assert result.interrupted and result.steps == 6
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert not fit(rest, feed, small(), tmp_path / "parts", resume=True).interrupted
    assert equal(whole, rest)


def test_a_task_without_labels_is_refused(tmp_path, contract, small, scene, new_segmenter):
    from swath.feed.windows import WindowFeed

    cube, _ = scene()
    bare = WindowFeed([contract.convert(cube)], contract, 16)
    task = SegmentationTask(new_segmenter(), TaskConfig(("a", "b", "c")))
    with pytest.raises(ConfigError, match="needs labels"):
        fit(task, bare, small(), tmp_path / "run")


def test_settings_of_the_process_are_as_before(tmp_path, feed, small, objective):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    fit(objective, feed, small(steps=3), tmp_path / "run")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(3), expected)


def test_attention_computed_again_is_asked_for_by_the_run(tmp_path, feed, small, new_objective, monkeypatch):
    from swath.models import attention

    seen = []
    monkeypatch.setattr("swath.training.run.step_flops", lambda *_: seen.append(attention._recomputed) or 0.0)
    for number, kept in enumerate((False, "attention")):
        fit(new_objective(), feed, small(steps=4, activation_checkpointing=kept), tmp_path / str(number))
    assert seen == [False, True] and not attention._recomputed


def test_frozen_parameters_stay(tmp_path, feed, small, new_segmenter):
    task = SegmentationTask(new_segmenter(), TaskConfig(("a", "b", "c")))
    task.network.body.requires_grad_(False)
    body, head = (m.weight.detach().clone() for m in (task.network.body, task.network.head))
    fit(task, feed, small(steps=4, ema_decay=0.5), tmp_path / "run")
    assert torch.equal(task.network.body.weight, body) and not torch.equal(task.network.head.weight, head)


def test_bf16_is_used_and_recorded(tmp_path, feed, small, objective):
    result = fit(objective, feed, small(steps=3, precision="bf16"), tmp_path / "run")
    assert result.precision.name == "bf16" and result.records[0]["run"]["precision"] == "bf16"
    assert all(p.dtype == torch.float32 for p in objective.parameters())


@pytest.mark.slow
def test_a_run_that_is_killed_continues_as_if_nothing_had_happened(tmp_path):
    """SIGKILL at a moment that nobody chose, in a process of its own; twice."""
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, time, importlib.util, torch
            from pathlib import Path
            place = {str(Path(__file__).with_name("conftest.py"))!r}
            spec = importlib.util.spec_from_file_location("fakes", place)
            fakes = importlib.util.module_from_spec(spec); spec.loader.exec_module(fakes)
            from swath.contract import Normalisation, contract_for
            from swath.cube import Encoding
            from swath.feed.config import AugmentConfig
            from swath.feed.windows import WindowFeed
            from swath.training.config import TrainConfig
            from swath.training.run import fit
            torch.set_num_threads(1)
            norm = Normalisation("standard", "scene")
            contract = contract_for("landsat7", fakes.BANDS, Encoding("dn"), norm)
            cube, labels = fakes.make_cube()
            feed = WindowFeed([contract.convert(cube)], contract, 16, seed=3, labels=[labels])
            config = TrainConfig(steps=60, batch_size=4, warmup_steps=9, precision="fp32", device="cpu",
                                 seed=7, checkpoint_every=4, log_every=3,
                                 augment=AugmentConfig(band_dropout=0.2))
            objective = fakes.FakeObjective()
            fit(objective, feed, config, Path(sys.argv[1]), resume=True,
                callbacks=[lambda record: time.sleep(float(sys.argv[2]))])
            torch.save(objective.state_dict(), Path(sys.argv[1]) / "end.pt")
            """
        )
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    subprocess.run([sys.executable, str(script), str(whole), "0"], check=True, timeout=300)
    for least in (8, 24):
        process = subprocess.Popen([sys.executable, str(script), str(parts), "0.1"])
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = checkpoints(parts / "checkpoints")
            if found and found[0][0] >= least:
                break
            time.sleep(0.02)
        time.sleep(float(np.random.default_rng(least).uniform(0, 0.3)))
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.wait(30)
    subprocess.run([sys.executable, str(script), str(parts), "0"], check=True, timeout=300)
    a, b = (torch.load(p / "end.pt", weights_only=True) for p in (whole, parts))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert without_times(whole / "metrics.jsonl") == without_times(parts / "metrics.jsonl")
    assert json.dumps(without_times(parts / "metrics.jsonl"))
    assert not list((parts / "checkpoints").glob(".*.tmp"))
