"""The ledger of the Swin family on numbers of the published codes (tests/golden/swin)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from swath.ledger.swin import check, understands

GOLDEN = Path(__file__).parents[1] / "golden" / "swin"
VECTORS = sorted(GOLDEN.glob("*.safetensors"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_published_vectors(path: Path) -> None:
    assert understands(path)
    rows = check(path)
    assert [(row.quantity, row.error, row.note) for row in rows if not row.passed] == []
    assert {row.file for row in rows} == {path.name}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_array_is_compared(path: Path, tmp_path: Path) -> None:
    tensors = load_file(path)
    with safe_open(path, "pt") as reader:
        meta = reader.metadata()
    inputs = {"x", "imgs", "noise", "pe_in", "fe_in"}
    arrays = [n for n in tensors if not n.startswith(("param.", "in2d.", "out3d.")) and n not in inputs]
    arrays = [n for n in arrays if not n.endswith(".noise")]
    for name in arrays:
        tensors[name].view(-1)[-1] += 1
    for name in tensors:
        if name.startswith("out3d."):
            tensors[name].view(-1)[-1] += 1
    save_file(tensors, tmp_path / path.name, meta)
    red = {row.quantity for row in check(tmp_path / path.name) if not row.passed}
    assert set(arrays) <= red and red


@pytest.mark.parametrize("name", ["keys_swinmae", "keys_swinunet_hucao", "keys_videoswin"])
def test_lists_of_names(name: str, tmp_path: Path) -> None:
    path = GOLDEN / f"{name}.json"
    assert understands(path)
    rows = check(path)
    listed = json.loads(path.read_text())
    assert len(rows) == 2 * len(listed) and all(row.passed for row in rows)
    for names in listed.values():
        names.remove("layers.0.blocks.0.norm1.weight")
        names.append("something.weight")
    (tmp_path / path.name).write_text(json.dumps(listed))
    assert [row.passed for row in check(tmp_path / path.name)] == [False, True] * len(listed)


def test_unknown_and_damaged_files_are_red(tmp_path: Path) -> None:
    unknown = tmp_path / "unknown.safetensors"
    save_file({"a": torch.zeros(1)}, unknown)
    (tmp_path / "damaged.safetensors").write_bytes(VECTORS[0].read_bytes()[:5000])
    (tmp_path / "list.json").write_text('{"a": ["b"]}')
    (tmp_path / "text.json").write_text("no json")
    for name in ("unknown.safetensors", "damaged.safetensors", "list.json", "text.json", "absent.json"):
        path = tmp_path / name
        assert not understands(path)
        rows = check(path)
        assert len(rows) == 1 and not rows[0].passed and rows[0].note, name


def test_constructors_that_no_network_has_are_red(tmp_path: Path) -> None:
    path = GOLDEN / "vsw3d_layer_even.safetensors"
    with safe_open(path, "pt") as reader:
        meta = json.loads(reader.metadata()["meta"])
    for key, value in (("qk_scale", 0.5), ("num_heads", 8), ("shift_size_configured", [1, 1, 1])):
        save_file(load_file(path), tmp_path / path.name, {"meta": json.dumps({**meta, key: value})})
        red = [row for row in check(tmp_path / path.name) if not row.passed]
        assert red and key in red[0].note + red[0].quantity
    save_file(load_file(path), tmp_path / path.name, {"meta": json.dumps({**meta, "window_size": [2, 4, 3]})})
    assert not all(row.passed for row in check(tmp_path / path.name))
