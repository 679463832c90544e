"""A pretrained encoder into the network of a task: other bands, sensors, dates, sizes and heads, all of it said.

Two steps. `plan` says what the encoder becomes: its config for the new data, from that of the weights. `start` puts
the weights into a network that was built with it, and reports what became of every tensor and band. Whatever neither
foresees is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import Tensor, nn

from swath.bands import Band
from swath.contract import InputContract
from swath.errors import WeightsError
from swath.models.config import ModelConfig
from swath.models.spectralgpt import EncoderConfig
from swath.models.swin_config import Size, Swin3DConfig
from swath.models.tokens import match_bands, sorted_groups
from swath.models.vit_encoder import ViTConfig
from swath.weights.band_match import BandMatch, is_radar, match
from swath.weights.file import Loaded
from swath.weights.fitting import fit_spectralgpt, fit_swin, fit_vit, regroup
from swath.weights.origins import Encoder, encoder_in
from swath.weights.transfer import TransferReport, transfer

_LEFT = "left behind: "  # no tensor of a network is called so
_UNNAMED_NM = 20.0  # width of bands of which the weights tell no more than the wavelength


@dataclass(frozen=True)
class EncoderPlan:
    """What a pretrained encoder becomes.

    Attributes:
        source: the weights.
        encoder: the encoder in them.
        config: of the new network's encoder.
        bands: which of the weights' bands are those of the data.
        notes: rows of the report: bands and positions.
    """

    source: Loaded
    encoder: Encoder
    config: ModelConfig
    bands: BandMatch
    notes: tuple[tuple[str, int, str], ...]


def plan(
    source: Loaded,
    contract: InputContract,
    *,
    together: bool = True,
    drop_path: float | None = None,
    window: Size | None = None,
) -> EncoderPlan:
    """What the encoder of `source` becomes for data as in `contract`.

    Args:
        source: the weights.
        contract: of the data.
        together: whether the dates of a sample are encoded together.
        drop_path: stochastic depth, which is no part of the weights; None: as in pretraining.
        window: of a Swin's attention, where another is wanted.

    Raises:
        WeightsError: they hold no encoder, do not say which bands they know, or know none of the data's.
    """
    encoder = encoder_in(source)
    old = encoder.config
    bands = match(_bands_of(source, old), [s.band for s in contract.bands])
    several = together and contract.max_dates != 1
    new: ModelConfig
    if isinstance(old, EncoderConfig):
        radar = [b.name for b, i in zip(bands.want, bands.index, strict=True) if i is None and is_radar(b)]
        if radar:
            raise WeightsError(
                f"know light, and {', '.join(radar)} are radar",
                where=source.path,
                mend="leave those bands out",
            )
        new, notes = _spectralgpt(old, contract, bands, several)
    else:
        _check_known(source, bands)
        notes = bands.rows()
        if isinstance(old, Swin3DConfig):
            new = _swin(source, old, len(contract.bands), window)
        else:
            assert isinstance(old, ViTConfig)
            new, more = _vit(old, contract, bands, several)
            notes += more
    if drop_path is not None:
        new = type(new).from_dict({**new.to_dict(), "drop_path": drop_path})
    return EncoderPlan(source, encoder, new, bands, tuple(notes))


def _spectralgpt(
    old: EncoderConfig, contract: InputContract, bands: BandMatch, several: bool
) -> tuple[EncoderConfig, list[tuple[str, int, str]]]:
    """One kernel serves all bands: known ones keep their slots; others are grouped anew, at other positions."""
    nm = contract.wavelengths
    subset = match_bands(old.wavelengths, nm) is not None
    new = replace(
        old,
        wavelengths=old.wavelengths if subset else nm,
        image_size=_side(contract, old.patch_size) or old.image_size,
        temporal=old.temporal or several,
    )
    if subset:
        return new, [row for row in bands.rows() if "new" not in row[0]]
    groups = sorted_groups(nm, new.group_size)
    told = " | ".join(" ".join(contract.bands[c].band.name for c in group) for group in groups)
    return new, [("bands in groups", len(nm), told)]


def _swin(source: Loaded, old: Swin3DConfig, bands: int, window: Size | None) -> Swin3DConfig:
    if window is not None and old.stage_windows is not None:
        raise WeightsError("have a window for each stage", where=source.path, mend="leave window out")
    return replace(old, bands=bands, window=window or old.window)


def _vit(
    old: ViTConfig, contract: InputContract, bands: BandMatch, several: bool
) -> tuple[ViTConfig, list[tuple[str, int, str]]]:
    groups = regroup(old, bands.index, contract.wavelengths) if old.groups else ()
    new = replace(old, wavelengths=contract.wavelengths, groups=groups, temporal=old.temporal or several)
    size = _side(contract, old.patch_size)
    if size is None or size == old.image_size:
        return new, []
    grids = f"fixed, resized at each call from {old.grid} x {old.grid} to {size // old.patch_size} squared"
    return new, [("positions", 0, grids)]


def _side(contract: InputContract, patch: int) -> int | None:
    """Edge of the training windows in whole tokens; None if the contract does not say, or they are no squares."""
    if contract.size is None or contract.size[0] != contract.size[1]:
        return None
    return -(-contract.size[0] // patch) * patch


def _bands_of(source: Loaded, old: ModelConfig) -> tuple[Band, ...]:
    """The bands that the weights know, in the order of their channels."""
    known = source.meta.contract
    nm: tuple[float, ...] = getattr(old, "wavelengths", ())
    count = old.bands if isinstance(old, Swin3DConfig) else len(nm)
    if known is not None and len(known.bands) == count:
        return tuple(s.band for s in known.bands)
    if not nm:
        said = "do not say" if known is None else f"say {len(known.bands)}, and have {count}:"
        raise WeightsError(
            f"{said} which bands they know", where=source.path, mend="use weights with a contract"
        )
    return tuple(Band("", f"{x:g}nm", x, _UNNAMED_NM, 0.0, "") for x in nm)


def _check_known(source: Loaded, bands: BandMatch) -> None:
    if all(i is None for i in bands.index):
        names = ", ".join(b.name for b in bands.have)
        raise WeightsError(
            f"know none of the data's bands (they know {names})", where=source.path, mend="use other weights"
        )


def start(
    made: EncoderPlan,
    network: nn.Module,
    *,
    prefix: str = "encoder.",
    carry: Sequence[str] = (),
    fresh: Sequence[str] = (),
    new: Sequence[str] = (),
) -> TransferReport:
    """The encoder's tensors into `network`.

    Args:
        made: of `plan`.
        network: whose encoder has the config of the plan.
        prefix: of the encoder's names in it.
        carry: patterns of other tensors of the weights that go over under their own names, such as a decoder;
            those among them that the network lacks are left behind.
        fresh: patterns among `carry` that do not: a last layer, whose classes are others.
        new: patterns of the network's names that may start fresh, besides `fresh`.

    Raises:
        WeightsError: naming a tensor that is lost or missing without a reason.
    """
    encoder = made.encoder
    fitted = _fitted(made)
    here = network.state_dict().keys()
    carried = {
        n: t for n, t in encoder.other.items() if n in here and _fits(n, carry) and not _fits(n, fresh)
    }
    left = [n for n in encoder.other if n not in carried]
    state = {
        **{prefix + n: fitted.get(n, t) for n, t in encoder.state.items()},
        **carried,
        **{_LEFT + n: encoder.other[n] for n in left},
    }
    dates = [f"{prefix}date_embed.*"] if _learns_dates(made) else []
    report = transfer(
        state, network, allow_new=[*new, *fresh, *dates], allow_dropped=[_LEFT + p for p in encoder.left]
    )
    resized = tuple((prefix + n, tuple(encoder.state[n].shape), tuple(t.shape)) for n, t in fitted.items())
    return TransferReport(
        tuple(n for n in report.kept if n.removeprefix(prefix) not in fitted),
        report.resized + resized,
        report.new,
        tuple(n.removeprefix(_LEFT) for n in report.dropped),
        made.notes,
    )


def _fitted(made: EncoderPlan) -> dict[str, Tensor]:
    old, new, state = made.encoder.config, made.config, made.encoder.state
    if isinstance(old, EncoderConfig):
        assert isinstance(new, EncoderConfig)
        return fit_spectralgpt(state, old, new)
    if isinstance(old, ViTConfig):
        assert isinstance(new, ViTConfig)
        return fit_vit(state, old, new, made.bands.index)
    assert isinstance(old, Swin3DConfig) and isinstance(new, Swin3DConfig)
    return fit_swin(state, old, new, made.bands.index)


def _learns_dates(made: EncoderPlan) -> bool:
    """Whether the new network encodes dates and the weights do not."""
    return bool(getattr(made.config, "temporal", False)) and not getattr(
        made.encoder.config, "temporal", False
    )


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
