"""Where finished blocks go. A target on the disk is whole or absent: blocks are kept in a hidden work folder beside
it until it can be made of them, and it is moved under its name when it is whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from swath.cube import Grid
from swath.errors import InputError, OutputError
from swath.scenes.layers import Layers
from swath.scenes.piece import Piece, Record
from swath.scenes.windows import Plan
from swath.scenes.work import WorkFolder


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

    Raises:
        OutputError: it exists, or its name does not fit.
        InputError: the grid's coordinate system is unknown.
    """

    SUFFIXES: ClassVar[tuple[str, ...]]
    # What outputs of this kind are, in messages.
    KIND: ClassVar[str]

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        layers: Layers,
        *,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
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
                raise OutputError(f"{missing} of {plan.block_count} blocks are missing", where=self.path)
            with self._writing():
                self._finish(plan, work)
            keep = False
        finally:
            work.close(keep=keep)

    @abstractmethod
    def _finish(self, plan: Plan, work: WorkFolder) -> None:
        """Make the output of all blocks, and move it under its name."""

    def _refuse_existing(self) -> None:
        if self.path.is_dir():
            raise OutputError("is a folder", where=self.path, mend="name a file")
        if self.path.exists() and not self.overwrite:
            raise OutputError(
                "exists already", where=self.path, mend="choose another name, or set overwrite to true"
            )

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
