"""The objective of ST-SwinMAE: predict the pixels of hidden windows, squared error on valid pixels only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.dates import DateGroup, group_by_dates
from swath.models.drop_path import path_rows
from swath.models.flops import flops
from swath.models.st_swin import STSwinMAE
from swath.models.swin3d import cut_patches, join_patches, pad_pixels, token_grid
from swath.pretraining.objective import ObjectiveOutput, Part, total
from swath.pretraining.window_masks import hide_windows, noise_length

NORM_EPS = 1e-6


def patch_statistics(target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each patch over its valid pixels: [..., P] -> [..., 1] twice."""
    if valid is None:
        return target.mean(dim=-1, keepdim=True), target.var(dim=-1, keepdim=True)
    count = valid.sum(dim=-1, keepdim=True).to(target.dtype)
    mean = target.sum(dim=-1, keepdim=True) / count.clamp(min=1)
    square = torch.where(valid, (target - mean) ** 2, torch.zeros_like(target))
    return mean, square.sum(dim=-1, keepdim=True) / (count - 1).clamp(min=1)


def masked_patch_error(prediction: Tensor, target: Tensor, valid: Tensor | None, hidden: Tensor) -> Part:
    """Squared error, mean over the valid pixels of a patch, then over the hidden patches that have some.

    Args:
        prediction: [..., P], P values of a patch.
        target: [..., P]; finite, 0 where invalid.
        valid: bool [..., P] or None.
        hidden: bool [...].
    """
    error = (prediction.to(target.dtype) - target) ** 2
    if valid is None:
        per_patch = error.mean(dim=-1)
    else:
        count = valid.sum(dim=-1)
        hidden = hidden & (count > 0)
        per_patch = torch.where(valid, error, torch.zeros_like(error)).sum(dim=-1) / count.clamp(min=1)
    numerator = torch.where(hidden, per_patch, torch.zeros_like(per_patch)).sum()
    return Part(numerator, hidden.sum().to(numerator.dtype))


class STSwinMAEObjective(nn.Module):
    """Masked autoencoding with hidden windows.

    Args:
        network: the ST-SwinMAE to train.
        mask_ratio: part of the windows with data to hide.
        mask_window: edge of a mask window in tokens.
        share_over_time: one mask for all dates (tubes) instead of one for each. Tubes hide what nearly equal
            dates would give away; for distant dates separate masks were found better (SatMAE).
        norm_pix: targets are normalised per patch, by mean and standard deviation of its valid pixels.
    """

    def __init__(
        self,
        network: STSwinMAE,
        mask_ratio: float = 0.75,
        mask_window: int = 4,
        share_over_time: bool = False,
        norm_pix: bool = False,
    ) -> None:
        super().__init__()
        if not 0.0 < mask_ratio < 1.0:
            raise ConfigError(f"{mask_ratio} does not lie between 0 and 1", where="mask_ratio")
        if mask_window < 1:
            raise ConfigError(f"{mask_window} is less than 1", where="mask_window")
        self.network = network
        self.mask_ratio = mask_ratio
        self.mask_window = mask_window
        self.share_over_time = share_over_time
        self.norm_pix = norm_pix

    def noise_length(self, pixels_shape: Sequence[int]) -> int:
        """Draws per sample for pixels of shape [B,T,C,H,W]."""
        _, t, _, h, w = pixels_shape
        grid = token_grid(t, h, w, self.network.config.patch_size)
        return noise_length(*grid, self.mask_window, self.share_over_time)

    def flops(self, pixels_shape: Sequence[int]) -> float:
        """Operations of one sample's forward and backward pass, for pixels of shape [T,C,H,W]."""
        return 3.0 * flops(self.network.config, pixels_shape[-4:], mask_ratio=self.mask_ratio)

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        noise: Tensor,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> ObjectiveOutput:
        """The loss of one batch.

        Args:
            pixels: normalised, [B,T,C,H,W].
            valid: bool [B,T,C,H,W] or None.
            noise: U(0, 1) draws, [B, noise_length(pixels.shape)].
            days: not used.
            wavelengths: not used.
        """
        self.network.check_input(pixels)
        groups = group_by_dates(valid)
        if valid is None or groups is None:
            part, drawn, mask = self._run(pixels, valid, noise)
            parts = {"masked_mse": part}
            return ObjectiveOutput(total(parts), parts, drawn, mask)
        drawn = torch.zeros_like(pixels)
        mask = torch.zeros(pixels.shape, dtype=torch.bool, device=pixels.device)
        found: list[Part] = []
        for group in groups:
            group_noise = self._noise_of(noise, group, pixels.shape)
            with path_rows(group.rows):
                part, image, hidden = self._run(group.take(pixels), group.take(valid), group_noise)
            found.append(part)
            drawn = group.put(drawn, image.to(drawn.dtype), group.dates)
            mask = group.put(mask, hidden, group.dates)
        numerator = torch.stack([p.numerator for p in found]).sum()
        parts = {"masked_mse": Part(numerator, torch.stack([p.count for p in found]).sum())}
        return ObjectiveOutput(total(parts), parts, drawn, mask)

    def _noise_of(self, noise: Tensor, group: DateGroup, shape: Sequence[int]) -> Tensor:
        """The draws of a group's samples; a date keeps its own, whichever dates stand before it."""
        if self.share_over_time:
            return noise[group.rows]
        pt = self.network.config.patch_size[0]
        per_date = noise.reshape(len(noise), -(-shape[1] // pt), -1)
        return per_date[group.rows[:, None], group.tubes(pt)].flatten(1)

    def _run(self, pixels: Tensor, valid: Tensor | None, noise: Tensor) -> tuple[Part, Tensor, Tensor]:
        """Loss, reconstruction and mask of an input whose dates all hold data."""
        patch = self.network.config.patch_size
        size = (pixels.shape[1], pixels.shape[3], pixels.shape[4])
        grid = token_grid(*size, patch)
        # A patch over the border is valid only inside it.
        inside = valid
        if inside is None and any(n % p for n, p in zip(size, patch, strict=True)):
            inside = torch.ones(pixels.shape, dtype=torch.bool, device=pixels.device)
        if valid is not None:
            pixels = torch.where(valid, pixels, torch.zeros_like(pixels))
        target = cut_patches(pad_pixels(pixels, patch), patch)
        ok = None if inside is None else cut_patches(pad_pixels(inside, patch), patch).flatten(4)
        hidden = hide_windows(
            noise,
            grid,
            window=self.mask_window,
            ratio=self.mask_ratio,
            share_over_time=self.share_over_time,
            valid=None if ok is None else ok.any(dim=-1),
        )
        prediction = self.network.predict_patches(pixels, valid, hidden)
        flat = target.flatten(4)
        drawn = prediction.detach()
        if self.norm_pix:
            mean, variance = patch_statistics(flat, ok)
            spread = (variance + NORM_EPS).sqrt()
            flat = (flat - mean) / spread
            # For the eye: back in the units of the input.
            drawn = drawn * spread[..., None, None, None] + mean[..., None, None, None]
        part = masked_patch_error(prediction.flatten(4), flat, ok, hidden)
        mask = hidden[..., None, None, None, None].expand(target.shape)
        return part, join_patches(drawn, size), join_patches(mask, size)
