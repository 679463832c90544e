"""A catalogue of malformed inputs: each gives an error of its own, in one line, or an exact conversion.

A row of REFUSED is a name, the words of its error, and how it is made; a row of CONVERTED is read, and its pixels
are what they should be.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from swath.contract import contract_for
from swath.cube import Cube, Encoding, Grid
from swath.data.labels import read_labels
from swath.data.layouts.folder import Folder
from swath.data.legend import LandClass
from swath.data.raster import open_scene
from swath.data.safe import read_safe
from swath.data.sentinel2_meta import parse_product
from swath.data.spec import SceneSpec
from swath.data.stac_item import item_spec, read_item
from swath.data.vectors import read_vectors
from swath.errors import SwathError

CLASSES = (LandClass(1, "wheat", (0, 99, 0)), LandClass(2, "maize", (0, 0, 255)))
FOLDER: dict[str, Any] = {
    "sensor": "sentinel2",
    "images": "{place}.tif",
    "bands": ["B02", "B03"],
    "unit": "dn",
}
LIST = [{"value": 1, "name": "wheat"}, {"value": 2, "name": "maize"}]


@dataclass(frozen=True)
class Kit:
    """What cases are made with."""

    folder: Path
    write: Callable[..., str]
    xml: Callable[..., str]
    safe: Callable[..., Path]
    item: Callable[..., Path]

    def tif(self, name: str = "a.tif", bands: int = 2, size: int = 8, **options: Any) -> str:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.arange(bands * size * size).reshape(bands, size, size) + 1
        dtype = options.pop("dtype", "uint16")
        return self.write(name, pixels.astype(dtype), **options)

    def read(self, files: Any, **spec: Any) -> Cube:
        fields = {"sensor": "sentinel2", "bands": ("B02", "B03"), "unit": "dn", **spec}
        with open_scene(SceneSpec(files, **fields)) as scene:
            return scene.read_all()

    def layout(self, **spec: Any) -> Folder:
        return Folder(self.folder, spec={**FOLDER, **spec})

    def vectors(self, features: list[Any], crs: str | None = "EPSG::32633", **options: Any) -> Any:
        data: dict[str, Any] = {"type": "FeatureCollection", "features": features}
        if crs:
            data["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs}"}}
        path = self.folder / "v.geojson"
        path.write_text(json.dumps(data))
        return read_vectors(str(path), **{"attribute": "crop", "classes": CLASSES, **options})

    def table(self, text: str) -> Folder:
        self.tif()
        (self.folder / "t.csv").write_text(text)
        return self.layout(labels={"kind": "csv", "file": "t.csv", "classes": LIST})

    def raw(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def bare_safe(self) -> str:
        (self.folder / "S2B.SAFE").mkdir()
        (self.folder / "S2B.SAFE" / "MTD_MSIL2A.xml").write_text(self.xml())
        return str(self.folder / "S2B.SAFE")

    def unplaced(self) -> Any:
        """Points in a Shapefile whose .prj is lost."""
        path = self.folder / "v.shp"
        pyogrio.raw.write(
            str(path),
            np.array([shapely.Point(1.0, 2.0).wkb], object),
            [np.array(["wheat"], object)],
            ["crop"],
            geometry_type="Point",
            crs="EPSG:32633",
        )
        path.with_suffix(".prj").unlink()
        return read_vectors(str(path), attribute="crop", classes=CLASSES)

    def cut(self, keep: int) -> str:
        path = Path(self.tif(size=64))
        path.write_bytes(path.read_bytes()[:keep])
        return str(path)

    def label(self, **options: Any) -> Any:
        grid = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 8, 8)
        codes = options.pop("codes", np.ones((8, 8), np.uint8))
        return read_labels(self.write("l.tif", codes, **options), grid, CLASSES)


def point(crop: Any, x: float = 500_005.0, y: float = 4_999_995.0, key: str = "crop") -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [x, y]}
    return {"type": "Feature", "properties": {key: crop}, "geometry": geometry}


def square(crop: str) -> dict[str, Any]:
    x, y = 500_000.0, 5_000_000.0
    ring = [[x, y], [x + 40, y], [x + 40, y - 40], [x, y - 40], [x, y]]
    return {
        "type": "Feature",
        "properties": {"crop": crop},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def pair(k: Kit, **second: Any) -> list[str]:
    return [k.tif("one.tif", 1), k.tif("two.tif", 1, **second)]


SERIES = {"files_are": "dates"}
B = {"shares": {"train": 0.5, "test": 0.5}}
REFUSED: dict[str, tuple[str, Callable[[Kit], Any]]] = {
    # files
    "no file": ("there is no such file", lambda k: k.read("none.tif")),
    "empty file": ("is an empty file", lambda k: k.read(k.raw("e.tif", b""))),
    "a folder": ("is a folder", lambda k: k.read(str(k.folder))),
    "no raster": ("cannot be read as a raster", lambda k: k.read(k.raw("n.tif", b"text"))),
    "cut in its pixels": ("cut short", lambda k: k.read(k.cut(4000))),
    "cut in its head": ("n.tif|a.tif.*(cut short|cannot be read)", lambda k: k.read(k.cut(60))),
    "complex numbers": (
        "not real numbers",
        lambda k: k.read(k.write("c.tif", np.ones((2, 4, 4), np.complex64))),
    ),
    # grids
    "another reference system": (
        "is in EPSG:32634, but .* in EPSG:32633",
        lambda k: k.read(pair(k, crs="EPSG:32634")),
    ),
    "no reference system on one": ("no reference system", lambda k: k.read(pair(k, crs=None))),
    "moved by a pixel": ("covers another grid", lambda k: k.read(pair(k, origin=(500_010.0, 5_000_000.0)))),
    "sizes that no whole factor joins": ("covers another grid", lambda k: k.read(pair(k, size=5, res=16.0))),
    "swapped axes": (
        "covers another grid",
        lambda k: k.read(
            [k.write("h.tif", np.ones((1, 4, 6), np.uint16)), k.write("w.tif", np.ones((1, 6, 4), np.uint16))]
        ),
    ),
    "zero-size window": (
        "window 0x4 is empty",
        lambda k: open_scene(SceneSpec(k.tif(), sensor="sentinel2", bands=("B02", "B03"), unit="dn")).read(
            0, 0, 0, 4
        ),
    ),
    # bands
    "unknown sensor": ("unknown sensor 'sentinel9'", lambda k: k.read(k.tif(), sensor="sentinel9")),
    "unknown band": ("sentinel2 has no band 'B13'", lambda k: k.read(k.tif(), bands=("B02", "B13"))),
    "a band twice": ("B02 of sentinel2 is named twice", lambda k: k.read(k.tif(), bands=("B02", "B2"))),
    "wrong order of named bands": (
        "band 1 calls itself B03, but is stated to be B02",
        lambda k: k.read([k.tif("one.tif", 1, names=["B03"]), k.tif("two.tif", 1, names=["B02"])]),
    ),
    "too few bands": (
        "holds 2 bands, but 3 are named",
        lambda k: k.read(k.tif(), bands=("B02", "B03", "B04")),
    ),
    "a named band is missing": (
        "band B04 of sentinel2 is missing",
        lambda k: k.read(k.tif(names=["B02", "B03"]), bands=("B02", "B04")),
    ),
    "dates of other bands": (
        "unlike the first date",
        lambda k: k.read(
            [k.tif("x.tif", names=["B02", "B03"]), k.tif("y.tif", names=["B02", "B04"])], bands=(), **SERIES
        ),
    ),
    # dates
    "unsorted dates": (
        "dates are not in order",
        lambda k: k.read([k.tif("x.tif"), k.tif("y.tif")], dates=("2020-02-01", "2020-01-01"), **SERIES),
    ),
    "too few dates": (
        "1 date stated, the files hold 2",
        lambda k: k.read([k.tif("x.tif"), k.tif("y.tif")], dates=("2020-02-01",), **SERIES),
    ),
    "no date": ("'soon' is not a date", lambda k: k.read(k.tif(), dates=("soon",))),
    "a stack that dates do not divide": (
        "which 2 dates do not divide",
        lambda k: k.read(k.tif(bands=3), stack_dates=2),
    ),
    "duplicate dates": (
        "takes both this file",
        lambda k: (k.tif("x_20200101.tif"), k.tif("y_20200101.tif"), k.layout(images="*_{date}.tif")),
    ),
    "a date of no calendar": (
        "'20200231' is no date of the form",
        lambda k: (k.tif("20200231.tif"), k.layout(images="{date}.tif")),
    ),
    # units
    "no unit": ("does not say its unit", lambda k: k.read(k.tif(), unit=None)),
    "an unknown unit tag": ("says its unit is 'furlong'", lambda k: k.read(k.tif(unit="furlong"), unit=None)),
    "NaN scale": (
        "must be finite and the scale not 0",
        lambda k: k.read(k.tif(unit="reflectance", scale=float("nan")), unit=None),
    ),
    "zero scale": ("must be finite and the scale not 0", lambda k: k.read(k.tif(), scale=0.0)),
    "scales for other dates": (
        "2 values of scale are stated for 1 dates",
        lambda k: k.read(k.tif(), scale=(1.0, 2.0)),
    ),
    "no-data that cannot occur": (
        "no-data -1 cannot occur in uint16",
        lambda k: k.read(k.tif(), nodata=-1.0),
    ),
    "decibels for reflectance": (
        "is in decibel, the model eats reflectance",
        lambda k: contract_for("sentinel2", ("B02",), Encoding("reflectance")).convert(
            k.read(k.tif(), unit="decibel")
        ),
    ),
    "SAFE without XML": (
        "holds no MTD_MSIL1C.xml",
        lambda k: ((k.folder / "S2.SAFE").mkdir(), read_safe(str(k.folder / "S2.SAFE"))),
    ),
    "SAFE without images": ("holds no image of a band", lambda k: read_safe(k.bare_safe())),
    "baseline 04.00 without offsets": (
        "names no BOA_ADD_OFFSET",
        lambda k: parse_product(k.xml(offset=None).encode(), "x"),
    ),
    "STAC item without assets": ("has no assets", lambda k: read_item(k.item("i.json", {}))),
    "STAC item without the band": (
        "no asset of known unit for band B08",
        lambda k: item_spec(
            read_item(k.item("i.json", {"red": "r.tif"}, raster={"scale": 1e-4, "offset": 0})), ("B08",)
        ),
    ),
    "tags against the STAC item": (
        "but the file's tags say",
        lambda k: (
            k.item("a.json", {"red": "a.tif"}, raster={"scale": 1e-4, "offset": -0.1}),
            k.read(k.tif(bands=1, unit="reflectance", scale=1e-4), bands=("B04",), unit=None),
        ),
    ),
    # masks
    "a mask finer than the bands": (
        "finer than the bands",
        lambda k: k.read(k.tif(size=4, res=20.0), mask_files=(k.tif("m.tif", 1),), mask_values=(1,)),
    ),
    "a mask of real numbers": (
        "not whole numbers",
        lambda k: k.read(k.tif(), mask_files=(k.tif("m.tif", 1, dtype="float32"),), mask_values=(1,)),
    ),
    "masks for other dates": (
        "1 mask_files are named for 2 dates",
        lambda k: k.read(
            [k.tif("x.tif"), k.tif("y.tif")], mask_files=(k.tif("m.tif", 1),), mask_values=(1,), **SERIES
        ),
    ),
    # labels
    "a label outside the classes": (
        "1 unknown label values: 9",
        lambda k: k.label(codes=np.full((8, 8), 9, np.uint8)),
    ),
    "labels of another size": ("covers another grid", lambda k: k.label(codes=np.ones((8, 7), np.uint8))),
    "nothing labelled": (
        "holds no labelled pixel",
        lambda k: k.label(codes=np.zeros((8, 8), np.uint8), nodata=0),
    ),
    "no vector features": ("has no attribute|holds no feature", lambda k: k.vectors([])),
    "attribute missing": (
        "has no attribute 'crop' \\(it has kind\\)",
        lambda k: k.vectors([point("wheat", key="kind")]),
    ),
    "a vector without a reference system": ("has no reference system", lambda k: k.unplaced()),
    "a vector of an unknown class": (
        "names unknown classes in 'crop': rye",
        lambda k: k.vectors([point("rye")]),
    ),
    "classes that overlap": (
        "several classes claim 16 pixels",
        lambda k: k.vectors([square("wheat"), square("maize")]).rasterise(
            Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 8, 8)
        ),
    ),
    "csv with an unknown file": (
        "none of the images: 'b.tif'",
        lambda k: k.table("file,class\nb.tif,wheat\n"),
    ),
    "csv with an unknown class": ("unknown class 'rye'", lambda k: k.table("file,class\na.tif,rye\n")),
    "csv with a file twice": (
        "names 'a.tif' again",
        lambda k: k.table("file,class\na.tif,wheat\na.tif,maize\n"),
    ),
    "csv without a column": ("has no column class", lambda k: k.table("file,klass\na.tif,wheat\n")),
    "csv with a ragged row": (
        "another number of columns",
        lambda k: k.table("file,class\na.tif,wheat,extra\n"),
    ),
    "csv without rows": ("holds no row", lambda k: k.table("file,class\n")),
    # the YAML
    "an unknown key": ("unknown key 'band'; did you mean bands", lambda k: k.layout(band=["B02"])),
    "a pattern that matches nothing": (
        "no file matches the pattern",
        lambda k: (k.tif(), k.layout(images="{place}.jp2")),
    ),
    "an unknown field": ("unknown field 'tile'", lambda k: k.layout(images="{tile}.tif")),
    "a band's file is missing": (
        "band B03 of 2020-01-01 has no file",
        lambda k: (k.tif("20200101_B02.tif", 1), k.layout(images="{date}_{band}.tif")),
    ),
    "a band from two files": (
        "is band B02 of",
        lambda k: (k.tif("B2.tif", 1), k.tif("B02.tif", 1), k.layout(images="{band}.tif", bands=["B02"])),
    ),
    "a list that says nothing": ("nothing says what it runs along", lambda k: k.layout(images=["a.tif"])),
    "one class for many windows": (
        "cannot share the class of a whole file",
        lambda k: k.layout(size=4, labels={"kind": "csv", "file": "t.csv", "classes": LIST}),
    ),
    "shares that do not sum": (
        "with a sum of 1",
        lambda k: k.layout(split={"kind": "random", "shares": {"train": 0.5}}),
    ),
    "blocks narrower than windows": (
        "fits a block of 30",
        lambda k: (k.tif(), k.layout(size=4, split={"kind": "blocks", "block": 30, **B})),
    ),
    "a split by groups of one": (
        "there is no part 'train'",
        lambda k: (k.tif(), Folder(k.folder, "train", spec=FOLDER)),
    ),
}


@pytest.fixture
def kit(
    tmp_path: Path,
    write: Callable[..., str],
    product_xml: Callable[..., str],
    safe_folder: Callable[..., Path],
    stac_item: Callable[..., Path],
) -> Kit:
    return Kit(tmp_path, write, product_xml, safe_folder, stac_item)


@pytest.mark.parametrize("name", REFUSED)
def test_each_is_refused_in_one_line_of_its_own(kit: Kit, name: str) -> None:
    words, make = REFUSED[name]
    with pytest.raises(SwathError, match=words) as caught:
        make(kit)
    assert "\n" not in str(caught.value)
    assert caught.value.mend


# Values of (date, band, row 0, column 0), converted to reflectance x 1e4 without an offset.
CONVERTED: dict[str, tuple[list[list[float]], Callable[[Kit], Cube]]] = {
    "another order of bands": (
        [[65, 1]],
        lambda k: k.read(k.tif(names=["B03", "B02"]), bands=(), unit="reflectance", scale=1e-4),
    ),
    "another offset": (
        [[-999, -935]],
        lambda k: k.read(k.tif(), unit="reflectance", scale=1e-4, offset=-0.1),
    ),
    "an offset that begins midway": (
        [[1, 65], [-999, -935]],
        lambda k: k.read(
            [k.tif("x.tif"), k.tif("y.tif")], unit="reflectance", scale=1e-4, offset=(0.0, -0.1), **SERIES
        ),
    ),
    "another scale": ([[10, 650]], lambda k: k.read(k.tif(), unit="reflectance", scale=1e-3)),
    "mixed sizes by a whole factor": (
        [[1, 1]],
        lambda k: k.read(pair(k, size=4, res=20.0), unit="reflectance", scale=1e-4),
    ),
    "another type": ([[1, 65]], lambda k: k.read(k.tif(dtype="float64"), unit="reflectance", scale=1e-4)),
    "not square": (
        [[1, 1]],
        lambda k: k.read(k.write("r.tif", np.ones((2, 3, 7), np.uint16)), unit="reflectance", scale=1e-4),
    ),
    "unsorted files": (
        [[1, 65], [1, 65]],
        lambda k: (
            k.tif("20200201.tif"),
            k.tif("20200101.tif"),
            k.layout(images="{date}.tif", unit="reflectance", scale=1e-4).read(0).cube,
        )[-1],
    ),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_each_is_converted_exactly(kit: Kit, name: str) -> None:
    want, make = CONVERTED[name]
    contract = contract_for("sentinel2", ("B02", "B03"), Encoding("reflectance", 1e-4))
    cube = contract.convert(make(kit))
    np.testing.assert_allclose(cube.pixels[:, :, 0, 0], want, atol=1e-3)
    assert list(cube.dates) == sorted(cube.dates, key=str)


def test_the_catalogue_is_as_long_as_it_says() -> None:
    assert len(REFUSED) + len(CONVERTED) >= 40
