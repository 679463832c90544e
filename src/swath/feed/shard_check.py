"""Checks shards: what explains them, every file and every record by its sha256."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from swath.errors import InputError
from swath.feed.shard_format import MANIFEST, seal
from swath.feed.shard_write import hash_file, hash_record
from swath.feed.shards import Shards


def damaged(
    folder: Path | str, progress: Callable[[str, int, int], None] = lambda what, done, total: None
) -> list[str]:
    """What is not as it was written: files, and for files of records the records in them; empty if all is whole.

    Raises:
        InputError: shards.json or the index cannot be read at all.
    """
    root = Path(folder)
    shards = Shards(root)
    bad: list[str] = []
    # Shards that were written before it was sealed say nothing of their own.
    if shards.manifest.get("sha256", seal(shards.manifest)) != seal(shards.manifest):
        bad.append(MANIFEST)
    entries = list(shards.manifest["index"].values())
    of_group: dict[int, list[str]] = {}
    for number, group in enumerate(shards.manifest["groups"]):
        of_group[number] = []
        for series in group["files"].values():
            entries += series
            of_group[number] += [file["name"] for file in series]
    for number, entry in enumerate(entries):
        progress("hashing files", number, len(entries))
        path = root / entry["name"]
        if not path.is_file() or hash_file(path) != entry["sha256"]:
            bad.append(entry["name"])
    progress("hashing files", len(entries), len(entries))
    hurt = {n for n, names in of_group.items() if not set(names).isdisjoint(bad)}
    found = list(bad)
    digests = shards.columns["sha256"]
    for index in range(len(shards)):
        # Files that are whole hold whole records: only the others are looked through.
        if shards.group_of(index) not in hurt:
            continue
        name = f"record {shards.id(index)}"
        try:
            arrays = [shards.array(index, array) for array in shards.groups[shards.group_of(index)].arrays()]
        except InputError:
            found.append(name)
            continue
        if hash_record(arrays) != digests[index].tobytes().hex():
            found.append(name)
    return found
