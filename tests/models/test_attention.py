from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.models import attention
from swath.models.attention import BIAS_KINDS, KERNELS, attend, choose_kernel, force_kernel

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, allowed: Tensor | None = None
) -> Tensor:
    """One query at a time, over the keys that it may see."""
    out = torch.zeros(*q.shape[:-1], v.shape[-1])
    shape = (*q.shape[:-1], k.shape[-2])
    bias = torch.zeros(shape) if bias is None else bias.expand(shape)
    allowed = torch.ones(shape, dtype=torch.bool) if allowed is None else allowed.expand(shape)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in q.shape[:-1])).tolist():
        lead, i = tuple(place[:-1]), place[-1]
        seen = allowed[lead][i]
        if seen.any():
            scores = k[lead][seen] @ q[lead][i] * q.shape[-1] ** -0.5 + bias[lead][i][seen]
            out[lead][i] = scores.softmax(0) @ v[lead][seen]
    return out


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_agree_with_the_plain_form(kernel: str) -> None:
    q, k, v = rand(2, 3, 4, 5, 8, seed=1), rand(2, 3, 4, 7, 8, seed=2), rand(2, 3, 4, 7, 8, seed=3)
    bias = rand(4, 5, 7, seed=4)
    allowed = rand(3, 1, 5, 7, seed=5) > -0.5
    key_valid = rand(2, 3, 7, seed=6) > -0.5
    key_valid[1, 2] = False
    both = allowed & key_valid[..., None, None, :]
    with force_kernel(kernel), torch.no_grad():
        torch.testing.assert_close(attend(q, k, v), plain(q, k, v), **CLOSE)
        torch.testing.assert_close(attend(q, k, v, bias), plain(q, k, v, bias), **CLOSE)
        out = attend(q, k, v, bias, key_valid=key_valid, allowed=allowed)
    torch.testing.assert_close(out, plain(q, k, v, bias, both), **CLOSE)
    assert (out[1, 2] == 0).all()


def test_kernels_agree_in_gradient() -> None:
    """Of q, k, v and the bias; FlexAttention has no backward on the CPU."""
    grads = {}
    for kernel in ("explicit", "pieces", "sdpa"):
        q, k, v = (rand(2, 2, 6, 4, seed=s).requires_grad_() for s in (1, 2, 3))
        bias = rand(2, 6, 6, seed=4).requires_grad_()
        key_valid = torch.tensor([[True] * 4 + [False] * 2, [False] * 6])
        with force_kernel(kernel):
            attend(q, k, v, bias, key_valid=key_valid).square().sum().backward()
        grads[kernel] = [x.grad for x in (q, k, v, bias)]
    for other in ("pieces", "sdpa"):
        for a, b in zip(grads["explicit"], grads[other], strict=True):
            assert a is not None and a.isfinite().all()
            torch.testing.assert_close(a, b, **CLOSE)
    assert grads["explicit"][3] is not None and grads["explicit"][3].abs().sum() > 0


@pytest.mark.parametrize("kernel", ["explicit", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_number_types(kernel: str, dtype: torch.dtype) -> None:
    q, k, v = (rand(2, 2, 9, 8, seed=s) for s in (1, 2, 3))
    bias = rand(2, 9, 9, seed=4)
    with force_kernel(kernel):
        out = attend(q.to(dtype), k.to(dtype), v.to(dtype), bias)
    assert out.dtype == dtype
    torch.testing.assert_close(
        out.float(), plain(q, k, v, bias), atol=5e-2 if dtype == torch.bfloat16 else 1e-5, rtol=0
    )


@pytest.mark.parametrize("kernel", ["explicit", "sdpa"])
def test_rows_without_keys_are_zero_with_finite_gradients(kernel: str) -> None:
    q, k, v = (rand(1, 1, 3, 4, seed=s).requires_grad_() for s in (1, 2, 3))
    with force_kernel(kernel):
        out = attend(q, k, v, key_valid=torch.zeros(1, 3, dtype=torch.bool))
    out.sum().backward()
    assert (out == 0).all()
    for x in (q, k, v):
        assert x.grad is not None and (x.grad == 0).all()


@given(
    lead=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    tokens=st.integers(1, 6),
    bias_dims=st.integers(0, 6),
    ones=st.lists(st.booleans(), min_size=6, max_size=6),
    seed=st.integers(0, 99),
)
def test_any_broadcastable_bias(
    lead: list[int], tokens: int, bias_dims: int, ones: list[bool], seed: int
) -> None:
    shape = (*lead, 2, tokens, tokens)
    bias_dims = min(bias_dims, len(shape))
    bias_shape = [1 if one else n for n, one in zip(shape[len(shape) - bias_dims :], ones, strict=False)]
    bias = rand(*bias_shape, seed=seed) if bias_shape else rand(1, seed=seed)
    q, k, v = (rand(*lead, 2, tokens, 4, seed=seed + i) for i in (1, 2, 3))
    results = []
    for kernel in ("explicit", "sdpa"):
        with force_kernel(kernel):
            results.append(attend(q, k, v, bias, key_valid=rand(*lead, tokens, seed=seed) > -0.3))
    torch.testing.assert_close(*results, **CLOSE)


def test_masked_keys_equal_absent_keys() -> None:
    q, k, v = (rand(2, 2, 5, 4, seed=s) for s in (1, 2, 3))
    key_valid = torch.tensor([True, True, True, False, False]).expand(2, 5)
    for kernel in ("explicit", "sdpa"):
        with force_kernel(kernel):
            masked = attend(q, k, v, key_valid=key_valid)
            absent = attend(q, k[..., :3, :], v[..., :3, :])
        torch.testing.assert_close(masked, absent, **CLOSE)


def test_sdpa_gets_four_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """With five, SDPA falls to its slow kernel without a word."""
    seen: list[int] = []
    original = F.scaled_dot_product_attention

    def spy(q: Tensor, k: Tensor, v: Tensor, **options: object) -> Tensor:
        mask = options["attn_mask"]
        seen.extend(x.ndim for x in (q, k, v, mask) if isinstance(x, Tensor))
        return original(q, k, v, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    with force_kernel("sdpa"):
        attend(*(rand(2, 3, 2, 5, 4, seed=s) for s in (1, 2, 3)), rand(2, 5, 5))
    assert seen == [4, 4, 4, 4]


def test_the_table_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = {"device": "cpu", "dtype": "float32", "bias": "learned", "train": True, "max_tokens": 100}
    table = {"default": "sdpa", "rules": [{**rule, "kernel": "explicit"}]}
    monkeypatch.setattr(attention, "_TABLE", table)
    assert choose_kernel("cpu", torch.float32, 100, "learned", True) == "explicit"
    assert choose_kernel("cpu", torch.float32, 101, "learned", True) == "sdpa"
    assert choose_kernel("cpu", torch.float32, 50, "fixed", True) == "sdpa"
    assert choose_kernel("cpu", torch.float32, 50, "learned", False) == "sdpa"
    assert choose_kernel("cuda", torch.float32, 50, "learned", True) == "sdpa"
    with force_kernel("flex"):
        assert choose_kernel("cpu", torch.float32, 50, "learned", True) == "flex"


def test_what_attend_asks_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def spy(device: str, dtype: torch.dtype, tokens: int, bias: str, train: bool) -> str:
        asked.append((bias, train))
        return "explicit"

    monkeypatch.setattr(attention, "choose_kernel", spy)
    q = rand(1, 1, 3, 4)
    bias = rand(1, 3, 3).requires_grad_()
    attend(q, q, q)
    attend(q, q, q, key_valid=torch.ones(1, 3, dtype=torch.bool))
    attend(q.clone().requires_grad_(), q, q, bias.detach())
    attend(q, q, q, bias)
    with torch.no_grad():
        attend(q, q, q, bias)
    assert asked == [("none", False), ("fixed", False), ("fixed", True), ("learned", False), ("fixed", False)]


def test_shipped_table_is_well_formed() -> None:
    table = attention._TABLE
    assert table["format_version"] == 1
    assert table["default"] in KERNELS
    for rule in table["rules"]:
        assert set(rule) == {"device", "dtype", "bias", "train", "max_tokens", "kernel"}
        assert rule["kernel"] in KERNELS and rule["bias"] in BIAS_KINDS
        assert rule["kernel"] != "flex" or rule["device"] == "cuda"  # no backward on the CPU


def test_unknown_kernel_is_refused_and_the_block_restores() -> None:
    with pytest.raises(ValueError, match="unknown attention kernel"), force_kernel("fast"):
        pass
    before = choose_kernel("cpu", torch.float32, 9, "none", False)
    with pytest.raises(RuntimeError), force_kernel("flex"):
        raise RuntimeError
    assert choose_kernel("cpu", torch.float32, 9, "none", False) == before
