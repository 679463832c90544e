"""Frozen features of real layouts with planted signals, by the verb."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import planted_sets as sets
import pytest

import swath.verbs.probe as verb
import swath.verbs.probe_work as work
from swath.cli import main
from swath.data.layouts.eurosat import EuroSAT
from swath.data.layouts.hls_water import HLSWater
from swath.data.part_spec import PartsSpec
from swath.errors import ConfigError, OutputError, SwathError
from swath.training.probe_config import ProbeHeadOptions, ProbeOptions
from swath.verbs.labelled_options import LabelledData
from swath.verbs.options import LayoutOptions
from swath.verbs.probe import ProbeConfig
from swath.verbs.score_units import IntervalOptions

QUICK = ProbeOptions(
    strengths=(1e-4, 1e-2, 1.0),
    neighbours=(1, 5, 9),
    head=ProbeHeadOptions(epochs=4, learning_rate=5e-3, width=16),
)


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, LabelledData]:
    root = tmp_path_factory.mktemp("eurosat")
    sets.eurosat(root)
    weights = sets.encoder_weights(root / "mae.safetensors", sets.contract(sets.EUROSAT_BANDS, 64, gsd=None))
    return weights, LabelledData(layout=LayoutOptions("eurosat", str(root)), window=64)


@pytest.fixture(scope="module")
def water(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, LabelledData]:
    root = tmp_path_factory.mktemp("water")
    sets.water(root)
    bands = ("B02", "B03", "B04", "B05", "B06", "B07")
    weights = sets.encoder_weights(root / "mae.safetensors", sets.contract(bands, 64, "hls_l30", gsd=None))
    groups = {part: (f"elevation-{i}",) for i, part in enumerate(("train", "validation", "test"))}
    data = LabelledData(
        layout=LayoutOptions("hls-water", str(root)),
        parts=PartsSpec(by="groups", **groups),
        window=64,
        bands=bands,
    )
    return weights, data


def test_records_are_told_apart_and_the_file_says_how(eurosat: Any, tmp_path: Path) -> None:
    weights, data = eurosat
    out = tmp_path / "probe.json"
    config = ProbeConfig(
        weights, data, probe=QUICK, score_test=True, cache=str(tmp_path / "c"), output=str(out)
    )
    result = verb.run(config)
    assert [p.method for p in result.probes] == ["knn", "linear"]
    assert result.records == {"train": 24, "validation": 15, "test": 15} and result.features == 24
    for probe in result.probes:
        assert probe.test["scores"]["overall_accuracy"] > 0.8
        # How far off a record is: the probability that was left for other classes.
        off = [value for _, value in probe.worst]
        assert len(off) == 8 and off == sorted(off, reverse=True) and 0 <= off[-1] < off[0] <= 1
        low, high = probe.intervals["intervals"]["overall_accuracy"]
        assert low <= probe.test["scores"]["overall_accuracy"] <= high and probe.intervals["unit"] == "record"
        assert len(probe.tried) == 3 and probe.setting in [s for s, _ in probe.tried]
    assert json.loads(out.read_text())["probes"][0]["method"] == "knn"
    assert "linear (strength" in result.summary() and "test" in result.summary()
    with pytest.raises(OutputError, match="exists"):
        verb.run(config)
    again = verb.run(ProbeConfig(weights, data, probe=QUICK, score_test=True, cache=str(tmp_path / "c")))
    assert (again.computed, again.kept) == (0, result.computed)
    assert again.probes == result.probes
    free = verb.run(ProbeConfig(weights, data, probe=QUICK, score_test=True, cache="none"))
    assert free.probes == result.probes and free.computed == 0


def test_the_test_part_is_opened_only_when_asked(eurosat: Any, monkeypatch: Any) -> None:
    weights, data = eurosat
    opened: list[str] = []
    plain = EuroSAT.read

    def spy(self: EuroSAT, index: int) -> Any:
        opened.append(self.items[index].split or "")
        return plain(self, index)

    monkeypatch.setattr(EuroSAT, "read", spy)
    made: list[str | None] = []
    begin = EuroSAT.__init__

    def watched(self: EuroSAT, root: Any, split: str | None = None, *rest: Any, **more: Any) -> None:
        made.append(split)
        begin(self, root, split, *rest, **more)

    monkeypatch.setattr(EuroSAT, "__init__", watched)
    result = verb.run(ProbeConfig(weights, data, ("knn",), QUICK, cache="none"))
    assert opened and set(made) == {"train", "val"} and "test" not in opened
    assert result.probes[0].test == {} and "test" not in result.summary() and result.probes[0].worst == ()


def test_pixels_are_told_apart(water: Any, tmp_path: Path) -> None:
    weights, data = water
    result = verb.run(
        ProbeConfig(
            weights, data, probe=QUICK, score_test=True, cache=str(tmp_path), precision="fp32",
            intervals=IntervalOptions(unit="record"),
        )
    )  # fmt: skip
    assert [p.method for p in result.probes] == ["linear", "conv"]
    # Tokens of 8 pixels; lakes of 16: both heads know most of them. Chance is 0.3.
    for probe in result.probes:
        assert probe.test["scores"]["miou"] > 0.6, probe.method
        assert probe.intervals["units"] == 3 and probe.notes
    windows = verb.run(
        ProbeConfig(
            weights, data, ("linear",), QUICK, score_test=True, cache=str(tmp_path), precision="fp32",
            intervals=IntervalOptions(unit="square"),
        )
    )  # fmt: skip
    assert windows.computed == 0 and windows.probes[0].intervals["units"] == 27
    assert windows.probes[0].test["scores"] == result.probes[0].test["scores"]


def test_a_scene_is_probed_by_its_columns(chain: Any, tmp_path: Path) -> None:
    land = chain.land.finetuning(tmp_path / "run")["data"]
    words = [
        "probe", "--weights", chain.pretrained.weights, "--cache", "none", "--methods", '["linear"]',
        "--probe.strengths", "[0.001,0.1]", "--score_test", "true", "--output", str(tmp_path / "p.json"),
        "--data.scene.files", land["scene"]["files"], "--data.scene.sensor", "landsat7",
        "--data.labels", chain.land.labels, "--data.classes", json.dumps(land["classes"]),
        "--data.window", "16", "--data.east_start", "80",
    ]  # fmt: skip
    assert main(words) == 0
    said = json.loads((tmp_path / "p.json").read_text())
    assert said["records"] == {"train": 1, "validation": 1, "test": 1}
    assert said["probes"][0]["test"]["count"] == int((np.asarray(land_labels(chain))[:, 80:] > 0).sum())


def land_labels(chain: Any) -> Any:
    import rasterio

    with rasterio.open(chain.land.labels) as file:
        return file.read(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": ("conv",)}, "'conv' is not for classification of records; use knn, linear"),
        ({"data": {"bands": ("B02", "B03")}}, "eats the bands it was trained on"),
        ({"weights": "nowhere.safetensors"}, "no such file"),
        ({"data": {"task": "segmentation"}}, "eurosat is not for segmentation|nothing for"),
        ({"intervals": IntervalOptions(unit="square")}, "has no squares"),
    ],
)
def test_what_cannot_be_probed_is_said_in_one_line(eurosat: Any, change: dict[str, Any], words: str) -> None:
    from dataclasses import replace

    weights, data = eurosat
    more = dict(change)
    data = replace(data, **more.pop("data", {}))
    with pytest.raises(SwathError, match=words):
        verb.run(ProbeConfig(**{"weights": weights, "data": data, "cache": "none", **more}))


def test_options_are_checked() -> None:
    data = LabelledData(layout=LayoutOptions("eurosat", "x"))
    for wrong in ({"threads": -1}, {"batch_size": 0}, {"methods": ("knn", "knn")}):
        with pytest.raises(ConfigError):
            ProbeConfig("w", data, **wrong)
    assert HLSWater.info.name == "hls-water"


def test_features_lie_in_the_users_cache(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert work.default_cache() == tmp_path / "swath" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert work.default_cache() == Path.home() / ".cache" / "swath" / "features"


def test_an_untrained_encoder_is_another_and_its_features_are_its_own(eurosat: Any, tmp_path: Path) -> None:
    weights, data = eurosat

    def probed(untrained: int | None) -> verb.ProbeResult:
        cache = str(tmp_path / "c")
        return verb.run(
            ProbeConfig(weights, data, ("linear",), QUICK, cache=cache, untrained=untrained)  # type: ignore[arg-type]  # literal
        )

    results = [probed(seed) for seed in (None, 1, 2)]
    assert all(r.kept == 0 and r.computed > 0 for r in results)  # no one's features are another's
    # Scores may agree on data this easy; the features do not.
    kept = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "c").rglob("*") if p.is_file()]
    assert len(kept) >= 3 and len(set(kept)) == len(kept)
    again = probed(1)
    assert again.computed == 0 and again.probes == results[1].probes
