from __future__ import annotations

import pytest
import torch

from swath.scenes.layers import Activation
from swath.scenes.turns import blendable, windows_of


def make_call(rows: int = 3):
    weight = torch.randn(rows, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    return lambda pixels, valid: torch.nn.functional.conv2d(pixels[:, 0], weight, padding=1)


def windows(height: int = 8, width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(2, 1, 2, height, width, generator=torch.Generator().manual_seed(1))
    return x, torch.ones_like(x, dtype=torch.bool)


def test_turning_averages_over_the_eight_ways_and_commutes_with_them() -> None:
    call = make_call()
    x, valid = windows()
    p = blendable(call, x, valid, "softmax", turns=True, spread=False)
    torch.testing.assert_close(p.sum(1), torch.ones(2, 8, 8))
    q = blendable(call, torch.rot90(x.flip(-1), 1, (-2, -1)), valid, "softmax", turns=True, spread=False)
    torch.testing.assert_close(q, torch.rot90(p.flip(-1), 1, (-2, -1)))


def test_windows_that_are_not_square_are_turned_by_half() -> None:
    call = make_call()
    x, valid = windows(8, 6)
    p = blendable(call, x, valid, "identity", turns=True, spread=False)
    q = blendable(call, torch.rot90(x, 2, (-2, -1)), valid, "identity", turns=True, spread=False)
    torch.testing.assert_close(q, torch.rot90(p, 2, (-2, -1)))


@pytest.mark.parametrize("turns", [False, True])
def test_spread_is_what_the_views_disagree_on(turns: bool) -> None:
    x, valid = windows()
    signs = torch.tensor([1.0, -1.0])[:, None, None]

    def even(pixels: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return pixels[:, 0].sum(1, keepdim=True) * signs

    p = blendable(even, x, valid, "softmax", turns=turns, spread=True)
    q = p[:, :2]
    entropy = -(q * q.log()).sum(1) / torch.log(torch.tensor(2.0))
    # A network that turns with its input: all views agree, and nothing is left.
    torch.testing.assert_close(p[:, 2], entropy, atol=1e-5, rtol=0)
    values = blendable(make_call(), x, valid, "identity", turns=turns, spread=True)
    assert (values[:, 3:] > 1e-3).any() == turns


def test_one_answer_per_window_counts_for_all_its_pixels() -> None:
    x, valid = windows()
    p = blendable(lambda a, b: a.mean((1, 3, 4)), x, valid, "sigmoid", turns=True, spread=False)
    assert p.shape == (2, 2, 8, 8)
    torch.testing.assert_close(p[:, :, 0, 0], x.mean((1, 3, 4)).sigmoid())


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("turns", [False, True])
def test_a_temperature_divides_the_logits_of_every_view(activation: str, turns: bool) -> None:
    call = make_call()
    x, valid = windows()
    cooled = blendable(call, x, valid, activation, turns=turns, spread=False, temperature=2.5)
    by_hand = blendable(lambda p, v: call(p, v) / 2.5, x, valid, activation, turns=turns, spread=False)
    torch.testing.assert_close(cooled, by_hand, rtol=0, atol=0)
    plain = blendable(call, x, valid, activation, turns=turns, spread=False)
    assert not torch.allclose(cooled, plain)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "identity"])
@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (3, 4)])
def test_window_by_window_is_as_the_batch(activation: Activation, shape: tuple[int, ...]) -> None:
    out = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    pixels = torch.zeros(3, 1, 2, 6, 5)
    whole = blendable(
        lambda x, v: out, pixels, pixels.bool(), activation, turns=False, spread=False, temperature=2.5
    )
    parts = list(windows_of(out, activation, (6, 5), 2.5))
    assert [p.dtype for p in parts] == [torch.float32] * 3
    torch.testing.assert_close(torch.stack(parts), whole, rtol=0, atol=1e-7)
