from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pytest

from swath.cube import UNITS
from swath.data.spec import SceneSpec, Unit
from swath.errors import ConfigError


def test_configs_can_import_it_without_any_heavy_library() -> None:
    code = (
        "import sys, swath.data.spec, swath.data.legend;"
        "sys.exit(', '.join({'torch', 'numpy', 'rasterio'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_units_are_those_of_a_cube() -> None:
    assert get_args(Unit) == UNITS


@pytest.mark.parametrize(
    ("files", "files_are", "table"),
    [
        ("a.tif", "bands", (("a.tif",),)),
        (["a.tif", "b.tif"], "bands", (("a.tif", "b.tif"),)),
        (["a.tif", "b.tif"], "dates", (("a.tif",), ("b.tif",))),
        ([["a1", "b1"], ["a2", "b2"]], "bands", (("a1", "b1"), ("a2", "b2"))),
        (Path("a.tif"), "bands", (("a.tif",),)),
    ],
)
def test_files_become_a_table_of_dates_and_bands(files: Any, files_are: Any, table: Any) -> None:
    assert SceneSpec(files, files_are=files_are).file_table == table


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"files": ""}, "no file"),
        ({"files": []}, "no file"),
        ({"files": [["a"], []]}, "no files"),
        ({"files": "a", "files_are": "time"}, "files_are"),
        ({"files": "a", "resampling": "cubic"}, "resampling"),
        ({"files": "a", "stack_dates": 0}, "stack_dates"),
        ({"files": "a", "dates": ["june"]}, "june"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        SceneSpec(**fields)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


def test_a_mixed_list_is_refused() -> None:
    with pytest.raises(ConfigError, match="mixes"):
        _ = SceneSpec(["a.tif", ["b.tif"]]).file_table  # type: ignore[arg-type]


def test_it_survives_json() -> None:
    spec = SceneSpec(
        [["a", "b"]], sensor="sentinel2", bands=["B02", "B03"], offset=[0.1], dates=["2020-01-02"]
    )  # type: ignore[arg-type]
    assert SceneSpec(**json.loads(json.dumps(asdict(spec)))) == spec


def test_embedded_scenes_have_a_name() -> None:
    assert SceneSpec("demo:landsat").demo == "landsat"
    assert SceneSpec("landsat.tif").demo is None
