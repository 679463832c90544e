"""What is left of a pack that was refused: the list of bad items, and what is whole and goes on being of use.

A kill leaves everything as it is, for the same command goes on from there. A refusal is final for what was asked, so
nothing half-written stays: blocks in which a bad item's stand-in lies are removed (a mended item must be read again),
the list comes to where a finished set has its own, and whatever else is whole is kept and said to be.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from swath.errors import SwathError
from swath.feed.shard_write import read_block


def clear_up(folder: Path, packing: Path, bad_items: Path) -> int:
    """Remove what is of no use any more; `bad_items` is where the list goes. Returns how many records are kept."""
    kept = 0
    for block in sorted(p for p in packing.iterdir() if p.is_dir()):
        found = read_block(block)
        if found is None or any(row["weight"] == 0 for row in found["records"]):
            shutil.rmtree(block, ignore_errors=True)
        else:
            kept += len(found["records"])
    report = packing / "bad_items.jsonl"
    if report.exists():
        report.replace(bad_items)
    if not kept:
        shutil.rmtree(packing, ignore_errors=True)
        with contextlib.suppress(OSError):  # the list, or shards of before, may lie in it
            folder.rmdir()
    return kept


def said(error: SwathError, bad_items: Path | None, kept: int) -> SwathError:
    """The error with where the list of too many bad items lies now, and what a second run does."""
    where, mend = error.where, error.mend or ""
    if bad_items is not None:
        where, mend = str(bad_items), "mend the items on the list, or allow a larger share with --bad_items"
    if kept:
        mend += (
            f"{'; ' * bool(mend)}the good records packed so far ({kept}) stay, and the same command goes on"
        )
    return type(error)(error.what, where=where, mend=mend or None)
