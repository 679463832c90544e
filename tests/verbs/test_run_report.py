"""The page about a run."""

from __future__ import annotations

import datetime as dt
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swath.cube import date_features
from swath.errors import InputError
from swath.verbs import run_report
from swath.verbs.run_report import (
    EXAMPLES,
    PICTURED,
    Examples,
    command,
    date_words,
    dates_of,
    loss_lines,
    pretraining_page,
    score_lines,
)


def test_lines_of_the_curves() -> None:
    records: list[dict[str, Any]] = [
        {"step": 0, "run": {}},
        {"step": 1, "loss": 4.0},
        {"step": 2, "loss": 2.0},
        {"step": 2, "validation": {"held_out_loss": 3.0}},
        {"step": 3, "loss": None},
        {"step": 4, "validation": {"overall_accuracy": 0.5}},
    ]
    lines = loss_lines(records)
    assert lines["training"] == [(1.0, 4.0), (2.0, 3.0)]
    assert lines["places held out"] == [(2.0, 3.0)]
    assert score_lines(records[4:]) == {"overall accuracy": [(4.0, 0.5)]}


def test_the_command_repeats_the_run_also_from_folders_with_spaces(tmp_path: Path) -> None:
    words = shlex.split(command("pretrain", tmp_path / "my run"))
    assert words == [
        "swath",
        "pretrain",
        str(tmp_path / "my run" / "config.yaml"),
        "--run.folder",
        str(tmp_path / "my run") + "-again",
    ]


def test_examples_are_kept_beside_the_weights(chain: Any, tmp_path: Path) -> None:
    kept = Examples.load(Path(chain.pretrained.folder) / EXAMPLES)
    assert kept.bands == ("B2", "B3", "B4")
    assert len(kept.places) == 1
    assert kept.original.shape == kept.reconstructed.shape == kept.hidden.shape == kept.valid.shape
    assert kept.original.shape[-3:] == (3, 16, 16)
    assert 0 < kept.hidden.mean() < 1
    assert np.isfinite(kept.reconstructed).all()
    assert kept.figure(0).startswith(b"\x89PNG")
    assert kept.figure(0, ("B4",)).startswith(b"\x89PNG")
    (tmp_path / "bad.npz").write_text("nothing")
    with pytest.raises(InputError, match="cannot be read"):
        Examples.load(tmp_path / "bad.npz")


def test_the_pages_say_what_was_learned_from(chain: Any) -> None:
    page = (Path(chain.finetuned.folder) / "report.html").read_text("utf-8")
    assert "Learned from columns 0 to 47" in page
    assert "columns from 80 on were never seen" in page
    assert "swath finetune" in page
    assert "B2" in (Path(chain.pretrained.folder) / "report.html").read_text("utf-8")


def test_dates_come_back_from_what_the_network_is_told_of_them() -> None:
    days = [dt.date(2008, 12, 31), dt.date(2009, 1, 1), None, dt.date(2024, 2, 29)]
    dates = dates_of(date_features(days))
    assert dates.tolist() == days
    words = [date_words(d, i) for i, d in enumerate(dates)]
    assert words == ["31 Dec 2008", "1 Jan 2009", "date 3", "29 Feb 2024"]


def test_a_series_of_examples_is_one_picture(tmp_path: Path) -> None:
    shape = (1, 3, 4, 8, 8)
    pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    days = np.array([["2020-01-05", "2020-03-01", "NaT"]], "M8[D]")
    made = Examples(
        pixels,
        pixels + 1,
        np.zeros(shape, bool),
        np.ones(shape, bool),
        days,
        ("B1", "B2", "B3", "B4"),
        ("a",),
    )
    made.save(tmp_path / EXAMPLES)
    kept = Examples.load(tmp_path / EXAMPLES)
    assert kept.dates.tolist() == days.tolist()
    assert kept.series(0) == kept.series(0, ("B4", "B3", "B2"))
    assert kept.series(0) != kept.series(0, ("B1",))
    assert kept.figure(0, date=1) != kept.figure(0)


def test_of_many_places_held_out_only_the_first_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = tuple(f"p{i:03}" for i in range(PICTURED + 3))
    zeros = np.zeros((len(places), 1, 2, 4, 4), np.float32)
    seen = Examples(
        zeros, zeros, zeros > 0, zeros == 0, np.full((len(places), 1), "NaT", "datetime64[D]"), ("B2", "B3"), places
    )  # fmt: skip
    monkeypatch.setattr(run_report, "examples", lambda *_: seen)
    monkeypatch.setattr(run_report, "command", lambda *_: "swath pretrain")
    result: Any = SimpleNamespace(
        steps=1, loss=1.0, samples_per_second=1.0, precision=SimpleNamespace(name="fp32"),
        records=[{"step": 1, "loss": 1.0}],
    )  # fmt: skip
    config: Any = SimpleNamespace(model=SimpleNamespace(system="mae"), training=SimpleNamespace(seed=0))
    unused: Any = object()
    page = pretraining_page(tmp_path, config, unused, unused, result, 1).read_text("utf-8")
    assert f"The first {PICTURED} of {len(places)}." in page
    assert f"p{PICTURED - 1:03}" in page and f"p{PICTURED:03}" not in page
    assert Examples.load(tmp_path / EXAMPLES).places == places  # all are kept
