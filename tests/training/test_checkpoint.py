from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swath.errors import InputError, OutputError
from swath.files import atomic
from swath.training.checkpoint import (
    checkpoint_path,
    checkpoints,
    load_checkpoint,
    newest_good,
    prune,
    save_checkpoint,
)

STATE = {"step": 3, "weights": {"a": torch.arange(100.0)}, "none": None, "list": [1, "x"]}


def test_it_comes_back_and_other_tools_can_read_and_check_it(tmp_path):
    path = tmp_path / "step-00000003.ckpt"
    save_checkpoint(STATE, path)
    state = load_checkpoint(path)
    assert state["step"] == 3 and torch.equal(state["weights"]["a"], torch.arange(100.0))
    assert torch.load(path, weights_only=True)["list"] == [1, "x"]
    subprocess.run(["sha256sum", "-c", "--quiet", f"{path.name}.sha256"], cwd=tmp_path, check=True)
    assert len(list(tmp_path.iterdir())) == 2


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_bit_or_a_cut_is_noticed(tmp_path: Path, data: st.DataObject):
    path = tmp_path / "step-00000001.ckpt"
    save_checkpoint(STATE, path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(path)


class Malice:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("ran",)


def test_a_pickle_that_runs_code_is_refused_without_running(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "step-00000001.ckpt"
    save_checkpoint({"weights": Malice()}, path)
    with pytest.raises(InputError, match="cannot be read safely"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Malice()))
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_the_newest_that_is_whole_is_found(tmp_path, caplog):
    assert newest_good(tmp_path) is None and newest_good(tmp_path / "none") is None
    for step in (5, 10, 15):
        save_checkpoint({**STATE, "step": step}, checkpoint_path(tmp_path, step))
    checkpoint_path(tmp_path, 15).write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        found = newest_good(tmp_path)
    assert found is not None and found[0] == 10 and found[2]["step"] == 10
    assert "step-00000015.ckpt" in caplog.text
    Path(f"{checkpoint_path(tmp_path, 10)}.sha256").unlink()
    checkpoint_path(tmp_path, 5).write_bytes(b"")
    with pytest.raises(InputError, match="every checkpoint is damaged"):
        newest_good(tmp_path)


def test_prune_leaves_the_newest_and_clears_what_was_left_behind(tmp_path):
    for step in (5, 10, 15, 20):
        save_checkpoint(STATE, checkpoint_path(tmp_path, step))
    (tmp_path / ".step-00000025.ckpt.1.tmp").write_bytes(b"half")
    (tmp_path / "step-00000025.ckpt.sha256").write_text("stray")
    prune(tmp_path, keep=2, newest=15)
    assert [s for s, _ in checkpoints(tmp_path)] == [15, 10]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_failed_write_leaves_nothing_under_the_name(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="cannot be written"), atomic(tmp_path / "b.txt"):
        pass  # nothing was written at all
    with atomic(tmp_path / "new" / "c.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "new" / "c.txt").read_text() == "whole"


@pytest.mark.parametrize("room", [0, 300, 5000, 100_000])
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, room):
    class Full(io.FileIO):
        left = room

        def write(self, data):
            Full.left -= len(data)
            if Full.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, mode="r", *a, **k: Full(self, "w") if mode == "wb" else opened(self, mode, *a, **k),
    )
    state = {"state_dict": {str(i): torch.zeros(1000) for i in range(50)}}
    with pytest.raises(
        OutputError, match=r"step-00000001\.ckpt: cannot be written \(No space left on device\)"
    ):
        save_checkpoint(state, tmp_path / "step-00000001.ckpt")
    assert not list(tmp_path.iterdir())
