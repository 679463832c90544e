"""Files that are either whole or absent: written beside their name, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from swath.errors import OutputError


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """A temporary path in the same folder; it takes the final name when the block ends without an error.

    A process killed at any moment leaves the old file or the new one under the final name, never a part.

    Raises:
        OutputError: the folder cannot be written to.
    """
    final = Path(path)
    # The process id keeps two writers apart; the leading dot keeps globs such as *.ckpt from finding it.
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    made = [p for p in final.parents if not p.exists()]
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(final)
        sync_folder(final.parent)
    except OSError as err:
        raise OutputError(
            f"cannot be written ({err.strerror or err})",
            where=final,
            mend="check the folder, its rights and space",
        ) from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
            for folder in made:  # innermost first; those that hold the file stay
                folder.rmdir()


def refuse_own_input(output: Path | str, inputs: Iterable[Path | str]) -> None:
    """Raises OutputError if a file would be written over one that it is made from, overwriting allowed or not; or a
    folder over one that holds it.
    """
    taken = {Path(path).resolve() for path in inputs}
    given = Path(output).resolve()
    if any(given == path or given in path.parents for path in taken):
        raise OutputError("is one of the inputs", where=output, mend="give another name")


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
