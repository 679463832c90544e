"""What a record says of the code that was measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMIT = [
    "git",
    "-c",
    "user.name=a",
    "-c",
    "user.email=a@example.org",
    "commit",
    "-q",
    "--allow-empty",
    "-m",
    "now",
]
MEASURE = f"""
import subprocess
from swath.bench.record import about
subprocess.run({COMMIT!r}, check=True)
print(about("make bench")["commit"])
"""


def test_the_commit_is_that_with_which_the_measurement_began(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    subprocess.run(COMMIT, cwd=tmp_path, check=True)
    first = git("rev-parse", "--short", "HEAD")
    shown = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert shown.stdout.strip() == first
