"""The list of items that could not be read: one JSON object a line, each item once, shared by processes."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from swath.errors import OutputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BadItem:
    """An item and why it cannot be used, in one line."""

    id: str
    where: str
    reason: str


class BadList:
    """A growing list, in memory and (if a path is given) in a file that other processes add to as well.

    Args:
        known: ids of the set; lines of other sets in the file are passed over.
        path: the file, made when the first item is added.
    """

    def __init__(self, known: Collection[str], path: Path | str | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._known = known
        self._items: dict[str, BadItem] = {}
        self._offset = 0  # up to here the file has been read

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> tuple[BadItem, ...]:
        """Sorted by id."""
        return tuple(self._items[i] for i in sorted(self._items))

    def catch_up(self) -> None:
        """Take in what other processes and earlier runs have put into the file."""
        if self.path is not None and self.path.exists():
            with _locked(self.path) as handle:
                self._catch_up(handle)

    def add(self, item: BadItem) -> bool:
        """Add an item; False if it is on the list already, whoever put it there.

        Raises:
            OutputError: the file cannot be written.
        """
        if item.id in self._items:
            return False
        if self.path is None:
            self._items[item.id] = item
            return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path) as handle:
                whole = self._catch_up(handle)
                if item.id in self._items:
                    return False
                line = json.dumps(asdict(item), ensure_ascii=False) + "\n"
                # After a process that was killed while it wrote, the broken line is ended first.
                os.write(handle, (line if whole else "\n" + line).encode())
        except OSError as err:
            raise OutputError(
                f"cannot be written ({err.strerror or err})",
                where=self.path,
                mend="check the folder and space",
            ) from err
        self._items[item.id] = item
        return True

    def _catch_up(self, handle: int) -> bool:
        """Take in what others have added; False if the file ends within a line."""
        size = os.fstat(handle).st_size
        if size < self._offset:  # somebody deleted or cut it
            self._offset = 0
        tail = os.pread(handle, size - self._offset, self._offset) if size > self._offset else b""
        lines = tail.split(b"\n")
        self._offset += len(tail) - len(lines[-1])
        for line in filter(None, lines[:-1]):
            try:
                row = json.loads(line)
                item = BadItem(str(row["id"]), str(row["where"]), str(row["reason"]))
            except (ValueError, KeyError, TypeError):
                log.warning("%s: passed over a line that is no entry: %r", self.path, line[:80])
                continue
            if item.id in self._known:
                self._items.setdefault(item.id, item)
        return not lines[-1]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file opened for appending, held by one thread of one process (where the system can)."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        with contextlib.suppress(ImportError):
            fcntl = importlib.import_module("fcntl")  # Unix only; elsewhere appending in one write has to do
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
