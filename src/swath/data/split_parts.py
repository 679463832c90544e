"""Dividing the items of any layout into parts: by spatial blocks, groups, regions, dates, lists, or at random.

An item is `Located`: its id, its group, its footprint and its dates. Every way is a pure function of these and a
seed; no part shares an item with another, and what belongs to none (a buffer) is listed, never lost.

* blocks: the plane is cut into squares; each goes whole to one part; an item whose footprint, grown by half the
  buffer, touches a square of another part is left out. So items of two parts are a buffer apart or more.
* groups: items of one group (`Item.group`: a scene, a tile, a site) stay together.
* regions: named polygons; an item belongs to the one that covers it whole.
* dates: everything before the first border, between the borders, and after.
* list: the part of each id is written down.
* random: item by item. Neighbours then lie on both sides and scores flatter: said in a warning each time.
"""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from swath.errors import ConfigError, InputError
from swath.rng import numpy_generator

log = logging.getLogger(__name__)
RANDOM_WARNING = (
    "items are divided at random: neighbours that look alike lie in several parts, so scores tell how well the "
    "model remembers places, not how it does elsewhere; divide by blocks, groups or regions to know that"
)


@dataclass(frozen=True)
class Box:
    """A footprint: left < right and low < high, in the units of a plane (a reference system, or one image)."""

    plane: str
    left: float
    low: float
    right: float
    high: float

    def grown(self, by: float) -> Box:
        """Wider on all sides."""
        return Box(self.plane, self.left - by, self.low - by, self.right + by, self.high + by)


@dataclass(frozen=True)
class Located:
    """What a split needs to know of an item."""

    id: str
    group: str | None = None
    box: Box | None = None
    dates: tuple[dt.date | None, ...] = ()


@dataclass(frozen=True)
class Parts:
    """Indices of items per part, ascending, and of those in none."""

    parts: Mapping[str, tuple[int, ...]]
    left_out: tuple[int, ...] = ()

    def names(self, count: int) -> list[str | None]:
        """Per item, its part or None."""
        result: list[str | None] = [None] * count
        for name, members in self.parts.items():
            for i in members:
                result[i] = name
        return result


def by_groups(
    items: Sequence[Located], shares: Mapping[str, float], *, seed: int = 0, split: str = "split"
) -> Parts:
    """Whole groups by shares of items. Raises InputError for an item without a group."""
    members: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        if item.group is None:
            raise InputError(f"item {item.id} has no group", where=split, mend="divide in another way")
        members.setdefault(item.group, []).append(i)
    sizes = {name: len(found) for name, found in members.items()}
    given = _deal(sizes, shares, seed, "split-groups", split)
    return _collect(len(items), ((given[name], found) for name, found in members.items()), shares)


def by_blocks(
    items: Sequence[Located],
    shares: Mapping[str, float],
    *,
    block: float,
    buffer: float | None = None,
    seed: int = 0,
    split: str = "split",
) -> Parts:
    """Squares of side `block` by shares of items, with parts `buffer` or more apart.

    Args:
        items: with footprints.
        shares: part -> share of the items; they sum to one.
        block: side of a square, in units of the planes.
        buffer: least distance between items of two parts; None: the widest footprint's side.
        seed: of the draw.
        split: name for messages.

    Raises:
        InputError: an item has no footprint, or a part ends up without items.
        ConfigError: the shares, the block or the buffer cannot be: the buffer must be as wide as a footprint, and
            the block wider than footprint and buffer together.
    """
    boxes = [_box(item, split) for item in items]
    side = max((max(b.right - b.left, b.high - b.low) for b in boxes), default=0.0)
    buffer = side if buffer is None else buffer
    # Widths come from differences of large coordinates: a millionth of a window is rounding.
    if buffer < side * (1 - 1e-6):
        raise ConfigError(
            f"the buffer of {buffer:g} is narrower than a window of {side:g}: a window could see two parts",
            where=split,
            mend="make it as wide as the window, or leave it out",
        )
    if block < (side + buffer) * (1 - 1e-6):
        raise ConfigError(
            f"no window of {side:g} with a buffer of {buffer:g} fits a block of {block:g}",
            where=split,
            mend=f"make blocks wider than {side + buffer:g}",
        )
    grown = [box.grown(buffer / 2) for box in boxes]
    home = [block_of(box, block) for box in boxes]
    touched = [_blocks(box, block) for box in grown]
    sizes: dict[str, int] = {}
    for names in touched:
        for name in names:
            sizes.setdefault(name, 0)
    for name in home:
        sizes[name] = sizes.get(name, 0) + 1
    given = _deal(sizes, shares, seed, "split-blocks", split)
    kept = (
        (given[name] if all(given[n] == given[name] for n in names) else None, [i])
        for i, (name, names) in enumerate(zip(home, touched, strict=True))
    )
    parts = _collect(len(items), kept, shares)
    _nonempty(parts, split, "make blocks smaller, or the buffer narrower")
    return parts


def by_random(
    items: Sequence[Located], shares: Mapping[str, float], *, seed: int = 0, split: str = "split"
) -> Parts:
    """Item by item. Warns each time, and says why."""
    log.warning("%s: %s", split, RANDOM_WARNING)
    given = _deal({item.id: 1 for item in items}, shares, seed, "split-random", split)
    return _collect(len(items), ((given[item.id], [i]) for i, item in enumerate(items)), shares)


def by_dates(items: Sequence[Located], borders: Mapping[str, dt.date], *, split: str = "split") -> Parts:
    """Parts in time: each begins at its border; the first part begins before all others ("train": date.min).

    Raises:
        InputError: an item has no date, or its dates fall into two parts.
        ConfigError: borders are not in order.
    """
    starts = list(borders.values())
    if starts != sorted(set(starts)) or not starts:
        raise ConfigError("the parts' first dates are not in order", where=split, mend="sort them, each once")
    names = list(borders)
    rows: list[tuple[str | None, list[int]]] = []
    for i, item in enumerate(items):
        if not item.dates or any(d is None for d in item.dates):
            raise InputError(f"item {item.id} has no date", where=split, mend="divide in another way")
        inside = {sum(s <= d for s in starts) - 1 for d in item.dates if d is not None}
        if len(inside) > 1:
            raise InputError(
                f"the dates of item {item.id} lie in several parts",
                where=split,
                mend="cut series into items of one part, or divide by blocks",
            )
        place = inside.pop()
        rows.append((names[place] if place >= 0 else None, [i]))
    parts = _collect(len(items), rows, names)
    _nonempty(parts, split, "move its first date")
    return parts


def by_list(items: Sequence[Located], listed: Mapping[str, str], *, split: str = "split") -> Parts:
    """As written down: id -> part. Raises InputError for a listed id that is no item."""
    known = {item.id for item in items}
    strange = [name for name in listed if name not in known]
    if strange:
        raise InputError(
            f"lists {len(strange)} unknown items, such as '{strange[0]}'",
            where=split,
            mend=f"use ids such as '{items[0].id}'",
        )
    names = list(dict.fromkeys(listed.values()))
    rows = ((listed.get(item.id), [i]) for i, item in enumerate(items))
    return _collect(len(items), rows, names)


def _deal(
    sizes: Mapping[str, int], shares: Mapping[str, float], seed: int, purpose: str, split: str
) -> dict[str, str]:
    """Give each thing, in a seeded order, to the part that lacks most of its share."""
    check_shares(shares, split)
    total = sum(sizes.values())
    order = sorted(sizes)
    drawn = numpy_generator(seed, purpose).permutation(len(order))
    # The big ones first, so that the last ones can even things out; among equals the draw decides.
    ranked = sorted((order[i] for i in drawn), key=lambda name: -sizes[name])
    has = dict.fromkeys(shares, 0.0)
    given: dict[str, str] = {}
    for name in ranked:
        part = max(shares, key=lambda p: (shares[p] * total - has[p]) / shares[p])
        given[name] = part
        # Empty squares count a little, so that they are shared out too.
        has[part] += sizes[name] or 1e-3
    return given


def check_shares(shares: Mapping[str, float], split: str) -> None:
    """Raise ConfigError unless shares are above 0 and sum to one."""
    good = shares and all(math.isfinite(s) and s > 0 for s in shares.values())
    if not good or not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise ConfigError(
            f"shares {dict(shares)} are not above 0 with a sum of 1",
            where=split,
            mend="write shares such as {train: 0.7, validation: 0.15, test: 0.15}",
        )


def _collect(count: int, rows: Iterable[tuple[str | None, list[int]]], names: Iterable[str]) -> Parts:
    parts: dict[str, list[int]] = {name: [] for name in names}
    none: list[int] = []
    for name, members in rows:
        (none if name is None else parts[name]).extend(members)
    assert len(none) + sum(map(len, parts.values())) == count
    return Parts({name: tuple(sorted(members)) for name, members in parts.items()}, tuple(sorted(none)))


def _nonempty(parts: Parts, split: str, mend: str) -> None:
    empty = [name for name, members in parts.parts.items() if not members]
    if empty:
        raise InputError(
            f"leaves no item to {', '.join(empty)} ({len(parts.left_out)} are left out)",
            where=split,
            mend=mend,
        )


def _box(item: Located, split: str) -> Box:
    if item.box is None:
        raise InputError(f"item {item.id} has no footprint", where=split, mend="divide by groups or a list")
    return item.box


def block_of(box: Box, size: float) -> str:
    """The square of the ground, of side `size`, that a footprint's centre lies in: those of `by_blocks`."""
    return _block((box.left + box.right) / 2, (box.low + box.high) / 2, box.plane, size)


def _block(x: float, y: float, plane: str, size: float) -> str:
    return f"{plane}\x1f{math.floor(x / size)}\x1f{math.floor(y / size)}"


def _blocks(box: Box, size: float) -> list[str]:
    """Squares that the inside of a box touches."""
    slack = size * 1e-9
    xs = range(math.floor((box.left + slack) / size), math.floor((box.right - slack) / size) + 1)
    ys = range(math.floor((box.low + slack) / size), math.floor((box.high - slack) / size) + 1)
    return [f"{box.plane}\x1f{i}\x1f{j}" for i, j in itertools.product(xs, ys)]
