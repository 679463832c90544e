"""`swath ledger` on the command line: rows, exit codes, JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from swath.cli import main

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = GOLDEN / "swin" / "vsw3d_layer_pad.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good").mkdir()
    shutil.copy(SMALL, tmp_path / "good")
    return tmp_path / "good"


def test_a_green_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "--golden", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "max abs error" in told and "out_block1" in told and "0 failed" in told and "FAIL" not in told


def test_two_folders_and_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(GOLDEN / "contract_v1.json", other)
    assert main(["ledger", "--golden", str(folder), "--golden", str(other), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] and told["files"] == 2
    assert {Path(row["file"]).name for row in told["rows"]} == {SMALL.name, "contract_v1.json"}
    assert all(row["status"] == "pass" for row in told["rows"])
    assert main(["ledger", "--golden", f"[{folder}, {other}]", "--json", "true"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 2


def test_a_changed_number_a_strange_file_and_an_unmapped_weight_are_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / SMALL.name
    arrays = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as reader:
        meta = reader.metadata()
    for change in (
        {"out": arrays["out"] + 1e-3},
        {"param.more.weight": torch.zeros(2)},
        {"more": torch.zeros(2)},
    ):
        safetensors.torch.save_file({**arrays, **change}, path, meta)
        assert main(["ledger", "--golden", str(folder)]) == 1
        assert "FAIL" in capsys.readouterr().out
    safetensors.torch.save_file(arrays, path, meta)
    (folder / "strange.json").write_text("{}")
    assert main(["ledger", "--golden", str(folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["passed"] and [r["file"] for r in told["rows"] if r["status"] == "FAIL"] == [
        str(folder / "strange.json")
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing is chosen"),
        (["--golden", "no/such/folder"], "no such folder"),
        (["--paths", "--only", "warp"], "warp"),
        (["--paths", "--steps", "0"], "below 1"),
        (["--golden", ".", "--write", "x.md"], "--paths"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]
