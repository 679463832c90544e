"""Where a map goes: into a Cloud-Optimized GeoTIFF, or into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from swath.cube import Grid
from swath.scenes import cog, look, style
from swath.scenes.layers import Array, Layers
from swath.scenes.piece import Piece, Record, unpack
from swath.scenes.stac.item import COG, Beside, MapFacts
from swath.scenes.target import HOLE_PIXELS as HOLE_PIXELS
from swath.scenes.target import Sink as Sink
from swath.scenes.target import Store as Store
from swath.scenes.target import Target, told
from swath.scenes.windows import Plan
from swath.scenes.work import WorkFolder


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
    tags. `map.holes.json` lists what could not be read, if anything, `map.png` is a quick look, and `map.stac.json` the
    STAC item (`swath.scenes.stac`).

    Args:
        path: of the file, ending in .tif or .tiff.
        grid: of the scene.
        layers: what the bands are.
        overwrite: replace a file of that name and what lies beside it; otherwise each of them is an error, found
            before any work is done. Also throws away an unfinished map that was begun with other options.
        tags: more text for the file's metadata, such as the weights' hash or the licence.
        quicklook: also write the PNG.
        facts: also write the STAC item, which says this of the input and the model.

    Raises:
        OutputError: the file exists, or cannot be written.
    """

    SUFFIXES = (".tif", ".tiff")
    KIND = "GeoTIFFs"
    MEDIA = COG

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        layers: Layers,
        *,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
        quicklook: bool = False,
        facts: MapFacts | None = None,
    ) -> None:
        self.quicklook = quicklook
        super().__init__(path, grid, layers, overwrite=overwrite, tags=tags, facts=facts)

    def _finish(self, plan: Plan, work: WorkFolder) -> None:
        holes = [box for i in sorted(work.finished) for box in work.finished[i].holes]
        tags = {**self.tags, **told(work.finished)}
        made = work.path / self.path.name
        small = cog.assemble(
            made, self.grid, self._crs, self.layers, plan, work.finished, work.path / "blocks", tags,
            look=self.quicklook,
        )  # fmt: skip
        texts = self._legend()
        if holes:
            texts[self._holes] = json.dumps([asdict(b) for b in holes]) + "\n"
        beside = Beside(
            [path.name for path in self._legend()],
            self._holes.name if holes else None,
            self._picture.name if self.quicklook else None,
        )
        parts = self._item_parts(work, beside)
        for path, text in texts.items():
            parts.append(work.path / path.name)
            parts[-1].write_text(text, encoding="utf-8")
        if small is not None:
            parts.append(work.path / self._picture.name)
            look.write_png(parts[-1], look.picture(small, self.layers))
        self._refuse_existing()
        self._publish(work, made, parts)

    @property
    def beside(self) -> tuple[Path, ...]:
        # A picture that is no quick look of ours is somebody's.
        picture = self.quicklook or (self.overwrite and look.is_ours(self._picture))
        more = (self._picture,) if picture else ()
        return (self._holes, self._names, self._style, *more, *super().beside)

    def _own(self, path: Path) -> bool:
        # What would be replaced by itself, and a picture of a map that is gone, are nobody's loss.
        if path == self._picture and look.is_ours(path):
            return True
        text = self._legend().get(path)
        return super()._own(path) or (text is not None and path.read_bytes() == text.encode())

    def _legend(self) -> dict[Path, str]:
        """The files of a map of classes that say what its numbers mean."""
        classes = self.layers.classes
        if not classes:
            return {}
        # Of maps of each date, the class of each; QGIS shows the first, until another band is chosen.
        bands = [i for i, band in enumerate(self.layers.bands, 1) if band.overview == "mode"]
        return {self._names: style.category_names(classes, bands), self._style: style.qgis(classes)}

    @property
    def _holes(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.holes.json")

    @property
    def _names(self) -> Path:
        return self.path.with_name(f"{self.path.name}.aux.xml")

    @property
    def _style(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.qml")

    @property
    def _picture(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.png")

    @property
    def _item(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.stac.json")
