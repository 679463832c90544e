"""Folders of folders, and libraries that not everyone has. What else layouts share is in `swath.data.layouts.disk`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from swath.data.layouts.disk import existing_folder
from swath.errors import ConfigError


def is_odd(name: str) -> bool:
    """Whether a name is one of those that archives and desktops leave behind: ._a.tif, .DS_Store, Thumbs.db."""
    return name.startswith((".", "__MACOSX")) or name in ("Thumbs.db", "desktop.ini")


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name. Raises InputError if it does not exist."""
    return sorted(p for p in existing_folder(folder).iterdir() if p.is_dir() and not is_odd(p.name))


def library(name: str, extra: str, where: Path) -> Any:
    """An optional library. Raises ConfigError that says which extra brings it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"reading it needs {name.split('.')[0]}, which is not installed",
            where=where,
            mend=f'pip install "swath[{extra}]"',
        ) from None
