"""Foreign files: what is read, and that nothing in them ever runs."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import OutputError, WeightsError
from swath.weights.convert.reader import read_foreign, strip_prefix, write_foreign
from swath.weights.file import same_state

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path, how: Any = os.system) -> None:
        self.path, self.how = path, how

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        if self.how is os.system:
            return os.system, (f"touch {self.path}",)
        return self.how, (f"open({str(self.path)!r}, 'w').close()",)


def error(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_foreign(path)
    text = str(caught.value)
    assert "\n" not in text and path.name in text
    return text


@pytest.mark.parametrize(
    ("content", "container", "beside"),
    [
        (STATE, "", ()),
        ({"model": STATE, "epoch": 3}, "model", ("epoch",)),
        ({"meta": {"x": 1}, "state_dict": STATE}, "state_dict", ("meta",)),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_reads_state_dicts_wherever_they_are_kept(
    tmp_path: Path, content: Any, container: str, beside: tuple[str, ...], prefix: str
) -> None:
    named = {prefix + k: v for k, v in STATE.items()}
    torch.save({**content, container: named} if container else named, tmp_path / "x.pth")
    read = read_foreign(tmp_path / "x.pth")
    assert same_state(read.state, STATE)
    assert (read.container, read.prefix, read.beside) == (container, prefix, beside)
    assert len(read.sha256) == 64


def test_reads_what_training_scripts_leave_beside_the_weights(tmp_path: Path) -> None:
    args = argparse.Namespace(model="mae", output_dir=Path("out"), lr=1e-4, bands=[1, 2])
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    content = {"model": STATE, "args": args, "optimizer": optimizer, "best": np.float64(0.5), "scaler": {}}
    torch.save(content, tmp_path / "x.pth")
    assert same_state(read_foreign(tmp_path / "x.pth").state, STATE)


def test_reads_the_old_format_and_safetensors(tmp_path: Path) -> None:
    torch.save({"model": STATE}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file({f"module.{k}": v for k, v in STATE.items()}, tmp_path / "x.safetensors")
    assert same_state(read_foreign(tmp_path / "old.pt").state, STATE)
    assert same_state(read_foreign(tmp_path / "x.safetensors").state, STATE)


@pytest.mark.parametrize("how", [os.system, eval, exec])
@pytest.mark.parametrize("form", ["archive", "old", "bare"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, how: Any, form: str) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"
    content = {"model": STATE, "args": Evil(marker, how)}
    if form == "bare":
        path.write_bytes(pickle.dumps(Evil(marker, how)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "archive")
    text = error(path)
    assert not marker.exists()
    if form == "archive":
        assert "was not loaded" in text
    # The file would have run, had it been read in the ordinary way.
    if form == "bare":
        pickle.loads(path.read_bytes())
        assert marker.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "x.pth")
    assert "torch.nn.modules.linear.Linear" in error(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.ckpt"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"hello, this is no checkpoint at all", b"\x80\x02}q\x00"]
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    error(tmp_path / name)


def test_what_is_missing_or_of_another_ending_is_refused(tmp_path: Path) -> None:
    assert "no such file" in error(tmp_path / "x.pth")
    (tmp_path / "x.h5").write_bytes(b"")
    assert ".pth" in error(tmp_path / "x.h5")
    with pytest.raises(OutputError):
        write_foreign(tmp_path / "x.h5", STATE)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ([1, 2], "list"),
        ({}, "nothing"),
        ({"epoch": 1}, "epoch"),
        ({"model": {"a": 1}}, "'a'"),
        ({"model": {3: torch.zeros(1)}}, "'3'"),
        ({"model": {"a": torch.eye(2).to_sparse()}}, "'a'"),
    ],
)
def test_content_without_a_state_dict_is_refused(tmp_path: Path, content: Any, word: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    assert word in error(tmp_path / "x.pth")


def test_swaths_own_weights_are_not_foreign(tmp_path: Path) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "x.safetensors", {"swath_sha256": "0" * 64})
    assert "already" in error(tmp_path / "x.safetensors")


@pytest.mark.parametrize("new", [True, False])
def test_damage_is_noticed_or_harmless(tmp_path_factory: pytest.TempPathFactory, new: bool) -> None:
    folder = tmp_path_factory.mktemp("damage")
    torch.save(
        {"model": STATE, "args": argparse.Namespace(a=1)},
        folder / "x.pth",
        _use_new_zipfile_serialization=new,
    )
    whole = (folder / "x.pth").read_bytes()

    @given(st.integers(0, len(whole) - 1), st.integers(1, 255), st.booleans())
    def damage(at: int, flip: int, cut: bool) -> None:
        broken = whole[:at] if cut else whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
        path = folder / "y.pth"
        path.write_bytes(broken)
        try:
            read = read_foreign(path)
        except WeightsError as err:
            assert "\n" not in str(err)
        else:
            # Archives have checksums: tensors that are read are the ones that were written.
            assert not new or all(torch.equal(v, STATE[k]) for k, v in read.state.items() if k in STATE)

    damage()


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_writes_what_it_reads(tmp_path: Path, name: str) -> None:
    container = "" if name.endswith("safetensors") else "model"
    write_foreign(tmp_path / name, STATE, container=container, prefix="module.")
    read = read_foreign(tmp_path / name)
    assert same_state(read.state, STATE)
    assert (read.container, read.prefix) == (container, "module.")


def test_a_prefix_goes_only_if_all_names_have_it() -> None:
    t = torch.zeros(1)
    assert strip_prefix({"module.module.a": t, "module.module.b": t}, "module.") == (
        {"a": t, "b": t},
        "module.module.",
    )
    assert strip_prefix({"module.a": t, "b": t}, "module.")[1] == ""
    assert strip_prefix({}, "module.") == ({}, "")
