"""A layout whose bad items stop nothing, up to a stated share, and are never passed over in silence.

    collection = Collection(layout, report=run / "bad_items.jsonl")
    sample = collection.read(7)        # never raises for a bad item: weight 0, wholly invalid, target unknown

An item is bad if its files are missing, cut short, damaged, empty or not as published, or if it holds no valid
pixel. It goes on a list with its reason, and a stand-in of the same frame takes its place, so that order, batch
sizes and ranks stay in step. Of n items, at most floor(limit * n) may be bad: the share means what it says, so in a
set of fewer than 1 / limit items the first bad one stops the run, and a limit of 0 allows none.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swath.bands import Band
from swath.cube import Cube, Encoding, Sample
from swath.data.bad_items import BadItem, BadList
from swath.data.labels import IGNORE
from swath.data.layouts.base import Item, Layout, LayoutInfo
from swath.errors import ConfigError, InputError, SwathError

log = logging.getLogger(__name__)
# One for all, so that a collection can be sent to another process; it is held while the list is written, not while
# pixels are read.
_LOCK = threading.RLock()


@dataclass(frozen=True)
class CubeFrame:
    """What cubes of one sensor have in common.

    Attributes:
        shape: T, C, H, W.
        dtype: of the pixels, such as "uint16".
        bands: C bands.
        encodings: [T][C].
        gsd: m per pixel, or None.
        statistics: whether the cubes carry their own.
    """

    shape: tuple[int, int, int, int]
    dtype: str
    bands: tuple[Band, ...]
    encodings: tuple[tuple[Encoding, ...], ...]
    gsd: float | None = None
    statistics: bool = False


@dataclass(frozen=True)
class Frame:
    """What all records of a set have in common; a stand-in is made from it.

    Attributes:
        cubes: by name.
        target: shape and dtype of the target; None without one.
    """

    cubes: Mapping[str, CubeFrame]
    target: tuple[tuple[int, ...], str] | None = None

    @classmethod
    def of(cls, sample: Sample) -> Frame:
        """The frame of a good record. Raises InputError if its target cannot say "unknown"."""
        cubes = {
            name: CubeFrame(
                c.shape, c.pixels.dtype.name, c.bands, c.encodings, c.gsd, c.statistics is not None
            )
            for name, c in sample.cubes.items()
        }
        if sample.target is None:
            return cls(cubes)
        target = np.asarray(sample.target)
        if target.dtype.kind not in "if":
            raise InputError(
                f"its target of type {target.dtype} cannot hold 'unknown'",
                where=sample.id,
                mend="use signed whole numbers (-1) or floats (NaN)",
            )
        return cls(cubes, (target.shape, target.dtype.name))

    def fits(self, sample: Sample) -> bool:
        """Whether a record has the same cubes, shapes, types, bands and target; units are not compared."""
        if set(sample.cubes) != set(self.cubes):
            return False
        same = all(
            (c.shape, c.pixels.dtype.name, c.bands) == (f.shape, f.dtype, f.bands)
            for c, f in ((sample.cubes[name], f) for name, f in self.cubes.items())
        )
        target = None if sample.target is None else (sample.target.shape, sample.target.dtype.name)
        return same and target == self.target

    def stand_in(self, item: Item) -> Sample:
        """A record of weight 0 without one valid pixel, its target unknown and its dates too."""
        cubes = {}
        for name, f in self.cubes.items():
            cube = Cube(
                pixels=np.zeros(f.shape, f.dtype),
                valid=np.zeros(f.shape, np.bool_),
                bands=f.bands,
                dates=(None,) * f.shape[0],
                encodings=f.encodings,
                gsd=f.gsd,
                source=item.where,
            )
            cubes[name] = cube.with_statistics() if f.statistics else cube
        target = None
        if self.target is not None:
            shape, dtype = self.target
            unknown = float("nan") if np.dtype(dtype).kind == "f" else IGNORE
            target = np.full(shape, unknown, dtype)
        return Sample(cubes, item.id, target, item.group, weight=0.0)


class Collection:
    """A layout that can be read to its end. Safe for several threads and processes.

    Args:
        layout: what is read.
        frame: of the stand-ins; None: that of the good item with the lowest index, whichever is read first.
        limit: share of the items that may be bad.
        report: the list, one JSON object a line with id, where and reason, each item once. It is only ever added
            to, and shared: processes that name the same file count each other's bad items, and a later run counts
            those of an earlier one, so delete it once its items are mended. None: the list is kept in memory.

    Raises:
        ConfigError: limit is not 0 to 1.
    """

    def __init__(
        self, layout: Layout, *, frame: Frame | None = None, limit: float = 0.01, report: Path | None = None
    ) -> None:
        if not 0 <= limit <= 1:
            raise ConfigError(f"is {limit:g}", where="bad_items", mend="give a share from 0 to 1")
        self.layout = layout
        self.limit = limit
        self._frame = frame
        self._list = BadList({item.id for item in layout.items}, report)

    @property
    def info(self) -> LayoutInfo:
        """What the data set is."""
        return self.layout.info

    @property
    def items(self) -> Sequence[Item]:
        """All records, in a fixed order, bad ones included."""
        return self.layout.items

    def __len__(self) -> int:
        return len(self.items)

    @property
    def allowed(self) -> int:
        """How many items may be bad."""
        # A share such as 0.29 of 100 is 28.999999999999996 in binary.
        return math.floor(self.limit * len(self) + 1e-9)

    @property
    def bad(self) -> tuple[BadItem, ...]:
        """The bad items that are known so far, to this process or to others that share the list, by id."""
        with _LOCK:
            self._list.catch_up()
            return self._list.items

    @property
    def frame(self) -> Frame:
        """Of the stand-ins.

        Raises:
            InputError: no item can be read, or too many cannot before the first that can.
        """
        if self._frame is None:
            for index in range(len(self)):
                sample = self._try(index)
                if sample is not None:
                    self._frame = Frame.of(sample)
                    break
            else:
                raise InputError(
                    f"none of its {len(self)} items can be read{self._first()}",
                    where=self.info.name,
                    mend="check the folder and the layout",
                )
        return self._frame

    def read(self, index: int) -> Sample:
        """Record number `index`, or its stand-in.

        Raises:
            IndexError: there is no such record.
            InputError: more items are bad than allowed; the message names the list.
            ConfigError: something is missing that is no fault of the item, such as an optional library.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.info.name} has {len(self)} items, not {index + 1}")
        sample = self._try(index)
        return self.frame.stand_in(self.items[index]) if sample is None else sample

    def _try(self, index: int) -> Sample | None:
        """The record, or None once it is on the list."""
        try:
            sample = self.layout.read(index)
        except (ConfigError, MemoryError):
            raise
        except SwathError as err:
            reason = str(err)
        # Libraries raise whatever they like on damaged files; the list shows the kind, and the share stops a bug.
        except Exception as err:
            reason = f"{type(err).__name__}: {' '.join(str(err).split())}"
            log.debug("item %d", index, exc_info=True)
        else:
            if any(cube.valid.any() for cube in sample.cubes.values()):
                return sample
            reason = "holds no valid pixel"
        self._put(self.items[index], reason)
        return None

    def _put(self, item: Item, reason: str) -> None:
        with _LOCK:
            new = self._list.add(BadItem(item.id, item.where, reason))
            count = len(self._list)
            if new and count <= self.allowed:  # else the error says it
                log.warning("bad item %s is left out: %s", item.id, reason)
        if count > self.allowed:
            raise InputError(
                f"{count} of {len(self)} items cannot be read, more than the share of {self.limit:g} allows "
                f"({self.allowed}){self._first()}",
                where=self._list.path or self.info.name,
                mend="mend the items on the list and delete it, or allow a larger share",
            )

    def _first(self) -> str:
        bad = self.bad
        return f"; among them {bad[0].id}: {bad[0].reason}" if bad else ""
