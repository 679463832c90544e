"""Which items of a labelled data set teach, select and score; no pixel is opened to find out.

The three parts are `train`, `validation` and `test`. A data set's own parts are taken by name; whatever else divides
it (`swath.data.split_parts`) keeps whole groups, blocks or regions together. Where there is no validation part, a
share of whole groups of train becomes one: never neighbours at random, unless that is asked for, with a warning.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from swath.data.folder_spec import SplitKind, SplitSpec
from swath.data.folder_split import divide
from swath.data.part_spec import PARTS, PartName, PartsSpec
from swath.data.split_parts import Located, by_blocks, by_groups, by_random
from swath.errors import ConfigError
from swath.rng import derive
from swath.words import counted

_WHERE = "data.parts"


def members(items: Sequence[Located], spec: PartsSpec, part: PartName) -> list[int]:
    """Indices of the items of a part, for all ways but "official" and "within".

    Raises:
        ConfigError: the part is named nowhere.
        InputError: items lack what they are divided by, or a part is empty.
    """
    given = _named_groups(items, spec) if spec.by == "groups" and not spec.shares else _divided(items, spec)
    if part == "test" or not spec.validation_share:
        if not given.get(part):
            raise ConfigError(
                f"no item is of part {part}",
                where=f"{_WHERE}.{part}",
                mend="name its groups, or give it a share",
            )
        return given[part]
    train = given["train"]
    return [train[i] for i in share_of_train([items[i] for i in train], spec, part)]


def share_of_train(items: Sequence[Located], spec: PartsSpec, part: PartName) -> list[int]:
    """Which items of the whole train part are left to train, or become validation.

    Raises:
        InputError: items lack groups (or footprints) to be kept whole, or there is one group alone.
    """
    if not spec.validation_share:
        return list(range(len(items)))
    shares = {"train": 1 - spec.validation_share, "validation": spec.validation_share}
    where = f"{_WHERE}.validation_share"
    if spec.validation_by == "random":
        parts = by_random(items, shares, seed=spec.seed, split=where)
    elif spec.validation_by == "blocks":
        parts = by_blocks(items, shares, block=spec.block, buffer=spec.buffer, seed=spec.seed, split=where)
    else:
        parts = by_groups(items, shares, seed=spec.seed, split=where)
    if not parts.parts["validation"] or not parts.parts["train"]:
        count = len({i.group for i in items})
        raise ConfigError(
            f"{counted(count, 'group')} of train cannot give whole ones to validation",
            where=where,
            mend="give a larger share, or validation_by: blocks or random",
        )
    return list(parts.parts[part])


def fraction(ids: Sequence[str], share: float, seed: int) -> list[int]:
    """Indices of a share of the items, at least one, in their order: a smaller share lies within a larger one.

    Which they are depends on the seed and each item's own id, on no method and on no other item.
    """
    if share >= 1:
        return list(range(len(ids)))
    # A share of 0.1 of 30 is 3.0000000000000004 in binary.
    count = max(1, -int(-(share * len(ids) - 1e-9) // 1))
    ranked = sorted(range(len(ids)), key=lambda i: (derive(seed, "labels", ids[i]), ids[i]))
    return sorted(ranked[:count])


def _named_groups(items: Sequence[Located], spec: PartsSpec) -> dict[str, list[int]]:
    """By names of groups, or patterns of names; a name that is written out counts before any pattern."""
    known = sorted({i.group for i in items if i.group is not None})
    given: dict[str, str] = {}
    for exact in (True, False):
        for part in PARTS:
            for name in getattr(spec, part):
                if (name in known) != exact:
                    continue
                for group in [name] if exact else fnmatch.filter(known, name):
                    if given.get(group, part) != part and not exact and not _written(group, spec):
                        raise ConfigError(
                            f"group '{group}' is in {given[group]} and in {part}",
                            where=f"{_WHERE}.{part}",
                            mend="write patterns that do not overlap",
                        )
                    given.setdefault(group, part)
                if not exact and not fnmatch.filter(known, name):
                    few = ", ".join(known[:8]) + " …" * (len(known) > 8)
                    raise ConfigError(
                        f"there is no group '{name}'",
                        where=f"{_WHERE}.{part}",
                        mend=f"use {few}" if known else "its items have no groups: divide in another way",
                    )
    return {p: [i for i, item in enumerate(items) if given.get(item.group or "") == p] for p in PARTS}


def _written(group: str, spec: PartsSpec) -> bool:
    return any(group in getattr(spec, part) for part in PARTS)


def _divided(items: Sequence[Located], spec: PartsSpec) -> dict[str, list[int]]:
    assert spec.by not in ("official", "within")
    try:
        starts = {
            name: dt.date.min if text == "start" else dt.date.fromisoformat(text)
            for name, text in spec.starts.items()
        }
    except ValueError as err:
        raise ConfigError(
            f"holds no date ({err})", where=f"{_WHERE}.starts", mend="write 2022-01-01, or start"
        ) from None
    if spec.by in ("regions", "list") and not spec.file:
        raise ConfigError(
            "is missing", where=f"{_WHERE}.file", mend="name the file of regions, or of the list"
        )
    file = Path(spec.file)
    how = SplitSpec(
        cast(SplitKind, spec.by),
        spec.shares,
        spec.seed,
        spec.block,
        spec.buffer,
        file.name,
        spec.attribute,
        starts,
    )
    found = divide(items, how, file.parent if spec.file else Path(_WHERE))
    return {part: list(found.parts.get(part, ())) for part in PARTS}
