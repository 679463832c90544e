"""What a source of pixels is, in plain values: a config can hold it, and importing it loads no other library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from swath.data.spec import SceneSpec
from swath.errors import ConfigError

Kind = Literal["auto", "files", "safe", "array", "stac"]


@dataclass(frozen=True)
class SearchOptions:
    """Which items of a catalogue.

    Attributes:
        bbox: west, south, east, north in degrees; a west greater than the east crosses the antimeridian. The scene is
            cut to it.
        datetime: a time or an interval, as STAC writes them: 2020-06-01, 2020-06, 2020-06-01/2020-08-31, 2020-06-01/..
        collections: their ids; needed by most APIs.
        max_cloud: most cloud cover of an item, percent; items that do not say theirs are left out then.
        max_items: more than these are refused.
    """

    bbox: tuple[float, ...] = ()
    datetime: str = ""
    collections: tuple[str, ...] = ()
    max_cloud: float | None = None
    max_items: int = 1000

    def __post_init__(self) -> None:
        for name in ("bbox", "collections"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if self.bbox:
            # Compared as written: NaN fails every comparison.
            good = len(self.bbox) == 4 and all(-360 <= x <= 360 for x in self.bbox)
            if not good or not -90 <= self.bbox[1] < self.bbox[3] <= 90 or self.bbox[0] == self.bbox[2]:
                raise ConfigError(
                    f"{list(self.bbox)} is no box",
                    where="search.bbox",
                    mend="write [west, south, east, north]",
                )
        if self.max_items < 1:
            raise ConfigError(f"is {self.max_items}", where="search.max_items", mend="give 1 or more")


@dataclass(frozen=True)
class MaskOptions:
    """What says that a pixel is clouded.

    Attributes:
        name: of an asset of the items (scl, Fmask), a variable of a Zarr store or netCDF, or SCL of a SAFE folder;
            empty: no mask. Of plain files mask_band and its kin say it.
        values: that make a pixel invalid, such as 3, 8, 9, 10 of Sentinel-2's scene classification.
        bits: from 0, that make a pixel invalid where set, such as 1 and 3 of HLS's Fmask.
    """

    name: str = ""
    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(int(v) for v in self.values))
        object.__setattr__(self, "bits", tuple(int(v) for v in self.bits))
        if bool(self.name) != bool(self.values or self.bits):
            raise ConfigError(
                f"its name is '{self.name}', with {len(self.values)} values and {len(self.bits)} bits",
                where="mask",
                mend="give both: a name, and values or bits that make a pixel invalid",
            )
        if any(not 0 <= bit < 63 for bit in self.bits):
            raise ConfigError(f"bits are {list(self.bits)}", where="mask", mend="count bits from 0 to 62")


@dataclass(frozen=True)
class GridOptions:
    """Onto which grid items are laid.

    Attributes:
        crs: such as EPSG:32633; empty: that of the items, which must agree then. Of a Zarr store or netCDF that does
            not say its own: what it is.
        resolution: in units of the crs; 0: that of the items' finest band.
    """

    crs: str = ""
    resolution: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.resolution < float("inf"):
            raise ConfigError(f"is {self.resolution}", where="grid.resolution", mend="give a number above 0")


@dataclass(frozen=True)
class RetryOptions:
    """How often what is read over a network is tried again.

    Attributes:
        times: tries after the first.
        wait: seconds before the second try; each wait is twice as long as the one before.
        longest: seconds that a wait takes at most.
    """

    times: int = 5
    wait: float = 0.5
    longest: float = 30.0

    def __post_init__(self) -> None:
        if self.times < 0 or not (0 <= self.wait < float("inf") and 0 <= self.longest < float("inf")):
            raise ConfigError(
                f"times {self.times}, wait {self.wait}, longest {self.longest}",
                where="retry",
                mend="give numbers from 0 up",
            )


@dataclass(frozen=True)
class SourceSpec(SceneSpec):
    """A scene: raster files, Sentinel-2 SAFE folders or zips, a Zarr store or netCDF, or STAC items.

    Paths and addresses (https://, s3://, gs://, az://) alike. `files` names them; of several SAFE folders or items,
    those of one date are mosaicked and dates stacked. `unit`, `scale`, `offset`, `level` and `nodata` win over
    what the source says. Sources that know their dates take `dates` as a choice among them.

    Attributes:
        kind: what it is; "auto" tells by looking.
        variable: the array of a Zarr store or netCDF that holds all bands; empty: the only one that can be, or one
            per band.
        search: which items of a catalogue.
        mask: what says that a pixel is clouded.
        grid: onto which grid items are laid.
        retry: how often what is read over a network is tried again.
    """

    kind: Kind = "auto"
    variable: str = ""
    search: SearchOptions = field(default_factory=SearchOptions)
    mask: MaskOptions = field(default_factory=MaskOptions)
    grid: GridOptions = field(default_factory=GridOptions)
    retry: RetryOptions = field(default_factory=RetryOptions)

    @property
    def paths(self) -> tuple[str, ...]:
        """All files in one row."""
        return tuple(path for row in self.file_table for path in row)
