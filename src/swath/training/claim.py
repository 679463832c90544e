"""A run's folder belongs to one process at a time."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from swath.errors import OutputError

log = logging.getLogger(__name__)
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# What this process holds, and how many blocks are within: a stage's run lies within that of all stages.
_held: dict[Path, int] = {}


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """No other process claims the folder, which is made, while the block runs.

    The system holds the lock on the folder itself: no file stays behind, and it is free when its process is gone,
    however it ended. Where a file system knows no locks it is said, and nothing is held. Within one process a folder may
    be claimed again.

    Raises:
        OutputError: another process works in it, or it cannot be made.
    """
    place = folder.absolute()
    if place in _held:
        _held[place] += 1
        try:
            yield
        finally:
            _held[place] -= 1
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY)  # a child that is started does not inherit it
    except OSError as err:
        raise OutputError(f"cannot be made ({err.strerror})", where=folder, mend="check its rights") from err
    try:
        _lock(handle, folder)
        _held[place] = 0
        yield
    finally:
        _held.pop(place, None)
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    if sys.platform == "win32":
        return  # which has no such lock
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        if err.errno in _TAKEN:
            raise OutputError(
                "another process works in it",
                where=folder,
                mend="wait until it ends, or stop it, or give another folder",
            ) from err
        log.warning("%s: cannot be locked (%s): nothing keeps a second run out", folder, err.strerror)
