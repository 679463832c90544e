"""Packs a layout into shards (swath.feed.shard_format): blocks of records in parallel processes, then joined.

While it goes on, everything lies in the output's `.packing` folder; `shards.json` appears last. A pack that was
killed goes on with the blocks that are whole, and ends with the same bits.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swath.data.collection import Collection
from swath.errors import ConfigError, InputError, OutputError, SwathError
from swath.feed.shard_finish import Index, finish
from swath.feed.shard_format import INDEX, MANIFEST, SHARD_BYTES, GroupSpec
from swath.feed.shard_statistics import STATISTICS_FILE
from swath.feed.shard_write import BlockWriter, read_block
from swath.files import atomic
from swath.verbs.dividing import Divider
from swath.verbs.packing_stop import clear_up, said

log = logging.getLogger(__name__)
PACKING = ".packing"
BAD_ITEMS = "bad_items.jsonl"
REFUSED = "bad_items.refused.jsonl"
PLAN = "plan.json"
# Sets of a few shards are cut finer, so that all workers have something to do and little is lost by a kill.
_LEAST_BLOCKS = 32
_POLL_SECONDS = 0.2

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def pack(
    collection: Collection,
    output: Path | str,
    *,
    about: dict[str, Any],
    workers: int = 1,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
    divider: Divider | None = None,
) -> dict[str, Any]:
    """Writes shards, or goes on where an earlier call was stopped.

    Args:
        collection: what is packed; its report should be `packing_report(output)`.
        output: the folder.
        about: what decides the records (layout, split, options), in JSON types; said in `shards.json`.
        workers: processes that read; they change nothing but the time.
        shard_bytes: most bytes of a file of pixels.
        overwrite: replace shards that are there.
        progress: see `Progress`.
        divider: gives the records parts in place of the official ones; what is packed already may get others.

    Returns:
        What `shards.json` says.

    Raises:
        OutputError: the folder holds other shards, is being packed, or cannot be written.
        InputError: too many items are bad, or none can be read; the list of them stays, and blocks without any.
    """
    folder = Path(output)
    if (folder / MANIFEST).exists() and not overwrite:
        raise OutputError(
            "holds shards already", where=folder, mend="give another folder, or --overwrite true"
        )
    strangers = [] if not folder.is_dir() else [p.name for p in folder.iterdir() if not _ours(p.name)]
    if strangers:
        raise OutputError(
            f"holds other files, such as {strangers[0]}", where=folder, mend="give a new folder"
        )
    try:
        (folder / PACKING).mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            try:
                return _pack(collection, folder, about, workers, shard_bytes, progress, divider)
            except (InputError, ConfigError) as err:
                too_many = len(collection.bad) > collection.allowed
                # An old set stays as it is, its list too.
                listed = folder / (REFUSED if (folder / MANIFEST).exists() else BAD_ITEMS)
                kept = clear_up(folder, folder / PACKING, listed)
                raise said(err, listed if too_many else None, kept) from err
    except OSError as err:
        raise OutputError(
            f"cannot be written ({err.strerror or err})", where=folder, mend="check the folder and its space"
        ) from err


def packing_report(output: Path | str) -> Path:
    """Where the list of bad items grows while packing."""
    return Path(output) / PACKING / BAD_ITEMS


def _ours(name: str) -> bool:
    return name in (MANIFEST, INDEX, PACKING, BAD_ITEMS, REFUSED, STATISTICS_FILE) or (
        name.startswith("g") and name[1:].isdigit()
    )


def _pack(
    collection: Collection,
    folder: Path,
    about: dict[str, Any],
    workers: int,
    shard_bytes: int,
    progress: Progress,
    divider: Divider | None,
) -> dict[str, Any]:
    packing = folder / PACKING
    if divider is not None:
        divider.check(collection)
    plan = _plan(collection, packing, about, shard_bytes)
    count, size = len(collection), int(plan["block"])
    blocks = [packing / f"{first // size:06d}" for first in range(0, count, size)]
    for stale in packing.glob(".*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    missing = []
    for number, path in enumerate(blocks):
        progress("checking", number, len(blocks))
        if read_block(path, check=True) is None:
            missing.append(number)
            if path.exists():
                log.warning("%s: is damaged and will be packed again", path)
    todo = [range(number * size, min(count, (number + 1) * size)) for number in missing]
    kept = count - sum(map(len, todo))
    if kept:
        log.info("%s: going on with %d records that are packed", folder, kept)
    _write_blocks(collection, [blocks[n] for n in missing], todo, workers, kept, progress)
    index = Index(blocks)
    if divider is not None:
        index.divide(divider)
    # From here on what is there is not a finished set any more.
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (REFUSED, STATISTICS_FILE):
        (folder / name).unlink(missing_ok=True)
    _list_bad(collection, blocks, folder / BAD_ITEMS)
    manifest = finish(
        folder,
        blocks,
        index,
        shard_bytes,
        {**about, "shard_bytes": shard_bytes, **({"split_by": divider.about} if divider else {})},
        functools.partial(_joined, progress, len(blocks)),
    )
    shutil.rmtree(packing, ignore_errors=True)
    return manifest


def _list_bad(collection: Collection, blocks: Sequence[Path], path: Path) -> None:
    """What is bad in the end: an item may have been mended since an earlier attempt listed it."""
    rows = (row for block in blocks for row in (read_block(block) or {"records": []})["records"])
    zero = {row["id"] for row in rows if row["weight"] == 0}
    bad = [asdict(item) for item in collection.bad if item.id in zero]
    path.unlink(missing_ok=True)
    if bad:
        with atomic(path) as temporary:
            temporary.write_text("".join(json.dumps(item) + "\n" for item in bad), "utf-8")


def _joined(progress: Progress, total: int, done: int) -> None:
    progress("joining", done, total)


def _plan(collection: Collection, packing: Path, about: dict[str, Any], shard_bytes: int) -> dict[str, Any]:
    """What the blocks are, kept so that a later call cannot mix two sets."""
    ids = hashlib.sha256("\n".join(f"{i.id}\t{i.split}" for i in collection.items).encode()).hexdigest()
    wanted = {"about": about, "items": len(collection), "ids": ids, "shard_bytes": shard_bytes}
    if not len(collection):
        raise InputError("has no items", where=about.get("layout"), mend="check the folder and the split")
    path = packing / PLAN
    if path.exists():
        plan: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for name, value in wanted.items():
            if plan.get(name) != value:
                raise OutputError(
                    f"was begun with another data set or other options ({name})",
                    where=packing.parent,
                    mend=f"use the same to go on, or remove {packing} to begin anew",
                )
        return plan
    spec = GroupSpec.of(collection.frame.stand_in(collection.items[0]))
    block = min(spec.records_per_shard(shard_bytes), -(-len(collection) // _LEAST_BLOCKS))
    plan = {**wanted, "block": max(1, block)}
    if len(collection) > _LEAST_BLOCKS * spec.records_per_shard(shard_bytes):
        plan["block"] = spec.records_per_shard(shard_bytes)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(plan), "utf-8")
    return plan


def _write_blocks(
    collection: Collection,
    paths: Sequence[Path],
    ranges: Sequence[range],
    workers: int,
    kept: int,
    progress: Progress,
) -> None:
    total = kept + sum(map(len, ranges))
    if workers <= 1:
        done = kept
        for path, part in zip(paths, ranges, strict=True):
            with BlockWriter(path) as writer:
                for index in part:
                    writer.add(collection.read(index), collection.items[index].split)
                    done += 1
                    progress("packing", done, total)
                writer.finish()
        return
    # Processes are begun anew: GDAL and torch do not survive a fork with threads.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", kept)
    pool = ProcessPoolExecutor(
        min(workers, len(paths) or 1), context, _begin_worker, (collection, counter, os.getpid())
    )
    try:
        waiting: set[Future[None]] = {
            pool.submit(_work, path, part) for path, part in zip(paths, ranges, strict=True)
        }
        while waiting:
            finished, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
            for future in finished:
                future.result()
            progress("packing", counter.value, total)
    except BrokenProcessPool as err:
        raise SwathError(
            "a reading process ended without a word (out of memory, or killed)",
            where=paths[0].parent.parent,
            mend="run the same command again to go on, with fewer --workers if memory is short",
        ) from err
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: tuple[Collection, Any]


def _begin_worker(collection: Collection, counter: Any, parent: int) -> None:
    global _worker  # a process of a pool has no other place for what all its work shares
    _worker = (collection, counter)

    def watch() -> None:
        # A killed parent tells its children nothing: they would wait for work for ever.
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(path: Path, part: range) -> None:
    collection, counter = _worker
    with BlockWriter(path) as writer:
        for index in part:
            writer.add(collection.read(index), collection.items[index].split)
            with counter.get_lock():
                counter.value += 1
        writer.finish()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One packer at a time; the lock ends with its process."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with (folder / PACKING / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                "is being packed by another process", where=folder, mend="wait for it, or stop it first"
            ) from None
        yield
