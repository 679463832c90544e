"""Weights of an earlier pretraining as the start of another one: of other sizes, dates and bands, all of it said."""

from __future__ import annotations

import logging
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from swath.contract import InputContract
from swath.errors import WeightsError
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.weights.band_match import match
from swath.weights.file import Loaded
from swath.weights.fitting import fit_spectralgpt
from swath.weights.transfer import transfer

if TYPE_CHECKING:
    from swath.weights.transfer import TransferReport

log = logging.getLogger(__name__)

# By the ends of their names.
POSITIONS = ("*pos_embed", "*pos_embed_spatial", "*pos_embed_spectral")
DATES = ("*date_embed*",)


def go_on_from(loaded: Loaded, objective: Any, positions: str, contract: InputContract) -> TransferReport:
    """Weights of an earlier pretraining into an objective's network.

    Args:
        loaded: the weights.
        objective: whose network takes them.
        positions: learned ones are resized over places and wavelengths ("resize") or drawn anew ("reinit").
        contract: of the data.

    Raises:
        WeightsError: they are of another architecture, or a kernel for each band meets other bands.
    """
    network: nn.Module = objective.network
    state: dict[str, Tensor] = dict(loaded.state)
    fitted: dict[str, Tensor] = {}
    if isinstance(network, SpectralGPT):
        if loaded.meta.architecture == "spectralgpt" and positions == "resize":
            old = SpectralGPTConfig.from_dict(loaded.meta.config)
            for prefix in ("", "decoder_"):
                fitted |= fit_spectralgpt(state, old, network.config, prefix)
    else:
        _check_bands(loaded, contract)
    if positions == "reinit":
        # Those that fit are drawn anew as well: half a set of old positions would be neither.
        state = {k: v for k, v in state.items() if not any(fnmatchcase(k, p) for p in POSITIONS)}
    report = transfer(
        {**state, **fitted},
        network,
        allow_new=(*DATES, *(() if positions == "resize" else POSITIONS)),
        allow_dropped=DATES,
    )
    report = replace(
        report,
        kept=tuple(name for name in report.kept if name not in fitted),
        resized=tuple((n, tuple(state[n].shape), tuple(t.shape)) for n, t in fitted.items()),
    )
    network_loaded = getattr(objective, "network_loaded", None)
    if network_loaded is not None:
        network_loaded()
    log.info("going on from %s:\n%s", loaded.path, report)
    return report


def _check_bands(loaded: Loaded, contract: InputContract) -> None:
    known = loaded.meta.contract
    if known is None:
        return  # the shapes alone tell
    bands = match([s.band for s in known.bands], [s.band for s in contract.bands])
    if not bands.same:
        have, want = (", ".join(b.name for b in some) for some in (bands.have, bands.want))
        raise WeightsError(
            f"have learned {have}, and the data have {want}",
            where=loaded.path,
            mend="choose those bands, in that order, or begin with fresh weights",
        )
