"""How a labelled data set is divided: the options alone, light enough for the command line's help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from swath.data.split_parts import check_shares
from swath.errors import ConfigError

PartName = Literal["train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")
_OFFICIAL = {"train": ("train", "training"), "validation": ("validation", "val", "valid"), "test": ("test",)}
_WHERE = "data.parts"


@dataclass(frozen=True)
class PartsSpec:
    """How a labelled data set is divided.

    Attributes:
        by: "official": its own parts; "groups": whole scenes, tiles or sites; "blocks": squares of the ground, with a
            buffer; "within": squares inside every record, of whose pixels each part sees its own alone; "regions":
            polygons; "dates": by time; "list": as written down; "random": item by item, which flatters.
        train: names of its official parts, or of groups (or patterns of them, such as "site-*"); empty: the official
            part of that name, or `shares` of groups.
        validation: the same; without any, `validation_share` of train.
        test: the same; nothing but scoring ever opens it.
        validation_share: share of the items of train, in whole groups, that validation takes of it; 0: none.
        validation_by: "groups", "blocks" of the ground, or "random", which flatters.
        shares: part -> share, for groups, blocks, within and random: {train: 0.7, validation: 0.15, test: 0.15}.
        seed: of the draw.
        block: side of a square, in units of the reference system (m for UTM); for "within", in pixels.
        buffer: least distance between items of two parts; null: as wide as an item. For "within", pixels between
            squares of two parts; null: none.
        file: of regions (a vector file), or of a list (a csv with id and part).
        attribute: of regions, that names the part; empty: split.
        starts: part -> first date, for dates; "start" for everything before: {train: start, test: 2022-01-01}.
    """

    by: Literal["official", "groups", "blocks", "within", "regions", "dates", "list", "random"] = "official"
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    validation_share: float = 0.0
    validation_by: Literal["groups", "blocks", "random"] = "groups"
    shares: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    block: float = 0.0
    buffer: float | None = None
    file: str = ""
    attribute: str = ""
    starts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share < 1:
            raise ConfigError(
                f"is {self.validation_share}", where=f"{_WHERE}.validation_share", mend="give a share below 1"
            )
        for name in ("block", "buffer"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(
                    f"{value} is negative or not finite", where=f"{_WHERE}.{name}", mend="give a length"
                )
        if self.validation and self.validation_share:
            raise ConfigError(
                "validation is named, and a share of train is asked for too", where=_WHERE, mend="choose one"
            )
        named = self.train + self.validation + self.test
        twice = next((n for n in named if named.count(n) > 1), None)
        if twice is not None:
            raise ConfigError(f"'{twice}' is in two parts", where=_WHERE, mend="name it in one")
        if named and self.by not in ("official", "groups"):
            raise ConfigError(
                f"parts are named, but divided by {self.by}", where=_WHERE, mend="leave the names out"
            )
        if self.by == "groups" and bool(named) == bool(self.shares):
            raise ConfigError("groups need names or shares", where=_WHERE, mend="give one of the two")
        for name in (*self.shares, *self.starts):
            if name not in PARTS:
                raise ConfigError(f"'{name}' is no part", where=_WHERE, mend=f"use {', '.join(PARTS)}")
        if self.by in ("blocks", "within", "random") or self.shares:
            check_shares(self.shares, f"{_WHERE}.shares")
        if (self.by in ("blocks", "within") or self.validation_by == "blocks") and not self.block > 0:
            raise ConfigError("is missing", where=f"{_WHERE}.block", mend="say how wide a block is")

    def official(self, part: PartName, splits: Sequence[str]) -> tuple[str, ...]:
        """Names of the data set's own parts that make up `part`; none if train gives it a share.

        Raises:
            ConfigError: a name is unknown, or there is no such part.
        """
        if part == "validation" and self.validation_share:
            return ()
        asked: tuple[str, ...] = getattr(self, part)
        for name in asked:
            if name not in splits:
                known = f"use {', '.join(splits)}" if splits else "it has no official parts: divide by groups"
                raise ConfigError(f"there is no part '{name}'", where=f"{_WHERE}.{part}", mend=known)
        if asked:
            return asked
        found = tuple(n for n in _OFFICIAL[part] if n in splits)[:1]
        if not found:
            mend = (
                f"name some of {', '.join(splits)}" if splits else "divide in another way, such as by groups"
            )
            if part == "validation":
                mend += ", or give data.parts.validation_share"
            raise ConfigError(f"the data set has no {part} part", where=f"{_WHERE}.{part}", mend=mend)
        others = {n for p in PARTS if p != part for n in getattr(self, p)}
        if found[0] in others:
            raise ConfigError(
                f"the official part '{found[0]}' is used as another",
                where=f"{_WHERE}.{part}",
                mend="name one",
            )
        return found
