"""Features of a whole scene through their verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import torch

import swath
from swath import cli
from swath.bands import sensor
from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.errors import ConfigError, ContractError, InputError, OutputError, SwathError, WeightsError
from swath.models.swin_config import STSwinConfig
from swath.scenes.progress import MapBar
from swath.scenes.sources.opening import open_source
from swath.scenes.sources.spec import SourceSpec
from swath.scenes.work import folder_of
from swath.weights.build import REGISTRY, build_loaded, meta_for
from swath.weights.file import load, save

BANDS = ("B2", "B3", "B4")
TOKENS: dict[str, Any] = {
    "wavelengths": tuple(b.center_nm for b in sensor("landsat7").select(BANDS)),
    "image_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "heads": 2,
}  # fmt: skip
DECODER: dict[str, Any] = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
GROUPS: dict[str, Any] = {"groups": ((0, 1), (2,)), "group_dim": 4}
DENSE: dict[str, Any] = {"branch_widths": (32,) * 4, "branch_outputs": (32,) * 3, "decoder_width": 32}
SWIN: dict[str, Any] = {
    "bands": 3, "patch_size": (1, 2, 2), "window": (1, 4, 4), "embed_dim": 8, "depths": (1, 1), "heads": (1, 2),
}  # fmt: skip
UNET = {"backbone": STSwinConfig(**SWIN, decoder_depths=(1,)), "classes": 3}
# (architecture, config, dates): what the verbs save, SimCLR and MoCo a ViT or a Swin.
ENCODERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "spectralgpt": ("spectralgpt", {**TOKENS, **DECODER}, 1),
    "spectralgpt of two dates": ("spectralgpt", {**TOKENS, **DECODER, "temporal": True}, 2),
    "spectralgpt classifier": ("spectralgpt_classifier", {**TOKENS, "num_classes": 3}, 1),
    "spectralgpt segmentation": ("spectralgpt_segmentation", {**TOKENS, **DENSE, "num_classes": 3}, 1),
    "spectralgpt change": ("spectralgpt_change", {**TOKENS, **DENSE}, 2),
    "mae": ("mae", {**TOKENS, **DECODER}, 1),
    "satmae": ("mae", {**TOKENS, **DECODER, **GROUPS, "decoder_group_dim": 4, "temporal": True}, 2),
    "beit": ("beit", {**TOKENS, "codes": 8, "cells": 4}, 1),
    "simclr or moco on a vit": ("vit", TOKENS, 1),
    "simclr or moco on a swin": ("swin3d", SWIN, 2),
    "st_swin_mae": ("st_swin_mae", {**SWIN, "decoder_depths": (1,)}, 2),
    "st_swin_unet": ("st_swin_unet", UNET, 2),
}


def weights_of(folder: Path, architecture: str, config: dict[str, Any], size: int = 16) -> str:
    """A file of fresh weights that eat windows of the land's bands."""
    network, made = REGISTRY[architecture].load()
    torch.manual_seed(0)
    net = network(made(**config))
    contract = contract_for(
        "landsat7", BANDS, Encoding("dn"), Normalisation("standard", "scene"), size=(size, size)
    )
    save(folder / "w.safetensors", net, meta_for(net, contract=contract))
    return str(folder / "w.safetensors")


def encoded(weights: str, spec: SourceSpec, row: int, col: int, size: int = 16) -> Any:
    """What the encoder makes of one window, by hand."""
    loaded = load(weights)
    contract, network = loaded.meta.contract, build_loaded(loaded).eval()
    assert contract is not None
    with open_source(spec) as scene:
        cube = scene.read(row, col, size, size)
        if contract.normalisation.scope != "fixed":
            from dataclasses import replace

            cube = replace(cube, statistics=scene.statistics())
        cube = contract.convert(cube)
        dates = cube.dates
    gain, bias = contract.affine(cube)
    pixels = (cube.pixels * gain[:, None, None] + bias[:, None, None]) * cube.valid
    days = None
    if any(d is not None for d in dates):
        from swath.cube import date_features

        days = torch.from_numpy(date_features(dates))[None]
    with torch.inference_mode():
        return network.features(  # type: ignore[operator]  # of any encoder
            torch.from_numpy(pixels[None].astype(np.float32)), torch.from_numpy(cube.valid[None].copy()), days,
            contract.wavelengths,
        )  # fmt: skip


@pytest.mark.parametrize("level", [0, -1])
def test_features_lie_on_the_scene_and_are_those_of_the_encoder(
    chain: Any, tmp_path: Path, level: int
) -> None:
    made = swath.embed(
        weights=chain.pretrained.weights, input=chain.land.spec, output=str(tmp_path / "f.tif"), level=level,
        overlap=0, precision="fp32",
    )  # fmt: skip
    given = encoded(chain.pretrained.weights, SourceSpec(files=chain.land.scene, sensor="landsat7"), 0, 32)
    s = made.stride
    with rasterio.open(made.output) as file, rasterio.open(chain.land.scene) as scene:
        assert file.crs == scene.crs
        x, y = scene.transform, file.transform
        assert tuple(y)[:6] == (x.a * s, x.b * s, x.c, x.d * s, x.e * s, x.f)
        assert file.shape == (-(-scene.height // s), -(-scene.width // s))
        assert file.count == made.features + 1 and file.descriptions[-1] == "coverage"
        bands = file.read()
    part = bands[:-1, : 16 // s, 32 // s : 48 // s]
    np.testing.assert_allclose(part, given.maps[level][0, 0, 0].numpy(), atol=1e-5)
    assert np.isnan(bands[:-1][:, bands[-1] == 0]).all()
    assert made.km2 == pytest.approx(0.03**2 * (made.cells * s * s))


def series(chain: Any, folder: Path, raster: Callable[..., str], dates: int) -> SourceSpec:
    """The land, once or at two dates, of which the second has a hole."""
    with rasterio.open(chain.land.scene) as file:
        pixels = file.read()
    second = np.roll(pixels, 5, axis=2)
    second[:, 8:24, 16:40] = 0
    files = [
        raster(folder / f"{i}.tif", p, names=BANDS, unit="dn", nodata=0)
        for i, p in enumerate([pixels, second][:dates])
    ]
    return SourceSpec(
        files=tuple(files), sensor="landsat7", files_are="dates", dates=("2001-03-04", "2001-06-05")[:dates]
    )


@pytest.mark.parametrize("name", list(ENCODERS))
def test_every_encoder_that_is_saved(
    chain: Any, tmp_path: Path, raster: Callable[..., str], name: str
) -> None:
    architecture, config, dates = ENCODERS[name]
    spec = series(chain, tmp_path / "in", raster, dates)
    weights = weights_of(tmp_path, architecture, config)
    options: dict[str, Any] = {"weights": weights, "precision": "fp32", "threads": 1}
    options["input"] = {
        "files": list(spec.files), "sensor": "landsat7", "files_are": "dates", "dates": list(spec.dates),
    }  # fmt: skip
    dense = swath.embed(**options, output=str(tmp_path / "f.tif"), overlap=0)
    pooled = swath.embed(**options, output=str(tmp_path / "p.parquet"), pooled=True)
    # One window without a hole in it, and one with: what the encoder says, averaged over what holds data.
    for row, col in ((0, 64), (0, 16)):
        given = encoded(weights, spec, row, col)
        tokens = given.maps[-1][0].numpy()  # [T,G,D,h,w]
        held = (tokens != 0).any(axis=2, keepdims=True)
        mean = tokens.sum(axis=(0, 1)) / np.maximum(held.sum(axis=(0, 1)), 1)
        s = dense.stride
        with rasterio.open(dense.output) as file:
            part = file.read()[:-1, row // s : (row + 16) // s, col // s : (col + 16) // s]
        np.testing.assert_allclose(part, mean, atol=1e-5)
        table = pq.read_table(pooled.output).to_pandas()
        found = table[(table["row"] == row // 16) & (table["col"] == col // 16)]
        np.testing.assert_allclose(found["vector"].iloc[0], given.pooled[0].numpy(), atol=1e-5)
    assert [str(d) for d in pq.read_table(pooled.output)["dates"][0].as_py()] == list(spec.dates)
    assert pooled.stride == 16 and pooled.cells == 3 * 7


def test_no_architecture_is_forgotten() -> None:
    """What can be saved is among those above, or is known to have no encoder, or is tested with its heads."""
    tested = {architecture for architecture, _, _ in ENCODERS.values()}
    assert tested | {"unet", "resnet", "task_network"} == set(REGISTRY)


@pytest.mark.parametrize(
    ("architecture", "options", "name"),
    [
        ("unet", {"bands": 3, "classes": 2, "width": 4, "levels": 2}, "UNet"),
        ("resnet", {"bands": 3, "outputs": 2, "width": 4}, "ResNet"),
    ],
)
def test_a_network_without_an_encoder_is_refused(
    chain: Any, tmp_path: Path, architecture: str, options: dict[str, Any], name: str
) -> None:
    weights = weights_of(tmp_path, architecture, options)
    with pytest.raises(WeightsError, match=f"{name} has no encoder whose features could be taken"):
        swath.embed(weights=weights, input=chain.land.spec, output=str(tmp_path / "f.tif"))


def test_dates_that_an_encoder_does_not_eat(chain: Any, tmp_path: Path, raster: Callable[..., str]) -> None:
    spec = series(chain, tmp_path / "in", raster, 2)
    weights = weights_of(tmp_path, "mae", {**TOKENS, **DECODER})
    given = {"files": list(spec.files), "sensor": "landsat7", "files_are": "dates", "dates": list(spec.dates)}
    with pytest.raises(ContractError, match="2 dates, but this model encodes no dates; give one date"):
        swath.embed(weights=weights, input=given, output=str(tmp_path / "f.tif"))


@pytest.fixture(scope="module")
def large(chain: Any, tmp_path_factory: pytest.TempPathFactory, raster: Callable[..., str]) -> dict[str, Any]:
    """Options for a scene of several blocks with a hole over some of them."""
    folder = tmp_path_factory.mktemp("large")
    with rasterio.open(chain.land.scene) as file:
        pixels = np.tile(file.read(), (1, 8, 3))[:, :310, :333]
    pixels[:, 40:120, 250:] = 0
    scene = raster(folder / "scene.tif", pixels, names=BANDS, unit="dn", nodata=0)
    return {
        "weights": chain.pretrained.weights, "input": {"files": scene, "sensor": "landsat7"}, "level": 0,
        "precision": "fp32", "threads": 1, "batch_size": 64,
    }  # fmt: skip


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {"" if p == path else str(p.relative_to(path)): p.read_bytes() for p in files}


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("f.tif", {"dtype": "uint8", "sample": 9}),
        ("f.parquet", {"dtype": "float16"}),
        ("f.zarr", {"dtype": "uint8", "range": [-3.0, 3.0]}),
    ],
)
def test_interrupted_and_gone_on_with_the_same_bytes(
    large: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, more: dict[str, Any]
) -> None:
    path, whole = tmp_path / name, tmp_path / f"whole{Path(name).suffix}"
    straight = swath.embed(**large, **more, output=str(whole))
    assert straight.blocks >= 4
    update = MapBar.update

    def stop(self: MapBar, now: Any) -> None:
        update(self, now)
        if now.blocks_done >= 2:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(MapBar, "update", stop)
        with pytest.raises(Stopped):
            swath.embed(**large, **more, output=str(path))
    assert not path.exists() and folder_of(path).exists()
    with pytest.raises(OutputError, match=r"was begun before with another .*run that again"):
        swath.embed(**{**large, **more, "min_coverage": 50}, output=str(path))
    told: Any = swath.embed(**large, **more, output=str(path), plan=True)
    again = swath.embed(**large, **more, output=str(path))
    assert told.finished_blocks == again.kept_blocks
    assert 0 < again.kept_blocks < again.blocks
    assert contents(path) == contents(whole)
    items = [f"{p.stem if name == 'f.tif' else p.name}.stac.json" for p in (path, whole)]
    assert {p.name for p in tmp_path.iterdir()} == {path.name, whole.name, *items}


@pytest.mark.parametrize(
    ("name", "item", "media"),
    [
        ("f.tif", "f.stac.json", "image/tiff; application=geotiff; profile=cloud-optimized"),
        ("f.parquet", "f.parquet.stac.json", "application/vnd.apache.parquet"),
        ("f.zarr", "f.zarr.stac.json", "application/vnd.zarr; version=2"),
    ],
)
def test_a_stac_item_lies_beside_features(
    chain: Any, tmp_path: Path, name: str, item: str, media: str
) -> None:
    options: dict[str, Any] = {
        "weights": chain.pretrained.weights, "input": chain.land.spec, "output": str(tmp_path / name), "threads": 1,
        "precision": "fp32", "dtype": "uint8", "range": [-4.0, 4.0],
    }  # fmt: skip
    made = swath.embed(**options)
    told = json.loads((tmp_path / item).read_text("utf-8"))
    data = told["assets"]["features"]
    assert (data["href"], data["type"], data["title"]) == (f"./{name}", media, "Features")
    assert len(data["bands"]) == made.features + 1
    first = data["bands"][0]
    assert (first["data_type"], first["raster:offset"]) == ("uint8", -4.0)
    assert first["raster:scale"] == pytest.approx(8 / 254)
    loaded = load(chain.pretrained.weights)
    assert told["properties"]["swath:weights_sha256"] == loaded.sha256
    assert told["properties"]["mlm:output"][0]["result"]["shape"] == [-1, made.features, -1, -1]
    assert told["properties"]["proj:shape"][0] * told["properties"]["proj:shape"][1] == made.cells
    # One of our own is replaced, and does not outlive the features that it was of; another's is let be.
    (tmp_path / item).write_text("{}", "utf-8")
    with pytest.raises(OutputError, match="exists already"):
        swath.embed(**{**options, "output": str(tmp_path / name)})
    swath.embed(**options, overwrite=True)
    assert json.loads((tmp_path / item).read_text("utf-8"))["assets"].keys() == told["assets"].keys()
    swath.embed(**options, overwrite=True, item=False)
    assert {p.name for p in tmp_path.iterdir()} == {name}


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "s3://bucket/f.parquet",
            r"s3://bucket/f\.parquet: outputs are written on this machine; name a local file",
        ),
        ("/vsis3/bucket/f.tif", "outputs are written on this machine"),
        ("https://host/f.zarr", "outputs are written on this machine"),
        ("", "no output is named"),
    ],
)
def test_outputs_elsewhere_are_refused(chain: Any, output: str, words: str) -> None:
    with pytest.raises(OutputError, match=words):
        swath.embed(weights=chain.pretrained.weights, input=chain.land.spec, output=output)


def test_eight_bits_are_within_half_a_step_of_real_numbers(large: dict[str, Any], tmp_path: Path) -> None:
    exact = swath.embed(**large, output=str(tmp_path / "f.tif"))
    eight = swath.embed(**large, output=str(tmp_path / "q.tif"), dtype="uint8", sample=20)
    with rasterio.open(exact.output) as one, rasterio.open(eight.output) as two:
        wanted, raw = one.read()[:-1], two.read()[:-1]
        scale, offset = (np.array(x[:-1])[:, None, None] for x in (two.scales, two.offsets))
        low, high = offset, offset + 254 * scale
        told = int(two.tags().get("VALUES_BEYOND_RANGE", 0))
    assert (np.isnan(wanted) == (raw == 255)).all()
    known = ~np.isnan(wanted)
    inside = known & (wanted >= low) & (wanted <= high)
    error = np.abs(raw * scale + offset - wanted)
    assert (error[inside] <= np.broadcast_to(0.501 * scale, error.shape)[inside]).all()
    assert eight.beyond == told
    assert abs(told - np.count_nonzero(known & ~inside)) <= 2  # the ends are rounded to float32
    assert told < 0.01 * known.sum()


def test_a_plan_writes_nothing_and_memory_grows_with_features(
    large: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["embed", "--weights", large["weights"], "--input", large["input"]["files"], "--input.sensor"]
    words += ["landsat7", "--output", str(tmp_path / "new" / "f.tif"), "--plan"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "16 features per cell of 4 pixels" in said and "cells:" in said and "nothing was written" in said
    told = []
    for level in ("0", "-1"):
        assert cli.main([*words, "--json", "--level", level]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert [t["values"] for t in told] == [8, 16] and [t["cell"] for t in told] == [2, 4]
    assert all(t["memory_bytes"] > t["block_bytes"] > 0 and t["seconds"] > 0 for t in told)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_listed(
    large: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swath.errors import ReadError
    from swath.scenes.sources.files import FileSource

    read = FileSource.read

    def broken(self: FileSource, row: int, col: int, height: int, width: int) -> Any:
        if row < 300 <= row + height and col < 10 <= col + width:
            raise ReadError("is damaged there", where=self.source)
        return read(self, row, col, height, width)

    monkeypatch.setattr(FileSource, "read", broken)
    with pytest.raises(ReadError, match="is damaged there"):
        swath.embed(**large, output=str(tmp_path / "f.parquet"))
    with pytest.raises(InputError, match=r"of the pixels cannot be read, the first of them in"):
        swath.embed(**large, output=str(tmp_path / "f.parquet"), max_holes=0.01)
    assert not (tmp_path / "f.parquet").exists()
    made = swath.embed(**large, output=str(tmp_path / "f.parquet"), max_holes=0.5, overwrite=True)
    assert made.hole_cells == 27 * 128 and "could not be read" in made.summary()
    table = pq.read_table(made.output)
    row, col = table["row"].to_numpy(), table["col"].to_numpy()
    assert not ((row >= 128) & (col < 128)).any() and len(table) == made.cells - made.nodata_cells
    about = json.loads(table.schema.metadata[b"swath"])
    assert about["tags"]["HOLE_PIXELS"] == str(made.hole_cells)
    assert [tuple(box) for box in about["holes"]] == list(made.holes)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"level": 7}, ConfigError, "level: there is no level 7, the encoder has 2; use 0 to 1"),
        ({"level": -3}, ConfigError, "there is no level -3"),
        ({"output": "f.png"}, OutputError, r"let the name end in \.tif, \.parquet or \.zarr"),
        ({"output": "f.png", "plan": True}, OutputError, r"let the name end in \.tif"),
        ({"dtype": "int8"}, ConfigError, "must be one of float32, float16, uint8"),
        ({"range": [0, 1]}, ConfigError, "range: float32 needs none; leave it out, or use dtype uint8"),
        ({"dtype": "uint8", "range": [1, 1]}, ConfigError, "is no range; give two ascending numbers"),
        ({"dtype": "uint8", "range": [1]}, ConfigError, "range"),
        ({"dtype": "uint8", "sample": 0}, ConfigError, "sample: 0 is less than 1"),
        ({"pooled": True, "overlap": 4}, ConfigError, "overlap: windows of which each gives one vector"),
        ({"pooled": True, "level": 0}, ConfigError, "level: is of a level's cells, not of windows"),
        ({"overlap": 6}, ConfigError, "overlap: .6,. pixels are no whole cells of 4; use a multiple of 4"),
        ({"overlap": 16}, ConfigError, "overlap"),
        ({"batch_size": 0}, ConfigError, "batch_size: is 0; give 1 or more"),
        ({"workers": 0}, ConfigError, "workers: is 0; give 1 or more"),
        ({"max_holes": 1.0}, ConfigError, "max_holes: 1.0 is no share from 0 to 1"),
        ({"min_coverage": 0}, ConfigError, "min_coverage: 0 is not a percentage"),
        ({"input": {"files": "none.tif", "sensor": "landsat7"}}, InputError, "there is no such file"),
        ({"weights": "none.safetensors"}, WeightsError, "none.safetensors"),
    ],
)
def test_wrong_options_leave_nothing(
    chain: Any, tmp_path: Path, change: dict[str, Any], error: type[SwathError], words: str
) -> None:
    options: dict[str, Any] = {"weights": chain.pretrained.weights, "input": chain.land.spec, **change}
    options["output"] = str(tmp_path / "new" / change.get("output", "f.tif"))
    with pytest.raises(error, match=words):
        swath.embed(**options)
    assert not list(tmp_path.iterdir())


def test_a_scene_without_a_place_or_without_data(
    chain: Any, tmp_path: Path, raster: Callable[..., str]
) -> None:
    nowhere = raster(
        tmp_path / "in" / "a.tif", np.ones((3, 40, 40), np.uint8), names=BANDS, unit="dn", crs=None
    )
    empty = raster(
        tmp_path / "in" / "b.tif", np.zeros((3, 40, 40), np.uint8), names=BANDS, unit="dn", nodata=0
    )
    for path, more, words in (
        (empty, {}, "holds no valid pixel, so there is nothing to map"),
        (empty, {"dtype": "uint8"}, "none of .* windows spread over the scene holds a valid pixel"),
    ):
        with pytest.raises(InputError, match=words):
            swath.embed(
                weights=chain.pretrained.weights, input={"files": path, "sensor": "landsat7"},
                output=str(tmp_path / "f.zarr"), **more,
            )  # fmt: skip
    assert Path(nowhere).exists() and [p.name for p in tmp_path.iterdir()] == ["in"]


def test_features_are_never_written_over_what_they_are_made_from(chain: Any, tmp_path: Path) -> None:
    for name in (chain.land.scene, chain.pretrained.weights):
        with pytest.raises(OutputError, match="is one of the inputs"):
            swath.embed(weights=chain.pretrained.weights, input=chain.land.spec, output=name, overwrite=True)
    holder = tmp_path / "all.zarr"
    holder.mkdir()
    weights = weights_of(holder, "vit", TOKENS)
    with pytest.raises(OutputError, match="is one of the inputs"):
        swath.embed(weights=weights, input=chain.land.spec, output=str(holder), overwrite=True)
    assert Path(weights).exists()
