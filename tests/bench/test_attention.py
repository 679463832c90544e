from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from swath.bench import attention as bench
from swath.bench.attention import Case, main, make_rules, time_case, write_table


def case(tokens: int) -> Case:
    return Case("cuda", torch.float32, "none", True, tokens)


def test_rules_join_neighbours_and_change_half_way() -> None:
    rules = make_rules(
        [(case(100), "explicit"), (case(50), "explicit"), (case(400), "sdpa"), (case(900), "sdpa")]
    )
    assert [(rule["max_tokens"], rule["kernel"]) for rule in rules] == [(200, "explicit"), (None, "sdpa")]


def test_every_kernel_is_timed() -> None:
    times = time_case(Case("cpu", torch.float32, "learned", True, 9), work=200, runs=2)
    assert {kernel: len(t) for kernel, t in times.items()} == {"sdpa": 2, "explicit": 2}
    assert all(t > 0 for runs in times.values() for t in runs)


def test_table_keeps_other_devices_and_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    other = make_rules([(case(100), "flex")])
    path.write_text(json.dumps({"format_version": 1, "default": "sdpa", "notes": {"a": {}}, "rules": other}))
    mine = make_rules([(Case("cpu", torch.float32, "none", True, 9), "explicit")])
    write_table(path, mine, "cpu")
    write_table(path, mine, "cpu")
    table = json.loads(path.read_text())
    assert table["rules"] == other + mine
    assert table["notes"] == {"a": {}}


def test_command_writes_table_and_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TOKENS", (4,))
    table, results = tmp_path / "table.json", tmp_path / "results.json"
    table.write_text(json.dumps({"format_version": 1, "default": "sdpa", "rules": []}))
    results.write_text(json.dumps([{"measure": "attention.cuda.x"}]))
    monkeypatch.setattr(bench.run, "__defaults__", (100, 3))
    main(["--table", str(table), "--results", str(results)])
    records = json.loads(results.read_text())
    assert records[0] == {"measure": "attention.cuda.x"}
    assert len(records) == 11
    keys = ["measure", "value", "unit", "baseline", "ratio", "runs"]
    keys += ["machine", "threads", "commit", "command", "date", "note"]
    assert all(sorted(record) == sorted(keys) and len(record["runs"]) == 3 for record in records[1:])
    assert len(json.loads(table.read_text())["rules"]) == 10
