"""Features as rows of GeoParquet 1.1: the footprint of each cell, and its vector.

One file that dataframes, databases and vector stores read. Rows come block by block, row by row within a block;
cells without data have none.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS

from swath.cube import Grid
from swath.errors import ConfigError
from swath.scenes.box import Box
from swath.scenes.layers import Array, FeatureLayers
from swath.scenes.piece import Piece, unpack
from swath.scenes.stac.item import MapFacts
from swath.scenes.target import Target, holes, told
from swath.scenes.windows import Plan
from swath.scenes.work import WorkFolder

# Rows that are written as one group.
_GROUP = 16384
# One polygon of five corners in WKB (OGC 06-103r4): byte order, type, rings, points, then x and y.
_WKB = np.dtype(
    [("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))]
)
Cells = npt.NDArray[np.int32]
_BBOX = ("xmin", "ymin", "xmax", "ymax")


class ParquetSink(Target):
    """Writes GeoParquet.

    Columns: `geometry` (WKB polygons in the scene's coordinate system, cut at the scene's edges), `bbox`, `row` and
    `col` of the cell, `coverage` in percent, `dates` of the scene, and `vector`, a list of as many numbers as there
    are features. The key `swath` of the file's metadata holds JSON: tags, holes, and of 8 bits `scale` and `offset`.

    Args:
        path: ending in .parquet or .geoparquet.
        grid: of the cells.
        layers: the features.
        edge: of the scene, in cells downwards and across: the last cells may reach beyond it.
        dates: of the scene.
        overwrite, tags, facts: as `swath.scenes.target.Target`.

    Raises:
        ConfigError: pyarrow is not installed.
        OutputError: the file exists, or cannot be written.
    """

    SUFFIXES = (".parquet", ".geoparquet")
    KIND = "GeoParquet"
    MEDIA = "application/vnd.apache.parquet"
    layers: FeatureLayers

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        layers: FeatureLayers,
        edge: tuple[float, float],
        dates: Sequence[dt.date | None],
        *,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
        facts: MapFacts | None = None,
    ) -> None:
        try:
            self._arrow: Any = importlib.import_module("pyarrow")
            self._parquet: Any = importlib.import_module("pyarrow.parquet")
        except ImportError as err:
            raise ConfigError(
                "pyarrow is not installed", where="output", mend='pip install "swath[parquet]"'
            ) from err
        super().__init__(path, grid, layers, overwrite=overwrite, tags=tags, facts=facts)
        self.edge, self.dates = edge, tuple(dates)

    def _finish(self, plan: Plan, work: WorkFolder) -> None:
        made = work.path / self.path.name
        limits = [found for block in range(plan.block_count) for found in self._bounds(plan, work, block)]
        schema = self._schema(_joined(limits), work)
        rows: list[Any] = []
        with self._parquet.ParquetWriter(made, schema, compression="zstd") as writer:
            for block in range(plan.block_count):
                rows.append(self._rows(self._bands(plan, work, block), plan.block(block).box, schema))
                if sum(len(table) for table in rows) >= _GROUP or block == plan.block_count - 1:
                    writer.write_table(self._arrow.concat_tables(rows))
                    rows.clear()
        self._refuse_existing()
        self._publish(work, made, self._item_parts(work))

    def _bands(self, plan: Plan, work: WorkFolder, block: int) -> Array:
        piece = Piece(work.finished[block], work.file(block).read_bytes())
        return unpack(plan, piece, len(self.layers.bands), self.layers.dtype)

    def _cells(self, bands: Array, box: Box) -> tuple[Cells, Cells]:
        """Rows and columns of a block's cells with data."""
        y, x = np.nonzero(bands[-1] >= self.layers.min_coverage)
        return (y + box.row).astype(np.int32), (x + box.col).astype(np.int32)

    def _bounds(self, plan: Plan, work: WorkFolder, block: int) -> list[Array]:
        """[n,2] of the corners of a block's cells, in short; nothing where it has none."""
        row, col = self._cells(self._bands(plan, work, block), plan.block(block).box)
        if not len(row):
            return []
        xy = footprints(self.grid, row, col, self.edge)
        return [np.stack([xy.min(axis=(0, 1)), xy.max(axis=(0, 1))])]

    def _schema(self, bounds: Sequence[float], work: WorkFolder) -> Any:
        pa = self._arrow
        about = {"geo": geo_metadata(self._crs, bounds), "swath": self._about(work)}
        item = pa.field("element", {"float32": pa.float32(), "float16": pa.float16(), "uint8": pa.uint8()}
                        [self.layers.dtype], nullable=False)  # fmt: skip
        return pa.schema(
            [
                pa.field("geometry", pa.binary(), nullable=False),
                pa.field(
                    "bbox",
                    pa.struct([pa.field(n, pa.float64(), nullable=False) for n in _BBOX]),
                    nullable=False,
                ),
                pa.field("row", pa.int32(), nullable=False),
                pa.field("col", pa.int32(), nullable=False),
                pa.field("coverage", pa.uint8(), nullable=False),
                pa.field("dates", pa.list_(pa.date32()), nullable=False),
                pa.field("vector", pa.list_(item, self.layers.features), nullable=False),
            ],
            {key: json.dumps(value) for key, value in about.items()},
        )

    def _rows(self, bands: Array, box: Box, schema: Any) -> Any:
        """The cells of a block with data as a table."""
        pa = self._arrow
        row, col = self._cells(bands, box)
        vectors = np.ascontiguousarray(bands[:-1, row - box.row, col - box.col].T)
        coverage = bands[-1, row - box.row, col - box.col].astype(np.uint8)
        xy = footprints(self.grid, row, col, self.edge)
        limits = np.concatenate([xy.min(axis=1), xy.max(axis=1)], axis=1)  # [n,4]
        n = len(row)
        dates = [None if d is None else (d - dt.date(1970, 1, 1)).days for d in self.dates]
        every = pa.array(dates, pa.int32()).cast(pa.date32())
        fields = [
            pa.Array.from_buffers(
                pa.binary(),
                n,
                [
                    None,
                    pa.py_buffer(np.arange(n + 1, dtype=np.int32) * _WKB.itemsize),
                    pa.py_buffer(wkb(xy)),
                ],
            ),
            pa.StructArray.from_arrays(
                [pa.array(np.ascontiguousarray(limits[:, i])) for i in range(4)],
                fields=list(schema.field("bbox").type),
            ),
            pa.array(row),
            pa.array(col),
            pa.array(coverage),
            pa.ListArray.from_arrays(
                pa.array(np.arange(n + 1, dtype=np.int32) * len(dates)), pa.concat_arrays([every] * n)
            )
            if n
            else pa.array([], schema.field("dates").type),
            pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.reshape(-1)), type=schema.field("vector").type
            ),
        ]
        return pa.Table.from_arrays(fields, schema=schema)

    def _about(self, work: WorkFolder) -> dict[str, Any]:
        about: dict[str, Any] = {"tags": {**self.tags, **told(work.finished)}, "holes": holes(work.finished)}
        if self.layers.dtype == "uint8":
            about |= {"scale": self.layers.scales, "offset": self.layers.low}
        return about


def geo_metadata(crs: CRS | None, bounds: Sequence[float]) -> dict[str, Any]:
    """The value of the key `geo` (GeoParquet 1.1.0)."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": None if crs is None else crs.to_dict(projjson=True),
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {n: ["bbox", n] for n in _BBOX}},
    }
    if bounds:
        column["bbox"] = list(bounds)
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def footprints(grid: Grid, row: Cells, col: Cells, edge: tuple[float, float]) -> npt.NDArray[np.float64]:
    """[n,5,2]: x and y of the corners of cells, counter-clockwise and closed, cut at the scene's edge."""
    a, b, c, d, e, f = grid.transform
    top, left = row.astype(np.float64), col.astype(np.float64)
    bottom, right = np.minimum(top + 1, edge[0]), np.minimum(left + 1, edge[1])
    # Down the left side first is counter-clockwise where rows run southwards and columns eastwards.
    corners = [(top, left), (bottom, left), (bottom, right), (top, right), (top, left)]
    if a * e - b * d > 0:
        corners.reverse()
    return np.stack([np.stack([c + a * x + b * y, f + d * x + e * y], axis=1) for y, x in corners], axis=1)


def wkb(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.void]:
    """[n,5,2] as n polygons of one ring."""
    out = np.zeros(len(xy), _WKB)
    out["order"], out["type"], out["rings"], out["points"] = 1, 3, 1, 5
    out["xy"] = xy
    return out


def _joined(limits: Sequence[Array]) -> list[float]:
    """West, south, east and north of all."""
    if not limits:
        return []
    corners = np.concatenate(limits)
    return [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]
