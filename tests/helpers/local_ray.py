"""A real Ray on this machine, for the tests of a module."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

# Ray's own: sockets and files of processes that were killed, and remarks on its future defaults.
RAY_WARNINGS = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@contextlib.contextmanager
def local_cluster(cpus: int) -> Iterator[Any]:
    """The module `ray`, started with that many CPUs; whatever runs in this process meanwhile uses it."""
    ray = importlib.import_module("ray")
    paths = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    ray.init(
        address="local",  # whatever cluster was left on this machine
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": paths},
        object_store_memory=100 << 20,
    )
    try:
        yield ray
    finally:
        ray.shutdown()
