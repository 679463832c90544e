"""As many GPUs, or cores, as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from swath.errors import ConfigError
from swath.training.config import TrainConfig
from swath.verbs.processes import check_devices


def test_fewer_devices_than_processes_are_told_with_what_keeps_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    eight = TrainConfig(devices=8, accumulate=32)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    with pytest.raises(ConfigError, match=r"and there are 4 cores; set it to 4, and .*accumulate to 64"):
        check_devices(eight, "cpu")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    check_devices(eight, "cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        ConfigError,
        match=r"8 processes are asked for, and there is 1 GPU; set it to 1, and .*accumulate to 256",
    ):
        check_devices(eight, "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    check_devices(eight, "cuda")


@pytest.mark.slow
def test_two_processes_say_nothing_of_parameters_that_they_look_for(land: Any, tmp_path: Path) -> None:
    options = land.pretraining(tmp_path / "run", steps=2, warmup_steps=0, devices=2, device="cpu")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(options))
    env = {k: v for k, v in os.environ.items() if k != "TORCH_CPP_LOG_LEVEL"}
    words = [sys.executable, "-m", "swath", "pretrain", str(recipe), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    assert "find_unused_parameters" not in done.stderr
