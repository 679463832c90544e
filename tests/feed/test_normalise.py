from __future__ import annotations

from dataclasses import replace

import torch

from swath.feed.normalise import normalise
from swath.feed.windows import WindowFeed


def test_it_is_the_affine_of_the_contract_and_zero_where_invalid(cube, contract):
    batch = WindowFeed([cube(dates=2)], contract, 8).take(0, 5)
    out = normalise(batch)
    gain, bias = contract.affine(cube(dates=2))
    expected = batch.pixels.double() * torch.tensor(gain)[:, None, None] + torch.tensor(bias)[:, None, None]
    torch.testing.assert_close(out.double(), expected, atol=1e-4, rtol=1e-4)

    pixels, valid = batch.pixels.clone(), batch.valid.clone()
    valid[:, 0, 1, :3] = False
    pixels[:, 0, 1, :3] = float("nan")
    holed = normalise(replace(batch, pixels=pixels, valid=valid))
    assert (holed[~valid] == 0).all()
    assert torch.equal(holed[valid], out[valid])
