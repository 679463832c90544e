"""A real `swath pretrain`, killed again and again, ends with the bits of one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from swath.training.checkpoint import checkpoints, newest_good
from swath.training.metrics_log import read_metrics
from swath.weights.file import load, same_state

KILLS = 20
OF_THE_MOMENT = ("seconds", "samples_per_second", "utilisation", "data_wait", "memory_gib", "run")
STEPS = 400


def written(land: Any, folder: Path, **training: Any) -> Path:
    options = land.pretraining(
        folder,
        steps=STEPS,
        warmup_steps=20,
        checkpoint_every=2,  # much of the time goes into writing them, so many kills fall there
        log_every=3,
        validate_every=100,
        augment={"flips": True, "resized_crop": 0.5, "band_dropout": 0.2},
        **training,
    )
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({"verb": "pretrain", **options}), "utf-8")
    return path


def start(config: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "swath", "pretrain", str(config), "--run.resume", str(resume).lower()]
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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_at_random_moments_change_no_bit(land: Any, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finished(written(land, whole), resume=False)
    config = written(land, parts)
    draw = np.random.default_rng(20)
    killed = damaged = 0
    while killed < KILLS:
        before = newest(parts)
        process = start(config, resume=True)
        # From when the process makes its first new checkpoint, a seeded moment within the next few steps.
        deadline = time.monotonic() + 240
        early = killed % 5 == 4  # and some before it has come to anything
        while newest(parts) <= before and process.poll() is None and not early:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(float(draw.uniform(0, 4.0 if early else 0.15)))
        assert process.poll() is None, f"it ended at step {newest(parts)} before it was killed {KILLS} times"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
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
