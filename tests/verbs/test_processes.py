"""As many GPUs, or cores, as processes."""

from __future__ import annotations

import pytest
import torch

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
