"""SpectralGPT and ST-SwinMAE once more, slow and plain: what the fast forms are compared with.

Written from the papers, sample by sample and token by token, and sharing no line with `swath.models`: dates and
tokens without data are left out and not masked, windows are forbidden pairs of one attention over the whole
map, softmax and norms are written out. A twin takes a network's parameters by name, so that gradients and
training steps can be compared one by one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swath.models.spectralgpt import SpectralGPTConfig
from swath.models.swin_config import Size, STSwinConfig, WindowRule
from swath.pretraining.spectralgpt import SpectralGPTObjectiveConfig

State = Mapping[str, Tensor]
_VIT_EPS = 1e-6


@dataclass(frozen=True)
class TwinOutput:
    """What a twin makes of a batch.

    Attributes:
        loss: scalar.
        reconstruction: [B,T,C,H,W]; 0 where there is no data.
    """

    loss: Tensor
    reconstruction: Tensor


@dataclass(frozen=True)
class _Sample:
    """What one sample gives: its reconstruction, and the terms' sums and counts."""

    reconstruction: Tensor
    terms: dict[str, tuple[Tensor, int]]


def spectralgpt_twin(
    state: State,
    config: SpectralGPTConfig,
    loss: SpectralGPTObjectiveConfig,
    pixels: Tensor,
    valid: Tensor,
    days: Tensor | None,
    noise: Tensor,
) -> TwinOutput:
    """The objective of SpectralGPT for the model's own bands, at the size of its positions.

    Args:
        state: parameters by name.
        config: of the network.
        loss: terms with reduction "mean", without normalised targets.
        pixels: [B,T,C,H,W].
        valid: bool [B,T,C,H,W].
        days: [B,T,2] or None.
        noise: [B, dates * groups * rows * columns].
    """
    samples = []
    for b in range(len(pixels)):
        when = None if days is None or not config.temporal else days[b]
        samples.append(_spectral_sample(state, config, loss, pixels[b], valid[b], when, noise[b]))
    return _together(samples, {"token": 1.0, "spatial": loss.w_spatial, "spectral": loss.w_spectral})


def _spectral_sample(
    p: State,
    config: SpectralGPTConfig,
    loss: SpectralGPTObjectiveConfig,
    pixels: Tensor,
    valid: Tensor,
    days: Tensor | None,
    noise: Tensor,
) -> _Sample:
    dates, bands, height, width = pixels.shape
    size, patch = config.group_size, config.patch_size
    order = sorted(range(bands), key=lambda c: config.wavelengths[c])
    groups = [order[i : i + size] for i in range(0, bands, size)]
    grid = config.image_size // patch
    dtype = p["mask_token"].dtype
    whole, there = _padded(pixels, valid, grid * patch, grid * patch, dtype)
    places = list(itertools.product(range(dates), range(len(groups)), range(grid), range(grid)))
    cut = {}
    for n, (t, g, i, j) in enumerate(places):
        box = (slice(i * patch, (i + 1) * patch), slice(j * patch, (j + 1) * patch))
        values = torch.zeros(size, patch, patch, dtype=dtype)
        real = torch.zeros(size, patch, patch, dtype=torch.bool)
        for slot, c in enumerate(groups[g]):
            values[slot], real[slot] = whole[t, c][box], there[t, c][box]
        if bool(real.any()):
            cut[n] = (values.flatten(), real.flatten())
    held = list(cut)
    by_noise = sorted(held, key=lambda n: float(noise[n]))
    seen = by_noise[: max(1, int(len(held) * (1 - loss.mask_ratio)))]
    hidden = set(held) - set(seen)

    def positions(prefix: str) -> Tensor:
        rows = []
        for t, g, i, j in (places[n] for n in held):
            at = p[f"{prefix}pos_embed_spatial"][0, i * grid + j] + p[f"{prefix}pos_embed_spectral"][0, g]
            if days is not None:
                at = at + p[f"{prefix}date_embed.weight"] @ _season(days[t], dtype)
            rows.append(at)
        return torch.stack(rows)

    kernel = p["patch_embed.proj.weight"].flatten(1)
    embedded = torch.stack([kernel @ cut[n][0] + p["patch_embed.proj.bias"] for n in held])
    tokens = embedded + positions("")
    x = torch.stack([tokens[held.index(n)] for n in seen])
    for i in range(config.depth):
        x = _vit_block(p, f"blocks.{i}.", x, config.heads)
    latent = _linear(p, "decoder_embed", _norm(p, "norm", x, _VIT_EPS))
    filled = [latent[seen.index(n)] if n in seen else p["mask_token"][0, 0] for n in held]
    x = torch.stack(filled) + positions("decoder_")
    for i in range(config.decoder_depth):
        x = _vit_block(p, f"decoder_blocks.{i}.", x, config.decoder_heads)
    drawn = _linear(p, "decoder_pred", _norm(p, "decoder_norm", x, _VIT_EPS))

    image = torch.zeros(dates, bands, grid * patch, grid * patch, dtype=dtype)
    error: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
    token: list[Tensor] = []
    for row, n in enumerate(held):
        t, g, i, j = places[n]
        values, here = cut[n]
        difference = torch.where(here, drawn[row] - values, torch.zeros_like(values))
        error[places[n]] = (difference, here)
        token += [difference[here]] if n in hidden else []
        box = (slice(i * patch, (i + 1) * patch), slice(j * patch, (j + 1) * patch))
        for slot, c in enumerate(groups[g]):
            image[t, c][box] = drawn[row].detach().view(size, patch, patch)[slot]
    each = torch.cat(token) if token else drawn.new_zeros(0)
    terms = {
        "token": ((each**2).sum(), len(each)),
        "spatial": _squared_means(error, (0, 2, 3)),  # over the groups of a date and place
        "spectral": _squared_means(error, (0, 1)),  # over the places of a date and group
    }
    return _Sample(image[..., :height, :width], terms)


def _squared_means(
    error: Mapping[tuple[int, ...], tuple[Tensor, Tensor]], same: tuple[int, ...]
) -> tuple[Tensor, int]:
    """The squares of the mean errors over tokens that are equal in some of (date, group, row, column), summed,
    and how many of them count.
    """
    found: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
    for place, pair in error.items():
        found.setdefault(tuple(place[axis] for axis in same), []).append(pair)
    sums, count = [], 0
    for pairs in found.values():
        n = torch.stack([here for _, here in pairs]).sum(dim=0)
        mean = torch.stack([difference for difference, _ in pairs]).sum(dim=0)[n > 0] / n[n > 0]
        sums.append((mean**2).sum())
        count += len(mean)
    return torch.stack(sums).sum(), count


def _season(day_year: Tensor, dtype: torch.dtype) -> Tensor:
    angle = float(day_year[0]) * 2 * math.pi / 365.25
    year = (float(day_year[1]) - 2015.0) / 10.0
    values = [math.sin(angle), math.cos(angle), math.sin(2 * angle), math.cos(2 * angle), year]
    return torch.tensor(values, dtype=dtype)


def _vit_block(p: State, at: str, x: Tensor, heads: int) -> Tensor:
    """[N,D] -> [N,D]."""
    qkv = _linear(p, f"{at}attn.qkv", _norm(p, f"{at}norm1", x, _VIT_EPS))
    x = x + _linear(p, f"{at}attn.proj", _attention(qkv, heads, None, None))
    return x + _mlp(p, f"{at}mlp", _norm(p, f"{at}norm2", x, _VIT_EPS))


def st_swin_twin(
    state: State,
    config: STSwinConfig,
    mask_ratio: float,
    mask_window: int,
    pixels: Tensor,
    valid: Tensor,
    noise: Tensor,
) -> TwinOutput:
    """The objective of ST-SwinMAE with a mask for each date, patches of one date and plain targets.

    Args:
        state: parameters by name.
        config: of the network.
        mask_ratio: part of the windows with data to hide.
        mask_window: edge of a mask window in tokens.
        pixels: [B,T,C,H,W].
        valid: bool [B,T,C,H,W].
        noise: [B, dates * mask windows].
    """
    samples = [
        _swin_sample(state, config, mask_ratio, mask_window, pixels[b], valid[b], noise[b])
        for b in range(len(pixels))
    ]
    return _together(samples, {"masked_mse": 1.0})


def _swin_sample(
    p: State,
    config: STSwinConfig,
    ratio: float,
    mask_window: int,
    pixels: Tensor,
    valid: Tensor,
    noise: Tensor,
) -> _Sample:
    dates, bands, height, width = pixels.shape
    _, ph, pw = config.patch_size
    h, w = -(-height // ph), -(-width // pw)
    dtype = p["mask_token"].dtype
    whole, there = _padded(pixels, valid, h * ph, w * pw, dtype)
    noise = noise.view(dates, -(-h // mask_window), -(-w // mask_window))
    kept = [t for t in range(dates) if bool(there[t].any())]
    image = torch.zeros(dates, bands, h * ph, w * pw, dtype=dtype)
    if not kept:
        return _Sample(image[..., :height, :width], {"masked_mse": (image.sum(), 0)})
    kernel = p["patch_embed.proj.weight"].flatten(1)
    rows = []
    held = torch.zeros(len(kept), h, w, dtype=torch.bool)
    for d, i, j in itertools.product(range(len(kept)), range(h), range(w)):
        box = (slice(None), slice(i * ph, (i + 1) * ph), slice(j * pw, (j + 1) * pw))
        held[d, i, j] = there[kept[d]][box].any()
        rows.append(kernel @ whole[kept[d]][box].flatten() + p["patch_embed.proj.bias"])
    x = torch.stack(rows).view(len(kept), h, w, -1)
    if config.patch_norm:
        x = _norm(p, "patch_embed.norm", x, config.norm_eps)
    hidden = torch.zeros_like(held)
    for d, t in enumerate(kept):
        hidden[d] = _hidden(held[d], noise[t], ratio, mask_window)
    x = torch.where(hidden[..., None], p["mask_token"], x)
    drawn = _linear(p, "decoder_pred", _pyramid(p, config, x, held))
    total, count = drawn.new_zeros(()), 0
    for d, i, j in itertools.product(range(len(kept)), range(h), range(w)):
        box = (slice(None), slice(i * ph, (i + 1) * ph), slice(j * pw, (j + 1) * pw))
        patch = drawn[d, i, j].view(ph, pw, bands).permute(2, 0, 1)
        image[kept[d]][box] = patch.detach()
        if bool(hidden[d, i, j]):
            here = there[kept[d]][box]
            total = total + ((patch - whole[kept[d]][box])[here] ** 2).mean()
            count += 1
    return _Sample(image[..., :height, :width], {"masked_mse": (total, count)})


def _hidden(held: Tensor, noise: Tensor, ratio: float, window: int) -> Tensor:
    """The hidden tokens of a date: bool [h,w]."""
    boxes = {}
    for i, j in itertools.product(range(noise.shape[0]), range(noise.shape[1])):
        box = (slice(i * window, (i + 1) * window), slice(j * window, (j + 1) * window))
        if bool(held[box].any()):
            boxes[float(noise[i, j])] = box
    hidden = torch.zeros_like(held)
    for value in sorted(boxes)[int(len(boxes) * (1 - ratio)) :]:
        hidden[boxes[value]] = held[boxes[value]]
    return hidden


def _pyramid(p: State, config: STSwinConfig, x: Tensor, held: Tensor) -> Tensor:
    """Encoder and decoder over the tokens [D,h,w,C]."""
    eps = config.norm_eps
    x = torch.where(held[..., None], x, torch.zeros_like(x))
    levels = []
    for i, depth in enumerate(config.depths):
        levels.append(held)
        for block in range(depth):
            x = _swin_block(p, f"layers.{i}.blocks.{block}.", x, held, config, i, shifted=block % 2 == 1)
        if i < config.stages - 1:
            x, held = _merge(p, f"layers.{i}.downsample", x, held, eps)
    if config.final_norm:
        x = _norm(p, "norm", x, eps)
    x = _expand(p, "first_patch_expanding", x, levels[-2], eps)
    for i, depth in enumerate(config.decoder_blocks):
        stage = config.stages - 2 - i
        for block in range(depth):
            at = f"layers_up.{i}.blocks.{block}."
            x = _swin_block(p, at, x, levels[stage], config, stage, shifted=block % 2 == 1)
        if stage:
            x = _expand(p, f"layers_up.{i}.upsample", x, levels[stage - 1], eps)
    return _norm(p, "norm_up", x, eps)


def _swin_block(
    p: State, at: str, x: Tensor, held: Tensor, config: STSwinConfig, stage: int, *, shifted: bool
) -> Tensor:
    """One block over a map [D,h,w,C]: an attention over all of it with forbidden pairs."""
    rule = config.rule(stage)
    size: Size = (x.shape[0], x.shape[1], x.shape[2])
    together, offset = window_pairs(size, rule, shifted=shifted)
    flat = x.flatten(0, 2)
    qkv = _linear(p, f"{at}attn.qkv", _norm(p, f"{at}norm1", flat, config.norm_eps))
    bias = p[f"{at}attn.relative_position_bias_table"][offset].permute(2, 0, 1)
    heads = config.heads[stage]
    out = _attention(qkv, heads, bias, together & held.flatten()[None, :])
    flat = flat + _linear(p, f"{at}attn.proj", out)
    flat = flat + _mlp(p, f"{at}mlp", _norm(p, f"{at}norm2", flat, config.norm_eps))
    return flat.view(x.shape)


def window_pairs(size: Size, rule: WindowRule, *, shifted: bool) -> tuple[Tensor, Tensor]:
    """Which places of a map may meet, and the row of the bias table for each pair: bool and long [N,N].

    Places meet if they lie in one window; with a shift the cuts lie at shift, shift + window, and so on, so
    there is no padding and no roll in sight. An axis not longer than its window is one window.
    """
    cells, places = [], list(itertools.product(*map(range, size)))
    for place in places:
        cell = []
        for at, n, window in zip(place, size, rule.window, strict=True):
            one = n < window or (n == window and not rule.shift_when_full)
            cell.append(0 if one else (at - (window // 2 if shifted else 0) + window) // window)
        cells.append(cell)
    where, spots = torch.tensor(cells), torch.tensor(places)  # long [N,3] both
    together = (where[:, None] == where[None, :]).all(dim=-1)
    _, th, tw = rule.window
    d, h, w = (spots[:, None] - spots[None, :] + torch.tensor(rule.window) - 1).unbind(-1)
    rows = (d * (2 * th - 1) + h) * (2 * tw - 1) + w
    return together, torch.where(together, rows, 0)


def _merge(p: State, at: str, x: Tensor, held: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    dates, h, w, _ = x.shape
    zero = torch.zeros_like(x[0, 0, 0])
    rows, valid = [], []
    for d, i, j in itertools.product(range(dates), range(0, h, 2), range(0, w, 2)):
        four = [(i, j), (i + 1, j), (i, j + 1), (i + 1, j + 1)]
        inside = [a < h and b < w and bool(held[d, a, b]) for a, b in four]
        parts = [x[d, a, b] if real else zero for (a, b), real in zip(four, inside, strict=True)]
        rows.append(torch.cat(parts))
        valid.append(any(inside))
    shape = (dates, -(-h // 2), -(-w // 2))
    merged = _norm(p, f"{at}.norm", torch.stack(rows), eps) @ p[f"{at}.reduction.weight"].T
    return merged.view(*shape, -1), torch.tensor(valid).view(shape)


def _expand(p: State, at: str, x: Tensor, level: Tensor, eps: float) -> Tensor:
    """Each token becomes 2 x 2 at the size of a finer level."""
    dates, h, w = level.shape
    four = x @ p[f"{at}.expand.weight"].T  # [D,h',w',4C']
    parts = four.chunk(4, dim=-1)
    rows = [
        parts[2 * (i % 2) + j % 2][d, i // 2, j // 2]
        for d, i, j in itertools.product(range(dates), range(h), range(w))
    ]
    return _norm(p, f"{at}.norm", torch.stack(rows), eps).view(dates, h, w, -1)


def _padded(
    pixels: Tensor, valid: Tensor, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Pixels, 0 where invalid, and validity on a larger canvas."""
    whole = torch.zeros(*pixels.shape[:2], height, width, dtype=dtype)
    there = torch.zeros(whole.shape, dtype=torch.bool)
    h, w = pixels.shape[2:]
    there[..., :h, :w] = valid
    whole[there] = pixels[valid].to(dtype)
    return whole, there


def _linear(p: State, name: str, x: Tensor) -> Tensor:
    out = x @ p[f"{name}.weight"].T
    return out + p[f"{name}.bias"] if f"{name}.bias" in p else out


def _norm(p: State, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + eps)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def _mlp(p: State, name: str, x: Tensor) -> Tensor:
    x = _linear(p, f"{name}.fc1", x)
    return _linear(p, f"{name}.fc2", 0.5 * x * (1 + torch.erf(x / math.sqrt(2))))


def _attention(qkv: Tensor, heads: int, bias: Tensor | None, allowed: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, head by head: [N,3D] -> [N,D]; zeros for a row without keys."""
    n, width = qkv.shape[0], qkv.shape[1] // 3
    each = width // heads
    q, k, v = (part.view(n, heads, each) for part in qkv.chunk(3, dim=1))
    out = []
    for head in range(heads):
        scores = q[:, head] @ k[:, head].T / math.sqrt(each)
        if bias is not None:
            scores = scores + bias[head]
        largest = scores.max(dim=1, keepdim=True).values.detach()
        weights = torch.exp(scores - largest)
        if allowed is not None:
            weights = torch.where(allowed, weights, torch.zeros_like(weights))
        total = weights.sum(dim=1, keepdim=True)
        out.append(weights / torch.where(total > 0, total, torch.ones_like(total)) @ v[:, head])
    return torch.cat(out, dim=1)


def _together(samples: Sequence[_Sample], weights: Mapping[str, float]) -> TwinOutput:
    """Sums over all samples, divided by counts over all samples."""
    loss = samples[0].reconstruction.new_zeros(())
    for name, weight in weights.items():
        total = torch.stack([s.terms[name][0] for s in samples]).sum()
        count = sum(s.terms[name][1] for s in samples)
        loss = loss + weight * total / max(1, count)
    return TwinOutput(loss, torch.stack([s.reconstruction for s in samples]))


class PlainAdamW:
    """Decoupled weight decay and Adam (Loshchilov & Hutter, 2019), parameter by parameter."""

    def __init__(
        self, parameters: Mapping[str, Tensor], rate: float, betas: tuple[float, float], decay: float
    ) -> None:
        self.parameters = parameters
        self.rate, self.betas, self.decay = rate, betas, decay
        self.first = {n: torch.zeros_like(p) for n, p in parameters.items()}
        self.second = {n: torch.zeros_like(p) for n, p in parameters.items()}
        self.steps = 0

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """One step in place; biases and one-dimensional parameters do not decay."""
        self.steps += 1
        a, b = self.betas
        for name, parameter in self.parameters.items():
            g, m, v = gradients[name], self.first[name], self.second[name]
            if parameter.ndim > 1 and not name.endswith(".bias"):
                parameter -= self.rate * self.decay * parameter
            m.copy_(a * m + (1 - a) * g)
            v.copy_(b * v + (1 - b) * g**2)
            m_hat, v_hat = m / (1 - a**self.steps), v / (1 - b**self.steps)
            parameter -= self.rate * m_hat / (torch.sqrt(v_hat) + 1e-8)
