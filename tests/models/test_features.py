from __future__ import annotations

import pytest
import torch

from swath.models.features import Features


def test_every_map_has_a_stride() -> None:
    maps = (torch.zeros(1, 1, 1, 4, 2, 2),)
    assert Features(maps, (8,), torch.zeros(1, 4)).strides == (8,)
    with pytest.raises(ValueError, match="strides"):
        Features(maps, (8, 16), torch.zeros(1, 4))
