"""The one door of all attention: `attend` (design §5).

Four kernels compute the same function. Which is fastest depends on the device, the number type, the number
of keys and above all on whether an additive bias is learned: fused kernels have no gradient for the bias, so
SDPA then falls back to a slow form of its own. The choice is read from `attention_table.json`, which
`make bench-attention` writes from measurements; models never call a kernel themselves.
"""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Iterator
from functools import partial
from importlib import resources
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.models.attention_pieces import attend_in_pieces

# "pieces" is the explicit form that does not keep the attention matrix; where nothing is to be kept, or a compiler
# makes that choice, it is "explicit".
KERNELS = ("explicit", "pieces", "sdpa", "flex")
# What is added to the scores: nothing; a mask or a bias without gradient; a bias with one.
BIAS_KINDS = ("none", "fixed", "learned")

_TABLE: dict[str, Any] = json.loads(
    resources.files("swath.models").joinpath("attention_table.json").read_text("utf-8")
)
# A CPU with matrix tiles is another machine: there the explicit form wins in bfloat16.
_CPU = "cpu+amx" if getattr(torch.cpu, "_is_amx_tile_supported", bool)() else "cpu"
# A plain global, not a context variable: torch.compile can guard on it.
_forced: str | None = None
_recomputed = False


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    *,
    key_valid: Tensor | None = None,
    allowed: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """softmax(q k^T * scale + bias) v, over the keys that are valid and allowed.

    Args:
        q: [..., heads, N, dh]; any number of leading dimensions (batch, windows).
        k: [..., heads, M, dh].
        v: [..., heads, M, dh].
        bias: finite numbers added to the scores, broadcastable to [..., heads, N, M]; may need gradients.
        key_valid: bool, broadcastable to [..., M] (leading dimensions without heads); False keys are never
            attended.
        allowed: bool, broadcastable to [..., heads, N, M]; False pairs are never attended (shifted windows).
        scale: factor of the scores; dh ** -0.5 if None.

    Returns:
        [..., heads, N, dh]. A query that may attend to nothing gets zeros, and finite gradients.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if key_valid is not None:
        keys = key_valid[..., None, None, :]
        allowed = keys if allowed is None else allowed & keys
    dead: Tensor | None = None
    if allowed is not None:
        # A softmax over nothing is 0/0: such rows attend to everything instead, and their output is set to 0.
        dead = ~allowed.any(dim=-1, keepdim=True)
        if q.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(dead.any()):
            dead = None  # a look is cheap where no device is waited for
        else:
            allowed = allowed | dead
    if bias is not None:
        bias = bias.to(q.dtype)
    train = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    kernel = choose_kernel(device_name(q.device.type), q.dtype, k.shape[-2], _bias_kind(bias, allowed), train)
    if kernel == "explicit" and _recomputed:
        kernel = "pieces"
    if kernel == "pieces" and train and not torch.compiler.is_compiling():
        return attend_in_pieces(q, k, v, bias, allowed, dead, scale)
    if kernel in ("explicit", "pieces"):
        out = _explicit(q, k, v, bias, allowed, scale)
    else:
        # Fused kernels take 4-D tensors only; with five dimensions SDPA silently takes its slowest path.
        batch = q.shape[:-3]
        flat = partial(_flatten, batch=batch)
        four = (q.reshape(-1, *q.shape[-3:]), k.reshape(-1, *k.shape[-3:]), v.reshape(-1, *v.shape[-3:]))
        run = _sdpa if kernel == "sdpa" else _flex
        out = run(*four, flat(bias), flat(allowed), scale).reshape(*batch, *q.shape[-3:-1], v.shape[-1])
    return out if dead is None else out.masked_fill(dead, 0.0)


def device_name(device_type: str) -> str:
    """The table's name for a kind of device."""
    return _CPU if device_type == "cpu" else device_type


def choose_kernel(device: str, dtype: torch.dtype, tokens: int, bias: str, train: bool) -> str:
    """The kernel for a call: the one forced, else the first rule of the table that fits, else the default.

    Args:
        device: of `device_name`.
        dtype: of the queries.
        tokens: number of keys.
        bias: one of BIAS_KINDS.
        train: whether a gradient is wanted.
    """
    if _forced is not None:
        return _forced
    name = str(dtype).removeprefix("torch.")
    for rule in _TABLE["rules"]:
        fits = rule["max_tokens"] is None or tokens <= rule["max_tokens"]
        case = (rule["device"], rule["dtype"], rule["bias"], rule["train"])
        if fits and case == (device, name, bias, train):
            return str(rule["kernel"])
    return str(_TABLE["default"])


@contextlib.contextmanager
def force_kernel(kernel: str) -> Iterator[None]:
    """Uses one kernel for every `attend` inside the block, whatever the table says (tests and benchmarks)."""
    global _forced
    if kernel not in KERNELS:
        raise ValueError(f"unknown attention kernel {kernel!r}; one of {', '.join(KERNELS)}")
    before, _forced = _forced, kernel
    try:
        yield
    finally:
        _forced = before


@contextlib.contextmanager
def recompute_attention() -> Iterator[None]:
    """No attention matrix is kept for the backward pass inside the block: "pieces" wherever "explicit" is chosen."""
    global _recomputed
    before, _recomputed = _recomputed, True
    try:
        yield
    finally:
        _recomputed = before


def _bias_kind(bias: Tensor | None, allowed: Tensor | None) -> str:
    if bias is None:
        return "none" if allowed is None else "fixed"
    return "learned" if bias.requires_grad and torch.is_grad_enabled() else "fixed"


def _flatten(x: Tensor | None, batch: torch.Size) -> Tensor | None:
    """A bias or mask of any broadcastable shape as [1 or prod(batch), heads or 1, N or 1, M or 1]."""
    if x is None:
        return None
    if x.ndim < 3:
        x = x.reshape((1,) * (3 - x.ndim) + x.shape)
    lead = x.shape[:-3]
    if math.prod(lead) == 1:
        return x.reshape(1, *x.shape[-3:])
    return x.expand(*batch, *x.shape[-3:]).reshape(-1, *x.shape[-3:])


def _explicit(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, allowed: Tensor | None, scale: float
) -> Tensor:
    scores = (q * scale) @ k.transpose(-2, -1)  # [..., heads, N, M]
    # In place: nothing that follows needs the scores as they were, and fresh memory costs more than the sums.
    if bias is not None:
        scores += bias
    if allowed is not None:
        # Added, not filled in: that passes no mask of its own to the backward pass, and runs in whole vectors.
        scores += _forbidding(allowed, scores.dtype)
    return scores.softmax(dim=-1).to(v.dtype) @ v


def _forbidding(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where allowed and minus infinity elsewhere."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(
        ~allowed, float("-inf")
    )


def _sdpa(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, allowed: Tensor | None, scale: float
) -> Tensor:
    mask = allowed
    if bias is not None:
        mask = bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))
    if mask is not None:
        mask = mask.expand(*mask.shape[:2], q.shape[-2], k.shape[-2])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def _flex(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, allowed: Tensor | None, scale: float
) -> Tensor:
    """FlexAttention: fused with a learned bias on a GPU; no backward on the CPU (torch 2.13)."""
    from torch.nn.attention.flex_attention import flex_attention

    shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    full_bias = None if bias is None else bias.expand(bias.shape[0], *shape[1:])
    full_allowed = None if allowed is None else allowed.expand(allowed.shape[0], *shape[1:])

    def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        if full_bias is not None:
            score = score + full_bias[b if full_bias.shape[0] > 1 else 0, h, i, j]
        if full_allowed is not None:
            here = full_allowed[b if full_allowed.shape[0] > 1 else 0, h, i, j]
            score = torch.where(here, score, torch.full_like(score, float("-inf")))
        return score

    call: Any = flex_attention
    if q.is_cuda and not torch.compiler.is_compiling():
        call = _compiled_flex()
    with warnings.catch_warnings():
        # On the CPU it is only ever forced, by a test that wants its numbers and not its speed.
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        out: Tensor = call(q, k, v, score_mod=score_mod, scale=scale)
    return out


_flex_cache: list[Any] = []


def _compiled_flex() -> Any:
    """FlexAttention is fused only when compiled; compiled once per process."""
    if not _flex_cache:
        from torch.nn.attention.flex_attention import flex_attention

        _flex_cache.append(torch.compile(flex_attention, dynamic=False))
    return _flex_cache[0]
