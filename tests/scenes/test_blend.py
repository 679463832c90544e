from __future__ import annotations

import numpy as np
import torch

from swath.scenes.blend import Accumulator, profile
from swath.scenes.box import Box


def test_profile_trims_fades_and_keeps_the_edges_of_the_scene() -> None:
    np.testing.assert_allclose(profile(8, 4, 1, False, False), [0, 0.25, 0.75, 1, 1, 0.75, 0.25, 0])
    np.testing.assert_allclose(profile(8, 4, 1, True, False), [1, 1, 1, 1, 1, 0.75, 0.25, 0])
    np.testing.assert_allclose(profile(8, 4, 2, False, True), [0, 0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(profile(4, 0, 0, False, False), 1.0)


def test_accumulator_adds_only_what_lies_in_the_block() -> None:
    total = Accumulator(1, Box(10, 10, 4, 4), torch.device("cpu"))
    ones = torch.ones(3, 3)
    total.add(torch.ones(1, 3, 3), Box(8, 12, 3, 3), ones)
    total.add(torch.ones(1, 3, 3), Box(20, 20, 3, 3), ones)
    expected = torch.zeros(4, 4)
    expected[0, 2:] = 1
    assert torch.equal(total.sum[0], expected)
