"""What is wrong with a scene, an output or an option is one line and exit code 2, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio import Affine

from swath import cli
from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.models.unet import UNet, UNetConfig
from swath.weights.build import meta_for
from swath.weights.file import save
from swath.weights.meta import MapClass

SAID = ("--input.sensor", "sentinel2", "--input.unit", "reflectance", "--input.scale", "1e-4")
NAMED = (*SAID, "--input.bands", "[B02,B04]")
PLAIN = np.full((2, 40, 50), 3000, np.uint16)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    network = UNet(UNetConfig(bands=2, classes=2, width=4, levels=1))
    contract = contract_for(
        "sentinel2", ("B02", "B04"), Encoding("reflectance", 1e-4),
        Normalisation("standard", "fixed", (0.3,) * 2, (0.2,) * 2), size=(32, 32), max_dates=1,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save(
        path,
        network,
        meta_for(network, contract=contract, classes=(MapClass("a"), MapClass("b")), task="segmentation"),
    )
    return str(path)


def tif(
    folder: Path, name: str, pixels: np.ndarray = PLAIN, *, x: float = 6e5, crs: str = "EPSG:32633"
) -> str:
    with rasterio.open(
        folder / name, "w", driver="GTiff", count=len(pixels), height=pixels.shape[1], width=pixels.shape[2],
        dtype=pixels.dtype, crs=crs, transform=Affine(10, 0, x, 0, -10, 5e6), nodata=None,
    ) as file:  # fmt: skip
        file.write(pixels)
    return str(folder / name)


def holding(name: str, content: bytes) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    return write


def cut(folder: Path) -> str:
    path = Path(tif(folder, "cut.tif"))
    path.write_bytes(path.read_bytes()[:2000])
    return str(path)


def empty_folder(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / name).mkdir()
        return str(folder / name)

    return make


def two(first: Callable[[Path], str], second: Callable[[Path], str]) -> Callable[[Path], str]:
    return lambda folder: f"[{first(folder)}, {second(folder)}]"


def one(name: str, **options: object) -> Callable[[Path], str]:
    return lambda folder: tif(folder, name, PLAIN[:1], **options)  # type: ignore[arg-type]  # a test's shorthand


SERIES = ("--input.files_are", "dates", "--input.dates")
SCENES: dict[str, tuple[Callable[[Path], str], tuple[str, ...], str]] = {
    "no such file": (lambda folder: str(folder / "none.tif"), NAMED, "there is no such file"),
    "an empty file": (holding("empty.tif", b""), NAMED, "is an empty file"),
    "a text": (holding("text.tif", b"hello"), NAMED, "cannot be read as a raster"),
    "cut short": (cut, NAMED, "cut short"),
    "a folder": (empty_folder("is.tif"), NAMED, "is.tif"),
    "one band too few": (one("one.tif"), NAMED, "holds 1 band, but 2 are named"),
    "complex numbers": (lambda f: tif(f, "c.tif", PLAIN.astype(np.complex64)), NAMED, "not real numbers"),
    "nothing but NaN": (
        lambda f: tif(f, "nan.tif", np.full((2, 40, 40), np.nan, np.float32)), NAMED, "no valid pixel"
    ),
    "nothing but no-data": (lambda f: tif(f, "z.tif"), (*NAMED, "--input.nodata", "3000"), "no valid pixel"),
    "two grids": (two(one("a.tif"), one("b.tif", x=600_005.0)), NAMED, "covers another grid"),
    "two systems": (two(one("a.tif"), one("b.tif", crs="EPSG:32634")), NAMED, "EPSG:32634"),
    "a date too few": (
        two(lambda f: tif(f, "a.tif"), lambda f: tif(f, "b.tif")), (*NAMED, *SERIES, "[2022-01-01]"),
        "1 date stated",
    ),
    "a date too many for the model": (
        two(lambda f: tif(f, "a.tif"), lambda f: tif(f, "b.tif")), (*NAMED, *SERIES, "[2022-01-01, 2022-02-01]"), "dates"
    ),
    "no date": (lambda f: tif(f, "a.tif"), (*NAMED, "--input.dates", "[2022-13-01]"), "is not a date"),
    "no unit": (lambda f: tif(f, "a.tif"), (*NAMED[:2], *NAMED[-2:]), "unit"),
    "another unit": (
        lambda f: tif(f, "a.tif"), (*NAMED[:2], "--input.unit", "dn", *NAMED[-2:]), "reflectance"
    ),
    "an unknown sensor": (lambda f: tif(f, "a.tif"), ("--input.sensor", "sentinell2"), "did you mean sentinel2?"),
    "an unknown band": (lambda f: tif(f, "a.tif"), (*SAID, "--input.bands", "[B02,B99]"), "B99"),
    "a missing band": (lambda f: tif(f, "a.tif"), (*SAID, "--input.bands", "[B02,B03]"), "B04"),
    "no-data that cannot be": (lambda f: tif(f, "a.tif"), (*NAMED, "--input.nodata", "-5"), "cannot occur"),
    "a virtual raster of nothing": (
        holding(
            "v.vrt",
            b'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
            b"<SourceFilename>none.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>",
        ),
        (*SAID, "--input.bands", "[B02]"), "none.tif",
    ),
    "broken JSON": (holding("i.json", b'{"type":'), (), "not readable as JSON"),
    "a search that found nothing": (
        holding("i.json", b'{"type":"FeatureCollection","features":[]}'), (), "no item fits the search"
    ),
    "an item of nothing": (
        holding("i.json", b'{"type":"Feature","stac_version":"1.0.0","id":"x","properties":{},"assets":{}}'), (),
        "has no assets",
    ),
    "an empty SAFE": (empty_folder("x.SAFE"), (), "holds no MTD_MSIL1C.xml or MTD_MSIL2A.xml"),
    "a broken zip": (holding("x.zip", b"PK\x03\x04junk"), (), "x.zip: cannot be read as a zip"),
    "an empty store": (empty_folder("x.zarr"), (), "x.zarr: cannot be opened"),
    "a broken netCDF": (holding("x.nc", b"\x89HDF\r\n\x1a\njunk"), (), "x.nc: cannot be opened"),
    "nothing": (lambda folder: "", (), "no file is named"),
}  # fmt: skip


def check(words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    assert cli.main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and said in lines[0], lines
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", SCENES)
def test_scenes_that_are_none(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make, options, said = SCENES[name]
    scene = make(tmp_path)
    words = ["predict", "--weights", weights, "--input", scene, *options, "--precision", "fp32"]
    check([*words, "--output", str(tmp_path / "new" / "map.tif")], said, tmp_path, capsys)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("", "no output is named"),
        ("s3://bucket/map.tif", "s3://bucket/map.tif: outputs are written on this machine"),
        ("https://host/map.tif", "name a local file"),
        ("map.jpg", "let the name end in .tif"),
        ("file/map.tif", "cannot be written (Not a directory)"),
        ("is.tif", "is a folder"),
    ],
)
def test_outputs_that_are_none(
    weights: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "is.tif").mkdir()
    words = [
        "predict",
        "--weights",
        weights,
        "--input",
        tif(tmp_path, "scene.tif"),
        *NAMED,
        "--output",
        output,
    ]
    check(words, said, tmp_path, capsys)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            ("--ray_address", "127.0.0.1:6379"),
            "ray_address: is for engine ray; set engine to ray, or leave it out",
        ),
        (("--overlap", "32"), "do not fit a window of 32x32"),
        (("--overlap", "-1"), "-1 pixels do not fit"),
        (("--block", "0"), "0 is not a multiple of 256"),
        (("--bits", "12"), "must be one of 8, 16"),
        (("--min_coverage", "101"), "101 is not a percentage"),
        (("--max_holes", "nan"), "nan"),
        (("--overlapp", "3"), "did you mean '--overlap'?"),
        (("--input.search.bbox", "[1,2,3,4]"), "search: is for"),
        (("--input.kind", "tiff"), "must be one of"),
    ],
)
def test_options_that_are_none(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str], said: str
) -> None:
    words = ["predict", "--weights", weights, "--input", tif(tmp_path, "scene.tif"), *NAMED]
    check([*words, "--output", str(tmp_path / "new" / "map.tif"), *option], said, tmp_path, capsys)


@pytest.mark.parametrize("harm", ["cut", "junk", "folder", "none"])
def test_weights_that_are_none(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    path = tmp_path / "w.safetensors"
    content = Path(weights).read_bytes()
    if harm == "folder":
        path.mkdir()
    elif harm != "none":
        path.write_bytes(content[:-5] if harm == "cut" else b"x" * 100)
    words = ["predict", "--weights", str(path), "--input", tif(tmp_path, "scene.tif"), *NAMED]
    check([*words, "--output", str(tmp_path / "new" / "map.tif")], "w.safetensors: ", tmp_path, capsys)
