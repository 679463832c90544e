from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from swath.errors import OutputError
from swath.report.table import Metric, Row, Table

METRICS = (
    Metric("oa", "overall accuracy"),
    Metric("loss", "loss", "lower", ".2f"),
    Metric("n", "pixels", "neither", ",.0f"),
)
TABLE = Table(
    "East <half>",
    METRICS,
    (
        Row("ours & theirs", {"oa": (0.7, 0.8), "loss": 0.5, "n": 62317}, "two seeds"),
        Row("tied", {"oa": 0.7502, "loss": float("nan"), "n": 1}),
        Row("worse", {"oa": 0.1, "loss": 0.6}),
    ),
    ("The labels are older than the image.",),
)


def test_cells() -> None:
    assert [TABLE.text(TABLE.rows[0], m) for m in METRICS] == ["0.750 ± 0.071", "0.50", "62,317"]
    assert [TABLE.text(TABLE.rows[1], m) for m in METRICS] == ["0.750", "–", "1"]
    assert TABLE.text(TABLE.rows[2], METRICS[2]) == "–"


def test_best_is_marked_and_what_reads_the_same_ties() -> None:
    assert [TABLE.best(m) for m in METRICS] == [("ours & theirs", "tied"), ("ours & theirs",), ()]
    assert Table("", METRICS, TABLE.rows[:1]).best(METRICS[0]) == ()


def test_json_is_plain_and_written_whole(tmp_path: Path) -> None:
    path = TABLE.write_json(tmp_path / "table.json")
    data = json.loads(path.read_text())
    assert data["rows"][0] == {
        "name": "ours & theirs",
        "values": {"oa": 0.75, "loss": 0.5, "n": 62317.0},
        "runs": {"oa": [0.7, 0.8], "loss": [0.5], "n": [62317.0]},
        "best": ["oa", "loss"],
        "note": "two seeds",
    }
    assert data["rows"][1]["values"]["loss"] is None
    assert data["metrics"][1] == {"key": "loss", "title": "loss", "better": "lower"}
    assert data["notes"] == list(TABLE.notes)
    assert [p.name for p in tmp_path.iterdir()] == ["table.json"]
    with pytest.raises(OutputError, match="cannot be written"):
        TABLE.write_json(path / "table.json")


@pytest.mark.parametrize("width", [60, 120])
def test_terminal(width: int) -> None:
    out = io.StringIO()
    TABLE.print(Console(file=out, width=width))
    said = out.getvalue()
    assert "0.750 ± 0.071 *" in said
    assert "two seeds" in said
    assert "• The labels are older than the image." in said
    assert max(map(len, said.splitlines())) <= width


def test_html_is_escaped() -> None:
    html = TABLE.to_html()
    assert "ours &amp; theirs<small>two seeds</small>" in html
    assert '<td class="n best"><b>0.750</b></td>' in html


def test_markdown() -> None:
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "| | overall accuracy | loss | pixels |"
    assert lines[1] == "|---|---:|---:|---:|"
    assert lines[2] == "| ours & theirs (two seeds) | **0.750 ± 0.071** | **0.50** | 62,317 |"
    assert lines[-1] == "The labels are older than the image."
