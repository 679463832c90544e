"""How a card divides data whose owner has not said it: by the ground, so that no neighbour of a test record teaches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from swath.data.part_spec import PartsSpec
from swath.data.split_parts import Located, by_blocks
from swath.errors import ConfigError, SwathError
from swath.verbs.labelled_options import LabelledData

log = logging.getLogger(__name__)
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
_FEWEST_GROUPS = 5
_TRIES = 24
_WORDS = {
    "official": "by the data set's own parts; nothing here knows whether neighbours lie on both sides",
    "groups": "by whole groups (scenes, tiles, sites)",
    "blocks": "by blocks of the ground, with a buffer",
    "regions": "by regions",
    "dates": "by dates: the same places may lie in several parts",
    "list": "as listed; nothing here knows whether neighbours lie on both sides",
    "within": "by squares inside each record: neighbours lie on both sides, so all scores flatter",
    "random": "at random: neighbours lie on both sides, so all scores flatter",
}


def settle(data: LabelledData, split: Literal["auto", "data"]) -> tuple[LabelledData, str]:
    """The data with their parts, and how they are divided, in words.

    Raises:
        ConfigError: nothing says how records may be kept apart.
    """
    if data.by_columns and split == "data":
        raise ConfigError(
            "a scene has no parts of its own", where="split", mend="leave it out, or give data.parts"
        )
    if split == "data" or data.parts != PartsSpec():
        return data, f"divided {_WORDS[data.parts.by]}"
    from swath.verbs.labelled_sources import open_source

    items = open_source(data).items(None)
    if items and all(item.box is not None for item in items):
        block = best_block(items)
        if block:
            parts = PartsSpec(by="blocks", block=block, shares=SHARES)
            return replace(data, parts=parts), f"divided {_WORDS['blocks']} (side {block:g}, in map units)"
    groups = {item.group for item in items}
    if None not in groups and len(groups) >= _FEWEST_GROUPS:
        parts = PartsSpec(by="groups", shares=SHARES)
        return replace(data, parts=parts), f"divided {_WORDS['groups']}"
    if data.scene is not None:
        raise ConfigError(
            f"{len(items)} windows with labels leave none to one of the parts once neighbours are kept apart",
            where="data.window",
            mend="make windows smaller, or give data.parts",
        )
    raise ConfigError(
        "neither places nor groups of the records allow to keep neighbours apart",
        where="data.parts",
        mend="give data.parts, or take the data set's own parts with --split data",
    )


def best_block(items: Sequence[Located]) -> float:
    """The side of blocks that loses the fewest items to the buffer with no part far below its share; 0: none does."""
    boxes = [item.box for item in items if item.box is not None]
    side = max(max(b.right - b.left, b.high - b.low) for b in boxes)
    reach = max(
        max(b.right for b in boxes) - min(b.left for b in boxes),
        max(b.high for b in boxes) - min(b.low for b in boxes),
    )
    least, most = 2.02 * side, max(reach / 3, 4.04 * side)
    best, kept = 0.0, 0
    for i in range(_TRIES):
        # Uneven steps: borders of round widths fall on borders of images.
        block = float(f"{least * (most / least) ** (i / (_TRIES - 1)):.4g}")
        try:
            parts = by_blocks(items, SHARES, block=block).parts
        except SwathError:
            continue
        total = sum(map(len, parts.values()))
        even = all(len(parts[name]) >= share * total / 2 for name, share in SHARES.items())
        # Of equals the widest: the farther apart, the less is shared.
        if even and total >= kept:
            best, kept = block, total
    log.debug("blocks of %g keep %d of %d items", best, kept, len(items))
    return best
