"""The wheel, as a user gets it: complete, installable in a clean environment, and the demo runs from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(*words: object, cwd: Path) -> str:
    # A user's shell knows nothing of this test run.
    environment = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PYTEST", "PYTHON", "VIRTUAL_ENV", "OMP_", "MKL_"))
    }
    # On a busy machine two threads that wait for each other take ten times as long as one.
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [str(w) for w in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, REPOSITORY, cwd=folder)
    (path,) = folder.glob("swath-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    constraints = REPOSITORY / "constraints.txt"
    run(python, "-m", "pip", "install", "--quiet", "-c", constraints, wheel, cwd=folder.parent)
    yield folder / "bin"
    # Tens of thousands of files, which pytest would keep for three runs.
    shutil.rmtree(folder.parent)


def test_the_wheel_holds_every_file_of_the_package_and_the_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        metadata = archive.read(next(n for n in held if n.endswith("/METADATA"))).decode()
        entry_points = archive.read(next(n for n in held if n.endswith("/entry_points.txt"))).decode()
    source = REPOSITORY / "src"
    wanted = {
        str(p.relative_to(source))
        for p in (source / "swath").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")
    }
    assert held >= wanted
    assert {n for n in held if ".dist-info/" not in n} == wanted
    assert any(n.endswith("licenses/LICENSE") for n in held)
    assert any(n.endswith("licenses/NOTICE") for n in held)
    assert "License-Expression: Apache-2.0" in metadata
    assert "swath = swath.cli:main" in entry_points
    assert wheel.stat().st_size < 20e6


def test_it_installs_and_answers(environment: Path, tmp_path: Path) -> None:
    assert run(environment / "swath", "--version", cwd=tmp_path).startswith("swath ")
    assert "usage: swath VERB" in run(environment / "swath", "--help", cwd=tmp_path)
    run(environment / "python", "-m", "pip", "check", cwd=tmp_path)
    where = run(environment / "python", "-c", "import swath; print(swath.__file__)", cwd=tmp_path)
    assert str(REPOSITORY) not in where


def test_the_demo_runs_outside_the_repository(environment: Path, tmp_path: Path) -> None:
    run(environment / "swath", "demo", "--quick", "true", cwd=tmp_path)
    folder = tmp_path / "runs" / "demo"
    assert (folder / "map.tif").stat().st_size > 0
    assert "<html" in (folder / "report.html").read_text("utf-8")[:1000].lower()
    assert json.loads((folder / "table.json").read_text("utf-8"))
