"""metrics.jsonl: the truth about a run, one JSON object per line, in the order of the steps."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from swath.errors import OutputError
from swath.files import atomic


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """The records of a file; a last line that a kill cut off is left out. Empty if there is no file."""
    file = Path(path)
    if not file.exists():
        return []
    records = []
    for line in file.read_text("utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # only the last line can be incomplete: lines are appended in order
        if isinstance(record, dict):
            records.append(record)
    return records


class MetricsLog:
    """Appends records; opened at a step, it first cuts back whatever lies after it.

    Args:
        path: the file.
        step: steps done so far (0 for a new run, the checkpoint's step on resume).
    """

    def __init__(self, path: Path | str, step: int = 0) -> None:
        self.path = Path(path)
        kept = [r for r in read_metrics(self.path) if isinstance(r.get("step"), int) and r["step"] <= step]
        with atomic(self.path) as temporary:
            temporary.write_text("".join(_line(r) for r in (kept if step > 0 else [])), "utf-8")
        with self._told():
            # Without a buffer: a line that a full disk did not take is not tried again when the file is closed.
            self._file = self.path.open("ab", buffering=0)

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """One line, handed to the operating system at once: a killed process loses nothing.

        Raises:
            OutputError: it cannot be written, as on a full disk.
        """
        line = _line({"step": step, **record}).encode()
        with self._told():
            while line:  # a disk that fills up takes a part of it first
                line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Down to the disk, before a checkpoint says that the step is done. Raises OutputError as `write`."""
        with self._told():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Raises OutputError as `write`."""
        with self._told():
            self._file.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            raise OutputError(
                f"cannot be written ({err.strerror or err})",
                where=self.path,
                mend="check the folder, its rights and space; then go on with run.resume",
            ) from err


def _line(record: Mapping[str, Any]) -> str:
    # NaN is no JSON; a score without a meaning is null.
    return json.dumps(_plain(record), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
