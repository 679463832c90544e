"""What a pretraining looks at while it runs, and what its page says of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import own_folder
import planted_sets as sets
import pytest
import torch
from planted_sets import VIT

import swath
from swath.errors import ConfigError, ContractError, InputError, SwathError
from swath.feed.pixel_size import to_gsd
from swath.training.metrics_log import read_metrics
from swath.verbs import pack, watch
from swath.verbs.config import load_config
from swath.verbs.labelled_feeds import records_contract
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_parts import open_labelled
from swath.verbs.networks import pretraining_network
from swath.verbs.options import LayoutOptions
from swath.verbs.pretrain import PretrainConfig
from swath.verbs.run_report import health_lines, warnings
from swath.verbs.scene_data import read_pretraining
from swath.verbs.watch_probe import STRENGTHS, RecordProbe, make_probe
from swath.weights.file import load, same_state


def test_pictures_health_and_a_probe_change_no_bit_and_are_kept(chain: Any, tmp_path: Path) -> None:
    options = chain.land.pretraining(tmp_path / "run")
    options["watch"] = {
        "pictures_every": 3,
        "health_every": 3,
        "samples": 8,
        "probe": {**chain.land.finetuning("none")["data"], "window": 8},
    }
    result = swath.pretrain(**options)
    assert same_state(load(result.weights).state, load(chain.pretrained.weights).state)
    folder = Path(result.folder)
    assert sorted(p.name for p in (folder / "pictures").iterdir()) == [
        "step-00000003-0.png",
        "step-00000006-0.png",
    ]
    seen = [(r["step"], r["health"]) for r in read_metrics(folder / "metrics.jsonl") if "health" in r]
    assert [step for step, _ in seen] == [3, 6]
    for _, numbers in seen:
        assert set(numbers) == {"feature_rank", "feature_variation", "collapsed", "knn", "linear"}
        assert 0 <= numbers["knn"] <= 1 and 0 <= numbers["linear"] <= 1 and numbers["feature_rank"] > 0
    page = (folder / "report.html").read_text("utf-8")
    assert "effective rank" in page.lower() or "How many dimensions" in page


def test_a_collapse_is_told(
    chain: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "pooled", lambda objective, batches: torch.ones(8, 4))

    class Feed:
        def take(self, first: int, count: int) -> None:
            return None

    look = watch._health(watch.WatchOptions(health_every=1, samples=8), Feed(), None)  # type: ignore[arg-type]
    assert look(torch.nn.Linear(1, 1), 5)["collapsed"] == 1.0
    assert "step 5: the features collapse" in caplog.text
    records = [
        {"step": 5, "health": {"collapsed": 1.0, "feature_rank": 0.0, "knn": 0.5}},
        {"step": 6, "skipped": 2},
    ]
    assert len(warnings(records)) == 2 and "last at step 5" in warnings(records)[0]
    assert set(health_lines(records)) == {"effective rank", "accuracy"}


@pytest.mark.parametrize(
    ("kind", "scope"), [("images", "record"), ("shards", "fixed"), ("pixels", "record"), ("folder", "fixed")]
)
def test_labelled_records_are_asked_as_swath_probe_asks_them(
    labelled: Any, kind: str, scope: str, tmp_path: Path
) -> None:
    """At the last step, the numbers are those of `swath probe` on the weights that were written."""
    source, more = labelled[kind]
    asked = {**source, **more, "window": 32}
    options: dict[str, Any] = {
        "run": {"folder": str(tmp_path / "run")},
        "model": {"system": "mae", "options": VIT.options},
        "data": {**source, "window": 32, "normalise": {"scope": scope}},
        "training": {"steps": 2, "batch_size": 2, "warmup_steps": 1, "precision": "fp32", "threads": 1},
        "watch": {"health_every": 1, "samples": 4, "probe": asked, "neighbours": 3},
    }
    result = swath.pretrain(**options)
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    seen = [r["health"] for r in records if "health" in r]
    probed = swath.probe(
        weights=result.weights, data=asked, cache="none", precision="fp32", threads=1,
        probe={"strengths": STRENGTHS, "neighbours": [3]}, methods=[] if kind in ("images", "shards") else ["linear"],
    )  # fmt: skip
    wanted = {f"{p.method}_{p.monitor}": p.validation[p.monitor] for p in probed.probes}
    assert len(wanted) == (2 if kind in ("images", "shards") else 1)
    assert {n: seen[-1][n] for n in wanted} == pytest.approx(wanted, abs=1e-6) and len(seen) == 2
    lines = health_lines(records)
    (score,) = {p.monitor.replace("_", " ") for p in probed.probes}
    assert set(lines[score][0]) == {p.method for p in probed.probes}
    if kind != "images":
        return
    # Asking changes nothing.
    del options["watch"]
    alone = swath.pretrain(**{**options, "run": {"folder": str(tmp_path / "alone")}})
    assert same_state(load(result.weights).state, load(alone.weights).state)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By kind: where images are, and what else their labels ask for."""
    root = tmp_path_factory.mktemp("labelled")
    sets.eurosat(root / "eurosat", train=4, others=3)
    (root / "water").mkdir()
    sets.water(root / "water", chips=6)
    packed = pack.run(pack.PackConfig("eurosat", str(root / "eurosat"), str(root / "shards"), workers=1))
    images = {"layout": {"name": "eurosat", "root": str(root / "eurosat")}}
    parts = {"by": "groups", **{p: [f"elevation-{i}"] for i, p in enumerate(("train", "validation", "test"))}}
    bands = ["B02", "B03", "B04", "B05"]
    return {
        "images": (images, {}),
        "shards": ({"shards": [packed.output]}, {}),
        "pixels": (
            {"layout": {"name": "hls-water", "root": str(root / "water")}, "bands": bands},
            {"parts": parts},
        ),
        "folder": (
            {"layout": {"name": "folder", "root": own_folder.lakes(root / "folder")}},
            {"parts": {"by": "blocks", "block": 2000.0, "shares": {"train": 0.5, "validation": 0.5}}},
        ),
    }


@pytest.mark.parametrize("kind", ["images", "shards"])
def test_records_with_one_answer_are_asked_at_the_pixel_size_that_is_learned_from(
    labelled: Any, kind: str
) -> None:
    source, more = labelled[kind]
    data = load_config(PretrainConfig, [], {
        "run.folder": "none", "model.system": "mae",
        "data": {**source, "window": 16, "gsd": 20.0, "normalise": {"scope": "record"}},
        "watch.probe": {**source, **more, "window": 32},
    })  # fmt: skip
    assert data.watch.probe is not None
    contract = read_pretraining(data.data).contract
    probe = make_probe(data.watch.probe, contract, 3, data.data.gsd)
    assert isinstance(probe, RecordProbe)
    part = open_labelled(data.watch.probe, "train")
    batch = next(iter(probe.feeds[0]))
    for b in range(2):
        wanted = contract.convert(to_gsd(part.records[b].cube, 20.0))
        # Its 32 x 32 pixels of 20 m are the whole window.
        np.testing.assert_array_equal(batch.pixels[b].numpy(), wanted.pixels)
    with pytest.raises(InputError, match=r"has pixels of 10 m, .* set data\.gsd to 20 or 30"):
        make_probe(data.watch.probe, contract, 3, 25.0)


def test_stages_of_two_pixel_sizes_ask_one_probe(labelled: Any, tmp_path: Path) -> None:
    images, _ = labelled["images"]
    swath.pretrain(
        run={"folder": str(tmp_path)}, model={"system": "mae", "options": VIT.options},
        data={**images, "window": 32}, watch={"health_every": 1, "samples": 4, "probe": {**images, "window": 32}},
        training={"steps": 1, "batch_size": 2, "warmup_steps": 0, "precision": "fp32", "threads": 1},
        stages=[{"name": "coarse", "data": {"gsd": 20.0}}, {"name": "fine"}],
    )  # fmt: skip
    for name in ("01-coarse", "02-fine"):
        (seen,) = [
            r["health"] for r in read_metrics(tmp_path / "stages" / name / "metrics.jsonl") if "health" in r
        ]
        assert 0 <= seen["linear_overall_accuracy"] <= 1 and 0 <= seen["knn_overall_accuracy"] <= 1


def test_a_pixel_size_that_the_probe_of_a_later_stage_cannot_have_is_said_before_the_first(
    labelled: Any, land: Any, tmp_path: Path
) -> None:
    (images, _), (water, more) = labelled["images"], labelled["folder"]
    given = {**land.finetuning("none")["data"], "window": 8}
    sized = land.pretraining(tmp_path / "run")["data"]
    for source, probe, message in (
        (images, {**images, "window": 32}, r"has pixels of 10 m, .* of 25 m; set data\.gsd to 20 or 30"),
        (water, {**water, **more, "window": 32}, r"watch\.probe: .* has a label for each pixel of 10 m, .* 20 m"),
        (sized, given, r"watch\.probe: .* has a label for each pixel of 30 m, .* 60 m"),
    ):  # fmt: skip
        gsd = float(re.findall(r"(\d+) m", message)[-1])
        with pytest.raises(SwathError, match=message):
            swath.pretrain(
                run={"folder": str(tmp_path / "run")}, model={"system": "mae", "options": VIT.options},
                data={**source, "window": 16}, watch={"health_every": 1, "samples": 4, "probe": probe},
                training={"steps": 1, "batch_size": 2, "warmup_steps": 0, "precision": "fp32", "threads": 1},
                stages=[{"name": "own"}, {"name": "other", "data": {"gsd": gsd}}],
            )  # fmt: skip
        assert not (tmp_path / "run").exists()


def test_looks_are_counted_in_epochs(land: Any, tmp_path: Path) -> None:
    options = land.pretraining(tmp_path / "run", steps=8)
    options["watch"] = {"health_every": 1, "pictures_every": 2, "unit": "epochs", "samples": 4}
    swath.pretrain(**options)
    seen = [r["step"] for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "health" in r]
    # 40 x 112 pixels hold 14 windows of 16, three and a half steps of four; and the end is looked at.
    assert seen == [4, 7, 8]
    drawn = sorted(p.name for p in (tmp_path / "run" / "pictures").iterdir())
    assert drawn == ["step-00000007-0.png", "step-00000008-0.png"]


def test_records_that_cannot_be_asked_are_refused_before_a_folder_is_made(
    land: Any, labelled: Any, tmp_path: Path
) -> None:
    images, _ = labelled["images"]
    options = land.pretraining(tmp_path / "run")
    options["watch"] = {"health_every": 2, "probe": {**images, "window": 32}}
    with pytest.raises(ContractError, match="has 10 m pixels, the model eats 30 m; resample"):
        swath.pretrain(**options)
    shards, _ = labelled["shards"]
    options["data"] = {**shards, "window": 32, "normalise": {"scope": "record"}}
    every = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    options["watch"]["probe"] = {**shards, "window": 32, "ignore": every[1:]}
    with pytest.raises((ConfigError, InputError), match=r"one class|no label"):
        swath.pretrain(**options)
    assert not (tmp_path / "run").exists()


def test_features_that_are_not_finite_have_no_score(labelled: Any) -> None:
    source, more = labelled["images"]
    data = load_config(PretrainConfig, [], {
        "run.folder": "none", "model.system": "mae", "data": {**source, "window": 32},
        "watch.probe": {**source, **more, "window": 32},
    })  # fmt: skip
    assert data.watch.probe is not None
    read = read_pretraining(data.data)
    probe = RecordProbe(data.watch.probe, read.contract, 3)

    class Broken(torch.nn.Module):
        """Whose features are NaN."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def features(self, pixels: torch.Tensor, *_: Any) -> Any:
            return SimpleNamespace(pooled=torch.full((len(pixels), 4), float("nan")))

    objective = torch.nn.Module()
    objective.network = Broken()
    scores = probe.scores(objective)
    assert set(scores) == {"knn_overall_accuracy", "linear_overall_accuracy"}
    assert all(np.isnan(v) for v in scores.values())


@pytest.mark.usefixtures("planted")
def test_a_part_whose_records_bear_no_label_has_no_score_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = LabelledData(layout=LayoutOptions("planted", str(tmp_path), {"target": "multilabel"}), window=16)
    part = open_labelled(given, "train")
    contract = records_contract(given, part, None)
    probe = RecordProbe(given, contract, 3)
    torch.manual_seed(0)
    objective = torch.nn.Module()
    objective.network = pretraining_network(VIT, contract, 16)
    names = {"knn_map_macro", "linear_map_macro"}
    whole = probe.scores(objective)
    assert set(whole) == names and all(0 <= v <= 1 for v in whole.values()) and not caplog.text
    bare = [replace(b, target=torch.zeros_like(b.target)) for b in probe.feeds[1] if b.target is not None]
    probe.feeds[1] = bare  # type: ignore[call-overload]  # batches are all that is asked of it
    for _ in range(2):
        scores = probe.scores(objective)
        assert set(scores) == names and all(np.isnan(v) for v in scores.values())
    assert caplog.text.count("watch.probe has no score, and training goes on: no record bears any label") == 1


def test_a_probe_that_cannot_tell_anything_is_refused_before_a_folder_is_made(
    land: Any, tmp_path: Path
) -> None:
    options = land.pretraining(tmp_path / "run")
    given = land.finetuning("none")["data"]
    probe = {**given, "classes": given["classes"][:1], "ignore": [5, 9]}
    options["watch"] = {"health_every": 2, "samples": 4, "probe": probe}
    with pytest.raises(ConfigError, match="too few labelled windows"):
        swath.pretrain(**options)
    assert not (tmp_path / "run").exists()
