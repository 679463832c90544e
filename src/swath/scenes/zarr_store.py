"""Features as a Zarr store with coordinates and coordinate system, as xarray and GDAL read them."""

from __future__ import annotations

import datetime as dt
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swath.cube import Grid
from swath.errors import ConfigError, OutputError
from swath.scenes.layers import FeatureLayers
from swath.scenes.piece import Piece, tile_side, unpack
from swath.scenes.stac.item import MapFacts
from swath.scenes.target import Target, holes, told
from swath.scenes.windows import Plan
from swath.scenes.work import WorkFolder

# A chunk holds whole vectors, of as many cells as keep it below this.
_CHUNK_BYTES = 4 << 20


class ZarrSink(Target):
    """Writes a Zarr store, version 2, which GDAL reads too: `features` [feature, y, x], `coverage` [y, x] in percent,
    `x` and `y` of the cells' centres, and `spatial_ref` with the coordinate system and GDAL's transform (CF
    conventions).

    No-data is NaN, in 8 bits 255; there `scale` and `offset` [feature] bring `features * scale + offset` back.

    Args:
        path: of a folder, ending in .zarr.
        grid: of the cells.
        layers: the features.
        dates: of the scene.
        overwrite, tags, facts: as `swath.scenes.target.Target`.

    Raises:
        ConfigError: zarr is not installed.
        OutputError: the store exists, the folder is no store, or it cannot be written.
    """

    SUFFIXES = (".zarr",)
    KIND = "Zarr stores"
    MEDIA = "application/vnd.zarr; version=2"
    layers: FeatureLayers

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        layers: FeatureLayers,
        dates: Sequence[dt.date | None],
        *,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
        facts: MapFacts | None = None,
    ) -> None:
        try:
            self._zarr: Any = importlib.import_module("zarr")
        except ImportError as err:
            raise ConfigError(
                "zarr is not installed", where="output", mend='pip install "swath[zarr]"'
            ) from err
        super().__init__(path, grid, layers, overwrite=overwrite, tags=tags, facts=facts)
        self.dates = tuple(dates)

    def _finish(self, plan: Plan, work: WorkFolder) -> None:
        made = work.path / self.path.name
        group = self._zarr.open_group(made, mode="w", zarr_format=2)
        group.attrs.update(
            {
                "Conventions": "CF-1.10",
                "dates": [None if d is None else d.isoformat() for d in self.dates],
                **self.tags,
                **told(work.finished),
                "holes": holes(work.finished),
            }
        )
        features, coverage = self._arrays(group, plan)
        for block in range(plan.block_count):
            piece = Piece(work.finished[block], work.file(block).read_bytes())
            bands = unpack(plan, piece, len(self.layers.bands), self.layers.dtype)
            box = plan.block(block).box
            ys, xs = slice(box.row, box.row + box.height), slice(box.col, box.col + box.width)
            features[:, ys, xs] = bands[:-1]
            coverage[ys, xs] = bands[-1].astype(np.uint8)
        self._zarr.consolidate_metadata(made)
        self._refuse_existing()
        self._publish(work, made, self._item_parts(work))

    def _arrays(self, group: Any, plan: Plan) -> tuple[Any, Any]:
        """The arrays of features and coverage, made; the small ones are filled."""
        layers, n = self.layers, self.layers.features
        side = tile_side(plan)
        while side > 1 and n * side * side * np.dtype(layers.dtype).itemsize > _CHUNK_BYTES:
            side //= 2
        features = self._array(
            group, "features", ("feature", "y", "x"), (n, plan.height, plan.width), (n, side, side), layers.dtype,
            layers.nodata,
        )  # fmt: skip
        features.attrs["grid_mapping"] = "spatial_ref"
        whole = tile_side(plan)
        coverage = self._array(
            group, "coverage", ("y", "x"), (plan.height, plan.width), (whole, whole), "uint8"
        )
        coverage.attrs.update({"grid_mapping": "spatial_ref", "units": "percent"})
        if layers.dtype == "uint8":
            for name, values in (("scale", layers.scales), ("offset", layers.low)):
                self._line(group, name, "feature", np.array(values))
        a, b, c, d, e, f = self.grid.transform
        place = self._array(group, "spatial_ref", (), (), (), "int64")
        place.attrs["GeoTransform"] = " ".join(repr(float(v)) for v in (c, a, b, f, d, e))
        if self._crs is not None:
            place.attrs.update({"crs_wkt": self._crs.to_wkt(), "spatial_ref": self._crs.to_wkt()})
        if b == 0 and d == 0:  # of a rotated grid, x and y are no lines
            standard = "projection_{}_coordinate" if self._crs is None or self._crs.is_projected else ""
            for name, first, step, count in (("x", c, a, plan.width), ("y", f, e, plan.height)):
                line = self._line(group, name, name, first + step * (np.arange(count) + 0.5))
                line.attrs["standard_name"] = (
                    standard.format(name) or {"x": "longitude", "y": "latitude"}[name]
                )
        return features, coverage

    def _line(self, group: Any, name: str, dimension: str, values: Any) -> Any:
        line = self._array(group, name, (dimension,), values.shape, values.shape, "float64")
        line[:] = values
        return line

    def _array(
        self,
        group: Any,
        name: str,
        dimensions: tuple[str, ...],
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: str,
        fill: float | None = None,
    ) -> Any:
        # Without a fill value nothing is masked: no coverage is a measurement.
        array = group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=fill,
            config={"write_empty_chunks": fill is None},
        )
        array.attrs["_ARRAY_DIMENSIONS"] = list(dimensions)  # where xarray and GDAL look for names
        return array

    def _refuse_existing(self) -> None:
        if not self.path.exists():
            return
        if not self.overwrite:
            raise OutputError(
                "exists already", where=self.path, mend="choose another name, or set overwrite to true"
            )
        try:
            found = json.loads((self.path / ".zgroup").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or "zarr_format" not in found:
            # A folder of something else is never thrown away.
            raise OutputError("is no Zarr store", where=self.path, mend="choose another name")
