"""Settings that hold for every test: threads, hypothesis, time limits, and data that may be absent."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch or numpy load: with several workers on few cores, more threads than cores slow everything.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, "1")
# Threads that spin while they wait stop each other where cores are shared, as test machines' are. On an idle machine
# spinning is twice as fast for small networks, so the command line leaves it on.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Figures are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SLOW_TIMEOUT_SECONDS = 900

hypothesis.settings.register_profile("local", max_examples=20, deadline=None)
# The same examples in every run: a red build means that the code changed.
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("local"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI", "").lower() in {"1", "true"} else "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests a longer limit, and skip what this machine cannot run, with the reason."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_SECONDS))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Data sets that are not part of the repository; the test is skipped where they are absent."""
    folder = Path(os.environ.get("SWATH_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared data sets are not on this machine (set SWATH_SHARED_DATA to their folder)")
    return folder
