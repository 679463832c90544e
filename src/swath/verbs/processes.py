"""A verb in several processes of this machine: each runs the same command, and process 0 answers."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from swath.errors import ConfigError, SwathError
from swath.training.config import TrainConfig
from swath.verbs.config import dump_config
from swath.words import counted


def in_processes(verb: str, config: Any, processes: int) -> dict[str, Any]:
    """The fields of the verb's result.

    Raises:
        SwathError: it failed; process 0 has said why on standard error, or another's words are given.
    """
    from swath.training.launch import launch
    from swath.training.precision import choose_device

    check_devices(config.training, choose_device(config.training.device, "training.device"))

    with tempfile.TemporaryDirectory(prefix="swath-") as folder:
        resolved = Path(folder) / "config.yaml"
        resolved.write_text(dump_config(config, verb=verb), "utf-8")
        done = launch(["-m", "swath", verb, str(resolved), "--json"], processes)
    if done.code == 0:
        result: dict[str, Any] = json.loads(done.output)
        return result
    said = [line for line in done.error.splitlines() if line.startswith("error: ")]
    what = (
        said[0].removeprefix("error: ")
        if said
        else f"one of {processes} processes ended with code {done.code}"
    )
    raise SwathError(what, mend=None if said else "see what was said above")


def check_devices(training: TrainConfig, device: str) -> None:
    """Raises ConfigError if this machine has fewer GPUs, or cores, than processes are asked for."""
    import torch

    gpu = device == "cuda"
    # Two on one core are slow and right, which is what a trial wants to know.
    there = torch.cuda.device_count() if gpu else max(2, os.cpu_count() or 1)
    if there < training.devices:
        passes = training.accumulate * training.devices / there
        raise ConfigError(
            f"{training.devices} processes are asked for, and there {'is' if there == 1 else 'are'} "
            f"{counted(there, 'GPU' if gpu else 'core')}",
            where="training.devices",
            mend=f"set it to {there}, and training.accumulate to {passes:g} so that a step sees as many samples",
        )
