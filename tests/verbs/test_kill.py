"""A real `swath pretrain`, killed again and again, ends with the bits of one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from forked import Server

from swath.training.checkpoint import checkpoints, newest_good
from swath.training.metrics_log import read_metrics
from swath.weights.file import load, same_state

KILLS = 20
OF_THE_MOMENT = ("seconds", "samples_per_second", "utilisation", "data_wait", "memory_gib", "run")
STEPS = 400


def written(land: Any, folder: Path, **training: Any) -> Path:
    own = {
        "steps": STEPS,
        "warmup_steps": 20,
        "checkpoint_every": 2,  # much of the time goes into writing them, so many kills fall there
        "log_every": 3,
        "validate_every": 100,
        "augment": {"flips": True, "resized_crop": 0.5, "band_dropout": 0.2},
    }
    options = land.pretraining(folder, **{**own, **training})
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({"verb": "pretrain", **options}), "utf-8")
    return path


def resumed(config: Path, *, resume: bool = True) -> list[str]:
    return ["pretrain", str(config), "--run.resume", str(resume).lower()]


def start(config: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "swath", *resumed(config, resume=resume)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(config: Path, *, resume: bool) -> None:
    process = start(config, resume=resume)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()


def newest(folder: Path) -> int:
    found = checkpoints(folder / "checkpoints")
    return found[0][0] if found else 0


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in r.items() if k not in OF_THE_MOMENT} for r in read_metrics(folder / "metrics.jsonl")
    ]


def damage(path: Path, draw: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    place = int(draw.integers(len(data)))
    if draw.integers(2):
        data[place] ^= 1 << int(draw.integers(8))
    else:
        del data[place:]
    path.write_bytes(data)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # The reports' figures are part of every run's end.
    modules = (
        "torch",
        "pytorch_lightning",
        "swath.verbs.pretrain",
        "swath.training.run",
        "matplotlib.figure",
    )
    with Server(modules) as made:
        yield made


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_bit(land: Any, tmp_path: Path, server: Server) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finished(written(land, whole), resume=False)
    config = written(land, parts)
    draw = np.random.default_rng(20)
    killed = damaged = 0
    while killed < KILLS:
        before = newest(parts)
        process = server.start(resumed(config), tmp_path / "errors")
        # From when the process makes its first new checkpoint, a seeded moment within the next few steps.
        deadline = time.monotonic() + 240
        early = killed % 5 == 4  # and some before it has come to anything
        while newest(parts) <= before and process.poll() is None and not early:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(float(draw.uniform(0, 1.0 if early else 0.15)))
        assert process.poll() is None, f"it ended at step {newest(parts)} before it was killed {KILLS} times"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        killed += 1
        found = checkpoints(parts / "checkpoints")
        if killed % 4 == 0 and len(found) > 1:  # the newest checkpoint may also have suffered
            damage(found[0][1], draw)
            good = newest_good(parts / "checkpoints")
            assert good is not None and good[0] < found[0][0]
            damaged += 1
    assert damaged >= 4
    finished(config, resume=True)
    a, b = load(whole / "weights.safetensors"), load(parts / "weights.safetensors")
    assert same_state(a.state, b.state)
    assert lines(whole) == lines(parts)
    left = [p.name for p in (parts / "checkpoints").iterdir()]
    assert not [name for name in left if name.endswith(".tmp")] and len(left) <= 6


@pytest.mark.slow
def test_stages_killed_at_any_moment_end_with_the_same_bits(
    land: Any, tmp_path: Path, server: Server
) -> None:
    def staged(name: str) -> Path:
        path = written(land, tmp_path / name, steps=30)
        options = yaml.safe_load(path.read_text("utf-8"))
        options["stages"] = [{"name": "small"}, {"name": "large", "data": {"window": 24}, "steps": 24}]
        path.write_text(yaml.safe_dump(options), "utf-8")
        return path

    process = server.start(resumed(staged("whole")), tmp_path / "errors")
    assert process.wait() == 0, (tmp_path / "errors").read_text("utf-8")
    config, stages = staged("parts"), tmp_path / "parts" / "stages"
    small, large = stages / "01-small", stages / "02-large"
    draw = np.random.default_rng(5)

    def further(folder: Path) -> Callable[[], bool]:
        before = newest(folder)
        return lambda: newest(folder) > before

    # What is waited for before a seeded moment: nothing, a step of a stage, the end of one (also the run's own).
    moments: list[Callable[[], Callable[[], bool]]] = [
        lambda: lambda: True,
        *[lambda: further(small)] * 3,
        lambda: (small / "weights.safetensors").exists,
        lambda: lambda: True,
        *[lambda: further(large)] * 3,
        lambda: (large / "weights.safetensors").exists,
    ]
    for moment in moments:
        reached = moment()
        process = server.start(resumed(config), tmp_path / "errors")
        deadline = time.monotonic() + 240
        while not reached() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(float(draw.uniform(0, 0.1)))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        killed = process.wait() == -signal.SIGKILL
        assert killed or moment is moments[-1], (tmp_path / "errors").read_text("utf-8")
    process = server.start(resumed(config), tmp_path / "errors")
    assert process.wait() == 0, (tmp_path / "errors").read_text("utf-8")
    for name in ("", "stages/01-small", "stages/02-large"):
        a, b = (load(tmp_path / run / name / "weights.safetensors") for run in ("whole", "parts"))
        assert same_state(a.state, b.state), name
        if name:
            assert lines(tmp_path / "whole" / name) == lines(tmp_path / "parts" / name)


@pytest.mark.slow
def test_ctrl_c_ends_a_process_cleanly_with_a_checkpoint(land: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = written(land, folder)
    process = start(config, resume=False)
    deadline = time.monotonic() + 240
    while newest(folder) < 6:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    text = said.decode()
    assert "stopping after this step and writing a checkpoint" in " ".join(text.split())
    assert "go on with --run.resume true" in text and "Traceback" not in text
    good = newest_good(folder / "checkpoints")
    assert good is not None
    step = good[0]
    assert f"stopped at step {step} of {STEPS}" in text
    assert all(r["step"] <= step for r in lines(folder)) and json.dumps(lines(folder))
