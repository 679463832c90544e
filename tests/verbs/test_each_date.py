"""A map for each date, learned from labels of each: where the truth differs by date, one answer for all cannot score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planted_layout import UNET, VIT, Planted, tune

from swath.errors import ConfigError
from swath.weights.build import build_loaded
from swath.weights.file import load
from swath.weights.meta import describe

pytestmark = pytest.mark.usefixtures("planted")
SWIN: dict[str, Any] = {"system": "st_swin_unet", "preset": "tiny", "options": {
    "patch_size": [1, 2, 2], "window": [1, 4, 4], "embed_dim": 8, "depths": [1, 1], "heads": [1, 2],
    "decoder_depths": [1], "stem_skip": True,
}}  # fmt: skip


@pytest.mark.parametrize(
    ("target", "model", "more", "score", "least"),
    [
        ("dated", UNET, {}, "miou", 0.9),
        pytest.param("dated", SWIN, {"head": {"dates": "none"}}, "miou", 0.9, marks=pytest.mark.slow),
        pytest.param("dated", VIT, {"head": {"kind": "conv"}}, "miou", 0.75, marks=pytest.mark.slow),
        pytest.param("dated", VIT, {"head": {"kind": "linear"}}, "miou", 0.7, marks=pytest.mark.slow),
        pytest.param("dated", VIT, {"head": {"kind": "uper", "width": 16}}, "miou", 0.7, marks=pytest.mark.slow),
        pytest.param("dated_density", UNET, {}, "r2", 0.8, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_each_network_learns_a_map_for_each_date(
    tmp_path: Path, target: str, model: dict[str, Any], more: dict[str, Any], score: str, least: float
) -> None:
    result = tune(tmp_path / "run", target, model, dates=3, training={"steps": 60}, **more)
    assert result.validation[score] is not None and result.validation[score] > least
    loaded = load(result.weights)
    assert build_loaded(loaded).each_date
    assert dict(describe(loaded.meta, 1, ""))["task"] == f"{loaded.meta.task}, a map for each date"
    page = Path(result.report).read_text("utf-8")
    assert "Hatched is unknown or unseen" in page and page.count("data:image/png") >= 4
    tests = {f"chip-{i:02}" for i in range(40) if i % 4 == 3}
    assert Planted.opened and not tests & set(Planted.opened)


MEAN = {**UNET, "options": {"levels": 2, "dates": "mean"}}
SPECTRALGPT = {"system": "spectralgpt", "preset": "spectralgpt_base_96"}
LABELS = "head.dates: labels of part train are of each date"
SHORT = {"steps": 2, "validate_every": 0}


@pytest.mark.parametrize(
    ("data", "more"),
    [({"draw": "windows", "dates": 2}, {}), ({}, {"head": {"dates": "none"}})],
)
def test_dates_are_drawn_and_one_map_may_stand_for_all(
    tmp_path: Path, data: dict[str, Any], more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    target = "segmentation" if more else "dated"
    caplog.set_level("INFO")
    result = tune(tmp_path / "run", target, UNET, dates=3, training=SHORT, data=data, **more)
    assert build_loaded(load(result.weights)).each_date
    assert ("one map of labels stands for all dates" in caplog.text) == bool(more)
    assert ("the network answers for each" in caplog.text) != bool(more)


@pytest.mark.slow  # a Swin
def test_dates_that_share_a_token_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {**SWIN["options"], "patch_size": [2, 2, 2], "stem_skip": False}
    tune(tmp_path / "run", "dated", {**SWIN, "options": options}, dates=3, training=SHORT)
    assert "a token spans 2 dates, whose answers are alike: see model.options.patch_size" in caplog.text


@pytest.mark.parametrize(
    ("target", "model", "more", "words"),
    [
        ("dated", UNET, {"head": {"dates": "mean"}}, f"{LABELS}, and the network draws one map"),
        ("dated", SWIN, {"head": {"dates": "last"}}, LABELS),
        ("dated", MEAN, {}, LABELS),
        ("dated", MEAN, {"head": {"dates": "none"}}, "head.dates: is none, and model.options.dates mean"),
        ("classification", VIT, {"head": {"dates": "none"}}, "head.dates: is for maps, and the labels are one for"),
        ("change", UNET, {"head": {"dates": "none"}}, "head.dates: a change is one of all dates"),
        ("dated", SPECTRALGPT, {"head": {"kind": "spectralgpt"}}, "head.kind: spectralgpt takes 1 date"),
        ("dated", UNET, {"loss": {"mixup": 0.5}}, "loss.mixup: is for classification, not for segmentation"),
    ],
)  # fmt: skip
def test_what_cannot_answer_for_each_date_says_so(
    tmp_path: Path, target: str, model: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        tune(tmp_path / "run", target, model, dates=3, training=SHORT, **more)
    assert not (tmp_path / "run").exists()
