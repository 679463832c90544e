"""What is looked at now and then, in steps or parts of them."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from swath.training.keeper import due


@given(st.integers(1, 60), st.integers(1, 60))
def test_every_multiple_is_looked_at_in_the_step_in_which_it_ends(samples: int, per_step: int) -> None:
    every = Fraction(samples, per_step)
    steps = [step for step in range(1, 200) if due(step, every)]
    ends = {math.ceil(k * every) for k in range(1, 200 * 60)}
    assert steps == sorted(end for end in ends if end < 200)


@given(st.integers(1, 60), st.integers(1, 500))
def test_whole_steps_are_as_they_are_counted(every: int, step: int) -> None:
    assert due(step, every) == (step % every == 0)
