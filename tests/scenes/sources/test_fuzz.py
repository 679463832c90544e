"""Damaged GeoTIFFs: a named error, a listed hole, or a map that differs only within reach of the damage; no crash."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from pathlib import Path

import pytest

SEED, VARIANTS, PARTS = 7, 500, 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_hundred_damaged_files(tmp_path: Path) -> None:
    worker = Path(__file__).with_name("fuzz_worker.py")
    size = VARIANTS // PARTS
    # Programs of their own: a crash within GDAL would take this one with it.
    running = [
        subprocess.Popen(
            [sys.executable, str(worker), str(tmp_path), str(SEED), str(start), str(size)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for start in range(0, VARIANTS, size)
    ]
    rows = []
    for process in running:
        out, err = process.communicate(timeout=1700)
        lines = [json.loads(line) for line in out.splitlines()]
        assert process.returncode == 0, f"crashed at {lines[-1:]}: {err[-2000:]}"
        rows += [line for line in lines if "outcome" in line]
    assert len(rows) == VARIANTS
    faults = [row for row in rows if row["outcome"] == "fault"]
    assert not faults, faults[:3]
    came = collections.Counter((row["how"], row["outcome"]) for row in rows)
    # Every tile without its place and every file that was cut is noticed before a pixel is mapped.
    assert {outcome for how, outcome in came if how in ("no offset", "cut")} == {"named error"}
    # Of the rest all kinds of ends occur, or the test shows nothing.
    assert {"named error", "holes", "local", "same"} <= {outcome for _, outcome in came}
    # No reader can notice a changed place or a changed no-data value: TIFF has no checksum. Pixels alone never do that.
    assert all(how in ("header bit", "bits") for how, outcome in came if outcome.startswith("other"))
