"""`swath pack`: write a data set into shards, check them, or take their statistics."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError, InputError
from swath.verbs.options import check_share
from swath.verbs.split_options import SplitOptions
from swath.words import counted

if TYPE_CHECKING:
    from swath.data.layouts.base import LayoutInfo
    from swath.feed.shards import Shards
    from swath.verbs.packing import Progress

POSITIONAL = ("layout", "root", "output")


@dataclass(frozen=True)
class PackConfig:
    """Write a data set into shards of standard files, which feed a GPU from two cores (docs/shards.md).

    Attributes:
        layout: name of the data set's layout; `swath inspect --layouts true` lists them.
        root: its folder.
        output: folder of the shards. Run again after a stop, the command goes on.
        split: an official part only; empty: all items.
        options: options of the layout, such as {"resampling": "bilinear"}.
        workers: processes that read; 0: one per core. They change nothing but the time.
        bad_items: share of the items that may be bad; they stay in the order as records of weight 0.
        shard_mb: most mebibytes of one file of pixels.
        overwrite: replace shards that are in the output.
        verify: check the output instead: hash every file and every record.
        split_by: how the records are divided into parts, in place of the official ones; without a layout, those of
            the output are divided anew.
        statistics: take the statistics per band over all valid pixels too, of the output as it is if no layout
            is given; they are written to statistics.json.
    """

    layout: str = ""
    root: str = ""
    output: str = ""
    split: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    workers: int = 0
    bad_items: float = 0.01
    shard_mb: int = 256
    overwrite: bool = False
    verify: bool = False
    statistics: bool = False
    split_by: SplitOptions = field(default_factory=SplitOptions)

    def __post_init__(self) -> None:
        if not self.output:
            raise ConfigError("no folder is named", where="output", mend="write --output FOLDER")
        if "://" in self.output:
            raise ConfigError(
                f"'{self.output}' is an address",
                where="output",
                mend="pack into a folder, and copy it to the store; training reads it there",
            )
        if self.workers < 0:
            raise ConfigError(f"is {self.workers}", where="workers", mend="give 0 (one per core) or more")
        if self.shard_mb < 1:
            raise ConfigError(f"is {self.shard_mb}", where="shard_mb", mend="give 1 or more")
        check_share(self.bad_items, "bad_items")
        if self.verify and (self.layout or self.split_by.kind):
            raise ConfigError(
                "checks shards that are there",
                where="verify",
                mend="leave layout, root and split_by out, or verify after packing",
            )
        if not self.layout and not (self.verify or self.statistics or self.split_by.kind):
            raise ConfigError(
                "no layout is named", where="layout", mend="swath inspect --layouts true lists them"
            )
        if self.layout and not self.root:
            raise ConfigError("no folder is named", where="root", mend="write --root FOLDER")


@dataclass(frozen=True)
class PackResult:
    """What is in the shards.

    Attributes:
        output: their folder.
        records: how many.
        groups: how many shapes.
        bad_items: records of weight 0.
        bytes: of all files of records.
        statistics: the file of statistics, or empty.
        parts: name -> records, where they were divided; "none" are those of no part.
    """

    output: str
    records: int
    groups: int
    bad_items: int
    bytes: int
    statistics: str = ""
    parts: dict[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """A few words for a terminal."""
        bad = f", {self.bad_items} of them bad (weight 0)" if self.bad_items else ""
        lines = [
            f"{counted(self.records, 'record')} of {counted(self.groups, 'shape')} "
            f"in {self.output}{bad}, {self.bytes / 2**20:.1f} MiB"
        ]
        if self.parts:
            lines.append("parts " + ", ".join(f"{name} {count}" for name, count in self.parts.items()))
        if self.statistics:
            lines.append(f"statistics {self.statistics}")
        return "\n".join(lines)


def run(config: PackConfig) -> PackResult:
    """Packs, or checks.

    Raises:
        SwathError: in one line, if something does not fit or a file is damaged.
    """
    from swath.feed.shards import Shards

    statistics = ""
    with progress_bar() as progress:
        if config.layout:
            _pack(config, progress)
        elif config.split_by.kind:
            from swath.verbs.dividing import Divider, redivide

            redivide(config.output, Divider(config.split_by))
        if config.verify:
            from swath.feed.shard_check import damaged

            found = damaged(config.output, progress)
            if found:
                more = f" (and {len(found) - 1} more: {', '.join(found[1:6])}{' …' * (len(found) > 6)})"
                raise InputError(
                    f"{found[0]} is not as it was written{more * (len(found) > 1)}",
                    where=config.output,
                    mend="copy it again from where it is whole, or pack again with --overwrite true",
                )
        shards = Shards(config.output)
        if config.statistics:
            from swath.feed.shard_statistics import write_statistics

            statistics = str(write_statistics(shards, config.output, progress))
    files = [f for g in shards.manifest["groups"] for series in g["files"].values() for f in series]
    return PackResult(
        config.output,
        len(shards),
        len(shards.groups),
        int((shards.columns["weight"] == 0).sum()),
        sum(int(f["bytes"]) for f in files),
        statistics=statistics,
        parts=_parts(shards) if config.split_by.kind else {},
    )


def _parts(shards: Shards) -> dict[str, int]:
    names = [bytes(name).decode() or "none" for name in shards.columns["split"].tolist()]
    return {name: names.count(name) for name in sorted(set(names), key=lambda n: (n == "none", n))}


def _pack(config: PackConfig, progress: Progress) -> None:
    import os

    from swath.data.collection import Collection
    from swath.data.layouts.registry import layout_info, open_layout
    from swath.verbs.packing import pack, packing_report

    divider = None
    if config.split_by.kind:
        from swath.verbs.dividing import Divider

        divider = Divider(config.split_by)
    layout = open_layout(config.layout, config.root, config.split or None, **config.options)
    collection = Collection(layout, limit=config.bad_items, report=packing_report(config.output))
    about = {
        "layout": config.layout,
        "split": config.split or None,
        "options": config.options,
        **describe_targets(
            layout.info if config.layout == "folder" else layout_info(config.layout, config.options)
        ),
    }
    pack(
        collection,
        config.output,
        about=about,
        workers=config.workers or os.cpu_count() or 1,
        shard_bytes=config.shard_mb * 2**20,
        overwrite=config.overwrite,
        progress=progress,
        divider=divider,
    )


def describe_targets(info: LayoutInfo) -> dict[str, Any]:
    """What targets mean, in JSON types: it stands in `shards.json`, so that shards can be learned from alone."""
    return {
        "tasks": list(info.tasks),
        "classes": [[c.value, c.name, list(c.color)] for c in info.classes],
        "quantities": dict(info.quantities),
    }


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich import progress
    from rich.console import Console

    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        tasks: dict[str, progress.TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield show
