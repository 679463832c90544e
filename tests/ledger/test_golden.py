"""Folders of vectors: everything in them gets rows, and what nobody understands is red."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from swath.errors import InputError
from swath.ledger.golden import check_file, check_files, find_files
from swath.ledger.spectralgpt import check
from swath.models.spectralgpt import PRESETS
from swath.weights.convert.kinds import Plan, network_of
from swath.weights.convert.registry import KINDS

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = [p for p in find_files([GOLDEN]) if p.suffix == ".safetensors" and "head" not in p.name]
FULL = [
    p for p in find_files([GOLDEN]) if p not in SMALL and p.name not in ("losses.json", "contract_v1.json")
]


@pytest.mark.parametrize(
    "path", [*SMALL, GOLDEN / "contract_v1.json", GOLDEN / "spectralgpt" / "losses.json"], ids=str
)
def test_small_vectors_are_green(path: Path) -> None:
    checked = check_file(path)
    assert checked.rows and all(row.passed for row in checked.rows), [r for r in checked.rows if not r.passed]
    assert all(row.file == str(path) for row in checked.rows)


@pytest.mark.slow
@pytest.mark.parametrize("path", FULL, ids=lambda p: p.name)
def test_full_size_vectors_are_green(path: Path) -> None:
    checked = check_file(path)
    assert checked.rows and all(row.passed for row in checked.rows), [r for r in checked.rows if not r.passed]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["spectralgpt_large_96", "spectralgpt_large_128"])
def test_large_is_there_and_back_bit_for_bit(preset: str, tmp_path: Path) -> None:
    plan = Plan("spectralgpt", PRESETS[preset])
    back = KINDS["spectralgpt"].from_swath
    assert back is not None
    shapes = {n: list(t.shape) for n, t in back(network_of(plan).state_dict(), plan).items()}
    path = tmp_path / "spectralgpt_keys_large.json"
    path.write_text(json.dumps(shapes))
    assert len(shapes) > 300 and all(row.passed for row in check(path))


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_shared_vectors_are_green(repository: Path) -> None:
    folder = repository.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("the shared test vectors are not on this machine")
    rows = [row for checked in check_files(find_files([folder, GOLDEN])) for row in checked.rows]
    assert all(row.passed for row in rows), [r for r in rows if not r.passed]


def test_folders_are_searched_but_not_for_readmes_and_hidden_files(tmp_path: Path) -> None:
    for name in ("README.md", ".hidden", "a/README.txt", "a/b/x.bin", ".git/y.json", "z.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert [str(p.relative_to(tmp_path)) for p in find_files([tmp_path])] == ["a/b/x.bin", "z.json"]
    for wrong in (tmp_path / "none", tmp_path / "z.json"):
        with pytest.raises(InputError, match="folder"):
            find_files([wrong])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no test vectors"):
        find_files([tmp_path / "empty"])


def test_what_is_not_understood_is_red(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "keys_new.json").write_text('{"a": [1]}')
    (tmp_path / "cut.safetensors").write_bytes((SMALL[0]).read_bytes()[:1000])
    safetensors.torch.save_file({"param.x": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "contract_v9.json").write_text('{"bands": 3}')
    for checked in check_files(find_files([tmp_path])):
        assert [row.passed for row in checked.rows] == [False], checked.path
    said = json.loads((GOLDEN / "contract_v1.json").read_text())
    (tmp_path / "contract_v1.json").write_text(json.dumps({**said, "more": 1}))
    assert not check_file(tmp_path / "contract_v1.json").rows[0].passed


def test_equal_files_are_checked_once_and_told_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from swath.ledger import swin

    source = GOLDEN / "swin" / "swinunet_patch_expand.safetensors"
    paths = [tmp_path / name / source.name for name in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(source, path)
    runs: list[Path] = []
    original = swin.check
    monkeypatch.setattr(swin, "check", lambda path: runs.append(path) or original(path))
    first, second = check_files(paths)
    assert runs == paths[:1] and len(first.rows) == len(second.rows) >= 2
    assert {r.file for r in second.rows} == {str(paths[1])}


def test_a_check_that_breaks_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    from swath.ledger import swin

    def broken(path: Path) -> list[object]:
        raise ZeroDivisionError("x")

    monkeypatch.setattr(swin, "check", broken)
    rows = check_file(GOLDEN / "swin" / "swinunet_patch_expand.safetensors").rows
    assert [row.passed for row in rows] == [False] and "ZeroDivisionError" in rows[0].note
    monkeypatch.setattr(swin, "check", lambda path: [])
    assert not check_file(GOLDEN / "swin" / "swinunet_patch_expand.safetensors").rows[0].passed
