from __future__ import annotations

import os

import pytest

from swath.errors import ConfigError, SwathError
from swath.training.ranks import World, decided, gathered, joined, world

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *(n for n in os.environ if n.startswith("SLURM_"))):
        monkeypatch.delenv(name, raising=False)


def place(monkeypatch: pytest.MonkeyPatch, **env: str) -> World:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return world()


def test_a_process_alone_leads() -> None:
    assert world() == World(0, 1, 0, 1) and world().leads
    with joined("cpu") as alone:
        assert alone.size == 1
        assert decided(lambda: 3) == 3 and gathered("x") == ["x"]


def test_torchrun_and_slurm_say_who_a_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert place(monkeypatch, **env) == World(5, 8, 1, 4)
    assert not world().leads
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    slurm = {"SLURM_NTASKS": "8", "SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_NNODES": "2"}
    assert place(monkeypatch, **slurm) == World(6, 8, 2, 4)
    # A job of one task, or an interactive shell in one, is one process.
    assert place(monkeypatch, SLURM_NTASKS="1") == World()


@pytest.mark.parametrize(
    "env",
    [
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "6", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"},
        {"RANK": "one", "WORLD_SIZE": "2"},
    ],
)
def test_places_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="torchrun"):
        place(monkeypatch, **env)


def test_an_error_of_the_leader_is_raised() -> None:
    def fail() -> int:
        raise SwathError("no")

    with pytest.raises(SwathError, match="no"):
        decided(fail)
