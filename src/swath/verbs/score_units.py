"""What is drawn again to say how far a score may be off: whole scenes or tiles, records, or squares of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from swath.data.split_parts import block_of
from swath.errors import ConfigError

if TYPE_CHECKING:
    from swath.tasks.bootstrap import BootstrapOptions
    from swath.verbs.labelled_records import Part

SQUARE = 64
Unit = Literal["block", "group", "record", "square"]


@dataclass(frozen=True)
class IntervalOptions:
    """How confidence intervals are made: by drawing blocks again, never pixels, since neighbours are alike.

    Attributes:
        unit: what is drawn: a "block", the square of the ground that divided the data (data.parts.block), with all
            records in it; a "group" of records that no split divides (a scene, a tile, a site); a "record"; or a
            "square" of a record or map. "auto": blocks of the ground where they divided the data and two or more hold
            records, else groups where two or more are known, else records, else squares.
        square: side of a square, pixels.
        resamples: sets of blocks that are drawn.
        level: share of the time that an interval should hold the true value.
        seed: of the draw.
    """

    unit: Literal["auto", "block", "group", "record", "square"] = "auto"
    square: int = SQUARE
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.square < 1:
            raise ConfigError(f"is {self.square}", where="intervals.square", mend="give a number of pixels")
        if self.resamples < 100:
            raise ConfigError(f"is {self.resamples}", where="intervals.resamples", mend="draw 100 or more")
        if not 0.5 <= self.level < 1:
            raise ConfigError(f"is {self.level}", where="intervals.level", mend="use 0.95")

    @property
    def draw(self) -> BootstrapOptions:
        """As the bootstrap takes them."""
        from swath.tasks.bootstrap import BootstrapOptions

        return BootstrapOptions(self.resamples, self.level, self.seed)


@dataclass(frozen=True)
class Units:
    """The blocks of a part.

    Attributes:
        kind: what a block is.
        of: id of a record -> its group or square of the ground; empty unless those are the blocks.
        square: side, of squares.
    """

    kind: Unit
    of: Mapping[str, str]
    square: int = SQUARE

    @property
    def words(self) -> str:
        """As a person reads it."""
        named = {"square": f"square of {self.square} pixels", "block": "block of the ground"}
        return named.get(self.kind, self.kind)

    def name(self, record: str) -> str:
        """The block of a whole record."""
        return self.of.get(record, record)


def units_of(part: Part, options: IntervalOptions, per_pixel: bool) -> Units:
    """The blocks of a part.

    Raises:
        ConfigError: its records have no groups or places, or no pixels to make squares of.
    """
    groups = {i: g for i, g in zip(part.ids, part.groups, strict=True) if g is not None}
    placed = [(i, box) for i, box in zip(part.ids, part.boxes, strict=True) if box is not None]
    blocks = {i: block_of(box, part.block) for i, box in placed} if part.block else {}
    kind: Unit
    if options.unit == "auto":
        # Neighbours look alike, whatever groups they are said to be of.
        if len(set(blocks.values())) >= 2 and len(blocks) == len(part):
            kind = "block"
        elif len(set(groups.values())) >= 2 and len(groups) == len(part):
            kind = "group"
        else:
            kind = "square" if len(part) == 1 and per_pixel else "record"
    else:
        kind = options.unit
    if kind == "group" and len(groups) < len(part):
        raise ConfigError(
            "not all records say their group", where="intervals.unit", mend="use record or square"
        )
    if kind == "square" and not per_pixel:
        raise ConfigError(
            "a label for a whole record has no squares", where="intervals.unit", mend="use group or record"
        )
    if kind == "block" and len(blocks) < len(part):
        raise ConfigError(
            "no blocks of the ground divided these data",
            where="intervals.unit",
            mend="set data.parts.by to blocks, or use group, record or square",
        )
    return Units(kind, {"group": groups, "block": blocks}.get(kind, {}), options.square)


def squares(height: int, width: int, side: int, name: str = "") -> Iterator[tuple[str, tuple[slice, slice]]]:
    """(name, rows and columns) of the squares of a raster; those at the far edges may be smaller."""
    for row in range(0, height, side):
        for col in range(0, width, side):
            box = slice(row, min(row + side, height)), slice(col, min(col + side, width))
            yield f"{name}@{row},{col}", box
