"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from swath.errors import OutputError


def write_text(path: str | Path, text: str, *, overwrite: bool) -> Path:
    """Write UTF-8 text to a temporary file beside the target, then move it under its name.

    Raises:
        OutputError: the file exists and may not be overwritten, or cannot be written.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise OutputError("exists already", where=target, mend="choose another name, or ask to overwrite it")
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        part = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes files for the owner alone; a report is for whoever may read the folder.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        part.replace(target)
    except OSError as err:
        raise OutputError(
            f"cannot be written ({err})", where=target, mend="check the folder and free space"
        ) from err
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return target
