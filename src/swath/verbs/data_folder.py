"""What `--data FOLDER` means: a folder of one's own, or shards. No torch here: options are read with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swath.errors import ConfigError

YAML_FILES = (".yaml", ".yml")


def named_source(text: str) -> dict[str, Any]:
    """The keys of `data` that one folder, or the address of shards, stands for.

    Args:
        text: a folder with dataset.yaml (a layout of one's own), or that YAML file itself; a folder or an address
            with shards.json (as `swath pack` writes it).

    Raises:
        ConfigError: it is neither, or both.
    """
    from swath.data.folder_spec import FILE
    from swath.feed.shard_format import MANIFEST

    if "://" in text:
        return {"shards": [text]}
    path = Path(text)
    if path.is_file() and path.suffix.lower() in YAML_FILES:
        return _own(text)
    if path.is_file():
        raise ConfigError(
            "is a file, and data are folders",
            where=text,
            mend="name the folder, or give a scene as data.scene with data.labels",
        )
    if not path.is_dir():
        raise ConfigError("there is no such folder of data", where=text, mend="check the path")
    own, packed = (path / FILE).is_file(), (path / MANIFEST).is_file()
    if own and packed:
        raise ConfigError(
            f"holds both {FILE} and {MANIFEST}",
            where=text,
            mend="say which is meant: give data.layout.name folder with data.layout.root, or data.shards",
        )
    if not (own or packed):
        raise ConfigError(
            f"holds neither {FILE} (a folder of your own) nor {MANIFEST} (as swath pack writes it)",
            where=text,
            mend=f"write {FILE} (docs/own-data.md), or give data.layout.name and data.layout.root",
        )
    return _own(text) if own else {"shards": [text]}


def _own(root: str) -> dict[str, Any]:
    return {"layout": {"name": "folder", "root": root}}
