"""Two processes never work in one run's folder, and a process that is gone holds nothing."""

from __future__ import annotations

import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swath.errors import OutputError
from swath.training.claim import claimed

HOLD = """
import sys
from pathlib import Path
from swath.training.claim import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_a_folder_is_free_when_its_process_is_gone(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "a" / "run"
    process = holder(folder)
    with (
        pytest.raises(OutputError, match="run: another process works in it; wait until it ends"),
        claimed(folder),
    ):
        pass
    assert not any(folder.iterdir())
    if how == "ends":
        process.communicate()
    else:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with claimed(folder):
        pass


def test_within_one_process_it_may_be_claimed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with claimed(Path("run")), claimed(tmp_path / "run"):
        pass
    with pytest.raises(ValueError, match="x"), claimed(Path("run")):
        raise ValueError("x")
    process = holder(tmp_path / "run")  # nothing was kept
    process.communicate()


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with claimed(tmp_path / "run"):
        assert "cannot be locked (No locks available): nothing keeps a second run out" in caplog.text


def test_what_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be made"), claimed(tmp_path / "file" / "run"):
        pass
