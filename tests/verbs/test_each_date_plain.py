"""Labels of each date with methods that learn one date at a time: plain ones, probes, and the card over all."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import planted_sets as sets
import pytest
import rasterio
import torch
import yaml
from rasterio import Affine
from sklearn.metrics import confusion_matrix
from torch import nn

import swath
from swath.cli import main
from swath.errors import ConfigError
from swath.feed.base import IGNORE
from swath.training.probe_config import ProbeHeadOptions, ProbeOptions
from swath.verbs import run_many
from swath.verbs.card import CardConfig
from swath.verbs.card import run as card
from swath.verbs.each_date import OfDates
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import open_part
from swath.verbs.networks import pretraining_network
from swath.verbs.probe import ProbeConfig
from swath.verbs.probe import run as probe
from swath.verbs.probe_work import Probing
from swath.verbs.run_many import Answer, Run
from swath.verbs.watch_probe import RecordProbe
from swath.weights.build import build_loaded, meta_for
from swath.weights.file import load, save

DATES = ("20230512", "20230701", "20230815")
SIDE = 32
CLASSES = [{"value": 3, "name": "dry"}, {"value": 5, "name": "wet"}]
LEVELS = np.array([[1500, 3000], [1200, 300]])  # green, near infrared
QUICK = ProbeOptions(strengths=(1e-4, 1e-2), head=ProbeHeadOptions(epochs=10, learning_rate=1e-2, width=16))


def wet(place: int, t: int) -> np.ndarray:
    """Cells of 4 x 4 pixels that are under water, others on each date."""
    draw = np.random.default_rng((place, t, 7))
    return draw.integers(0, 2, (SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine places that are flooded elsewhere on each date; one file of labels is not there."""
    found = tmp_path_factory.mktemp("floods")

    def tif(path: Path, pixels: np.ndarray, place: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path, "w", driver="GTiff", dtype=pixels.dtype.name, count=len(pixels), height=SIDE, width=SIDE,
            crs="EPSG:32633", transform=Affine(10, 0, 5e5 + 5000 * place, 0, -10, 5e6), nodata=0,
        ) as file:  # fmt: skip
            file.write(pixels)

    for place in range(9):
        for t, date in enumerate(DATES):
            kinds = wet(place, t)
            noise = np.random.default_rng((place, t, 1)).normal(0, 60, (2, SIDE, SIDE))
            pixels = (LEVELS[kinds].transpose(2, 0, 1) + noise).clip(1).astype(np.uint16)
            tif(found / f"site{place}/{date}.tif", pixels, place)
            if (place, t) != (0, 1):
                labels = np.array([3, 5], np.uint8)[kinds]
                labels[:, :2] = 0
                tif(found / f"site{place}/labels_{date}.tif", labels[None], place)
    spec: dict[str, Any] = {
        "sensor": "sentinel2", "images": "{place}/{date:%Y%m%d}.tif", "bands": ["B03", "B08"], "unit": "reflectance",
        "scale": 1e-4, "offset": 0.0, "level": "L2A",
        "labels": {"kind": "raster", "file": "{place}/labels_{date:%Y%m%d}.tif", "classes": CLASSES},
    }  # fmt: skip
    (found / "dataset.yaml").write_text(yaml.safe_dump(spec))
    return found


@pytest.fixture(scope="module")
def data(root: Path) -> dict[str, Any]:
    parts = {"by": "groups", "train": ["site[0-5]"], "validation": ["site6"], "test": ["site[78]"]}
    return {"layout": {"name": "folder", "root": str(root)}, "parts": parts, "window": 16}


def labelled(data: dict[str, Any]) -> LabelledData:
    from swath.verbs.config import load_config

    return load_config(LabelledData, [], data)


def encoder(path: Path, dates: int | None) -> str:
    """A small MAE of fresh numbers with tokens of 4 x 4 pixels, for one date or for any number."""
    torch.manual_seed(0)
    model = replace(sets.VIT, options={**sets.VIT.options, "patch_size": 4})
    eats = sets.contract(("B03", "B08"), 16, gsd=None, max_dates=dates)
    network = pretraining_network(model, eats, 16)
    save(path, network, meta_for(network, contract=eats))
    return str(path)


def truth(places: tuple[int, ...]) -> np.ndarray:
    found = np.stack([[wet(p, t) for t in range(3)] for p in places])
    found[..., :2] = IGNORE
    return found


def test_a_part_of_dates_is_so_many_records_of_one(data: dict[str, Any]) -> None:
    options = labelled(data)
    part = open_part(options, "train")
    each = OfDates(part, options)
    assert len(each) == 18 and [r.cube.shape[0] for r in each[:4]] == [1] * 4
    for k, record in enumerate(each):
        whole = part.records[k // 3]
        assert record.cube.dates[0] == dt.datetime.strptime(DATES[k % 3], "%Y%m%d").date()
        np.testing.assert_array_equal(record.cube.pixels[0], whole.cube.pixels[k % 3])
        np.testing.assert_array_equal(np.asarray(record.target), np.asarray(whole.target)[k % 3])
    two = replace(options, dates=2, draw="windows")
    assert len(OfDates(open_part(two, "train"), two)) == 12


@pytest.mark.parametrize("method", ["majority", "index", "forest"])
def test_plain_methods_answer_each_date_by_itself(data: dict[str, Any], method: Any) -> None:
    found = swath.baseline(method=method, data=data, trees=20, intervals={"unit": "group"})
    real = truth((7, 8))
    known = real != IGNORE
    confusion = np.array(found.table["confusion"])
    assert confusion.sum() == known.sum() and (confusion.sum(1).tolist() == np.bincount(real[known]).tolist())
    assert found.intervals["units"] == 2 and found.records == 2
    # A rule of all dates at once could not: what is wet differs by date.
    assert (found.scores["miou"] > 0.95) == (method != "majority")
    squares = swath.baseline(method=method, data=data, trees=20, intervals={"unit": "square", "square": 16})
    assert squares.intervals["units"] == 8 and squares.scores == pytest.approx(found.scores)


@pytest.mark.parametrize("dates", [None, 1], ids=["of series", "of one date"])
def test_a_probe_learns_each_date(data: dict[str, Any], dates: int | None, tmp_path: Path) -> None:
    weights = encoder(tmp_path / "mae.safetensors", dates)
    config = ProbeConfig(
        weights, labelled(data), probe=QUICK, score_test=True, cache=str(tmp_path / "kept"), precision="fp32"
    )
    result = probe(config)
    assert [p.method for p in result.probes] == ["linear", "conv"]
    for one in result.probes:
        assert one.test["scores"]["miou"] > 0.9
        assert np.array(one.test["confusion"]).sum() == (truth((7, 8)) != IGNORE).sum()
        assert {name for name, _ in one.worst} == {"site7", "site8"}
    again = probe(config)
    assert (again.computed, again.kept) == (0, result.computed) and again.probes == result.probes

    # What a map of the card draws is what was scored, where windows do not overlap.
    work = Probing(replace(config, methods=("linear",), data=replace(config.data, window=SIDE)))
    answer, _ = work.learn("linear")
    part = open_part(work.config.data, "test")
    drawn = np.stack([work.map("linear", answer, r.cube) for r in part.records])
    assert drawn.shape == (2, 3, 2, SIDE, SIDE)
    scores = work.add(part).score(answer, sets_of(work)).compute()
    real, said = truth((7, 8)), drawn.argmax(2)
    known = real != IGNORE
    np.testing.assert_array_equal(scores.to_dict()["confusion"], confusion_matrix(real[known], said[known]))


def test_a_watched_pretraining_is_asked_about_each_date(data: dict[str, Any], tmp_path: Path) -> None:
    class Objective(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

    loaded = load(encoder(tmp_path / "mae.safetensors", None))
    assert loaded.meta.contract is not None
    look = RecordProbe(labelled(data), loaded.meta.contract, 3)
    assert look.methods == ("linear",) and look.scores(Objective(build_loaded(loaded)))["linear_miou"] > 0.9


def sets_of(work: Probing) -> Any:
    from swath.tasks.block_scores import by_block

    return by_block(work.scorer())


def test_parts_with_labels_of_another_kind_are_refused(
    data: dict[str, Any], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swath.verbs import each_date

    options = labelled(data)
    train, test = open_part(options, "train"), open_part(options, "test")
    flat = replace(test, records=[replace(r, target=np.asarray(r.target)[0]) for r in test.records])
    each_date.check_alike(train, test)
    with pytest.raises(
        ConfigError, match="part test: its labels are of all dates at once, and those of part train"
    ):
        each_date.check_alike(train, flat)
    with pytest.raises(ConfigError, match="part test: its labels are of each date, and those of part train"):
        each_date.check_alike(replace(flat, name="train"), test)


def inline(one: Run, folder: Path, threads: int) -> Answer:
    """A run of a card in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*one.words, "--json"]) == 0
    return Answer(json.loads(out.getvalue()), 1.0, 10**8)


@pytest.mark.slow  # trains three networks
def test_a_card_of_each_date(data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_many, "_answer", inline)
    weights = encoder(tmp_path / "mae.safetensors", None)
    config = CardConfig(
        str(tmp_path / "card"), labelled(data), (weights,), fractions=(1.0,), seeds=1, steps=60, batch_size=4,
        leak=False, threads=1,
    )  # fmt: skip
    card(config)
    cells = {c["method"]: c for c in json.loads((tmp_path / "card" / "table.json").read_text())["cells"]}
    assert set(cells) == {"majority", "index", "forest", "scratch", "random", "probe", "lora", "full"}
    for method in ("index", "forest", "probe", "random"):
        assert cells[method]["score"] > 0.9, cells[method]
    page = (tmp_path / "card" / "card.html").read_text()
    assert "Record site7." in page and page.count("<figure>") == 3
