"""Pixels to tokens and back: spectral groups, padding, patches and their validity.

A token holds `group_size` bands x `patch` x `patch` pixels. Its vector is laid out as (band in the group,
row, column) and tokens follow each other date-major, then group-major, then row-major over space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.errors import ContractError

SAME_BAND_NM = (
    1.0  # two bands this close are one band; sensors that merely resemble each other differ by more
)


@dataclass(frozen=True)
class Grouping:
    """Which input band sits in which slot of which spectral group.

    Two ways. With bands that the model knows (`slots`), each band has its own slot and a missing band leaves
    its slot invalid. With other bands (`order`), those of a sample that hold anything valid are sorted by
    wavelength and fill the slots one after the other. Either way a wholly invalid band equals one left out.

    Attributes:
        groups: G.
        group_size: slots per group.
        bands: C of the input.
        slots: for each of the G * group_size slots the input band, or -1; None if `order` is used.
        order: [B or 1, C] input bands by slot; the slots beyond C stay invalid.
        wavelengths: [B or 1, G] mean wavelength of each group in nm; None stands for the model's own groups.
    """

    groups: int
    group_size: int
    bands: int
    slots: tuple[int, ...] | None = None
    order: Tensor | None = None
    wavelengths: Tensor | None = None

    @property
    def has_empty_slots(self) -> bool:
        """Whether some slot holds no band."""
        return self.slots != tuple(range(self.bands)) if self.order is None else self._spare > 0

    @property
    def _spare(self) -> int:
        return self.groups * self.group_size - self.bands

    def to_slots(self, x: Tensor) -> Tensor:
        """[B,T,C,H,W] -> [B,T,G*group_size,H,W]; empty slots get 0 or False."""
        if self.order is not None:
            index = self.order[:, None, :, None, None].expand(x.shape[0], x.shape[1], -1, *x.shape[3:])
            return F.pad(x.gather(2, index), (0, 0, 0, 0, 0, self._spare))
        assert self.slots is not None
        if self.slots == tuple(range(self.bands)):
            return x
        # Index -1 is the extra channel of zeros behind the last band.
        return F.pad(x, (0, 0, 0, 0, 0, 1))[:, :, list(self.slots)]

    def to_bands(self, x: Tensor) -> Tensor:
        """[B,T,G*group_size,H,W] -> [B,T,C,H,W], the inverse of `to_slots`."""
        if self.order is not None:
            index = self.order.argsort(dim=1)[:, None, :, None, None]
            return x.gather(2, index.expand(x.shape[0], x.shape[1], -1, *x.shape[3:]))
        assert self.slots is not None
        return x[:, :, [self.slots.index(c) for c in range(self.bands)]]


def sorted_groups(wavelengths: Sequence[float], group_size: int) -> list[list[int]]:
    """Band indices sorted by wavelength, in groups; the last group may be short."""
    order = sorted(range(len(wavelengths)), key=lambda c: wavelengths[c])
    return [order[start : start + group_size] for start in range(0, len(order), group_size)]


@lru_cache(maxsize=64)  # hundreds of bands would cost a loop over their pairs at every step
def match_bands(known: tuple[float, ...], wavelengths: tuple[float, ...]) -> tuple[int, ...] | None:
    """For each band that a model knows (nm) the input's channel, or -1; None if some channel is none of them."""
    free = sorted(range(len(known)), key=lambda k: known[k])
    places = [-1] * len(known)
    for c, nm in enumerate(wavelengths):
        near = [k for k in free if abs(known[k] - nm) <= SAME_BAND_NM]
        if not near:
            return None
        # Of bands with one wavelength (polarisations of a radar) the first one listed is taken first.
        best = min(near, key=lambda k: abs(known[k] - nm))
        free.remove(best)
        places[best] = c
    return tuple(places)


def group_bands(
    known: Sequence[float],
    wavelengths: Sequence[float],
    group_size: int,
    valid: Tensor | None,
    device: torch.device,
) -> Grouping:
    """How the bands of an input (`wavelengths`, nm) fill the spectral groups of a model (`known`, nm).

    Args:
        known: the model's bands.
        wavelengths: the input's bands, in the order of its channels.
        group_size: bands per group.
        valid: bool [B,T,C,H,W] or None (all valid).
        device: where the indices are needed.
    """
    bands = len(wavelengths)
    places = match_bands(tuple(known), tuple(wavelengths))
    if places is not None:
        groups = sorted_groups(known, group_size)
        slots = [places[k] for group in groups for k in group]
        slots += [-1] * (len(groups) * group_size - len(slots))
        return Grouping(len(groups), group_size, bands, slots=tuple(slots))

    # Other bands than the model's.
    count = -(-bands // group_size)
    by_wavelength = torch.tensor(
        [c for g in sorted_groups(wavelengths, group_size) for c in g], device=device
    )
    nm_sorted = torch.tensor(wavelengths, dtype=torch.float32, device=device)[by_wavelength]
    if valid is None:
        here = torch.ones(1, bands, dtype=torch.bool, device=device)
    else:
        here = valid.any(dim=4).any(dim=3).any(dim=1)[:, by_wavelength]
    behind = torch.argsort((~here).to(torch.uint8), dim=1, stable=True)
    order = by_wavelength[behind]
    spare = count * group_size - bands
    weight = F.pad(here.gather(1, behind).to(torch.float32), (0, spare)).reshape(-1, count, group_size)
    nanometres = F.pad(nm_sorted[behind], (0, spare)).reshape(-1, count, group_size)
    mean = (nanometres * weight).sum(-1) / weight.sum(-1).clamp_min(
        1.0
    )  # an empty group has only invalid tokens
    return Grouping(count, group_size, bands, order=order, wavelengths=mean)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch before they are embedded; N = dates * groups * rows * cols.

    Attributes:
        patches: [B,N,K], K = group_size * patch * patch; 0 where invalid.
        pixel_valid: bool [B,N,K], or None if every pixel is valid.
        valid: bool [B,N], whether a token holds a valid pixel, or None if all do.
        dates: T.
        rows: h.
        cols: w.
        grouping: how bands became groups.
        patch: edge of a token in pixels.
        size: (H, W) of the input before padding.
    """

    patches: Tensor
    pixel_valid: Tensor | None
    valid: Tensor | None
    dates: int
    rows: int
    cols: int
    grouping: Grouping
    patch: int
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, G, h, w)."""
        return self.dates, self.grouping.groups, self.rows, self.cols

    def to_pixels(self, x: Tensor) -> Tensor:
        """Token vectors [B,N,K] as an image [B,T,C,H,W] in the band order and size of the input."""
        image = unpatchify(x, self.shape, self.grouping.group_size, self.patch)
        return self.grouping.to_bands(image)[..., : self.size[0], : self.size[1]]


def patchify(x: Tensor, group_size: int, patch: int) -> Tensor:
    """[B,T,G*group_size,h*patch,w*patch] -> [B,T*G*h*w,group_size*patch*patch]."""
    b, t, s, height, width = x.shape
    g, h, w = s // group_size, height // patch, width // patch
    x = x.reshape(b, t, g, group_size, h, patch, w, patch).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return x.reshape(b, t * g * h * w, group_size * patch * patch)


def unpatchify(x: Tensor, shape: tuple[int, int, int, int], group_size: int, patch: int) -> Tensor:
    """[B,N,K] -> [B,T,G*group_size,h*patch,w*patch], the inverse of `patchify`; shape is (T, G, h, w)."""
    t, g, h, w = shape
    x = x.reshape(x.shape[0], t, g, h, w, group_size, patch, patch).permute(0, 1, 2, 5, 3, 6, 4, 7)
    return x.reshape(x.shape[0], t, g * group_size, h * patch, w * patch)


def tokenize(
    pixels: Tensor,
    valid: Tensor | None,
    *,
    known: Sequence[float],
    wavelengths: Sequence[float] | None,
    group_size: int,
    patch: int,
    grouping: Grouping | None = None,
) -> Tokens:
    """Cuts normalised pixels into tokens; pads H and W at the end, and the last group, with invalid pixels.

    Args:
        pixels: [B,T,C,H,W]; may hold anything, NaN included, where invalid.
        valid: bool [B,T,C,H,W] or None (all valid).
        known: the model's bands, nm.
        wavelengths: the input's bands, nm, in channel order; None if they are the model's.
        group_size: bands per token.
        patch: edge of a token in pixels.
        grouping: how bands become groups; None: in the order of wavelengths.

    Raises:
        ContractError: the shapes do not fit each other or the bands.
    """
    wavelengths = tuple(known) if wavelengths is None else tuple(wavelengths)
    if pixels.ndim != 5:
        raise ContractError(
            f"pixels have the shape {tuple(pixels.shape)}",
            mend="give them as [batch, date, band, row, column]",
        )
    if valid is not None and valid.shape != pixels.shape:
        raise ContractError(
            f"validity has the shape {tuple(valid.shape)} but the pixels {tuple(pixels.shape)}",
            mend="give one validity per pixel",
        )
    if pixels.shape[2] != len(wavelengths):
        raise ContractError(
            f"{pixels.shape[2]} bands of pixels but {len(wavelengths)} wavelengths",
            mend="pass the wavelength of each band",
        )
    if valid is not None and not valid.is_cuda and bool(valid.all()):
        valid = None  # without masks attention is faster; on a GPU the look would stall the queue
    if grouping is None:
        grouping = group_bands(known, wavelengths, group_size, valid, pixels.device)
    height, width = pixels.shape[-2:]
    bottom, right = -height % patch, -width % patch
    padded = bottom > 0 or right > 0
    pixel_valid = valid
    if pixel_valid is None and (padded or grouping.has_empty_slots):
        pixel_valid = torch.ones(pixels.shape, dtype=torch.bool, device=pixels.device)
    if pixel_valid is not None:
        # where, not a product: 0 * NaN is NaN.
        pixels = torch.where(pixel_valid, pixels, torch.zeros((), dtype=pixels.dtype, device=pixels.device))
        pixel_valid = patchify(
            F.pad(grouping.to_slots(pixel_valid), (0, right, 0, bottom)), group_size, patch
        )
    # No token is padding alone, so in an input without gaps only missing bands can empty a token.
    patches = patchify(F.pad(grouping.to_slots(pixels), (0, right, 0, bottom)), group_size, patch)
    some_empty = valid is not None or grouping.has_empty_slots
    token_valid = pixel_valid.any(dim=-1) if some_empty and pixel_valid is not None else None
    return Tokens(
        patches=patches,
        pixel_valid=pixel_valid,
        valid=token_valid,
        dates=pixels.shape[1],
        rows=(height + bottom) // patch,
        cols=(width + right) // patch,
        grouping=grouping,
        patch=patch,
        size=(height, width),
    )
