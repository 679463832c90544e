"""The options that divide a data set which is packed, whatever its layout."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from swath.errors import ConfigError

if TYPE_CHECKING:
    from swath.data.folder_spec import SplitSpec

KINDS = ("blocks", "groups", "regions", "dates", "list", "random")


@dataclass(frozen=True)
class SplitOptions:
    """How the records are divided into parts, in place of the official ones (docs/shards.md).

    Attributes:
        kind: "blocks" (squares of the map), "groups" (scenes, tiles, sites), "regions" (polygons), "dates", "list", or
            "random", which puts neighbours on both sides and is warned of; empty: the parts are the official ones.
        shares: of blocks, groups and random: part -> share, such as {"train": 0.8, "test": 0.2}.
        seed: of the draw of blocks, groups and random.
        block: side of a block, in units of the records' reference system (m for UTM, else degrees).
        buffer: least distance between records of two parts; null: as wide as a record.
        file: of regions: polygons (GeoPackage, GeoJSON); of a list: a csv with the columns id and part.
        attribute: of regions, that names the part; empty: "split".
        starts: of dates: part -> its first day, in order; "start" for everything before the second.
    """

    SHORTHAND: ClassVar[str] = "kind"

    kind: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    block: float = 0.0
    buffer: float | None = None
    file: str = ""
    attribute: str = ""
    starts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind and self.kind not in KINDS:
            raise ConfigError(
                f"is '{self.kind}'", where="split_by.kind", mend=f"use one of {', '.join(KINDS)}"
            )
        stated = [name for name in self.stated() if name != "kind"]
        if stated and not self.kind:
            raise ConfigError(
                f"{stated[0]} is given, but not by what to divide",
                where="split_by",
                mend="give split_by.kind",
            )

    def stated(self) -> dict[str, Any]:
        """What is not left at its default, in JSON types."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        defaults = {f.name: {} if f.default is MISSING else f.default for f in fields(self)}
        return {name: value for name, value in plain.items() if value != defaults[name]}

    def spec(self) -> SplitSpec:
        """The same, checked. Raises ConfigError naming what does not fit the kind."""
        from swath.data.folder_spec import split_spec

        return split_spec(self.stated(), "split_by")
