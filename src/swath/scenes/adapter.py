"""Other people's networks in the engine: any `torch.nn.Module` that says how it wants its windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from torch import Tensor, nn

from swath.errors import ConfigError, ContractError

Axes = Literal["BCHW", "BSHW", "BTCHW", "BCTHW"]


class Adapted(nn.Module):
    """A module that takes one tensor, as the engine's network (`swath.scenes.engine.WindowNetwork`).

    What it eats otherwise, its bands, unit and normalisation, is said by an `InputContract`; the window's size by the
    plan or the contract.

    Args:
        module: returns [B,K,H,W] or [B,K], or something that holds it.
        axes: of the tensor it takes: "BCHW" for one date; "BSHW" for dates and bands in one axis, all bands of the
            first date, then of the second; "BTCHW" or "BCTHW".
        pick: where the map is in what it returns: a key, an attribute or an index; None: it is the map.
        fill: what it sees in place of an invalid pixel, after normalisation. Such a module does not know which pixels
            are invalid; 0 is the mean of a band normalised to mean 0.
        resize: bring a map of another size to the window's, bilinearly.

    Raises:
        ConfigError: `axes` is none of these.
    """

    def __init__(
        self,
        module: nn.Module,
        axes: Axes = "BCHW",
        *,
        pick: str | int | None = None,
        fill: float = 0.0,
        resize: bool = False,
    ) -> None:
        super().__init__()
        if axes not in get_args(Axes):
            raise ConfigError(f"'{axes}' is unknown", where="axes", mend=f"use {', '.join(get_args(Axes))}")
        self.module = module
        self.axes, self.pick, self.fill, self.resize = axes, pick, fill, resize

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        """[B,K,H,W] or [B,K] of normalised windows.

        Args:
            pixels: [B,T,C,H,W].
            valid: of the same shape.
            days: not handed on.
            wavelengths: not handed on.

        Raises:
            ContractError: there are several dates for a module of one, or it returns no tensor.
        """
        x = pixels if self.fill == 0 else pixels.masked_fill(~valid, self.fill)
        if self.axes == "BCHW":
            if x.shape[1] != 1:
                raise ContractError(
                    f"the scene has {x.shape[1]} dates, the module eats one",
                    mend='choose a date, or use axes "BSHW", "BTCHW" or "BCTHW"',
                )
            x = x[:, 0]
        elif self.axes == "BSHW":
            x = x.flatten(1, 2)
        elif self.axes == "BCTHW":
            x = x.transpose(1, 2)
        out = _picked(self.module(x), self.pick)
        if self.resize and out.ndim == 4 and out.shape[-2:] != pixels.shape[-2:]:
            out = nn.functional.interpolate(
                out.float(), size=pixels.shape[-2:], mode="bilinear", align_corners=False
            )
        return out


def _picked(out: Any, pick: str | int | None) -> Tensor:
    if isinstance(out, Mapping) and pick is not None:
        out = out[pick]
    elif isinstance(pick, int):
        out = out[pick] if isinstance(out, Sequence) else None
    elif pick is not None:
        out = getattr(out, pick, None)
    if not isinstance(out, Tensor):
        raise ContractError(
            f"the module returns {type(out).__name__}, not a tensor",
            where="pick",
            mend="say where the map is in it, such as pick='logits' or pick=0",
        )
    return out
