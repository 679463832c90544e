"""What the page says was measured is what the records say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swath.bench.transfer_docs import BEGIN, END, measured, put
from swath.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]


def record(measure: str, runs: list[float], **other: Any) -> dict[str, Any]:
    common = {
        "unit": "IoU",
        "machine": "a CPU",
        "threads": 1,
        "commit": "abc1234",
        "command": "make bench-transfer",
    }
    return {"measure": measure, "value": sum(runs) / len(runs), "runs": runs, **common, **other}


def test_the_page_shows_the_records() -> None:
    records = json.loads((REPOSITORY / "bench" / "results" / "transfer.json").read_text("utf-8"))
    page = (REPOSITORY / "docs" / "transfer.md").read_text("utf-8")
    assert put(page, measured(records)) == page, "run make transfer-docs"


def test_rows_stand_over_shares_best_first() -> None:
    found = measured(
        [
            record("water.iou.forest.100", [0.2, 0.4]),
            record("water.iou.unet.scratch.100", [0.5, 0.5], command="make b"),
            record("water.iou.forest.10", [0.1]),
            record("otbtf.accuracy.forest", [0.75], unit="accuracy"),
        ]
    )
    first, second = found.split("\n\n### ")
    assert first.startswith("### OTBTF patches: accuracy\n\n| row | 100 % of the labels |")
    assert "| `forest` | 0.750 (1 seed) |" in first and "`otbtf.accuracy.ROW`" in first
    rows = [line for line in second.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `unet.scratch` | – | 0.500 ± 0.000 (2 seeds) |",
        "| `forest` | 0.100 (1 seed) | 0.300 ± 0.141 (2 seeds) |",
    ]
    assert second.splitlines()[2] == "| row | 10 % of the labels | 100 % of the labels |"
    assert "make b\nmake bench-transfer\n```" in second and "a CPU, 1 thread; commits abc1234" in second


def test_a_set_without_a_title_has_its_word() -> None:
    assert measured([record("fields.miou.unet", [0.5])]).startswith("### fields: IoU")


@pytest.mark.parametrize("page", ["", BEGIN, END + BEGIN, BEGIN + BEGIN + END])
def test_a_page_without_a_place_is_refused(page: str) -> None:
    with pytest.raises(InputError, match="no place for what was measured"):
        put(page, "x")


def test_what_stood_there_before_is_replaced() -> None:
    once = put(f"a\n{BEGIN}\nold\n{END}\nb", "new")
    assert once == f"a\n{BEGIN}\n\nnew\n\n{END}\nb" and put(once, "new") == once
