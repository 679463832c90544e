"""`swath convert`: published weights to swath's, and back."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.errors import ConfigError, OutputError, WeightsError

if TYPE_CHECKING:
    from swath.weights.convert.kinds import Kind
    from swath.weights.convert.reader import Foreign

POSITIONAL = ("source", "output")
_LOG = logging.getLogger("swath.weights.convert")
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class ConvertConfig:
    """Convert a checkpoint.

    Attributes:
        source: a published checkpoint (.pth, .pt, .ckpt, .bin, .safetensors), or, with --to alone, swath's weights.
        output: the file to write: .safetensors, with --to also .pth, .pt, .ckpt or .bin.
        kind: what the source is; `swath convert --list` lists them.
        to: write the layout of this kind instead of swath's, tensors bit for bit as they were published.
        hints: what the tensors' shapes do not tell, such as {"heads": 12}; --list says which a kind knows.
        overwrite: replace the output if there is one.
        list: list the kinds and stop.
    """

    source: str = ""
    output: str = ""
    kind: str = field(default="", metadata={"option": "from"})
    to: str = ""
    hints: dict[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    list: bool = False


@dataclass(frozen=True)
class ConvertResult:
    """What became of the tensors.

    Attributes:
        source, output: the files.
        kind: of the source, "swath" for swath's own.
        to: what was written, "swath" or a kind.
        architecture: of the network.
        parameters: of the network.
        kept, new, dropped: names of tensors; those of the network only are new, those of the source only dropped.
        resized: name, shape before, shape after.
        carried: tensors that swath never uses but keeps in the file's description for the way back.
        notes: what a person should know.
        licence: of the source; it applies to what was written.
        sha256: of swath's weights; empty for another layout.
    """

    source: str
    output: str
    kind: str
    to: str
    architecture: str
    parameters: int
    kept: tuple[str, ...]
    resized: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    carried: tuple[str, ...]
    notes: tuple[str, ...]
    licence: str
    sha256: str

    def summary(self) -> str:
        """Counts and names, then what was written."""
        from swath.weights.transfer import TransferReport

        lines = [str(TransferReport(self.kept, self.resized, self.new, self.dropped))]
        if self.carried:
            lines.append(f"carried  {len(self.carried):5}  {', '.join(self.carried)}")
        lines += [f"note     {note}" for note in self.notes]
        lines += [
            f"wrote    {self.output}: {self.architecture}, {self.parameters:,} parameters, as {self.to}",
            f"licence  of the source, which applies to it: {self.licence}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class KindsResult:
    """The kinds of checkpoints.

    Attributes:
        kinds: their names and what is known about each.
    """

    kinds: tuple[dict[str, Any], ...]

    def summary(self) -> str:
        """A paragraph each."""
        blocks = []
        for kind in self.kinds:
            lines = [
                str(kind["name"]),
                f"  {kind['title']}",
                f"  source   {kind['source']}",
                f"  licence  {kind['licence']}",
                f"  becomes  {', '.join(kind['architectures'])}" + ("" if kind["back"] else "; no way back"),
                *(f"  hint     {name}: {text}" for name, text in kind["hints"].items()),
            ]
            blocks.append("\n".join(lines))
        return "\n\n".join(blocks)


def run(config: ConvertConfig) -> ConvertResult | KindsResult:
    """Converts a file.

    Raises:
        SwathError: in one line, naming the tensor that does not fit; nothing is written then.
    """
    if config.list:
        return KindsResult(tuple(_about()))
    _check(config)
    from swath.weights.convert.kinds import find
    from swath.weights.convert.registry import KINDS

    kind = find(config.kind, KINDS) if config.kind else None
    to = find(config.to, KINDS) if config.to else None
    if kind is None:
        assert to is not None
        return _back(config, to)
    return _forth(config, kind, to)


def _check(config: ConvertConfig) -> None:
    """What can be refused before anything is read."""
    from swath.weights.convert.reader import PICKLES

    for name, place in (("source", "the checkpoint"), ("output", "the file to write")):
        if not getattr(config, name):
            raise ConfigError(
                f"{place} is not named", where=name, mend="write: swath convert SOURCE OUTPUT --from KIND"
            )
    if not config.kind and not config.to:
        raise ConfigError("what the source is is not said", where="--from", mend=_mend_kind(config.source))
    if config.hints and not config.kind:
        raise ConfigError("hints are for a published source", where="--hints", mend="give --from KIND")
    output, source = Path(config.output), Path(config.source)
    known = (_SUFFIX, *PICKLES) if config.to else (_SUFFIX,)
    if output.suffix not in known:
        raise OutputError(
            f"ends in '{output.suffix}'", where=output, mend=f"name it with {' or '.join(known)}"
        )
    if output.is_dir():
        raise OutputError("is a folder", where=output, mend="name a file")
    if output.exists():
        if source.exists() and output.samefile(source):
            raise OutputError("is the source itself", where=output, mend="write to another file")
        if not config.overwrite:
            raise OutputError(
                "exists already", where=output, mend="name another file or give --overwrite true"
            )


def _forth(config: ConvertConfig, kind: Kind, to: Kind | None) -> ConvertResult:
    from swath.weights.convert.kinds import convert, convert_back, envelope
    from swath.weights.convert.reader import read_foreign, write_foreign
    from swath.weights.file import save

    foreign = read_foreign(config.source)
    try:
        converted = convert(foreign, kind, config.hints)
    except WeightsError as err:
        likely = _likely(foreign, kind)
        if likely is None:
            raise
        raise WeightsError(err.what, where=err.where, mend=f"it looks like --from {likely}") from err
    provenance = {**converted.meta.provenance, "left_beside": list(foreign.beside), "made_by": _made_by()}
    meta = replace(converted.meta, provenance=provenance)
    digest = ""
    if to is None:
        digest = save(config.output, converted.state, meta)
    else:
        container, prefix = _envelope(config.output, *envelope(meta, to))
        foreign_state = convert_back(converted.state, meta, to)
        write_foreign(config.output, foreign_state, container=container, prefix=prefix)
    report = converted.report
    beside = (f"not weights, and left behind: {', '.join(foreign.beside)}",) if foreign.beside else ()
    return ConvertResult(
        source=config.source,
        output=config.output,
        kind=kind.name,
        to="swath" if to is None else to.name,
        architecture=meta.architecture,
        parameters=sum(t.numel() for t in converted.state.values()),
        kept=report.kept,
        resized=report.resized,
        new=report.new,
        dropped=report.dropped,
        carried=tuple(dict(meta.provenance.get("layout", {})).get("carried", {})),
        notes=(*converted.notes, *beside),
        licence=meta.licence,
        sha256=digest,
    )


def _back(config: ConvertConfig, to: Kind) -> ConvertResult:
    from swath.weights.convert.kinds import convert_back, envelope
    from swath.weights.convert.reader import PICKLES, write_foreign
    from swath.weights.file import load

    source = Path(config.source)
    if source.suffix in PICKLES:
        raise ConfigError("what the source is is not said", where="--from", mend=_mend_kind(config.source))
    loaded = load(source)
    try:
        state = convert_back(loaded.state, loaded.meta, to)
    except WeightsError as err:
        at = source if err.where is None else f"{source}: {err.where}"
        raise WeightsError(err.what, where=at, mend=err.mend) from err
    container, prefix = _envelope(config.output, *envelope(loaded.meta, to))
    write_foreign(config.output, state, container=container, prefix=prefix)
    _LOG.warning("%s: the licence of the source applies: %s", config.output, loaded.meta.licence)
    carried = dict(loaded.meta.provenance.get("layout") or {}).get("carried", {})
    return ConvertResult(
        source=config.source,
        output=config.output,
        kind="swath",
        to=to.name,
        architecture=loaded.meta.architecture,
        parameters=loaded.parameters,
        kept=tuple(loaded.state),
        resized=(),
        new=(),
        dropped=(),
        carried=tuple(carried),
        notes=(),
        licence=loaded.meta.licence,
        sha256="",
    )


def _envelope(output: str, container: str, prefix: str) -> tuple[str, str]:
    """safetensors hold bare state dicts: there is no key around them."""
    return ("" if Path(output).suffix == _SUFFIX else container), prefix


def _likely(foreign: Foreign, kind: Kind) -> str | None:
    """The kind that it looks like, if that is another one and there is one only."""
    from swath.weights.convert.registry import likely_kinds

    likely = likely_kinds(foreign.state)
    return likely[0] if len(likely) == 1 and likely[0] != kind.name else None


def _mend_kind(source: str) -> str:
    """Names the kind that a file looks like; a file that cannot be read is the first error to tell."""
    from swath.weights.convert.reader import read_foreign
    from swath.weights.convert.registry import KINDS, likely_kinds

    likely = likely_kinds(read_foreign(source).state)
    told = " or ".join(f"--from {name}" for name in likely)
    return f"it looks like {told}" if told else f"give --from one of {', '.join(KINDS)}"


def _made_by() -> str:
    import torch

    import swath

    return f"swath {swath.__version__}, torch {torch.__version__}"


def _about() -> list[dict[str, Any]]:
    from swath.weights.convert.registry import KINDS

    return [
        {
            "name": kind.name,
            "title": kind.title,
            "source": kind.source,
            "licence": kind.licence,
            "architectures": [*kind.architectures],
            "back": kind.from_swath is not None,
            "hints": dict(kind.hints),
        }
        for kind in KINDS.values()
    ]
