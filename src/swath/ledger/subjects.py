"""What the fast paths are tried on: two tiny objectives with their data, gaps, missing dates and shuffled bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from swath.bands import Band, sensor
from swath.cube import CubeBatch
from swath.ledger.twins import TwinOutput, spectralgpt_twin, st_swin_twin
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.models.st_swin import STSwinMAE
from swath.models.swin_config import STSwinConfig
from swath.pretraining.spectralgpt import LOSSES, SpectralGPTObjective
from swath.pretraining.st_swin_mae import STSwinMAEObjective
from swath.rng import generator
from swath.training.module import mask_noise
from swath.weights.convert.swin_kinds import RULES

MASK_WINDOW = 2
_SEED = 0
# Shuffled: an input is not sorted by wavelength only because most are.
_BANDS = sensor("sentinel2").select(["B8A", "B02", "B11", "B04", "B03"])
_RISING = tuple(sorted(_BANDS, key=lambda band: band.center_nm))
_LOSS = LOSSES["three_target"]
_MASK_RATIO = 0.6


@dataclass(frozen=True)
class Subject:
    """A tiny objective with its data.

    Attributes:
        config: of the network.
        size: (dates, rows, columns) of its inputs.
        gaps: whether pixels and dates are missing.
    """

    config: SpectralGPTConfig | STSwinConfig
    size: tuple[int, int, int]
    gaps: bool = True

    @property
    def bands(self) -> tuple[Band, ...]:
        """Of its pixels."""
        if not isinstance(self.config, SpectralGPTConfig):
            return tuple(_BANDS[: self.config.bands])
        by_wave = {band.center_nm: band for band in _BANDS}
        return tuple(by_wave[wave] for wave in self.config.wavelengths)

    @property
    def wavelengths(self) -> tuple[float, ...]:
        """Of its bands, nm."""
        return tuple(band.center_nm for band in self.bands)

    @property
    def title(self) -> str:
        """The system."""
        return "SpectralGPT" if isinstance(self.config, SpectralGPTConfig) else "ST-SwinMAE"

    def objective(self) -> Any:
        """A fresh one in float64 whose parameters are all far from zero: where one is missing, it shows."""
        if isinstance(self.config, SpectralGPTConfig):
            loss = replace(_LOSS, mask_ratio=_MASK_RATIO)
            objective: nn.Module = SpectralGPTObjective(SpectralGPT(self.config), loss)
        else:
            objective = STSwinMAEObjective(STSwinMAE(self.config), _MASK_RATIO, MASK_WINDOW)
        network: nn.Module = objective.network  # type: ignore[assignment]
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(_awake(name, parameter))
        return objective.double()

    def twin(self, state: Mapping[str, Tensor], batch: CubeBatch, noise: Tensor) -> TwinOutput:
        """The plain form."""
        if isinstance(self.config, SpectralGPTConfig):
            loss = replace(_LOSS, mask_ratio=_MASK_RATIO)
            return spectralgpt_twin(state, self.config, loss, batch.pixels, batch.valid, batch.days, noise)
        return st_swin_twin(state, self.config, _MASK_RATIO, MASK_WINDOW, batch.pixels, batch.valid, noise)

    def take(self, first: int, count: int) -> CubeBatch:
        """Samples by number, as a feed gives them."""
        dates, rows, columns = self.size
        shape = (dates, len(self.bands), rows, columns)
        pixels, valid, days = [], [], []
        for number in range(first, first + count):
            random = generator(_SEED, "ledger", number)
            pixels.append(torch.randn(shape, generator=random))
            there = (
                torch.rand(shape, generator=random) > 0.2
                if self.gaps
                else torch.ones(shape, dtype=torch.bool)
            )
            if self.gaps:
                there[:, :, : rows // 2, : columns // 2] = False
                there[number % dates] &= dates == 1 or number % 2 == 0
            valid.append(there)
            days.append(
                torch.rand(dates, 2, generator=random) * torch.tensor([365.0, 9.0])
                + torch.tensor([1.0, 2016.0])
            )
        ones = torch.ones(count, len(self.bands))
        ids = tuple(str(number) for number in range(first, first + count))
        held = torch.stack(valid)
        return CubeBatch(
            torch.where(held, torch.stack(pixels), torch.nan),
            held,
            self.bands,
            torch.stack(days),
            ones,
            0 * ones,
            ids,
        )

    def noise(self, objective: Any, first: int, batch: CubeBatch) -> Tensor:
        """The draws of the masks."""
        length = objective.noise_length(batch.pixels.shape)
        return mask_noise(_SEED, first, len(batch.ids), length)


_SPECTRAL = SpectralGPTConfig(
    wavelengths=tuple(band.center_nm for band in _BANDS),
    image_size=24,
    embed_dim=16,
    depth=2,
    heads=2,
    mlp_ratio=2.0,
    temporal=True,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_heads=2,
)
_SWIN = STSwinConfig(
    bands=3,
    patch_size=(1, 2, 2),
    embed_dim=8,
    depths=(2, 2),
    heads=(2, 2),
    window=(2, 2, 2),
    mlp_ratio=2.0,
    drop_path=0.0,
)
SPECTRALGPT = Subject(_SPECTRAL, (2, 22, 19))
ST_SWIN = Subject(_SWIN, (3, 9, 10))
# The published layouts know one date, and Swin-MAE whole windows.
PUBLISHED = Subject(
    replace(_SPECTRAL, temporal=False, wavelengths=tuple(b.center_nm for b in _RISING)), (1, 22, 19)
)
PLANAR = Subject(
    replace(_SWIN, **{**RULES["swin-mae"], "window": (1, 2, 2), "heads": (2, 4)}), (1, 16, 16), gaps=False
)
# Every block costs the compiler seconds; one is shifted still.
FEW_BLOCKS = (
    Subject(replace(_SPECTRAL, depth=1), SPECTRALGPT.size, gaps=False),
    Subject(replace(_SWIN, depths=(2, 1), decoder_depths=(1,)), ST_SWIN.size, gaps=False),
)


def _awake(name: str, like: Tensor) -> Tensor:
    drawn: Tensor = torch.randn(like.shape, generator=generator(_SEED, "ledger weights", name))
    if name.endswith("relative_position_bias_table") or "pos_embed" in name or like.ndim == 1:
        drawn = 0.5 * drawn
        return 1 + 0.4 * drawn if ".norm" in f".{name}" and name.endswith("weight") else drawn
    return drawn / math.sqrt(like.numel() / like.shape[0])
