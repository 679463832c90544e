"""A real `swath pretrain` in two processes: stopped, killed and resumed; and a folder in which a run is going on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from swath.training.checkpoint import checkpoints
from swath.training.metrics_log import read_metrics
from swath.weights.file import load, same_state


def written(land: Any, folder: Path, **training: Any) -> Path:
    own = {"warmup_steps": 20, "checkpoint_every": 2, "log_every": 3, "validate_every": 40, "devices": 2}
    options = land.pretraining(folder, **{**own, "device": "cpu", "steps": 120, "batch_size": 2, **training})
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({"verb": "pretrain", **options}), "utf-8")
    return path


def newest(folder: Path) -> int:
    found = checkpoints(folder / "checkpoints")
    return found[0][0] if found else 0


def start(config: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "swath", "pretrain", str(config), *more]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finished(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said


def until_checkpoint(process: subprocess.Popen[str], folder: Path, after: int = 0) -> None:
    deadline = time.monotonic() + 240
    while newest(folder) <= after:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)


def family(process: subprocess.Popen[str]) -> list[int]:
    """The processes that this one started."""
    told = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(number) for number in told]


def wait_until_gone(numbers: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(
        Path(f"/proc/{n}").exists() and "Z (" not in Path(f"/proc/{n}/status").read_text() for n in numbers
    ):
        assert time.monotonic() < deadline, "they go on without their launcher"
        time.sleep(0.05)


@pytest.mark.slow  # six starts of two processes
def test_two_processes_are_stopped_killed_and_resumed_as_one_run(land: Any, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finished(start(written(land, whole)))
    config = written(land, parts)

    # Asked to end: both end in step, with a checkpoint.
    process = start(config)
    until_checkpoint(process, parts)
    children = family(process)
    assert len(children) == 2
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 2 and "Traceback" not in said, said
    assert "go on with --run.resume true" in " ".join(said.split()), said
    wait_until_gone(children)
    done = newest(parts)

    # While a run goes on, no other works in its folder.
    process = start(config, "--run.resume", "true")
    until_checkpoint(process, parts, done)
    children = family(process)
    for number in children:  # it must not end meanwhile
        os.kill(number, signal.SIGSTOP)
    before = sorted(p.name for p in parts.iterdir())
    for way in ("--run.resume", "--run.overwrite"):
        second = start(config, way, "true", "--training.devices", "1", "--training.batch_size", "4")
        _, said = second.communicate(timeout=240)
        assert second.returncode == 2 and "parts: another process works in it" in said.replace("\n", " "), (
            said
        )
    assert sorted(p.name for p in parts.iterdir()) == before

    # The launcher is killed: the others follow, and the folder is free.
    process.kill()
    process.communicate()
    for number in children:
        os.kill(number, signal.SIGCONT)
    wait_until_gone(children)

    # One of the two is killed: the other says so in a line.
    before_kill = newest(parts)
    process = start(config, "--run.resume", "true")
    until_checkpoint(process, parts, before_kill)
    children = family(process)
    os.kill(children[1], signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 2 and "Traceback" not in said, said
    assert "one of 2 processes ended with code -9" in " ".join(said.split()), said
    wait_until_gone(children)

    process = start(config, "--run.resume", "true")
    finished(process)
    a, b = (load(f / "weights.safetensors") for f in (whole, parts))
    assert same_state(a.state, b.state)
    losses = [
        [(r["step"], r["loss"]) for r in read_metrics(f / "metrics.jsonl") if "loss" in r]
        for f in (whole, parts)
    ]
    assert losses[0] == losses[1]
    assert yaml.safe_load((parts / "config.yaml").read_text())["training"]["devices"] == 2
