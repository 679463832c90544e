"""Arrays whose memory is used again never share it while they are held."""

from __future__ import annotations

import gc
import threading
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.pages import SMALL, Kept, pages

# An array, and which of those that are held is let go first.
STEPS = st.lists(st.tuples(st.integers(SMALL // 2, 4 * SMALL), st.integers(0, 5)), min_size=1, max_size=12)


@given(STEPS, st.booleans())
def test_arrays_that_are_held_keep_what_was_written(steps: list[tuple[int, int]], cleared: bool) -> None:
    kept, held = Kept(), []
    with kept.lending():
        for number, (size, gone) in enumerate(steps, 1):
            if gone < len(held):
                del held[gone]
            array = pages((size,), np.uint8, cleared=cleared)
            assert not cleared or not array.any()
            array.fill(number)
            # A view alone keeps its memory too.
            held.append((number, torch.from_numpy(array)[1:-1]))
            del array
            assert all(bool((view == n).all()) for n, view in held)


def test_memory_is_used_again_and_grows_to_the_largest_alone() -> None:
    kept = Kept()
    with kept.lending():
        for size in (SMALL, SMALL + 4096, 5 * SMALL // 4, SMALL, 5 * SMALL // 4 - 1):
            pages((size,), np.uint8)[:] = 1
    assert kept.idle_bytes == 5 * SMALL // 4
    with kept.lending():
        assert not pages((SMALL // 4, 5), np.uint8).any()
        one, two = pages((SMALL,), np.uint8), pages((SMALL // 2,), np.int16)
        assert not two.any() and not np.shares_memory(one, two)
    del one, two
    assert kept.idle_bytes == 9 * SMALL // 4
    kept.close()
    assert kept.idle_bytes == 0


def test_smaller_ones_of_a_kind_come_from_memory_for_the_largest() -> None:
    kept = Kept()
    for rows in (3, 5, 4, 5, 2, 3):
        with kept.lending(Fraction(rows, 5)):
            pages((rows, SMALL), np.uint8)[:] = 1
            array = pages((rows, SMALL), np.float32)
            assert not array.any()
            array[:] = 1
            del array
    assert kept.idle_bytes == 5 * SMALL + 4 * 5 * SMALL


def test_what_is_held_longer_than_its_lender_goes_when_it_is_let_go() -> None:
    kept = Kept()
    with kept.lending():
        array = pages((SMALL,), np.float32)
    kept.close()
    array += 1
    assert array.sum() == SMALL
    del array
    assert kept.idle_bytes == 0


def test_only_the_thread_that_asks_is_lent_to() -> None:
    kept, made = Kept(), threading.Event()

    def elsewhere() -> None:
        pages((SMALL,), np.uint8)
        made.set()

    with kept.lending():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert made.is_set() and kept.idle_bytes == 0
    pages((SMALL,), np.uint8)
    assert kept.idle_bytes == 0


def test_lenders_are_stacked() -> None:
    outer, inner = Kept(), Kept()
    with outer.lending():
        with inner.lending():
            pages((SMALL,), np.uint8)
        pages((2 * SMALL,), np.uint8)
    assert (outer.idle_bytes, inner.idle_bytes) == (2 * SMALL, SMALL)


def test_a_ring_of_references_is_given_back_by_the_collector() -> None:
    kept = Kept()
    with kept.lending():
        ring: list[Any] = [pages((SMALL,), np.uint8)]
    ring.append(ring)
    del ring
    gc.collect()
    assert kept.idle_bytes == SMALL


def test_what_is_too_large_is_said_as_numpy_says_it() -> None:
    kept = Kept()
    with kept.lending(), pytest.raises(MemoryError, match="cannot be had"):
        pages((1 << 62,), np.uint8)
    with pytest.raises(MemoryError):
        pages((1 << 70,), np.uint8)
    assert kept.idle_bytes == 0
