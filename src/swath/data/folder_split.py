"""The split that a YAML states, made: shares, regions, dates or lists become parts of located items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swath.data.folder_labels import read_table
from swath.data.folder_spec import SplitSpec
from swath.data.split_parts import (
    Located,
    Parts,
    by_blocks,
    by_dates,
    by_groups,
    by_list,
    by_random,
)
from swath.data.vectors import carried, read_regions, shapely_module
from swath.errors import InputError


def divide(
    items: Sequence[Located],
    spec: SplitSpec,
    root: Path,
    listed: Mapping[str, str] | None = None,
    *,
    where: str = "",
) -> Parts:
    """Parts of items.

    Args:
        items: of any layout.
        spec: the way.
        root: files of the spec are relative to it.
        listed: group -> part, as a table of labels says it.
        where: for messages; empty: the split of the root.

    Raises:
        InputError, ConfigError: as `swath.data.split_parts`.
    """
    where = where or f"{root}: split"
    if spec.kind == "blocks":
        return by_blocks(
            items, spec.shares, block=spec.block, buffer=spec.buffer, seed=spec.seed, split=where
        )
    if spec.kind == "groups":
        return by_groups(items, spec.shares, seed=spec.seed, split=where)
    if spec.kind == "random":
        return by_random(items, spec.shares, seed=spec.seed, split=where)
    if spec.kind == "dates":
        return by_dates(items, spec.starts, split=where)
    if spec.kind == "regions":
        return by_regions(items, str(root / spec.file), spec.attribute or "split", split=where)
    if spec.kind == "csv":
        if not listed:
            raise InputError(
                "the labels list no parts",
                where=where,
                mend="give their csv a column split, or divide otherwise",
            )
        known = {i.id: listed[i.group] for i in items if i.group is not None and i.group in listed}
        return by_list(items, known, split=where)
    path = root / spec.file
    return by_list(items, read_list(path), split=str(path))


def read_list(path: Path) -> dict[str, str]:
    """id -> part, from a csv with the columns id and part. Raises InputError for an id listed twice."""
    listed: dict[str, str] = {}
    for row in read_table(path, ("id", "part")):
        if row["id"] in listed:
            raise InputError(f"lists '{row['id']}' twice", where=path, mend="list each item once")
        listed[row["id"]] = row["part"]
    return listed


def by_regions(items: Sequence[Located], path: str, attribute: str, *, split: str = "split") -> Parts:
    """Items that a region covers whole belong to the part its attribute names; all others to none.

    Raises:
        InputError: a file as of `read_regions`; regions of two parts overlap; an item has no reference system.
    """
    shapely = shapely_module()
    crs, regions = read_regions(path, attribute)
    names = list(regions)
    for n, name in enumerate(names):
        for other in names[n + 1 :]:
            if regions[name].intersection(regions[other]).area > 0:
                raise InputError(
                    f"the regions '{name}' and '{other}' overlap", where=path, mend="draw them apart"
                )
    moved: dict[str, dict[str, Any]] = {}
    parts: dict[str, list[int]] = {name: [] for name in names}
    none = []
    for i, item in enumerate(items):
        if item.box is None or item.box.plane.startswith("image "):
            raise InputError(
                f"item {item.id} has no place on earth", where=split, mend="divide in another way"
            )
        box = item.box
        if box.plane not in moved:
            moved[box.plane] = {name: carried(shape, crs, box.plane) for name, shape in regions.items()}
        square = shapely.box(box.left, box.low, box.right, box.high)
        inside = [name for name, shape in moved[box.plane].items() if shape.covers(square)]
        if inside:
            parts[inside[0]].append(i)
        else:
            none.append(i)
    empty = [name for name in names if not parts[name]]
    if empty:
        raise InputError(
            f"no item lies wholly in {', '.join(empty)}", where=path, mend="draw it larger than a window"
        )
    return Parts({name: tuple(found) for name, found in parts.items()}, tuple(none))
