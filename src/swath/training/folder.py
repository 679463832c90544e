"""The folder that a run owns: config.yaml, metrics.jsonl, checkpoints/, weights.safetensors, report.html."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from swath.errors import OutputError
from swath.files import atomic

OWNED = (
    "config.yaml",
    "metrics.jsonl",
    "checkpoints",
    "weights.safetensors",
    "report.html",
    "reconstructions.npz",
    "bad_steps",
    "pictures",
    "loggers.json",
    "stages",
    "tensorboard",
)


@dataclass(frozen=True)
class RunFolder:
    """An opened run folder: see `open_run`.

    Attributes:
        path: the folder.
        resume: whether the run continues from its newest good checkpoint.
    """

    path: Path
    resume: bool = False

    @property
    def metrics(self) -> Path:
        """The truth about the run."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where to continue from."""
        return self.path / "checkpoints"

    @property
    def bad_steps(self) -> Path:
        """What shows a skipped step again."""
        return self.path / "bad_steps"

    @property
    def weights(self) -> Path:
        """What the run made."""
        return self.path / "weights.safetensors"


def check_run(path: Path | str, *, resume: bool = False, overwrite: bool = False) -> Path:
    """Whether `open_run` will take a folder; changes nothing, so that it can be asked before long work.

    Raises:
        OutputError: the folder is not empty and neither `resume` nor `overwrite` is given, or is no folder.
    """
    folder = Path(path)
    if resume and overwrite:
        raise OutputError("resume and overwrite exclude each other", where=folder, mend="give one of them")
    if folder.exists() and not folder.is_dir():
        raise OutputError("is a file, not a folder", where=folder, mend="give another folder")
    if folder.is_dir() and any(folder.iterdir()) and not (resume or overwrite):
        raise OutputError(
            "exists and is not empty",
            where=folder,
            mend="give another folder, or set run.resume or run.overwrite to true",
        )
    return folder


def clear_run(folder: Path) -> None:
    """Removes what a run of either kind, plain or of stages, keeps in its folder; other files stay."""
    for name in OWNED:
        old = folder / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)


def open_run(
    path: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Makes or opens a run folder, and writes the fully resolved config into it.

    Args:
        path: of the folder.
        resume: continue the run in it (or begin it, if it had not come to a checkpoint).
        overwrite: remove a run's files first; other files stay.
        config: what config.yaml is to hold; None: no config.yaml is written.

    Raises:
        OutputError: as `check_run`; or it cannot be made.
    """
    folder = check_run(path, resume=resume, overwrite=overwrite)
    if overwrite:
        clear_run(folder)
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"cannot be made ({err.strerror})", where=folder, mend="check its rights") from err
    if config is not None:
        with atomic(folder / "config.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), "utf-8")
    return RunFolder(folder, resume)
