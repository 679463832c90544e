"""The Swin encoder over dates, rows and columns (Video Swin, Liu et al., 2022; Swin, Liu et al., 2021).

Tokens are cut from (dates, rows, columns), attend inside shifted 3D windows with a learned relative bias,
and four neighbours in space merge between stages; time is never merged. Any number of dates, any height and
width: padding is inside. Activations are channels-last, [B, D, H, W, C] with D tokens over time. Names of
parameters are those of the published codes, so converting their weights is a matter of shapes.

Validity (design §3): invalid pixels add nothing to a token, a token without any valid pixel is no key of any
attention and counts as 0 where tokens merge, and a merged token is valid if any of its parts is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.models.attention import attend
from swath.models.dates import DateGroup, group_by_dates
from swath.models.drop_path import DropPath, path_rows
from swath.models.features import Features
from swath.models.layers import Mlp, check_bands
from swath.models.lean import linear, norm_linear, plain
from swath.models.swin_config import Size, Swin3DConfig
from swath.models.windows import WindowPlan, pad_end, plan_windows, table_rows


def cut_patches(x: Tensor, patch: Size) -> Tensor:
    """[B,T,C,H,W] -> [B, D, h, w, patch dates, patch rows, patch columns, C]; sizes must divide."""
    b, t, c, h, w = x.shape
    pt, ph, pw = patch
    x = x.reshape(b, t // pt, pt, c, h // ph, ph, w // pw, pw)
    return x.permute(0, 1, 4, 6, 2, 5, 7, 3)


def join_patches(patches: Tensor, size: Size) -> Tensor:
    """The inverse of `cut_patches`, cropped to (dates, rows, columns): -> [B,T,C,H,W]."""
    b, d, h, w, pt, ph, pw, c = patches.shape
    x = patches.permute(0, 1, 4, 7, 2, 5, 3, 6).reshape(b, d * pt, c, h * ph, w * pw)
    return x[:, : size[0], :, : size[1], : size[2]]


def pad_pixels(x: Tensor, patch: Size) -> Tensor:
    """Zeros (False) at the end of dates, rows and columns up to whole patches: [B,T,C,H,W] -> the same."""
    t, h, w = (-n % p for n, p in zip((x.shape[1], *x.shape[3:]), patch, strict=True))
    return F.pad(x, (0, w, 0, h, 0, 0, 0, t)) if t or h or w else x


def token_grid(dates: int, rows: int, columns: int, patch: Size) -> Size:
    """How many tokens an input has over time, rows and columns."""
    d, h, w = (-(-n // p) for n, p in zip((dates, rows, columns), patch, strict=True))
    return d, h, w


class PatchEmbed3D(nn.Module):
    """Tokens from patches: a convolution whose stride is its kernel, written as one product."""

    def __init__(self, config: Swin3DConfig) -> None:
        super().__init__()
        self.patch: Size = config.patch_size
        # Holds the parameters under their published names and shape; its own forward is never called.
        self.proj = nn.Conv3d(config.bands, config.embed_dim, self.patch, self.patch)
        self.norm = nn.LayerNorm(config.embed_dim, config.norm_eps) if config.patch_norm else nn.Identity()

    def forward(self, pixels: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[B,T,C,H,W] -> tokens [B,D,h,w,C] and which hold valid pixels, bool [B,D,h,w], None for all."""
        if valid is not None:
            # A choice and not a product: 0 * NaN is NaN.
            pixels = torch.where(valid, pixels, torch.zeros((), dtype=pixels.dtype, device=pixels.device))
        patches = cut_patches(pad_pixels(pixels, self.patch), self.patch).permute(0, 1, 2, 3, 7, 4, 5, 6)
        tokens: Tensor = self.norm(F.linear(patches.flatten(4), self.proj.weight.flatten(1), self.proj.bias))
        if valid is None:
            return tokens, None
        held = cut_patches(pad_pixels(valid, self.patch), self.patch).flatten(4).any(dim=-1)
        if torch.compiler.is_compiling():
            return tokens, held  # a look at the values would cut the graph in two
        # One wait for the device buys the whole network the cheaper form without key masks.
        return tokens, None if bool(held.all()) else held


_UNCHANGED = nn.Identity()


class WindowAttention(nn.Module):
    """Attention inside windows, with a learned bias for each relative position."""

    def __init__(self, dim: int, heads: int, window: Size, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(table_rows(window), heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def bias(self, plan: WindowPlan) -> Tensor:
        """The bias of every pair of a window: [heads, N, N]."""
        n = plan.window[0] * plan.window[1] * plan.window[2]
        pairs = self.relative_position_bias_table[plan.index].view(n, n, self.heads)
        # It is added to the scores of every window, which goes several times as fast in their own order.
        return pairs.permute(2, 0, 1).contiguous()

    def forward(self, x: Tensor, plan: WindowPlan, norm: nn.Module | None = None) -> Tensor:
        """[B,D,H,W,C] -> the same, of norm(x) where a norm is given."""
        norm = _UNCHANGED if norm is None else norm
        if plain() or not plan.masks_padding:
            # As the originals do it: what is padded is projected with the rest, and is a key where it is not masked.
            return plan.join(self.proj(self.inside(self.qkv(plan.cut(norm(x))), plan)))
        # A masked place says nothing, whatever it holds: projecting before the cut spares it.
        mixed = self.inside(plan.cut(norm_linear(x, norm, self.qkv)), plan)
        return linear(plan.join(mixed), self.proj)

    def inside(self, qkv: Tensor, plan: WindowPlan) -> Tensor:
        """Attention of projected tokens: [B, windows, N, 3C] -> [B, windows, N, C]."""
        return self.mix(qkv, self.bias(plan)[None, None], plan.key_valid, plan.allowed)

    def mix(self, qkv: Tensor, bias: Tensor, key_valid: Tensor | None, allowed: Tensor | None) -> Tensor:
        """The same, of any places of a window: masks and bias as `attend` takes them."""
        q, k, v = qkv.reshape(*qkv.shape[:3], 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5).unbind(0)
        # q, k and v are [B, windows, heads, N, dh]
        return attend(q, k, v, bias, key_valid=key_valid, allowed=allowed).transpose(2, 3).flatten(3)


class Seats(Protocol):
    """Where tokens that are packed together attend to each other: see `swath.models.visible_swin`."""

    def mix(self, attn: WindowAttention, qkv: Tensor) -> Tensor:
        """[B,V,3C] -> [B,V,C]."""
        ...


class SwinBlock(nn.Module):
    """Windowed attention and an MLP, each behind a LayerNorm and beside the identity."""

    def __init__(self, config: Swin3DConfig, stage: int, drop_path: float) -> None:
        super().__init__()
        dim, eps = config.width(stage), config.norm_eps
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = WindowAttention(dim, config.heads[stage], config.rule(stage).window, config.qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, plan: WindowPlan | Seats, kept: Tensor | None = None) -> Tensor:
        """[B,D,H,W,C] -> the same; with seats, [B,V,C] -> the same. `kept` [2,B] is `drop_path.draw` of x."""
        first, second = (None, None) if kept is None else kept.unbind(0)
        if isinstance(plan, WindowPlan):
            # The norm comes before the padding: padded places are plain zeros, as in the originals.
            x = x + self.drop_path(self.attn(x, plan, self.norm1), first)
        else:
            mixed = plan.mix(self.attn, norm_linear(x, self.norm1, self.attn.qkv))
            x = x + self.drop_path(linear(mixed, self.attn.proj), first)
        out: Tensor = x + self.drop_path(self.mlp(x, self.norm2), second)
        return out


class PatchMerging(nn.Module):
    """Four neighbours in space become one token of twice the width; dates stay."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, eps)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[B,D,H,W,C], bool [B,D,H,W] or None -> [B,D,ceil(H/2),ceil(W/2),2C], its validity."""
        b, d, h, w, _ = x.shape
        even = (d, h + h % 2, w + w % 2)
        x = self.gather(zero_invalid(x, valid))
        if valid is not None:
            whole = pad_end(valid[..., None], even)
            valid = whole.reshape(b, d, even[1] // 2, 2, even[2] // 2, 2).any(dim=5).any(dim=3)
        return self.reduction(self.norm(x)), valid

    def gather(self, x: Tensor) -> Tensor:
        """Four neighbours beside each other: [B,D,H,W,C] -> [B,D,ceil(H/2),ceil(W/2),4C]."""
        b, d, h, w, c = x.shape
        even = (d, h + h % 2, w + w % 2)
        x = pad_end(x, even).reshape(b, d, even[1] // 2, 2, even[2] // 2, 2, c)
        # Column-major: (row, column) offsets (0,0), (1,0), (0,1), (1,1), the order of the published weights.
        return x.permute(0, 1, 2, 4, 5, 3, 6).flatten(4)


class PatchExpanding(nn.Module):
    """One token becomes `factor` x `factor` tokens of width `out`, by a linear layer and a pixel shuffle."""

    def __init__(self, dim: int, out: int, factor: tuple[int, int], eps: float) -> None:
        super().__init__()
        self.factor = factor
        self.expand = nn.Linear(dim, factor[0] * factor[1] * out, bias=False)
        self.norm = nn.LayerNorm(out, eps)

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """[B,D,h,w,C] -> [B,D,rows,columns,out], cropped to rows and columns."""
        b, d, h, w, _ = x.shape
        ph, pw = self.factor
        x = self.expand(x).reshape(b, d, h, w, ph, pw, -1).permute(0, 1, 2, 4, 3, 5, 6)
        x = x.reshape(b, d, h * ph, w * pw, -1)[:, :, :rows, :columns]
        out: Tensor = self.norm(x)
        return out


class Stage(nn.Module):
    """Blocks of one width, every second one shifted, and the step to the next width (called from outside)."""

    def __init__(
        self, config: Swin3DConfig, stage: int, rates: list[float], step: Literal["down", "up"] | None
    ) -> None:
        super().__init__()
        dim, eps = config.width(stage), config.norm_eps
        self.blocks = nn.ModuleList(SwinBlock(config, stage, rate) for rate in rates)
        self.downsample = PatchMerging(dim, eps) if step == "down" else None
        self.upsample = PatchExpanding(dim, dim // 2, (2, 2), eps) if step == "up" else None

    def forward(self, x: Tensor, plans: tuple[WindowPlan, WindowPlan]) -> Tensor:
        """[B,D,H,W,C] -> the same."""
        for i, block in enumerate(self.blocks):
            x = block(x, plans[i % 2], cast(SwinBlock, block).drop_path.draw(x))
        return x


@dataclass(frozen=True)
class Level:
    """One resolution of the pyramid: its validity, and the window plans that encoder and decoder share."""

    valid: Tensor | None
    plans: tuple[WindowPlan, WindowPlan]


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of an input, fine to coarse.

    Attributes:
        inputs: what each stage received, [B,D,h,w,C]; these are the skip connections of the published U-nets.
        outputs: what its blocks made of it, before the merging.
        levels: validity and window plans.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    levels: list[Level]


class Swin3D(nn.Module):
    """The encoder: patch embedding and stages.

    Works on any number of dates and any height and width. `days` and `wavelengths` are accepted and not used:
    positions are relative only, and the bands are those the first layer was built for.
    """

    def __init__(self, config: Swin3DConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed3D(config)
        rates = iter(torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").tolist())
        last = config.stages - 1
        self.layers = nn.ModuleList(
            Stage(config, i, [next(rates) for _ in range(depth)], "down" if i < last else None)
            for i, depth in enumerate(config.depths)
        )
        self.norm = nn.LayerNorm(config.width(last), config.norm_eps) if config.final_norm else nn.Identity()
        self.apply(init_weights)

    def check_input(self, pixels: Tensor) -> None:
        """A ContractError when the bands are not those of the config."""
        check_bands(pixels, self.config.bands)

    def encode(self, pixels: Tensor, valid: Tensor | None = None) -> Encoded:
        """The pyramid of an input whose dates all hold data (see `group_by_dates`)."""
        x, held = self.patch_embed(pixels, valid)
        return self.encode_tokens(x, held)

    def encode_tokens(self, x: Tensor, valid: Tensor | None) -> Encoded:
        """The pyramid of embedded tokens [B,D,h,w,C], of which those in `valid` [B,D,h,w] hold data."""
        encoded = Encoded([], [], [])
        x = zero_invalid(x, valid)
        for i, layer in enumerate(self.layers):
            stage = cast(Stage, layer)
            level = Level(valid, self.window_plans(i, x, valid))
            encoded.levels.append(level)
            encoded.inputs.append(x)
            x = stage(x, level.plans)
            encoded.outputs.append(x)
            if stage.downsample is not None:
                x, valid = stage.downsample(x, valid)
        encoded.outputs[-1] = self.norm(x)
        return encoded

    def window_plans(self, stage: int, x: Tensor, valid: Tensor | None) -> tuple[WindowPlan, WindowPlan]:
        """The plans of a stage's plain and shifted blocks for a map [B,D,h,w,C]."""
        size = (x.shape[1], x.shape[2], x.shape[3])
        rule = self.config.rule(stage)
        plain = plan_windows(size, rule, shifted=False, device=x.device, valid=valid)
        shifted = plan_windows(size, rule, shifted=True, device=x.device, valid=valid)
        return plain, shifted

    def features(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Features:
        """Maps [B,T',1,D_i,h_i,w_i] of every stage, 0 where no pixel is valid, and the mean of the coarsest.

        Args:
            pixels: normalised, [B,T,C,H,W].
            valid: bool [B,T,C,H,W] or None.
            days: not used.
            wavelengths: not used.
        """
        self.check_input(pixels)
        groups = group_by_dates(valid)
        if valid is None or groups is None:
            maps, pooled = self._maps(self.encode(pixels, valid))
        else:
            maps, pooled = self._grouped_maps(pixels, valid, groups)
        channels_first = tuple(m.permute(0, 1, 4, 2, 3).unsqueeze(2) for m in maps)
        stride = self.config.patch_size[1]
        return Features(channels_first, tuple(stride * 2**i for i in range(len(maps))), pooled)

    def _maps(self, encoded: Encoded) -> tuple[list[Tensor], Tensor]:
        pairs = zip(encoded.outputs, encoded.levels, strict=True)
        maps = [zero_invalid(x, level.valid) for x, level in pairs]
        valid = encoded.levels[-1].valid
        if valid is None:
            return maps, maps[-1].mean(dim=(1, 2, 3))
        count = valid.flatten(1).sum(dim=1, keepdim=True).clamp(min=1)
        return maps, maps[-1].sum(dim=(1, 2, 3)) / count

    def _grouped_maps(
        self, pixels: Tensor, valid: Tensor, groups: list[DateGroup]
    ) -> tuple[list[Tensor], Tensor]:
        whole: list[Tensor] = []
        pooled: Tensor | None = None
        dates = -(-pixels.shape[1] // self.config.patch_size[0])
        for group in groups:
            with path_rows(group.rows):
                part, vector = self._maps(self.encode(group.take(pixels), group.take(valid)))
            if pooled is None:
                whole = [m.new_zeros(len(pixels), dates, *m.shape[2:]) for m in part]
                pooled = vector.new_zeros(len(pixels), vector.shape[1])
            at = group.tubes(self.config.patch_size[0])
            whole = [group.put(w, m, at) for w, m in zip(whole, part, strict=True)]
            pooled = group.put(pooled, vector)
        assert pooled is not None
        return whole, pooled


def zero_invalid(x: Tensor, valid: Tensor | None) -> Tensor:
    """Zeros where a token holds no data: [B,D,H,W,C] with bool [B,D,H,W]."""
    return x if valid is None else x.masked_fill(~valid[..., None], 0.0)


def init_weights(module: nn.Module) -> None:
    """Xavier for products, as the masked autoencoders of this family start (MAE, Swin-MAE); biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, PatchEmbed3D):
        nn.init.xavier_uniform_(module.proj.weight.view(module.proj.weight.shape[0], -1))
        assert module.proj.bias is not None
        nn.init.zeros_(module.proj.bias)
