"""Dividing packed records into parts by where and when they are, from the index alone, whatever their layout.

A record's footprint is that of its grid, or of all grids in its first one's reference system; without a grid, the
square around its longitude and latitude that holds it however it is turned. The official parts are kept beside
(`official` of the index).
"""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from swath.cube import Array, Grid, Place, Sample
from swath.data.collection import Collection
from swath.data.folder_split import divide, read_list
from swath.data.split_parts import Box, Located, by_groups, by_list
from swath.data.vectors import bounds_of, read_regions
from swath.data.windowed import METRES_PER_DEGREE
from swath.errors import InputError
from swath.feed.shard_finish import replace_split
from swath.feed.shard_format import GroupSpec
from swath.feed.shards import Shards
from swath.verbs.split_options import SplitOptions

log = logging.getLogger(__name__)
WHERE = "split_by"
Columns = Mapping[str, Array]
# By these a stand-in, which lies nowhere, cannot be divided.
_BY_PLACE = ("blocks", "regions", "dates")


class Divider:
    """Gives packed records their parts.

    Args:
        options: the way; their files are relative to the working folder.

    Raises:
        ConfigError: the options do not fit each other.
    """

    def __init__(self, options: SplitOptions) -> None:
        self.spec = options.spec()
        self.about = options.stated()

    def check(self, collection: Collection) -> None:
        """Says before anything is packed what can be known then.

        Raises:
            InputError, ConfigError: a file cannot be read; items have no group, place or date, as the first good
                one shows; the list names no item.
        """
        items = [Located(item.id, item.group) for item in collection.items]
        if self.spec.kind == "list":
            by_list(items, read_list(Path(self.spec.file)), split=self.spec.file)
        elif self.spec.kind == "groups":
            by_groups(items, self.spec.shares, split=WHERE)
        elif self.spec.kind == "regions":
            read_regions(self.spec.file, self.spec.attribute or "split")
        if self.spec.kind in _BY_PLACE:
            samples = (collection.read(i) for i in range(len(collection)))
            first = next((s for s in samples if s.weight > 0), None)
            if first is not None:
                self._known(of_sample(first))

    def _known(self, item: Located) -> None:
        if self.spec.kind == "dates" and not item.dates:
            raise InputError(
                f"record {item.id} has no date", where=WHERE, mend="divide by blocks, groups or a list"
            )
        if self.spec.kind != "dates" and item.box is None:
            raise InputError(
                f"record {item.id} has no place on the map",
                where=WHERE,
                mend="divide by groups or a list",
            )

    def __call__(self, columns: Columns, systems: Sequence[str], groups: Sequence[GroupSpec]) -> list[str]:
        """The part of each record, empty if it is in none, out of the columns of an index."""
        items = located(columns, systems, groups)
        # What could not be read has no place; it counts in no part.
        by_place = self.spec.kind in _BY_PLACE
        index = [i for i, weight in enumerate(columns["weight"].tolist()) if weight > 0 or not by_place]
        chosen = [items[i] for i in index]
        for item in chosen if by_place else ():
            self._known(item)
        if self.spec.kind == "blocks":
            planes = {item.box.plane for item in chosen if item.box is not None}
            if len(planes) > 1:
                log.warning(
                    "%s: records lie in %d reference systems, and blocks are counted in each by itself: ground that "
                    "two of them cover may be in two parts; divide by groups or regions where they do",
                    WHERE,
                    len(planes),
                )
        made = divide(chosen, self.spec, Path(), where=WHERE)
        names = [""] * len(items)
        for i, name in zip(index, made.names(len(chosen)), strict=True):
            names[i] = name or ""
        return names


def redivide(folder: Path | str, divider: Divider) -> None:
    """Gives shards that are there other parts; nothing but one column and shards.json is written.

    Raises:
        InputError, ConfigError, OutputError: as of Divider; nothing is changed then.
    """
    shards = Shards(folder)
    parts = divider(shards.columns, shards.manifest["crs"], shards.groups)
    replace_split(Path(folder), shards.manifest, parts, {"split_by": divider.about})


def of_sample(sample: Sample) -> Located:
    """Where and when a record is."""
    boxes = [footprint(c.grid, c.place, c.gsd, c.shape[2:]) for c in sample.cubes.values()]
    dates = tuple(d for c in sample.cubes.values() for d in c.dates if d is not None)
    return Located(sample.id, sample.group, _together(boxes), dates)


def located(columns: Columns, systems: Sequence[str], groups: Sequence[GroupSpec]) -> list[Located]:
    """Where and when packed records are."""
    names = sorted({name for group in groups for name in group.cubes})
    keys = ("crs", "transform", "grid_size", "place", "gsd", "dates")
    own = {name: {key: columns[f"{name}.{key}"].tolist() for key in keys} for name in names}
    found = []
    for i, shape_group in enumerate(columns["shape_group"].tolist()):
        boxes: list[Box | None] = []
        dates: list[dt.date] = []
        for name, spec in groups[shape_group].cubes.items():
            row = {key: values[i] for key, values in own[name].items()}
            grid = None
            if row["crs"] >= 0:
                a, b, c, d, e, f = row["transform"]
                grid = Grid(systems[row["crs"]], (a, b, c, d, e, f), *row["grid_size"])
            lon, lat, _ = row["place"]
            place = None if math.isnan(lon) else Place(lon, lat)
            gsd = None if math.isnan(row["gsd"]) else row["gsd"]
            boxes.append(footprint(grid, place, gsd, spec.pixels.shape[2:]))
            dates += [day for day in row["dates"] if day is not None]
        name, group = (bytes(columns[key][i]).decode() for key in ("id", "group"))
        found.append(Located(name, group or None, _together(boxes), tuple(dates)))
    return found


def footprint(grid: Grid | None, place: Place | None, gsd: float | None, size: tuple[int, ...]) -> Box | None:
    """Of H x W pixels: the grid's bounds; else a square around the place, in degrees; None where unknown."""
    if grid is not None and grid.crs:
        return Box(grid.crs, *bounds_of(grid))
    if place is None or gsd is None:
        return None
    # Half of the diagonal: nobody knows which way it is turned.
    metres = gsd * math.hypot(*size) / 2
    high = metres / METRES_PER_DEGREE
    wide = high / max(math.cos(math.radians(place.lat)), 1e-3)
    return Box("EPSG:4326", place.lon - wide, place.lat - high, place.lon + wide, place.lat + high)


def _together(boxes: Sequence[Box | None]) -> Box | None:
    """All footprints in the first one's plane as one."""
    known = [box for box in boxes if box is not None]
    same = [box for box in known if box.plane == known[0].plane]
    if not same:
        return None
    return Box(
        same[0].plane,
        min(b.left for b in same),
        min(b.low for b in same),
        max(b.right for b in same),
        max(b.high for b in same),
    )
