from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from swath.contract import contract_for
from swath.cube import Encoding
from swath.data.raster import open_scene
from swath.data.safe import find_safe, read_safe
from swath.data.spec import SceneSpec
from swath.errors import InputError


@pytest.mark.parametrize("zipped", [False, True])
def test_a_product_becomes_a_scene_on_the_finest_grid(safe_folder: Callable[..., Path], zipped: bool) -> None:
    safe = read_safe(str(safe_folder(zipped=zipped)))
    assert list(safe.images) == [
        *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
    ]
    with open_scene(safe.scene_spec(("B8A", "B02", "B09"))) as scene:
        cube = scene.read_all()
        assert scene.known[0][0] == "stated" and scene.gsd == 10
    assert cube.shape == (1, 3, 12, 12)
    assert [int(cube.pixels[0, c, 0, 0]) for c in range(3)] == [1008, 1001, 1009]
    assert cube.encodings[0][0] == Encoding("reflectance", 1e-4, -0.1, "L2A")
    assert str(cube.dates[0]) == "2022-03-01"


def test_a_series_in_which_the_offset_begins(safe_folder: Callable[..., Path]) -> None:
    """The same ground before and after baseline 04.00: 1008 and 2008 are one reflectance."""
    old = read_safe(str(safe_folder(baseline="03.01", date="2021-11-01", offset=None)))
    new = read_safe(str(safe_folder(baseline="04.00", date="2022-03-01")))
    spec = SceneSpec(
        (old.images["B8A"], new.images["B8A"]), sensor="sentinel2", bands=("B8A",), files_are="dates"
    )
    contract = contract_for("sentinel2", ("B8A",), Encoding("reflectance", 1e-4, 0.0, "L2A"))
    with open_scene(spec) as scene:
        assert scene.known == (("the SAFE XML (MTD_MSIL2A.xml)",),) * 2
        assert [e[0].offset for e in scene.encodings] == [0.0, -0.1]
        np.testing.assert_allclose(
            contract.convert(scene.read_all()).pixels[:, 0, 0, 0], [1008, 8], atol=1e-3
        )


def test_a_file_inside_a_product_is_known_by_its_xml(safe_folder: Callable[..., Path]) -> None:
    folder = safe_folder()
    band = read_safe(str(folder)).images["B04"]
    assert find_safe(band) == str(folder)
    with open_scene(SceneSpec(band, sensor="sentinel2", bands=("B04",))) as scene:
        assert scene.encodings[0][0] == Encoding("reflectance", 1e-4, -0.1, "L2A")


def test_clouds_by_the_scene_classification(safe_folder: Callable[..., Path]) -> None:
    scl = np.full((6, 6), 4, np.uint8)
    scl[1, 2] = 9
    safe = read_safe(str(safe_folder(scl=scl)))
    with open_scene(safe.scene_spec(("B02", "B11"), mask=(3, 8, 9, 10))) as scene:
        cube = scene.read_all()
        part = scene.read(3, 3, 4, 4)
    cloud = np.repeat(np.repeat(scl == 9, 2, 0), 2, 1)
    assert np.array_equal(~cube.valid, np.broadcast_to(cloud, cube.shape))
    assert np.array_equal(part.valid, cube.valid[:, :, 3:7, 3:7])


def test_what_is_missing(safe_folder: Callable[..., Path], tmp_path: Path) -> None:
    safe = read_safe(str(safe_folder()))
    with pytest.raises(InputError, match=r"band B10 is missing .* use an L1C product"):
        safe.scene_spec(("B10",))
    with pytest.raises(InputError, match="holds no scene classification"):
        safe.scene_spec(("B02",), mask=(3,))
    (tmp_path / "empty.SAFE").mkdir()
    with pytest.raises(InputError, match=r"holds no MTD_MSIL1C\.xml"):
        read_safe(str(tmp_path / "empty.SAFE"))
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read as a zip"):
        read_safe(str(tmp_path / "x.zip"))
    with pytest.raises(InputError, match="there is no such file"):
        read_safe(str(tmp_path / "none.zip"))
