"""The pre-norm transformer block of ViT (Dosovitskiy et al., 2021), with attention over valid keys only."""

from __future__ import annotations

from torch import Tensor, nn

from swath.models.attention import attend
from swath.models.drop_path import DropPath
from swath.models.layers import Mlp


class Attention(nn.Module):
    """Multi-head self-attention; one fused projection holds the rows of q, k and v in that order."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"width {dim} does not divide into {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, key_valid: Tensor | None = None, keys: int | None = None) -> Tensor:
        """[B,N,D] -> [B,N,D]; of the first `keys` tokens (None: all), those in key_valid, bool [B,keys], are seen."""
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if keys is not None:
            k, v = k[:, :, :keys], v[:, :, :keys]
        out: Tensor = self.proj(attend(q, k, v, key_valid=key_valid).transpose(1, 2).reshape(b, n, d))
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), each branch dropped by stochastic depth."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        key_valid: Tensor | None = None,
        keys: int | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """[B,N,D] -> [B,N,D]; of the first `keys` tokens (None: all), those in key_valid, bool [B,keys], are seen.

        `kept` [2,B] is `drop_path.draw` of x.
        """
        first, second = (None, None) if kept is None else kept.unbind(0)
        x = x + self.drop_path(self.attn(self.norm1(x), key_valid, keys), first)
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)), second)
        return out


def init_linear(module: nn.Module) -> None:
    """The MAE initialisation of one layer, for `nn.Module.apply`: Xavier weights, zero biases, unit norms.

    The fused projection of q, k and v is drawn as three matrices: Xavier looks at the shape, and (3D, D)
    would give smaller weights than the (D, D) of the separate layers in the publication.
    """
    if isinstance(module, Attention):
        for rows in module.qkv.weight.data.chunk(3):
            nn.init.xavier_uniform_(rows)
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
