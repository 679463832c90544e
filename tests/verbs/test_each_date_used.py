"""What weights that draw a map for each date are used for: scored, calibrated, and from a folder to a map."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from planted_layout import TRAINING, UNET, Planted, tune
from rasterio import Affine
from sklearn.metrics import confusion_matrix, f1_score

import swath
from swath import cli
from swath.errors import ConfigError, InputError
from swath.feed.base import IGNORE
from swath.scenes.work import WorkFolder
from swath.verbs.answerer import Answerer
from swath.weights.file import load

DATES = ("20230512", "20230701", "20230815")
SIDE = 48
CLASSES = [{"value": 3, "name": "dark"}, {"value": 5, "name": "bright"}, {"value": 9, "name": "green"}]
LEVELS = np.array([[500, 500], [3000, 3000], [500, 3000]])


def tif(path: Path, pixels: np.ndarray, place: int, nodata: float | None = None) -> None:
    """[C,H,W] as a GeoTIFF of 10 m."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", dtype=pixels.dtype.name, count=len(pixels), height=pixels.shape[1],
        width=pixels.shape[2], crs="EPSG:32633", transform=Affine(10, 0, 5e5 + 5000 * place, 0, -10, 5e6), nodata=nodata,
    ) as file:  # fmt: skip
        file.write(pixels)


def kinds_of(place: int, t: int) -> np.ndarray:
    draw = np.random.default_rng((place, t))
    return draw.integers(0, 3, (SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of nine places whose classes differ by date: labels of each date, one file of them left out."""
    root = tmp_path_factory.mktemp("fields of dates")
    for place in range(9):
        for t, date in enumerate(DATES):
            kinds = kinds_of(place, t)
            noise = np.random.default_rng((place, t, 1)).normal(0, 100, (2, SIDE, SIDE))
            pixels = (LEVELS[kinds].transpose(2, 0, 1) + noise).clip(1).astype(np.uint16)
            if t == 1:
                pixels[:, :8] = 0  # a cloud, say
            tif(root / f"site{place}/{date}.tif", pixels, place, nodata=0)
            if (place, t) != (0, 1):
                values = np.array([3, 5, 9], np.uint8)[kinds]
                values[:, :2] = 0
                tif(
                    root / f"site{place}/labels_{date[:4]}-{date[4:6]}-{date[6:]}.tif",
                    values[None],
                    place,
                    nodata=0,
                )
    spec: dict[str, Any] = {
        "sensor": "sentinel2", "images": "{place}/{date:%Y%m%d}.tif", "bands": ["B04", "B08"], "unit": "reflectance",
        "scale": 1e-4, "offset": 0.0, "level": "L2A",
        "labels": {"kind": "raster", "file": "{place}/labels_{date:%Y-%m-%d}.tif", "classes": CLASSES},
    }  # fmt: skip
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec))
    return root


@pytest.fixture(scope="module")
def data(fields: Path) -> dict[str, Any]:
    parts = {
        "by": "groups", "train": ["site[0-5]"], "validation": ["site6"], "test": ["site[78]"]
    }  # fmt: skip
    return {"layout": {"name": "folder", "root": str(fields)}, "parts": parts, "window": 16}


@pytest.fixture(scope="module")
def weights(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run") / "unet"
    training = {**TRAINING, "steps": 80, "monitor": "miou"}
    found = swath.finetune(run={"folder": str(folder)}, model=UNET, data=data, training=training)
    assert found.validation["miou"] is not None and found.validation["miou"] > 0.9
    return found.weights


def truth(place: int) -> np.ndarray:
    """[T,H,W] of the class numbers, as labelled."""
    found = np.stack([kinds_of(place, t) for t in range(3)])
    found[:, :, :2] = IGNORE
    return found


def test_scores_are_those_of_scikit_learn(data: dict[str, Any], weights: str, tmp_path: Path) -> None:
    output = tmp_path / "scores.json"
    found = swath.evaluate(
        weights=weights, data=data, precision="fp32", output=str(output), intervals={"unit": "group"}
    )
    answerer, places = Answerer(load(weights), precision="fp32"), (7, 8)
    from swath.data.layouts.registry import open_layout

    folder = open_layout("folder", data["layout"]["root"])
    samples = {sample.id: sample for sample in (folder.read(i) for i in range(len(folder.items)))}
    said = np.stack([answerer.map(samples[f"site{p}"].cube, 1.0).argmax(1) for p in places])
    real = np.stack([truth(p) for p in places])
    known = real != IGNORE
    np.testing.assert_array_equal(found.table["confusion"], confusion_matrix(real[known], said[known]))
    assert found.table["count"] == known.sum() == 2 * 3 * SIDE * (SIDE - 2)
    # A clouded strip of one date of each place is scored as all is, and said.
    assert any(f"{2 * 8 * (SIDE - 2)} labelled values have no valid input" in note for note in found.notes)
    for t, row in enumerate(found.dates):
        part = known[:, t]
        expected = f1_score(real[:, t][part], said[:, t][part], average="macro")
        assert row["macro_f1"] == pytest.approx(expected)
    assert len(found.dates) == 3 and "date 2" in found.summary()
    assert found.intervals["units"] == 2 and len(json.loads(output.read_text())["dates"]) == 3
    by_squares = swath.evaluate(
        weights=weights, data=data, precision="fp32", intervals={"unit": "square", "square": 24}
    )
    assert by_squares.intervals["units"] == 8 and by_squares.scores == pytest.approx(found.scores)


def test_one_answer_for_all_dates_cannot_score(data: dict[str, Any], weights: str) -> None:
    real = np.stack([truth(p) for p in (7, 8)])
    same = (real[:, :1] == real).all(1) & (real[:, 0] != IGNORE)
    assert same.mean() < 0.2
    scores = swath.evaluate(weights=weights, data=data, precision="fp32").scores
    assert scores["miou"] > 0.8


def test_weights_of_one_map_refuse_labels_of_each_date(
    data: dict[str, Any], tmp_path: Path, planted: None
) -> None:
    short = {"steps": 2, "validate_every": 0}
    plain = tune(tmp_path / "run", "segmentation", UNET, dates=3, training=short)
    other = {"name": "planted", "root": str(tmp_path), "options": {"target": "dated", "dates": 3}}
    with pytest.raises(
        ConfigError, match="labels of part test are of each date, and these weights draw one map"
    ):
        swath.evaluate(weights=plain.weights, data={"layout": other, "window": 16})


def test_one_map_of_labels_scores_each_date(tmp_path: Path, planted: None) -> None:
    short = {"steps": 2, "validate_every": 0}
    each = tune(tmp_path / "run", "segmentation", UNET, dates=3, training=short, head={"dates": "none"})
    layout = {"name": "planted", "root": str(tmp_path), "options": {"target": "segmentation", "dates": 3}}
    found = swath.evaluate(weights=each.weights, data={"layout": layout, "window": 16})
    test = Planted(tmp_path, "test", target="segmentation", dates=3)
    labelled = sum(int((np.asarray(test.read(i).target) >= 0).sum()) for i in range(10))
    assert found.table["count"] == 3 * labelled and len(found.dates) == 3


def test_numbers_of_each_date_are_scored(tmp_path: Path, planted: None) -> None:
    short = {"steps": 2, "validate_every": 0}
    each = tune(tmp_path / "run", "dated_density", UNET, dates=2, training=short)
    layout = {"name": "planted", "root": str(tmp_path), "options": {"target": "dated_density", "dates": 2}}
    found = swath.evaluate(weights=each.weights, data={"layout": layout, "window": 16})
    assert found.task == "regression" and len(found.dates) == 2
    assert found.scores["mse"] == pytest.approx(np.mean([row["mse"] for row in found.dates]), rel=0.1)  # type: ignore[misc]


def test_a_temperature_is_fitted_on_all_dates(data: dict[str, Any], weights: str, tmp_path: Path) -> None:
    output = tmp_path / "calibrated.safetensors"
    found = swath.calibrate(
        weights=weights,
        data=data,
        output=str(output),
        intervals={"unit": "square", "square": 24},
        precision="fp32",
    )
    assert found.temperature is not None and found.fit_blocks == found.check_blocks == 2
    after = swath.evaluate(weights=str(output), data=data, precision="fp32")
    assert after.reliability["temperature"] == found.temperature and "conformal" in after.reliability


def test_from_a_folder_to_a_map_of_each_date(fields: Path, weights: str, tmp_path: Path) -> None:
    files = [str(fields / f"site7/{date}.tif") for date in DATES]
    output = tmp_path / "map.tif"
    code = cli.main([
        "predict", "--weights", weights, "--output", str(output), "--input.files", json.dumps(files),
        "--input.files_are", "dates", "--input.sensor", "sentinel2", "--input.bands", '["B04","B08"]',
        "--input.dates", '["2023-05-12","2023-07-01","2023-08-15"]', "--input.unit", "reflectance",
        "--input.scale", "1e-4", "--input.offset", "0", "--input.level", "L2A", "--precision", "fp32",
        "--quicklook", "true",
    ])  # fmt: skip
    assert code == 0
    days = [str(dt.date(2023, 5, 12)), "2023-07-01", "2023-08-15"]
    with rasterio.open(output) as file:
        bands, names, tags = file.read(), file.descriptions, file.tags()
    assert names == tuple(f"{what} {day}" for day in days for what in ("class", "confidence", "coverage"))
    assert tags["DATES"] == ",".join(days) and tags["CLASS_9"] == "green"
    values = np.array([3, 5, 9])
    for t in range(3):
        kind, sure, coverage = bands[3 * t : 3 * t + 3]
        assert coverage.min() == (0 if t == 1 else 100)
        np.testing.assert_array_equal(kind == 255, coverage == 0)
        np.testing.assert_array_equal(sure == 255, coverage == 0)
        right = kind == values[kinds_of(7, t)]
        assert right[coverage > 0].mean() > 0.9
    names_file = (tmp_path / "map.tif.aux.xml").read_text()
    assert [f'band="{i}"' in names_file for i in range(1, 10)] == [True, False, False] * 3
    item = json.loads((tmp_path / "map.stac.json").read_text())
    result = item["properties"]["mlm:output"][0]["result"]
    assert result["shape"] == [-1, -1, 3, -1, -1] and result["dim_order"][:3] == ["batch", "time", "class"]
    described = item["assets"]["map"]["bands"]
    assert [b["name"] for b in described] == list(names)
    assert [i for i, b in enumerate(described) if "classification:classes" in b] == [0, 3, 6]
    asked = {"map": str(output), "labels": str(fields / "site7/labels_2023-07-01.tif")}
    with pytest.raises(
        InputError, match="holds a map for each of several dates; name one by date: 2023-05-12, 2023-07"
    ):
        swath.evaluate(**asked)
    with pytest.raises(InputError, match="and none is of 2022-01-01"):
        swath.evaluate(**asked, date="2022-01-01")
    scores = swath.evaluate(**asked, date="2023-07-01", intervals={"square": 16})
    assert scores.pixels == (SIDE - 8) * (SIDE - 2) and scores.overall_accuracy > 0.9
    other = swath.evaluate(
        map=str(output), labels=str(fields / "site7/labels_2023-05-12.tif"), date="2023-07-01"
    )
    assert other.overall_accuracy < 0.6


def test_an_interrupted_map_of_each_date_goes_on(
    fields: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for date in DATES:
        with rasterio.open(fields / f"site7/{date}.tif") as file:
            tif(tmp_path / f"{date}.tif", np.tile(file.read(), (1, 6, 6)), 0, nodata=0)
        files.append(str(tmp_path / f"{date}.tif"))
    scene = {
        "files": files, "files_are": "dates", "sensor": "sentinel2", "bands": ["B04", "B08"], "unit": "reflectance",
        "scale": 1e-4, "offset": 0.0, "level": "L2A",
    }  # fmt: skip
    given = {"weights": weights, "input": scene, "precision": "fp32", "block": 256, "item": False}
    plan = swath.predict(**given, output=str(tmp_path / "a.tif"), plan=True)
    assert plan.blocks == 4 and plan.values == 9  # three classes on three dates
    whole = swath.predict(**given, output=str(tmp_path / "a.tif"))
    put = WorkFolder.put

    def stop(self: WorkFolder, piece: Any) -> None:
        put(self, piece)
        if len(self.finished) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "put", stop)
        with pytest.raises(KeyboardInterrupt):
            swath.predict(**given, output=str(tmp_path / "b.tif"))
    rest = swath.predict(**given, output=str(tmp_path / "b.tif"))
    assert rest.kept_blocks == 2 and whole.kept_blocks == 0
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with pytest.raises(ConfigError, match="disagreement: is not for maps of each date"):
        swath.predict(**given, output=str(tmp_path / "c.tif"), turns=True, disagreement=True)


def test_a_scene_of_one_map_of_labels_teaches_each_date(tmp_path: Path) -> None:
    kinds = np.random.default_rng(5).integers(0, 3, (10, 28)).repeat(4, 0).repeat(4, 1)
    noise = np.random.default_rng(6).normal(0, 100, (4, 40, 112))
    pixels = (LEVELS[kinds].transpose(2, 0, 1)[[0, 1, 0, 1]] + noise).clip(1).astype(np.uint16)
    pixels[2:, 20:, :8] = 0  # the second date sees less
    tif(tmp_path / "scene.tif", pixels, 0, nodata=0)
    tif(tmp_path / "labels.tif", np.array([3, 5, 9], np.uint8)[kinds][None], 0)
    scene = {
        "files": str(tmp_path / "scene.tif"), "sensor": "sentinel2", "bands": ["B04", "B08"], "stack_dates": 2,
        "unit": "reflectance", "scale": 1e-4, "offset": 0.0, "level": "L2A",
    }  # fmt: skip
    colours = [{**c, "color": [i, i, i]} for i, c in enumerate(CLASSES)]
    data = {
        "scene": scene,
        "labels": str(tmp_path / "labels.tif"),
        "classes": colours,
        "window": 16,
        "east_start": 80,
    }
    found = swath.finetune(
        run={"folder": str(tmp_path / "run")}, model=UNET, data=data, head={"dates": "none"},
        training={**TRAINING, "monitor": "miou"},
    )  # fmt: skip
    assert found.validation["miou"] is not None and found.validation["miou"] > 0.8
    scored = swath.evaluate(weights=found.weights, data=data, precision="fp32")
    assert scored.table["count"] == 2 * 40 * 32 and len(scored.dates) == 2


@pytest.mark.slow  # packing forces every file to the disk
def test_packed_labels_of_each_date_teach_and_score(
    data: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    packed = swath.pack(layout="folder", root=data["layout"]["root"], output=str(tmp_path / "shards"))
    assert "1 date of 27 without labels, such as site0 2023-07-01: unlabelled" in caplog.text
    shards = {"shards": [packed.output], "parts": data["parts"], "window": 16}
    training = {**TRAINING, "steps": 2, "validate_every": 0, "monitor": "miou"}
    run = {"folder": str(tmp_path / "run")}
    found = swath.finetune(run=run, model=UNET, data=shards, training=training)
    scores = [swath.evaluate(weights=found.weights, data=given, precision="fp32") for given in (shards, data)]
    assert scores[0].table == scores[1].table and len(scores[0].dates) == 3
