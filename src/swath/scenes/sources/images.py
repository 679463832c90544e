"""Images of several dates and places, as plain values: what SAFE folders and STAC items have in common."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from swath.bands import Band
from swath.cube import Encoding, Grid
from swath.errors import InputError


@dataclass(frozen=True)
class Layer:
    """One band of one file.

    Attributes:
        path: of the file, or its address.
        index: of the band within it, from 1.
        encoding: what its numbers mean; None of a mask.
        nodata: the number that means no data, in place of the file's own.
        grid: of the file, where it is known without opening it.
    """

    path: str
    index: int
    encoding: Encoding | None = None
    nodata: float | None = None
    grid: Grid | None = None


@dataclass(frozen=True)
class Image:
    """One acquisition of one place.

    Attributes:
        id: its name.
        date: of acquisition, or None.
        order: images of one date are laid down in ascending order of this; where several have a pixel, the first
            counts.
        layers: bands and where they lie.
        mask: what says that a pixel is clouded, or None.
        where: in messages.
        item: address or path of the STAC item that says so; empty: none does.
    """

    id: str
    date: dt.date | None
    order: tuple[str, ...]
    layers: tuple[tuple[Band, Layer], ...]
    mask: Layer | None
    where: str
    item: str = ""

    def layer(self, band: Band) -> Layer:
        """Where a band lies. Raises InputError if the image has not got it."""
        for own, layer in self.layers:
            if own == band:
                return layer
        has = ", ".join(b.name for b, _ in self.layers)
        raise InputError(
            f"has no band {band.name} (it has {has})", where=self.where, mend="leave it out of bands"
        )


def by_date(images: Sequence[Image], dates: Sequence[str] = ()) -> dict[dt.date | None, tuple[Image, ...]]:
    """Images of each date in order, dates ascending; those of no known date are one only.

    Args:
        images: of any order.
        dates: the dates that are wanted, ISO 8601; empty: all.

    Raises:
        InputError: a wanted date is not there, or some images have a date and others none.
    """
    found: dict[dt.date | None, list[Image]] = {}
    for image in images:
        found.setdefault(image.date, []).append(image)
    if None in found and len(found) > 1:
        raise InputError("names no date, but others do", where=found[None][0].where, mend="leave it out")
    wanted = {dt.date.fromisoformat(d) for d in dates}
    lacking = sorted(wanted - {d for d in found if d is not None})
    if lacking:
        has = ", ".join(str(d) for d in found)
        raise InputError(
            f"there is no image of {', '.join(map(str, lacking))} (there are {has})",
            where=images[0].where,
            mend="correct dates, or leave it out for all",
        )
    chosen = sorted((d for d in found if not wanted or d in wanted), key=lambda d: d or dt.date.min)
    return {d: tuple(sorted(found[d], key=lambda i: i.order)) for d in chosen}
