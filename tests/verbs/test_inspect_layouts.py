"""The list of layouts, as a person and as a program read it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from swath.cli import main
from swath.data.layouts.registry import LAYOUTS
from swath.verbs.inspect_layouts import list_layouts


def test_every_layout_is_listed_in_order_with_all_that_is_known() -> None:
    result = list_layouts()
    assert [info.name for info in result.layouts] == list(LAYOUTS)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(result.summary())
    text = console.export_text()
    for info in result.layouts:
        assert info.name in text and info.title.split("(")[0].strip()[:40] in text
    assert "62: airport, airport_hangar" in text and "(42 more with --json)" in text


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--layouts", "true", "--json", "true"]) == 0
    layouts: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["layouts"]
    fmow = next(info for info in layouts if info["name"] == "fmow-sentinel")
    assert len(fmow["classes"]) == 62 and fmow["sensors"]["sentinel2"][8] == "B8A"


def test_the_page_on_data_sets_names_each(repository: Path) -> None:
    page = (repository / "docs" / "data.md").read_text("utf-8")
    assert [name for name in LAYOUTS if f"`{name}`" not in page] == []
