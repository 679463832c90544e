"""Blocks shared out among workers that die, lie low or fail."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.errors import InputError
from swath.scenes.piece import Piece, Record
from swath.scenes.runners.pool import TRIES, Remote, WorkerError, WorkerLost, share_out


def piece(index: int) -> Piece:
    return Piece(Record(index, "", (), 1, 0, 0), b"")


class Fake:
    """A worker that does as `rule` says; counts how many are at work at once."""

    busy = most = 0
    lock = threading.Lock()

    def __init__(self, rule: Callable[[int], None]) -> None:
        self.rule, self.closed, self.ahead = rule, False, None

    def run(self, index: int, following: int | None) -> Piece:
        assert not self.closed
        assert self.ahead in (None, index), "what was read ahead must come next"
        self.ahead = following
        with Fake.lock:
            Fake.busy += 1
            Fake.most = max(Fake.most, Fake.busy)
        try:
            self.rule(index)
        finally:
            with Fake.lock:
                Fake.busy -= 1
        return piece(index)

    def close(self) -> None:
        self.closed = True


@given(
    st.integers(1, 5),
    st.lists(st.integers(0, 1000), unique=True, max_size=30),
    st.sets(st.integers(0, 30), max_size=6),
)
def test_every_block_comes_once_whoever_dies(workers: int, todo: list[int], deaths: set[int]) -> None:
    calls = 0
    lock = threading.Lock()
    got: list[int] = []
    lost: dict[int, int] = {}

    def rule(index: int) -> None:
        nonlocal calls
        with lock:
            calls += 1
            if calls in deaths and lost.get(index, 0) < TRIES - 1:
                lost[index] = lost.get(index, 0) + 1
                raise WorkerLost

    share_out(lambda: Fake(rule), workers, todo, lambda p: got.append(p.record.block))
    assert sorted(got) == sorted(todo)


def test_no_more_are_in_flight_than_workers() -> None:
    Fake.most = 0
    share_out(lambda: Fake(lambda i: None), 3, range(50), lambda p: None)
    assert 1 <= Fake.most <= 3


def test_a_block_that_kills_every_worker_is_given_up() -> None:
    made: list[Remote] = []

    def start() -> Remote:
        def rule(index: int) -> None:
            if index == 4:
                raise WorkerLost

        made.append(Fake(rule))
        return made[-1]

    with pytest.raises(WorkerError, match="ended 3 times over block 4 without a word"):
        share_out(start, 2, range(9), lambda p: None)
    assert all(w.closed for w in made)  # type: ignore[attr-defined]  # they are Fakes


@pytest.mark.parametrize("who", ["worker", "put"])
def test_the_first_error_ends_all(who: str) -> None:
    made: list[Fake] = []

    def fail(index: int) -> None:
        if index == 5:
            raise InputError("is damaged", where="scene")

    def start() -> Remote:
        made.append(Fake(fail if who == "worker" else lambda i: None))
        return made[-1]

    with pytest.raises(InputError, match="scene: is damaged"):
        share_out(start, 3, range(100), lambda p: fail(p.record.block) if who == "put" else None)
    assert all(w.closed for w in made)
