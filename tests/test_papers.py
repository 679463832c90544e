"""The table of published numbers: none of ours stands there without its record, and no value without its mark."""

from __future__ import annotations

import json
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPES = REPOSITORY / "src" / "swath" / "recipes"


def rows() -> list[list[str]]:
    text = (REPOSITORY / "docs" / "papers.md").read_text("utf-8")
    table = text.split("## Published numbers, and ours")[1].split("\n|---")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def test_ours_is_empty_or_names_a_record_with_that_value() -> None:
    assert len(rows()) > 15
    for row in rows():
        ours = row[4]
        if ours == "–":
            continue
        found = re.fullmatch(r"([\d./ ]+) \(`(\w+)\.json`, `([\w.]+)`\)", ours)
        assert found, f"{row[1]}: write the value, the file and the measure"
        records = json.loads((REPOSITORY / "bench" / "results" / f"{found[2]}.json").read_text("utf-8"))
        (record,) = [r for r in records if r["measure"] == found[3]]
        assert float(found[1]) == round(record["value"], len(found[1].partition(".")[2]))


def test_every_published_value_says_how_sure_it_is() -> None:
    for row in rows():
        assert len(row) == 6
        assert (row[3] in {"P", "S", "D"}) if row[2] != "unknown" else row[3] == ""
        named = re.fullmatch(r"`swath finetune ([\w-]+)`", row[5]) if row[5] else None
        assert not row[5] or (named and (RECIPES / f"{named[1]}.yaml").exists())
