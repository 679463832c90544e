"""Copies of metrics.jsonl for TensorBoard, MLflow and Weights & Biases; the file stays the truth."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from swath.errors import ConfigError
from swath.files import atomic

log = logging.getLogger(__name__)
RUNS = "loggers.json"
"""In the folder of a run: what the loggers call it, so that a resumed run goes on there."""


@dataclass(frozen=True)
class Kind:
    """One program that takes copies.

    Attributes:
        module: what must be installed.
        install: how.
        logger: Lightning's, by name.
        arguments: of that logger, from the folder of the run and what the logger called it; "": it is new.
        mend: if it does not start.
    """

    module: str
    install: str
    logger: str
    arguments: Callable[[Path, str], dict[str, Any]]
    mend: str


KINDS: dict[str, Kind] = {
    "tensorboard": Kind(
        "tensorboard",
        'pip install "swath[tensorboard]"',
        "TensorBoardLogger",
        lambda folder, run: {"save_dir": str(folder), "name": "tensorboard", "version": ""},
        "check the folder of the run",
    ),
    "mlflow": Kind(
        "mlflow",
        "pip install mlflow",
        "MLFlowLogger",
        # Lightning would choose a folder of files, which MLflow has refused since its version 3.
        lambda folder, run: {
            "experiment_name": "swath",
            "run_name": folder.name,
            "run_id": run or None,
            "tracking_uri": importlib.import_module("mlflow").get_tracking_uri(),
        },
        "check MLFLOW_TRACKING_URI",
    ),
    "wandb": Kind(
        "wandb",
        "pip install wandb",
        "WandbLogger",
        lambda folder, run: {
            "project": "swath",
            "name": folder.name,
            "save_dir": str(folder),
            "id": run or None,
            "resume": "allow",
        },
        "run `wandb login`, or set WANDB_MODE=offline",
    ),
}


def check_copies(names: Sequence[str]) -> None:
    """Raises ConfigError if what a copy needs is not installed; asked before any work."""
    for name in names:
        kind = KINDS[name]
        if importlib.util.find_spec(kind.module) is None:
            raise ConfigError(f"{kind.module} is not installed", where="training.loggers", mend=kind.install)


class Copies:
    """Hands each record of the log to other loggers, from `with` on; a logger that fails later is left out, and said.

    Args:
        names: of KINDS.
        folder: of the run.

    Raises:
        ConfigError: one of them is not installed, or does not start.
    """

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        check_copies(names)
        runs = folder / RUNS
        known: dict[str, str] = json.loads(runs.read_text()) if runs.exists() else {}
        self.loggers: dict[str, Any] = {}
        for name in names:
            kind = KINDS[name]
            make = getattr(importlib.import_module("pytorch_lightning.loggers"), kind.logger)
            try:
                logger = make(**kind.arguments(folder, known.get(name, "")))
                _ = logger.experiment  # starts it
                known[name] = str(logger.version or "")
            except Exception as error:
                again = f", or delete {runs} to begin anew there" if known.get(name) else ""
                raise ConfigError(
                    f"{name} does not start: {_line(error)}",
                    where="training.loggers",
                    mend=kind.mend + again,
                ) from error
            self.loggers[name] = logger
        with atomic(runs) as path:
            path.write_text(json.dumps(known, indent=1) + "\n")

    def __enter__(self) -> Copies:
        return self

    def __call__(self, record: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl."""
        numbers = dict(flat(record))
        step = int(numbers.pop("step", 0))
        for name in list(self.loggers):
            self._try(name, lambda logger: logger.log_metrics(numbers, step=step))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Everything down to where it goes, and how the run ended."""
        ended = "success" if kind is None else "failed"

        def end(logger: Any) -> None:
            logger.save()
            logger.finalize(ended)
            if hasattr(logger.experiment, "finish"):
                logger.experiment.finish(
                    exit_code=int(kind is not None)
                )  # W&B's own; Lightning leaves it open

        for name in list(self.loggers):
            self._try(name, end)

    def _try(self, name: str, what: Callable[[Any], None]) -> None:
        # A server that is gone must not end a run of days.
        try:
            what(self.loggers[name])
        except Exception as error:
            log.warning("%s gets no more copies of this run: %s", name, _line(error))
            del self.loggers[name]


def flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """The numbers of a record by dotted names."""
    found: list[tuple[str, float]] = []
    for key, value in record.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((prefix + key, float(value)))
    return found


def _line(error: Exception) -> str:
    """Its first sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
