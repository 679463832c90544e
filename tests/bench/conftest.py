"""What several tests of benchmarks measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from swath.bench import transfer_water

TABLE = "chip,median_elevation_m,elevation_band,water_fraction\n7,1,0,0.5\n8,2,1,0.1\n9,3,2,0.2\n10,3,2,0.2\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with water chips 7, 8 and 9 of three elevation bands, and one that is named but not there."""
    root = tmp_path / transfer_water.FOLDER
    (root / "data" / "images").mkdir(parents=True)
    for chip in (7, 8, 9):
        (root / "data" / "images" / f"{chip}.tif").touch()
    (root / "chips.csv").write_text(TABLE)
    return tmp_path
