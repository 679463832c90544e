"""Where finished blocks go. A target on the disk is whole or absent: blocks are kept in a hidden work folder beside
it until it can be made of them, and it is moved under its name when it is whole.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from swath.cube import Grid
from swath.errors import InputError, OutputError
from swath.files import atomic, refuse_own_input, sync_folder
from swath.scenes.layers import Layers
from swath.scenes.piece import Piece, Record
from swath.scenes.stac.item import Beside, MapFacts, is_item_of_ours, item_text
from swath.scenes.windows import Plan
from swath.scenes.work import EARLIER, PARTS, WorkFolder, digest, folder_of
from swath.words import counted

log = logging.getLogger(__name__)

# Tags of outputs: how many pixels or cells could not be read, and how many values lie beyond what the numbers can say.
HOLE_PIXELS = "HOLE_PIXELS"
BEYOND = "VALUES_BEYOND_RANGE"


class Store(Protocol):
    """Takes finished blocks in any order."""

    @property
    def finished(self) -> Mapping[int, Record]:
        """What is known of the blocks that are done, those of earlier runs included."""
        ...

    def put(self, piece: Piece) -> None:
        """Keep a finished block."""
        ...

    def forget(self) -> None:
        """What is finished is of no use: nothing will be kept."""
        ...


class Sink(Protocol):
    """Where a map goes; it becomes whole when the context of `begin` ends well."""

    @property
    def layers(self) -> Layers: ...

    def begin(self, plan: Plan, about: Mapping[str, Any] | None = None) -> AbstractContextManager[Store]:
        """Take blocks of a plan. With `about`, all that the map's bits depend on, an interrupted map is kept and
        gone on with.
        """
        ...


class Target(ABC):
    """A sink on the disk.

    Args:
        path: of the output.
        grid: where it lies.
        layers: what it holds.
        overwrite: replace an output of that name; otherwise it is an error, found before any work is done. Also
            throws away an unfinished one that was begun with other options.
        tags: more text for its metadata, such as the weights' hash or the licence.
        facts: also write a STAC item beside it, which says this of the input and the model.

    Raises:
        OutputError: it exists, or its name does not fit.
        InputError: the grid's coordinate system is unknown.
    """

    SUFFIXES: ClassVar[tuple[str, ...]]
    # What outputs of this kind are, in messages.
    KIND: ClassVar[str]
    # The media type of the output.
    MEDIA: ClassVar[str]

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        layers: Layers,
        *,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
        facts: MapFacts | None = None,
    ) -> None:
        self.path = Path(path)
        self.facts = facts
        self.grid = grid
        self.layers = layers
        self.overwrite = overwrite
        self.tags = {**layers.tags(), **(tags or {})}
        if self.path.suffix.lower() not in self.SUFFIXES:
            raise OutputError(
                f"maps are {self.KIND}", where=self.path, mend=f"let the name end in {self.SUFFIXES[0]}"
            )
        self._refuse_existing()
        try:
            self._crs = CRS.from_user_input(grid.crs) if grid.crs else None
        except CRSError as err:
            raise InputError(f"coordinate system '{grid.crs}' is unknown", where=self.path) from err

    @contextmanager
    def begin(self, plan: Plan, about: Mapping[str, Any] | None = None) -> Iterator[Store]:
        """Take blocks; the output appears when the context ends without an error.

        Raises:
            OutputError: another process makes this map, an unfinished one of another kind lies there, or it cannot
                be written.
        """
        work = WorkFolder(self.path, about, overwrite=self.overwrite)
        keep = True
        try:
            self._refuse_existing()  # it may have been finished while this process waited for the lock
            yield work
            missing = plan.block_count - len(work.finished)
            if missing:
                raise OutputError(f"lacks {missing} of {counted(plan.block_count, 'block')}", where=self.path)
            with self._writing():
                self._finish(plan, work)
            keep = False
        finally:
            if keep and about is not None and work.finished:
                done = len(work.finished)
                log.info("kept %d of %s: the same command goes on", done, counted(plan.block_count, "block"))
            work.close(keep=keep)

    @abstractmethod
    def _finish(self, plan: Plan, work: WorkFolder) -> None:
        """Make the output of all blocks, and move it under its name."""

    @property
    def beside(self) -> tuple[Path, ...]:
        """Files that come with the output, or whose presence would belie it: with `overwrite` they are replaced or
        removed, and without it they must not be there.
        """
        # An item that another program or hand has written is not replaced by nothing.
        item = self.facts is not None or (self.overwrite and is_item_of_ours(self._item))
        return (self._item,) if item else ()

    @property
    def _item(self) -> Path:
        """Where the STAC item lies: outputs of several kinds may share a stem."""
        return self.path.with_name(f"{self.path.name}.stac.json")

    def _item_parts(self, work: WorkFolder, beside: Beside | None = None) -> list[Path]:
        """The item in the work folder, if there is to be one."""
        if self.facts is None:
            return []
        part = work.path / self._item.name
        now = dt.datetime.now(dt.UTC)
        text = item_text(self.path, self.grid, self.layers, self.facts, beside or Beside(), now, self.MEDIA)
        part.write_text(text, encoding="utf-8")
        return [part]

    def refuse_inputs(self, inputs: Iterable[Path | str]) -> None:
        """Raises OutputError if one of these would be written over, by the output or by what lies beside it."""
        taken = list(inputs)
        for path in (self.path, *self.beside):
            refuse_own_input(path, taken)

    def _publish(self, work: WorkFolder, made: Path, parts: Sequence[Path]) -> None:
        """Bring what was made in the work folder to the disk and under its names; what an earlier output had beside it
        and this one has not would belie it, and goes.

        The output last: when it is there, all is there. Killed before that, the next run must know that what lies
        beside is its own and not another's.
        """
        for part in (*parts, made):
            for path in [part] if part.is_file() else [p for p in part.rglob("*") if p.is_file()]:
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        with atomic(work.path / PARTS) as temporary:
            temporary.write_text(json.dumps({part.name: digest(part) for part in parts}), encoding="utf-8")
        if self.overwrite:
            for path in {*self.beside} - {self.path.parent / part.name for part in parts}:
                path.unlink(missing_ok=True)
        if made.is_dir() and self.path.is_dir():
            self.path.replace(work.path / EARLIER)
        for part in (*parts, made):
            part.replace(self.path.parent / part.name)
        sync_folder(self.path.parent)

    def _refuse_existing(self) -> None:
        for path in (self.path, *self.beside):
            if path.is_dir():
                raise OutputError("is a folder", where=path, mend="name a file")
        if self.overwrite:
            return
        mend = "choose another name, or set overwrite to true"
        if self.path.exists():
            raise OutputError("exists already", where=self.path, mend=mend)
        for path in self.beside:
            if path.exists() and not self._own(path):
                raise OutputError(
                    f"exists already, and {self.path.name} would bring its own", where=path, mend=mend
                )

    def _own(self, path: Path) -> bool:
        """Whether an earlier run of this output was stopped after it had put the file there, or it is the item of one
        that is gone.
        """
        if path == self._item and is_item_of_ours(path):
            return True
        try:
            own = json.loads((folder_of(self.path) / PARTS).read_text(encoding="utf-8"))
            return bool(own.get(path.name) == digest(path))
        except (OSError, ValueError, AttributeError):
            return False

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            # Side files are written on purpose, not by GDAL as it likes.
            with rasterio.Env(GDAL_PAM_ENABLED="NO"):
                yield
        except (OSError, RasterioError) as err:
            raise OutputError(
                f"cannot be written ({err})",
                where=self.path,
                mend="check the folder's permissions and free space",
            ) from err


def holes(records: Mapping[int, Record]) -> list[tuple[int, int, int, int]]:
    """What could not be read: first row and column, height and width."""
    found = [box for i in sorted(records) for box in records[i].holes]
    return [(box.row, box.col, box.height, box.width) for box in found]


def told(records: Mapping[int, Record]) -> dict[str, str]:
    """Tags of what is amiss in finished blocks; none where nothing is."""
    counts = {
        HOLE_PIXELS: sum(box.height * box.width for r in records.values() for box in r.holes),
        BEYOND: sum(r.beyond for r in records.values()),
    }
    return {key: str(count) for key, count in counts.items() if count}
