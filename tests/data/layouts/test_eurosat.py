from __future__ import annotations

import numpy as np
import pytest
import rasterio

from swath.data.layouts.eurosat import BANDS, CLASSES, EuroSAT
from swath.errors import InputError

IN_FILES = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]
ONLY = pytest.mark.parametrize("built", ["eurosat"], indirect=True)


@ONLY
def test_b8a_is_read_from_the_last_place(built) -> None:
    # TorchGeo knows the order; SatMAE's and SpectralGPT's code took the 13 bands as if they were in the sensor's.
    layout = EuroSAT(built.root)
    for i, item in enumerate(layout.items):
        cube = layout.read(i).cube
        with rasterio.open(item.where) as file:
            stored = dict(zip(IN_FILES, file.read(), strict=True))
        assert tuple(b.name for b in cube.bands) == BANDS
        for band, plane in zip(cube.bands, cube.pixels[0], strict=True):
            np.testing.assert_array_equal(plane, stored[band.name])
        assert cube.statistics is not None
        assert cube.statistics.mean[BANDS.index("B8A")] == pytest.approx(stored["B8A"].mean())
        assert {(e.unit, e.scale, e.offset, e.level) for e in cube.encodings[0]} == {
            ("reflectance", 1e-4, 0.0, "L1C")
        }


@ONLY
def test_classes_are_alphabetical_and_lists_are_kept_to(built) -> None:
    assert [c.name for c in CLASSES] == sorted(c.name for c in CLASSES) and len(CLASSES) == 10
    layout = EuroSAT(built.root, "train")
    assert [i.id for i in layout.items] == ["AnnualCrop_10", "SeaLake_3"]
    assert [int(layout.read(i).target) for i in range(2)] == [0, 9]
    # A listed patch without a file stays an item, and reading it says so.
    (built.root / "eurosat-val.txt").write_text("River_77.jpg\n")
    layout = EuroSAT(built.root, "val")
    assert [i.id for i in layout.items] == ["River_77"]
    with pytest.raises(InputError, match="patch is missing"):
        layout.read(0)


@ONLY
@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ({"val": "Moon_1.jpg"}, "no EuroSAT patch"),
        ({"val": "SeaLake_3.jpg"}, "split 'train' has too"),
        ({"val": None}, "list of split 'val' is missing"),
    ],
)
def test_bad_lists(built, lists: dict[str, str | None], says: str) -> None:
    for name, line in lists.items():
        path = built.root / f"eurosat-{name}.txt"
        path.unlink() if line is None else path.write_text(line)
    with pytest.raises(InputError, match=says):
        EuroSAT(built.root, "val")


@ONLY
def test_another_size_or_band_count_is_refused(built) -> None:
    layout = EuroSAT(built.root)
    for shape, says in (((13, 32, 64), "32x64 pixels"), ((12, 64, 64), "holds 12 bands")):
        with rasterio.open(layout.items[0].where, "w", driver="GTiff", dtype="uint16", count=shape[0],
                           height=shape[1], width=shape[2], crs="EPSG:32633",
                           transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as file:  # fmt: skip
            file.write(np.ones(shape, np.uint16))
        with pytest.raises(InputError, match=says):
            layout.read(0)


@pytest.mark.shared_data
def test_the_real_patches(shared_data) -> None:
    layout = EuroSAT(shared_data / "rico-hdl-samples/integration_tests/tiffs/EuroSAT_MS")
    samples = [layout.read(i) for i in range(len(layout.items))]
    assert {s.id: int(s.target) for s in samples} == {"AnnualCrop_1": 0, "Pasture_300": 5, "SeaLake_3000": 9}
    for s in samples:
        mean = dict(zip(BANDS, s.cube.statistics.mean, strict=True))
        # Cirrus is dark over clear land, and B8A is as bright as B08: neither holds in the order of the file.
        assert mean["B10"] < 20 and 0.8 < mean["B8A"] / mean["B08"] < 1.3
    pasture = next(s for s in samples if s.id == "Pasture_300")
    assert pasture.cube.place.lat == pytest.approx(47.85, abs=0.01)
