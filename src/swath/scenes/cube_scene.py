"""A cube in memory as a scene that can be mapped."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from swath.bands import Band
from swath.cube import BandStatistics, Cube, Grid
from swath.feed.base import cut_window


@dataclass(frozen=True, eq=False)
class CubeScene:
    """`swath.scenes.reading.SceneLike` of a cube, such as a record of a data set."""

    cube: Cube

    @property
    def grid(self) -> Grid | None:
        """Of the cube."""
        return self.cube.grid

    @property
    def height(self) -> int:
        """H."""
        return self.cube.shape[2]

    @property
    def width(self) -> int:
        """W."""
        return self.cube.shape[3]

    @property
    def bands(self) -> tuple[Band, ...]:
        """Of the cube."""
        return self.cube.bands

    @property
    def source(self) -> str:
        """Its name in messages."""
        return self.cube.source

    def read(self, row: int, col: int, height: int, width: int) -> Cube:
        """A window; what lies beyond the edges is invalid."""
        cube = self.cube
        if row >= 0 and col >= 0 and row + height <= self.height and col + width <= self.width:
            return cube.window(row, col, height, width)
        pixels = np.zeros((*cube.shape[:2], height, width), cube.pixels.dtype)
        valid = np.zeros(pixels.shape, np.bool_)
        cut_window(cube.pixels, row, col, pixels)
        cut_window(cube.valid, row, col, valid)
        grid = None if cube.grid is None else cube.grid.window(row, col, height, width)
        return replace(cube, pixels=pixels, valid=valid, grid=grid)

    def statistics(self) -> BandStatistics:
        """Of the record that the cube is, or was cut from."""
        found = self.cube.statistics or self.cube.with_statistics().statistics
        assert found is not None
        return found
