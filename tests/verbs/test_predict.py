"""A map of the whole scene through its verb."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

import swath
from swath import cli
from swath.data.legend import rgb
from swath.errors import ConfigError, OutputError, WeightsError
from swath.scenes.sources.opening import open_source
from swath.scenes.sources.spec import SourceSpec
from swath.scenes.work import WorkFolder, folder_of
from swath.weights.file import load


def read(path: str) -> np.ndarray:
    with rasterio.open(path) as file:
        pixels: np.ndarray = file.read()
    return pixels


def test_the_map_lies_on_the_scene_with_classes_confidence_and_coverage(chain: Any) -> None:
    with rasterio.open(chain.map) as made, rasterio.open(chain.land.scene) as scene:
        assert (made.crs, made.transform, made.shape) == (scene.crs, scene.transform, scene.shape)
        assert made.descriptions == ("class", "confidence", "coverage")
        tags = made.tags()
        nodata = ~scene.read_masks().any(0)
        bands = made.read()
    assert set(np.unique(bands[0][~nodata])) <= {3, 5, 9}
    assert (bands[0][nodata] == 255).all()
    assert (bands[2][nodata] == 0).all()
    assert bands[2][20, 30] == 66  # one of three bands is missing there
    assert tags["WEIGHTS_SHA256"] == load(chain.finetuned.weights).sha256
    assert tags["LICENCE"] == "unknown"
    assert chain.predicted.nodata_pixels == 15
    assert chain.predicted.summary().endswith(f"map {chain.map}")
    others = {p.name for p in Path(chain.map).parent.iterdir()}
    assert others == {"mae", "unet", "map.tif", "map.tif.aux.xml", "map.qml", "map.stac.json", "scores.json"}


def test_the_item_beside_the_map_tells_of_place_classes_and_weights(chain: Any) -> None:
    item = json.loads(Path(chain.map).with_suffix(".stac.json").read_text("utf-8"))
    loaded = load(chain.finetuned.weights)
    p = item["properties"]
    with rasterio.open(chain.map) as made:
        assert p["proj:shape"] == list(made.shape)
        assert p["proj:transform"] == list(made.transform)[:6]
        assert [b["name"] for b in item["assets"]["map"]["bands"]] == list(made.descriptions)
    classes = item["assets"]["map"]["bands"][0]["classification:classes"]
    assert [c["value"] for c in classes] == [3, 5, 9]
    assert p["mlm:total_parameters"] == loaded.parameters
    assert p["mlm:output"][0]["classification:classes"] == classes
    assert p["swath:weights_sha256"] == loaded.sha256
    weights = Path(chain.map).parent / item["assets"]["model"]["href"]
    assert weights.resolve() == Path(chain.finetuned.weights).resolve()


def test_the_same_again_and_overwriting_only_when_asked(chain: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "weights": chain.finetuned.weights,
        "input": chain.land.spec,
        "output": str(tmp_path / "deep" / "map.tif"),
        "precision": "fp32",
    }
    first = swath.predict(**options)
    np.testing.assert_array_equal(read(first.map), read(chain.map))
    with pytest.raises(OutputError, match="exists already"):
        swath.predict(**options)
    before = read(first.map)
    swath.predict(**options, overwrite=True, probabilities=True, min_coverage=100, turns=True)
    after = read(first.map)
    assert after.shape[0] == 6
    assert after[0, 20, 30] == 255 and before[0, 20, 30] != 255
    np.testing.assert_array_equal(before[2], after[2])


def test_an_invalid_pixel_may_hold_anything(chain: Any, tmp_path: Path, raster: Callable[..., str]) -> None:
    """NaN is no-data: the map is that of the scene whose no-data the file names."""
    pixels = read(chain.land.scene).astype(np.float32)
    pixels[pixels == 0] = np.nan
    scene = raster(tmp_path / "nan.tif", pixels, names=("B2", "B3", "B4"), unit="dn")
    made = swath.predict(
        weights=chain.finetuned.weights,
        input={"files": scene, "sensor": "landsat7"},
        output=str(tmp_path / "map.tif"),
        precision="fp32",
    )
    np.testing.assert_array_equal(read(made.map), read(chain.map))


def test_pixels_elsewhere_change_no_normalisation(
    chain: Any, tmp_path: Path, raster: Callable[..., str]
) -> None:
    """The statistics are in the weights: far from what was changed the map stays, bit for bit."""
    pixels = read(chain.land.scene)
    pixels[:, :, 80:] = np.where(pixels[:, :, 80:] > 0, 255, 0)
    scene = raster(tmp_path / "bright.tif", pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0)
    made = swath.predict(
        weights=chain.finetuned.weights,
        input={"files": scene, "sensor": "landsat7"},
        output=str(tmp_path / "map.tif"),
        precision="fp32",
    )
    np.testing.assert_array_equal(read(made.map)[:, :, :64], read(chain.map)[:, :, :64])
    assert (read(made.map)[:, :, 80:] != read(chain.map)[:, :, 80:]).any()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"output": "map.png"}, OutputError, "let the name end in .tif"),
        ({"overlap": 16}, ConfigError, "overlap"),
        ({"batch_size": 0}, ConfigError, "batch_size: is 0; give 1 or more"),
        ({"min_coverage": 0}, ConfigError, "min_coverage: 0 is not a percentage"),
        ({"precision": "fp16"}, ConfigError, "must be one of auto, bf16, fp32"),
    ],
)
def test_wrong_options_leave_nothing(
    chain: Any, tmp_path: Path, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    options: dict[str, Any] = {
        "weights": chain.finetuned.weights,
        "input": chain.land.spec,
        "output": str(tmp_path / "new" / "map.tif"),
    }
    if "output" in change:
        change = {"output": str(tmp_path / "new" / change["output"])}
    with pytest.raises(error, match=words):
        swath.predict(**{**options, **change})
    assert list(tmp_path.iterdir()) == []


def test_a_map_is_never_written_over_what_it_is_made_from(chain: Any) -> None:
    for name in (chain.land.scene, chain.finetuned.weights):
        before = Path(name).read_bytes()
        with pytest.raises(OutputError, match="is one of the inputs"):
            swath.predict(weights=chain.finetuned.weights, input=chain.land.spec, output=name, overwrite=True)
        assert Path(name).read_bytes() == before


def test_weights_that_draw_no_map_are_refused(chain: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="hold a st_swin_mae that draws no map; fine-tune them first"):
        swath.predict(
            weights=chain.pretrained.weights, input=chain.land.spec, output=str(tmp_path / "map.tif")
        )


def test_colours() -> None:
    assert rgb("#0064ff") == (0, 100, 255)


def options(chain: Any, output: Path, **more: Any) -> dict[str, Any]:
    given = {"weights": chain.finetuned.weights, "input": chain.land.spec, "output": str(output)}
    return {**given, "precision": "fp32", **more}


def test_a_plan_writes_nothing_and_says_what_it_takes(
    chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "--weights", chain.finetuned.weights, "--input", chain.land.scene]
    words += ["--input.sensor", "landsat7", "--output", str(tmp_path / "new" / "map.tif"), "--plan"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "nothing was written" in said and "memory: at most" in said and "time: about" in said
    assert cli.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["windows"] == chain.predicted.windows + chain.predicted.empty_windows
    assert told["halo_share"] == 0.0
    assert told["memory_bytes"] > told["block_bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_all_bands_and_a_quick_look(chain: Any, tmp_path: Path) -> None:
    made = swath.predict(
        **options(
            chain, tmp_path / "map.tif", turns=True, entropy=True, disagreement=True, bits=16, quicklook=True
        )
    )
    with rasterio.open(made.map) as file:
        assert file.descriptions == ("class", "confidence", "coverage", "entropy", "disagreement")
        assert file.dtypes == ("uint16",) * 5
        bands = file.read()
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"
    known = bands[0] != 65535
    assert 0 < bands[3, known].max() <= 10000
    assert (bands[4, known] <= bands[3, known]).all()
    assert made.km2_per_second is not None and made.workers == 1


def test_a_plan_of_an_interrupted_map_says_what_is_finished(
    chain: Any, tmp_path: Path, raster: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.tile(read(chain.land.scene), (1, 13, 6))  # 520 x 672: nine blocks of 256
    scene = raster(tmp_path / "big.tif", pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0)
    given = options(chain, tmp_path / "map.tif", input={"files": scene, "sensor": "landsat7"}, block=256)
    put = WorkFolder.put

    def stop(self: WorkFolder, piece: Any) -> None:
        put(self, piece)
        if len(self.finished) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(WorkFolder, "put", stop)
    with pytest.raises(KeyboardInterrupt):
        swath.predict(**given)
    before = {p: p.stat().st_mtime_ns for p in folder_of(tmp_path / "map.tif").rglob("*")}
    plan = swath.predict(**given, plan=True)
    assert (plan.finished_blocks, plan.blocks) == (4, 9)
    assert "4 of 9 blocks finished already" in plan.summary()
    assert plan.seconds == pytest.approx(plan.window_seconds * plan.windows * 5 / 9)
    # A block whose file was lost will be computed again; another plan has none, and says what stands in its way.
    folder = folder_of(tmp_path / "map.tif")
    next(iter((folder / "blocks").glob("*.tiles"))).write_bytes(b"")
    assert swath.predict(**given, plan=True).finished_blocks == 3
    with pytest.raises(OutputError, match="was begun before with another batch_size"):
        swath.predict(**given, plan=True, batch_size=3)
    anew = swath.predict(**given, plan=True, batch_size=3, overwrite=True)
    assert anew.finished_blocks == 0
    assert before.keys() == set(folder.rglob("*"))
    assert not (tmp_path / "map.tif").exists()


def test_what_a_virtual_raster_names_is_an_input_too(chain: Any, tmp_path: Path) -> None:
    tile = tmp_path / "tile.tif"
    shutil.copy(chain.land.scene, tile)
    virtual = tmp_path / "scene.vrt"
    rasterio.shutil.copy(tile, virtual, driver="VRT")
    spec = {"files": str(virtual), "sensor": "landsat7"}
    before = tile.read_bytes()
    with pytest.raises(OutputError, match=r"tile\.tif: is one of the inputs"):
        swath.predict(**options(chain, tile, input=spec, overwrite=True))
    assert tile.read_bytes() == before
    with open_source(SourceSpec(**spec)) as scene:
        was = scene.identity()
        assert str(tile) in scene.files
    tile.write_bytes(before + b" ")
    with open_source(SourceSpec(**spec)) as scene:
        assert scene.identity() != was  # an unfinished map of the old tile is not gone on with


def test_a_quick_look_is_never_written_over_an_input(chain: Any, tmp_path: Path) -> None:
    picture = tmp_path / "x.png"
    with rasterio.open(chain.land.scene) as file:
        profile = {**file.profile, "driver": "PNG"}
        for key in ("blockxsize", "blockysize", "tiled", "interleave"):
            profile.pop(key, None)
        with rasterio.open(picture, "w", **profile) as out:
            out.write(file.read())
    before = picture.read_bytes()
    (tmp_path / "x.png.aux.xml").unlink(missing_ok=True)
    spec = {
        "files": str(picture),
        "sensor": "landsat7",
        "bands": ["B2", "B3", "B4"],
        "unit": "dn",
        "nodata": 0,
    }
    given = options(chain, tmp_path / "x.tif", input=spec, quicklook=True, overwrite=True)
    with pytest.raises(OutputError, match=r"x\.png: is one of the inputs; give another name"):
        swath.predict(**given)
    assert picture.read_bytes() == before and {p.name for p in tmp_path.iterdir()} == {"x.png"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"disagreement": True}, "disagreement: needs turned views; set turns to true"),
        ({"max_holes": 1.5}, "max_holes: 1.5 is no share from 0 to 1"),
        ({"workers": 0}, "workers: is 0; give 1 or more"),
        ({"block": 300}, "300 is not a multiple of 256"),
    ],
)
def test_options_that_make_no_sense(chain: Any, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        swath.predict(**options(chain, tmp_path / "map.tif", **change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_workers_and_engines_give_the_same_file(chain: Any, tmp_path: Path) -> None:
    one = swath.predict(**options(chain, tmp_path / "one.tif", threads=1))
    two = swath.predict(**options(chain, tmp_path / "two.tif", threads=1, workers=2))
    assert Path(one.map).read_bytes() == Path(two.map).read_bytes()
    assert (one.windows, one.empty_windows) == (two.windows, two.empty_windows)


@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_ends_with_the_same_file(
    chain: Any, tmp_path: Path, raster: Callable[..., str]
) -> None:
    """The real command, killed as a power cut would, again and again, a little later each time."""
    pixels = np.tile(read(chain.land.scene), (1, 13, 6))
    scene = raster(tmp_path / "big.tif", pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0)
    path, whole = tmp_path / "map.tif", tmp_path / "whole.tif"
    words = [sys.executable, "-m", "swath", "predict", "--weights", chain.finetuned.weights, "--input", scene]
    words += ["--input.sensor", "landsat7", "--threads", "1", "--block", "256", "--precision", "fp32"]
    subprocess.run([*words, "--output", str(whole)], check=True, capture_output=True)
    kept = 0
    for _ in range(9):
        process = subprocess.Popen(
            [*words, "--output", str(path), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        journal = folder_of(path) / "blocks.jsonl"
        before = journal.read_bytes().count(b"\n") if journal.exists() else 0
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= before + 2:
                process.kill()
                break
            time.sleep(0.01)
        out = process.communicate()[0]
        if process.returncode == 0:
            kept = json.loads(out)["kept_blocks"]
            break
        assert not path.exists()
    assert kept > 0
    assert path.read_bytes() == whole.read_bytes()
    assert not folder_of(path).exists()
