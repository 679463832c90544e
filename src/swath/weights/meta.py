"""What a file of weights says about itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from swath.contract import InputContract
from swath.errors import ContractError, WeightsError

FORMAT_VERSION = 1
_KEYS = ("format_version", "architecture", "contract", "classes", "provenance", "licence")


@dataclass(frozen=True)
class MapClass:
    """A class of a map.

    Attributes:
        name: as a person reads it.
        colour: "#rrggbb", if it has one.
        value: the number that stands for it in label rasters and maps; None: its place in the order.
    """

    name: str
    colour: str | None = None
    value: int | None = None


@dataclass(frozen=True)
class WeightsMeta:
    """Metadata of weights.

    Attributes:
        architecture: name in `swath.weights.build.REGISTRY`.
        config: of the network, plain JSON values.
        contract: what the network eats; None for a part that eats no pixels.
        classes: in the order of the logits; empty for a network without a task.
        provenance: where they come from: data, recipe, steps, seed, versions, the published checkpoint.
        licence: of the weights, as the source states it.
    """

    architecture: str
    config: Mapping[str, Any]
    contract: InputContract | None = None
    classes: tuple[MapClass, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "unknown"

    def to_strings(self) -> dict[str, str]:
        """What stands in the safetensors header: one JSON text per key."""
        data = {
            "format_version": FORMAT_VERSION,
            "architecture": {"name": self.architecture, "config": dict(self.config)},
            "contract": None if self.contract is None else self.contract.to_dict(),
            "classes": [asdict(c) for c in self.classes],
            "provenance": dict(self.provenance),
            "licence": self.licence,
        }
        try:
            return {key: json.dumps(value, sort_keys=True, allow_nan=False) for key, value in data.items()}
        except (TypeError, ValueError) as err:
            raise WeightsError(
                f"metadata is not plain JSON ({err})", mend="use numbers, text and lists"
            ) from err

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], where: object) -> WeightsMeta:
        """The metadata back.

        Raises:
            WeightsError: it is not swath's, of another version, or cannot be read.
        """
        if "format_version" not in strings or "architecture" not in strings:
            raise WeightsError(
                "a safetensors file without swath's metadata",
                where=where,
                mend="make it one with `swath convert` and say where it comes from",
            )
        try:
            data = {key: json.loads(strings[key]) for key in _KEYS if key in strings}
        except ValueError as err:
            raise WeightsError(
                f"metadata cannot be read ({err})", where=where, mend="fetch it again"
            ) from err
        version = data["format_version"]
        if version != FORMAT_VERSION:
            raise WeightsError(
                f"weights format {version} is unknown (this swath reads {FORMAT_VERSION})",
                where=where,
                mend="use a swath of the version that wrote it",
            )
        try:
            contract = data.get("contract")
            return cls(
                architecture=str(data["architecture"]["name"]),
                config=dict(data["architecture"]["config"]),
                contract=None if contract is None else InputContract.from_dict(contract, str(where)),
                classes=tuple(MapClass(**c) for c in data.get("classes", [])),
                provenance=dict(data.get("provenance", {})),
                licence=str(data.get("licence", "unknown")),
            )
        except (KeyError, TypeError, ValueError, ContractError) as err:
            raise WeightsError(
                f"metadata cannot be read ({err})", where=where, mend="fetch it again"
            ) from err


def describe(meta: WeightsMeta, parameters: int, sha256: str) -> list[tuple[str, str]]:
    """(what, value) rows for a person: what `swath inspect` prints."""
    rows = [
        ("architecture", meta.architecture),
        ("config", ", ".join(f"{k}={v}" for k, v in meta.config.items())),
        ("parameters", f"{parameters:,}"),
    ]
    contract = meta.contract
    if contract is not None:
        names = [s.band.name + ("" if s.required else "?") for s in contract.bands]
        sensors = sorted({s.band.sensor for s in contract.bands})
        encoding = contract.encoding
        rows += [
            ("bands, in order", f"{' '.join(names)} of {', '.join(sensors)}" + _optional(names)),
            (
                "unit",
                f"{encoding.unit}, stored x {encoding.scale:g} + {encoding.offset:g}"
                + (f", {encoding.level}" if encoding.level else ""),
            ),
            ("normalisation", f"{contract.normalisation.kind}, scope {contract.normalisation.scope}"),
            ("pixels", "any size" if contract.gsd is None else f"{contract.gsd:g} m"),
        ]
        if contract.size is not None:
            rows.append(("training window", f"{contract.size[0]} x {contract.size[1]} pixels"))
        most = "any number" if contract.max_dates is None else str(contract.max_dates)
        rows.append(("dates", f"{contract.min_dates} to {most}"))
    if meta.classes:
        rows.append(("classes", ", ".join(c.name for c in meta.classes)))
    rows += [(f"provenance: {key}", _short(text)) for key, text in _flat(meta.provenance)]
    rows += [("licence", meta.licence), ("sha256", sha256)]
    return rows


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every leaf; keys of groups are dotted, and lists are shown without brackets."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
            yield prefix + key, ", ".join(map(str, value))
        else:
            yield prefix + key, str(value)


def _short(text: str, most: int = 300) -> str:
    """Text for a line: a layout may hold whole tensors of the original file."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _optional(names: list[str]) -> str:
    return " (?: optional)" if any(n.endswith("?") for n in names) else ""
