"""The objective of BEiT: name the visual tokens of hidden blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.beit import BEiT
from swath.models.flops import flops, naming_flops
from swath.pretraining.block_masks import NOISE_PER_DATE, hide_blocks
from swath.pretraining.objective import ObjectiveOutput, Part, total


class BEiTObjective(nn.Module):
    """Hides blocks, encodes all tokens, and compares with the codebook's names.

    Args:
        network: its codebook must have been fitted.
        mask_ratio: part of the tokens with data to hide, in each date.
        min_block: tokens of the smallest block.
    """

    def __init__(self, network: BEiT, mask_ratio: float = 0.4, min_block: int = 16) -> None:
        super().__init__()
        if not 0.0 < mask_ratio < 1.0:
            raise ConfigError(
                f"{mask_ratio} does not lie between 0 and 1", where="mask.ratio", mend="try 0.4"
            )
        if min_block < 1:
            raise ConfigError(f"{min_block} is less than 1", where="mask.min_block")
        self.network = network
        self.mask_ratio = mask_ratio
        self.min_block = min_block

    def noise_length(self, pixels_shape: Sequence[int]) -> int:
        """How many uniform numbers a sample of the shape [B,T,C,H,W] needs."""
        return int(pixels_shape[-4]) * NOISE_PER_DATE

    def flops(self, pixels_shape: Sequence[int]) -> float:
        """Operations of one sample's forward and backward pass, for pixels of shape [T,C,H,W]."""
        t, _, height, width = pixels_shape[-4:]
        net = self.network.config
        n = t * -(-height // net.patch_size) * -(-width // net.patch_size)
        return 3.0 * flops(net, pixels_shape[-4:]) - 2.0 * naming_flops(net, n)

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        noise: Tensor,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> ObjectiveOutput:
        """The cross-entropy of a batch, over hidden tokens with data.

        Args:
            pixels: [B,T,C,H,W], normalised.
            valid: bool [B,T,C,H,W] or None (all valid).
            noise: [B, noise_length] in [0, 1), see `hide_blocks`.
            days: [B,T,2] day of year and year, or None.
            wavelengths: nm per band, or None for the model's bands.

        Without gradients, the output also holds the pictures of the codes that were named.
        """
        net = self.network
        tokens = net.tokenize(pixels, valid, wavelengths)
        t, _, h, w = tokens.shape
        held = None if tokens.valid is None else tokens.valid.reshape(-1, t, h, w)
        hidden = hide_blocks(
            noise, (t, h, w), ratio=self.mask_ratio, least=self.min_block, valid=held
        ).flatten(1)
        with torch.no_grad():
            target = net.visual_tokens.ids(tokens)
        logits = net.name_tokens(tokens, hidden, days).float()
        error = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").reshape(
            hidden.shape
        )
        numerator = error.masked_fill(~hidden, 0.0).sum()
        parts: dict[str, Part] = {"visual_token": Part(numerator, hidden.sum().to(numerator.dtype))}
        mask = tokens.to_pixels(hidden[..., None].expand_as(tokens.patches))
        if torch.is_grad_enabled():
            return ObjectiveOutput(total(parts), parts, None, mask)
        picture = net.visual_tokens.draw(logits.argmax(dim=-1), tokens.patch)
        return ObjectiveOutput(total(parts), parts, tokens.to_pixels(picture), mask)
