"""Where a map goes: into a Cloud-Optimized GeoTIFF, or into memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from swath.cube import Grid
from swath.files import sync_folder
from swath.scenes import cog, look, style
from swath.scenes.layers import Array, Layers
from swath.scenes.piece import Piece, Record, unpack
from swath.scenes.target import Sink as Sink
from swath.scenes.target import Store as Store
from swath.scenes.target import Target
from swath.scenes.windows import Plan
from swath.scenes.work import WorkFolder

# Tag of a map: how many of its pixels could not be read.
HOLE_PIXELS = "HOLE_PIXELS"


class MemorySink:
    """Keeps a map as an array: `bands` [bands,H,W], in the order of `layers.bands`."""

    def __init__(self, layers: Layers, height: int, width: int) -> None:
        self.layers = layers
        self.bands: Array = np.full((len(layers.bands), height, width), layers.nodata, layers.dtype)
        self._plan: Plan | None = None
        self._finished: dict[int, Record] = {}

    @property
    def finished(self) -> Mapping[int, Record]:
        return self._finished

    @contextmanager
    def begin(self, plan: Plan, about: Mapping[str, Any] | None = None) -> Iterator[Store]:
        self._plan = plan
        self._finished = {}
        yield self

    def put(self, piece: Piece) -> None:
        assert self._plan is not None
        box = self._plan.block(piece.record.block).box
        part = unpack(self._plan, piece, len(self.layers.bands), self.layers.dtype)
        self.bands[:, box.row : box.row + box.height, box.col : box.col + box.width] = part
        self._finished[piece.record.block] = piece.record

    def forget(self) -> None:
        self._finished = {}


class CogSink(Target):
    """Writes a Cloud-Optimized GeoTIFF with overviews, CRS, no-data, colour table and class names.

    Beside a map of classes stand two small files: `map.tif.aux.xml` with the class names, which GDAL (and so QGIS
    and rasterio's users) reads along, and `map.qml`, the style with which QGIS shows classes in their colours
    and names instead of three bands as red, green and blue. The names and colours are also in the TIFF's own
    tags. `map.holes.json` lists what could not be read, if anything, and `map.png` is a quick look.

    Args:
        path: of the file, ending in .tif or .tiff.
        grid: of the scene.
        layers: what the bands are.
        overwrite: replace a file of that name; otherwise it is an error, found before any work is done. Also
            throws away an unfinished map that was begun with other options.
        tags: more text for the file's metadata, such as the weights' hash or the licence.
        quicklook: also write the PNG.

    Raises:
        OutputError: the file exists, or cannot be written.
    """

    SUFFIXES = (".tif", ".tiff")
    KIND = "GeoTIFFs"

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        layers: Layers,
        *,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
        quicklook: bool = False,
    ) -> None:
        self.quicklook = quicklook
        super().__init__(path, grid, layers, overwrite=overwrite, tags=tags)

    def _finish(self, plan: Plan, work: WorkFolder) -> None:
        holes = [box for i in sorted(work.finished) for box in work.finished[i].holes]
        tags = dict(self.tags)
        if holes:
            tags[HOLE_PIXELS] = str(sum(b.height * b.width for b in holes))
        made = work.path / self.path.name
        small = cog.assemble(
            made, self.grid, self._crs, self.layers, plan, work.finished, work.path / "blocks", tags
        )
        texts: dict[str, str | None] = {
            f"{self.path.stem}.holes.json": json.dumps([asdict(b) for b in holes]) + "\n" if holes else None
        }
        if self.layers.classes:
            texts[f"{self.path.name}.aux.xml"] = style.category_names(self.layers.classes)
            texts[f"{self.path.stem}.qml"] = style.qgis(self.layers.classes)
        # What an earlier map had beside it and this one has not would belie it.
        texts.setdefault(f"{self.path.name}.aux.xml", None)
        texts.setdefault(f"{self.path.stem}.qml", None)
        if self.overwrite and not self.quicklook:
            texts[f"{self.path.stem}.png"] = None
        parts = []
        for name, text in texts.items():
            if text is None:
                if self.overwrite or name.endswith(".holes.json"):
                    (self.path.parent / name).unlink(missing_ok=True)
                continue
            parts.append(work.path / name)
            parts[-1].write_text(text, encoding="utf-8")
        if self.quicklook:
            parts.append(work.path / f"{self.path.stem}.png")
            look.write_png(parts[-1], look.picture(small, self.layers))
        self._refuse_existing()
        # The map last: when it is there, all is there.
        for part in (*parts, made):
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(self.path.parent / part.name)
        sync_folder(self.path.parent)
