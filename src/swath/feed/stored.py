"""Batches as they are stored, which become what a contract asks for on the device."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from swath.bands import Band
from swath.cube import CubeBatch

# Samples that are converted at once: float64 in between takes eight bytes a pixel.
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class StoredBatch:
    """A batch in stored numbers: half the bytes of float32, or fewer, on their way to the device.

    Attributes:
        pixels: [B,T,C,H,W] in the stored dtype, bands in the contract's order; missing bands hold anything.
        valid: [B,T,C,H,W] bool, or the bits of it, [B,bytes] uint8 as `numpy.packbits` packs them.
        scale, offset: [B,T,C] float64, from stored to the contract's numbers; None: they are the contract's.
        bands, days, gain, bias, ids, target: as in CubeBatch.
    """

    pixels: Tensor
    valid: Tensor
    scale: Tensor | None
    offset: Tensor | None
    bands: tuple[Band, ...]
    days: Tensor
    gain: Tensor
    bias: Tensor
    ids: tuple[str, ...]
    target: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CubeBatch:
        """Moved as it is, then converted there: the same bits as `InputContract.convert`."""

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=non_blocking)

        pixels, valid = move(self.pixels), move(self.valid)
        scale = None if self.scale is None else move(self.scale)
        offset = None if self.offset is None else move(self.offset)
        if valid.dtype == torch.uint8:
            valid = unpack(valid, pixels.shape)
        return CubeBatch(
            pixels=to_numbers(pixels, valid, scale, offset),
            valid=valid,
            bands=self.bands,
            days=move(self.days),
            gain=move(self.gain),
            bias=move(self.bias),
            ids=self.ids,
            target=None if self.target is None else move(self.target),
        )

    def pin_memory(self) -> StoredBatch:
        """The same in page-locked memory."""
        return replace(
            self,
            pixels=self.pixels.pin_memory(),
            valid=self.valid.pin_memory(),
            target=None if self.target is None else self.target.pin_memory(),
        )


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """Validity from its bits, high bit first."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
    flags = (bits[..., None] >> shifts) & 1
    return flags.flatten(1)[:, : shape[1:].numel()].to(torch.bool).view(shape)


def to_numbers(pixels: Tensor, valid: Tensor, scale: Tensor | None, offset: Tensor | None) -> Tensor:
    """Stored pixels [B,T,C,H,W] as float32 in the contract's numbers, 0 where invalid.

    In float64 in between, as the contract does it, a few samples at a time.
    """
    zero = torch.zeros((), device=pixels.device)
    if scale is None or offset is None:
        # Adding zero makes 0 of the -0.0 that floats may hold, as a scale of 1 and an offset of 0 do.
        return torch.where(valid, pixels.to(torch.float32) + 0.0, zero)
    out = torch.empty(pixels.shape, dtype=torch.float32, device=pixels.device)
    for first in range(0, len(pixels), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        exact = pixels[part].to(torch.float64) * scale[part, ..., None, None]
        exact += offset[part, ..., None, None]
        out[part] = torch.where(valid[part], exact.to(torch.float32), zero)
    return out
