"""Checkpoints that are whole, hashed, and read without running anything (design §4).

`step-00000100.ckpt` is a plain torch file; `step-00000100.ckpt.sha256` beside it is for `sha256sum -c`.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from swath.errors import InputError
from swath.files import atomic

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d+)\.ckpt")
_CHUNK = 1 << 22


class _HashingWriter(io.RawIOBase):  # torch.save only calls write
    """Hashes what torch.save writes while it is written, so that no second copy lies in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.failed: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.failed = error
            raise


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def save_checkpoint(state: Mapping[str, Any], path: Path | str) -> None:
    """Writes a checkpoint so that a kill leaves the old one or the new one, never a part."""
    final = Path(path)
    with atomic(final) as temporary:
        with temporary.open("wb") as file:
            writer = _HashingWriter(file)
            try:
                torch.save(dict(state), cast(IO[bytes], writer))
            except RuntimeError:
                if writer.failed is None:
                    raise
                raise writer.failed from None  # torch's own words do not say that the disk is full
        # The hash takes its place first: a checkpoint under its name always has one.
        with atomic(_hash_path(final)) as hash_file:
            hash_file.write_text(f"{writer.digest.hexdigest()}  {final.name}\n", "ascii")


def load_checkpoint(path: Path | str, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint after checking its hash, with `weights_only=True`.

    Raises:
        InputError: it is missing, damaged, or holds anything but tensors and plain values.
    """
    file = Path(path)
    mend = "use an older checkpoint"
    try:
        expected = _hash_path(file).read_text("ascii").split()[0]
        if _sha256(file) != expected:
            raise InputError("the checkpoint is damaged: its hash is another", where=file, mend=mend)
        state = torch.load(file, map_location=map_location, weights_only=True)
    except (OSError, IndexError, UnicodeDecodeError) as err:
        raise InputError(f"the checkpoint or its hash cannot be read ({err})", where=file, mend=mend) from err
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as err:
        what = str(err).split("\n")[0][:120]
        raise InputError(f"the checkpoint cannot be read safely ({what})", where=file, mend=mend) from err
    if not isinstance(state, dict):
        raise InputError("the checkpoint holds no dictionary", where=file, mend=mend)
    return state


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def remove_checkpoint(path: Path | str) -> None:
    """Removes a checkpoint and then its hash."""
    Path(path).unlink(missing_ok=True)
    _hash_path(Path(path)).unlink(missing_ok=True)


class AtomicCheckpointIO(CheckpointIO):
    """The one way in which Lightning reads and writes checkpoints."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        save_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        # Whatever Lightning asks for, nothing but tensors and plain values is read.
        return load_checkpoint(path, "cpu")

    def remove_checkpoint(self, path: str | Path) -> None:
        remove_checkpoint(path)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` steps lies."""
    return folder / f"step-{step:08d}.ckpt"


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of the checkpoints in a folder, newest first."""
    if not folder.is_dir():
        return []
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name))]
    return sorted(found, reverse=True)


def newest_good(folder: Path) -> tuple[int, Path, dict[str, Any]] | None:
    """(step, path, state) of the newest checkpoint that is whole; damaged ones are told of and passed over.

    Raises:
        InputError: there are checkpoints and all are damaged.
    """
    found = checkpoints(folder)
    for step, path in found:
        try:
            return step, path, load_checkpoint(path)
        except InputError as err:
            log.warning("%s", err)
    if found:
        raise InputError("every checkpoint is damaged", where=folder, mend="start again with --overwrite")
    return None


def prune(folder: Path, keep: int, newest: int) -> None:
    """Leaves the `keep` newest checkpoints up to step `newest`; later ones are of an abandoned path."""
    found = checkpoints(folder)
    kept = [path for step, path in found if step <= newest][:keep]
    for _, path in found:
        if path not in kept:
            remove_checkpoint(path)
    # What a kill left half-written.
    for pattern in (".*.tmp", "*.sha256"):
        for stray in folder.glob(pattern):
            if pattern == ".*.tmp" or not stray.with_suffix("").exists():
                stray.unlink(missing_ok=True)
