"""Where a map goes: into a Cloud-Optimized GeoTIFF, or into memory.

The file is made in a hidden folder beside its target and moved under its name when it is whole. Whatever goes
wrong before that, the target is as it was and the folder is gone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window

from swath.cube import Grid
from swath.errors import InputError, OutputError
from swath.files import sync_folder
from swath.scenes import cog, style
from swath.scenes.box import Box
from swath.scenes.layers import NODATA, Bytes, ClassLayers
from swath.scenes.windows import TILE

# Overviews are halved until they fit one tile of this side.
_SMALLEST_OVERVIEW = 256
# GDAL's block cache would otherwise grow to a share of the machine's memory.
_CACHE_MB = 128


class Sink(Protocol):
    """Takes the bands of blocks in any order; what was written is kept if the `with` block ends well."""

    @property
    def layers(self) -> ClassLayers: ...

    def write(self, box: Box, bands: Bytes) -> None:
        """Keep [bands,h,w] uint8 of one block."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class MemorySink:
    """Keeps a map as an array: `bands` [bands,H,W] uint8, in the order of `layers.bands`."""

    def __init__(self, layers: ClassLayers, height: int, width: int) -> None:
        self.layers = layers
        self.bands: Bytes = np.full((len(layers.bands), height, width), NODATA, np.uint8)

    def write(self, box: Box, bands: Bytes) -> None:
        self.bands[:, box.row : box.row + box.height, box.col : box.col + box.width] = bands

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class CogSink:
    """Writes a Cloud-Optimized GeoTIFF with overviews, CRS, no-data, colour table and class names.

    Beside `map.tif` stand two small files: `map.tif.aux.xml` with the class names, which GDAL (and so QGIS
    and rasterio's users) reads along, and `map.qml`, the style with which QGIS shows classes in their colours
    and names instead of three bands as red, green and blue. The names and colours are also in the TIFF's own
    tags.

    Args:
        path: of the file, ending in .tif or .tiff.
        grid: of the scene.
        layers: what the bands are.
        overwrite: replace a file of that name; otherwise it is an error, found before any work is done.
        tags: more text for the file's metadata, such as the weights' hash or the licence.

    Raises:
        OutputError: the file exists, or cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        layers: ClassLayers,
        *,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.grid = grid
        self.layers = layers
        self.overwrite = overwrite
        self.tags = {**layers.tags(), **(tags or {})}
        self._folder: Path | None = None
        self._made: list[Path] = []  # folders that were not there before
        self._files: list[tuple[Any, list[int]]] = []  # (open data set, its bands' indices in `layers`)
        if self.path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError("maps are GeoTIFFs", where=self.path, mend="let the name end in .tif")
        self._refuse_existing()
        try:
            self._crs = CRS.from_user_input(grid.crs) if grid.crs else None
        except CRSError as err:
            raise InputError(f"coordinate system '{grid.crs}' is unknown", where=self.path) from err

    def __enter__(self) -> Self:
        with self._writing():
            self._made = [p for p in self.path.parents if not p.exists()]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.stem}.", dir=self.path.parent))
            try:
                # GDAL makes overviews of a whole file in one way: bands that need another lie in another
                # file.
                for kind in ("mode", "average"):
                    index = [i for i, band in enumerate(self.layers.bands) if band.overview == kind]
                    if index:
                        self._files.append((self._create(self._folder / f"{kind}.tif", len(index)), index))
            except BaseException:
                self._discard()
                raise
        return self

    def write(self, box: Box, bands: Bytes) -> None:
        """Keep [bands,h,w] uint8 of one block. Raises OutputError, for instance when the disk is full."""
        window = Window(box.col, box.row, box.width, box.height)
        with self._writing():
            for file, index in self._files:
                file.write(bands[index], window=window)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self._writing():
                    self._finish()
        finally:
            self._discard()

    def _create(self, path: Path, count: int) -> Any:
        return rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=self.grid.height,
            width=self.grid.width,
            count=count,
            dtype="uint8",
            nodata=NODATA,
            tiled=True,
            blockxsize=TILE,
            blockysize=TILE,
            interleave="band",
            compress="deflate",
            zlevel=1,
            bigtiff="if_safer",
            crs=self._crs,
            transform=rasterio.Affine(*self.grid.transform),
        )

    def _finish(self) -> None:
        assert self._folder is not None
        levels: list[int] = []
        while max(self.grid.height, self.grid.width) > _SMALLEST_OVERVIEW << len(levels):
            levels.append(2 << len(levels))
        sources: dict[int, tuple[str, int]] = {}
        for file, index in self._files:
            name = Path(file.name)
            file.close()
            if levels:
                with rasterio.open(name, "r+") as again:
                    again.build_overviews(levels, Resampling[self.layers.bands[index[0]].overview])
            sources.update({i: (name.name, at) for at, i in enumerate(index, 1)})
        made = self._folder / self.path.name
        cog.assemble(
            made,
            self.grid,
            "" if self._crs is None else self._crs.to_wkt(),
            self.layers,
            [sources[i] for i in range(len(self.layers.bands))],
            len(levels),
            self.tags,
        )
        names = self._folder / f"{self.path.name}.aux.xml"
        names.write_text(style.category_names(self.layers.classes), encoding="utf-8")
        look = self._folder / f"{self.path.stem}.qml"
        look.write_text(style.qgis(self.layers.classes), encoding="utf-8")
        self._refuse_existing()
        # The map last: when it is there, all is there.
        for part in (names, look, made):
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(self.path.parent / part.name)
        sync_folder(self.path.parent)

    def _discard(self) -> None:
        for file, _ in self._files:
            # Closing writes what is still in memory, which fails again when the disk is full.
            try:
                file.close()
            except RasterioError:
                continue
        self._files = []
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        for made in self._made:  # innermost first; one that holds a map stays
            with suppress(OSError):
                made.rmdir()
        self._made = []

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
            # Side files are written here on purpose, not by GDAL as it likes.
            with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, GDAL_PAM_ENABLED="NO"):
                yield
        except (OSError, RasterioError) as err:
            raise OutputError(
                f"cannot be written ({err})",
                where=self.path,
                mend="check the folder's permissions and free space",
            ) from err
