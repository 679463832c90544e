"""Copies of metrics.jsonl for TensorBoard, MLflow and Weights & Biases; the file stays the truth."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from swath.errors import ConfigError

# name -> (what must be installed, how to install it, Lightning's logger, its arguments for a run folder)
KINDS: dict[str, tuple[str, str, str, Callable[[Path], dict[str, Any]]]] = {
    "tensorboard": (
        "tensorboard",
        'pip install "swath[tensorboard]"',
        "TensorBoardLogger",
        lambda folder: {"save_dir": str(folder), "name": "tensorboard", "version": ""},
    ),
    "mlflow": (
        "mlflow",
        "pip install mlflow",
        "MLFlowLogger",
        lambda folder: {"experiment_name": "swath", "run_name": folder.name},
    ),
    "wandb": (
        "wandb",
        "pip install wandb",
        "WandbLogger",
        lambda folder: {"project": "swath", "name": folder.name, "save_dir": str(folder)},
    ),
}


def check_copies(names: Sequence[str]) -> None:
    """Raises ConfigError if what a copy needs is not installed; asked before any work."""
    for name in names:
        module, install, _, _ = KINDS[name]
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"{module} is not installed", where="training.loggers", mend=install)


class Copies:
    """Hands each record of the log to other loggers.

    Args:
        names: of KINDS.
        folder: of the run.
    """

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        check_copies(names)
        self.loggers = []
        for name in names:
            _, _, kind, arguments = KINDS[name]
            make = getattr(importlib.import_module("pytorch_lightning.loggers"), kind)
            self.loggers.append(make(**arguments(folder)))

    def __call__(self, record: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl."""
        numbers = dict(flat(record))
        step = int(numbers.pop("step", 0))
        for logger in self.loggers:
            logger.log_metrics(numbers, step=step)

    def close(self) -> None:
        """Everything down to where it goes."""
        for logger in self.loggers:
            logger.save()
            logger.finalize("success")


def flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """The numbers of a record by dotted names."""
    found: list[tuple[str, float]] = []
    for key, value in record.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((prefix + key, float(value)))
    return found
