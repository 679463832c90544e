"""Labels of each date in a person's own folder: matched by date, whatever the order and the form of the names."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine

from swath.data.labels import IGNORE
from swath.data.layouts.folder import Folder
from swath.errors import SwathError

SIZE = 10
SPEC: dict[str, Any] = {
    "sensor": "sentinel2", "images": "{place}/{date:%Y%m%d}.tif", "bands": ["B04"], "unit": "reflectance",
    "scale": "1e-4",
}  # fmt: skip
CLASSES = [{"value": v, "name": f"c{v}"} for v in range(1, 13)]
LABELS = {"kind": "raster", "file": "{place}/y{date:%Y-%j}.tif", "classes": CLASSES}


def tif(path: Path, value: float, dtype: str = "uint16") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", dtype=dtype, count=1, height=SIZE, width=SIZE, crs="EPSG:32633",
        transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.full((1, SIZE, SIZE), value, dtype))


def image(root: Path, place: str, month: int) -> None:
    tif(root / place / f"2023{month:02}15.tif", 100 * month)


def label(root: Path, place: str, month: int, dtype: str = "uint8") -> None:
    day = dt.date(2023, month, 15)
    tif(root / place / f"y{day:%Y-%j}.tif", month if dtype == "uint8" else month / 4, dtype)


def folder(root: Path, **more: Any) -> Folder:
    return Folder(root, spec={**SPEC, "labels": LABELS, **more})


# Each example has a folder of its own.
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seen=st.sets(st.integers(1, 12), min_size=1, max_size=4),
    known=st.sets(st.integers(1, 12), min_size=1, max_size=4),
    real=st.booleans(),
    window=st.sampled_from([0, 8]),
)
def test_each_image_has_the_labels_of_its_date(
    tmp_path_factory: pytest.TempPathFactory, seen: set[int], known: set[int], real: bool, window: int
) -> None:
    root = tmp_path_factory.mktemp("dated")
    for month in seen:
        image(root, "a", month)
    for month in known:
        label(root, "a", month, "float32" if real else "uint8")
    spec = {"labels": {"kind": "numbers", "file": LABELS["file"]} if real else LABELS, "size": window}
    if not seen & known:
        with pytest.raises(SwathError, match="no labels are of a date of its images: they are of 2023-"):
            folder(root, **spec)
        return
    made = folder(root, **spec)
    for i in range(len(made.items)):
        sample = made.read(i)
        assert sample.target is not None
        assert sample.target.shape == (len(seen), *sample.cube.shape[2:])
        for t, month in enumerate(sorted(seen)):
            inside = sample.cube.valid[t, 0]
            assert (sample.cube.pixels[t, 0][inside] == 100 * month).all()
            there = sample.target[t][inside]
            if month not in known:
                assert np.isnan(there).all() if real else (there == IGNORE).all()
            else:
                assert (there == (month / 4 if real else month - 1)).all()
            beyond = sample.target[t][~inside]
            assert np.isnan(beyond).all() if real else (beyond == IGNORE).all()


def test_what_has_no_partner_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for month in (3, 4, 5):
        image(tmp_path, "a", month)
        image(tmp_path, "b", month)
    for place, month in (("a", 3), ("b", 4), ("b", 7), ("c", 3)):
        label(tmp_path, place, month)
    with caplog.at_level(logging.WARNING):
        made = folder(tmp_path)
    assert "4 dates of 6 without labels, such as a 2023-04-15: unlabelled" in caplog.text
    assert (
        "2 files of labels without an image of their date, such as b/y2023-196.tif: not used" in caplog.text
    )
    assert made.info.tasks == ("segmentation",) and len(made.items) == 2
    kept = folder(tmp_path, labels={**LABELS, "labelled_only": True})
    assert len(kept.items) == 2
    caplog.clear()
    for month in (4, 5):
        label(tmp_path, "a", month)
    for month in (3, 5):
        label(tmp_path, "b", month)
    for place, month in (("b", 7), ("c", 3)):
        (tmp_path / place / f"y{dt.date(2023, month, 15):%Y-%j}.tif").unlink()
    folder(tmp_path)
    assert caplog.text == ""


def test_dates_of_a_stack_are_matched_too(tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", dtype="uint16", count=2, height=SIZE, width=SIZE, crs="EPSG:32633",
        transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.ones((2, SIZE, SIZE), np.uint16))
    label(tmp_path, "labels", 6)
    spec = {
        **SPEC,
        "images": "a.tif",
        "stack_dates": 2,
        "labels": {**LABELS, "file": "labels/y{date:%Y-%j}.tif"},
    }
    with pytest.raises(
        SwathError, match="does not say the dates of its images, and labels are named by date"
    ):
        Folder(tmp_path, spec=spec)
    target = Folder(tmp_path, spec={**spec, "dates": ["2023-05-15", "2023-06-15"]}).read(0).target
    assert target is not None and (target[0] == IGNORE).all() and (target[1] == 5).all()


def test_labels_that_cannot_be_matched_are_refused(tmp_path: Path) -> None:
    image(tmp_path, "a", 3)
    image(tmp_path, "b", 3)
    label(tmp_path, "a", 3)
    with pytest.raises(SwathError, match=r"b: there are no labels of this place; add them, or narrow images"):
        folder(tmp_path)
    label(tmp_path, "b", 3)
    with pytest.raises(
        SwathError, match=r"files of labels are named for 2 places; use \{place\} in labels.file"
    ):
        folder(tmp_path, labels={**LABELS, "file": "a/y{date:%Y-%j}.tif"})
    with pytest.raises(SwathError, match=r"labels.file: labels have a band; name it in plain text"):
        folder(tmp_path, labels={**LABELS, "file": "{place}/{band}{date:%Y-%j}.tif"})
    tif(tmp_path / "b" / "y2023-074.tif", 99)
    with pytest.raises(SwathError, match=r"y2023-074.tif: holds 1 unknown label values: 99"):
        folder(tmp_path).read(1)
