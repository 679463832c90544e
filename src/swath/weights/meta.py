"""What a file of weights says about itself.

Whoever saves a network that was trained for a task says what `swath predict` must know to draw a map by it:

* `task`, always. "segmentation" (logits [B,K,H,W]), "classification" (logits [B,K] of a whole window) and "change"
  (logits of classes, of two dates) make maps of classes; "multilabel" (logits, [B,K] or [B,K,H,W]) makes one of
  probabilities; "regression" ([B,K] or [B,K,H,W]) one of real numbers.
* `classes`, for all but regression: one per logit, in their order.
* `quantities`, for regression: one per output, in their order, with unit, and gain and bias where the network gives
  something else than the quantity itself.
* `calibration`, where one was fitted afterwards: see `Calibration`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from swath.contract import InputContract
from swath.errors import ContractError, WeightsError

FORMAT_VERSION = 1
_KEYS = (
    "format_version", "architecture", "contract", "classes", "provenance", "licence",
    "task", "quantities", "calibration",
)  # fmt: skip
MapTask = Literal["segmentation", "classification", "multilabel", "regression", "change"]
TASKS: tuple[MapTask, ...] = get_args(MapTask)


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
class Quantity:
    """A real number that a network tells of a pixel, or of a window: its output times `gain` plus `bias`.

    Attributes:
        name: as a person reads it; each quantity has another.
        unit: of the quantity; empty: it has none, or it is not known.
        gain, bias: finite; 1 and 0 where the network gives the quantity itself.
    """

    name: str
    unit: str = ""
    gain: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str) or not isinstance(self.unit, str):
            raise WeightsError(f"{self.name!r} is no name of a quantity", mend="name it in words")
        if not (math.isfinite(self.gain) and math.isfinite(self.bias) and self.gain != 0):
            raise WeightsError(f"gain {self.gain} and bias {self.bias} of {self.name} tell nothing")


@dataclass(frozen=True)
class Calibration:
    """How far what a map says of itself can be believed, as fitted on places that training never saw.

    Attributes:
        temperature: above 0; probabilities are the softmax (for several labels at once the sigmoid) of logits divided
            by it, before windows and views are blended. None: probabilities are as the network says them.
        about: what it was fitted on and how well it holds, and whatever else was fitted; plain JSON values. A text
            `about["data"]` is told on the maps.
    """

    temperature: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise WeightsError(f"temperature {self.temperature} is not above 0", mend="calibrate them again")


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
        task: what the network was trained for; None: not said (files of before, and encoders without a task).
        quantities: in the order of the outputs, for regression.
        calibration: fitted after training, or None.

    Raises:
        WeightsError: the task is unknown, or two quantities have one name.
    """

    architecture: str
    config: Mapping[str, Any]
    contract: InputContract | None = None
    classes: tuple[MapClass, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "unknown"
    task: MapTask | None = None
    quantities: tuple[Quantity, ...] = ()
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            raise WeightsError(f"task '{self.task}' is unknown", mend=f"use {', '.join(TASKS)}")
        if len({q.name for q in self.quantities}) != len(self.quantities):
            raise WeightsError("two quantities have one name", mend="give each its own")

    def to_strings(self) -> dict[str, str]:
        """What stands in the safetensors header: one JSON text per key."""
        data: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "architecture": {"name": self.architecture, "config": dict(self.config)},
            "contract": None if self.contract is None else self.contract.to_dict(),
            "classes": [asdict(c) for c in self.classes],
            "provenance": dict(self.provenance),
            "licence": self.licence,
        }
        # Left out where there is nothing to say: the header, and so the hash, of such files is as it always was.
        if self.task is not None:
            data["task"] = self.task
        if self.quantities:
            data["quantities"] = [asdict(q) for q in self.quantities]
        if self.calibration is not None:
            data["calibration"] = asdict(self.calibration)
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
                task=data.get("task"),
                quantities=tuple(Quantity(**q) for q in data.get("quantities", [])),
                calibration=Calibration(**data["calibration"]) if data.get("calibration") else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError, ContractError, WeightsError) as err:
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
    if meta.task is not None:
        # By "collapse" in an ST-SwinUNet, where "dates" is their fixed number.
        each = "none" in (meta.config.get("collapse"), meta.config.get("dates"))
        rows.append(("task", f"{meta.task}, a map for each date" if each else meta.task))
    if meta.classes:
        rows.append(("classes", ", ".join(c.name for c in meta.classes)))
    if meta.quantities:
        rows.append(
            ("quantities", ", ".join(q.name + (f" ({q.unit})" if q.unit else "") for q in meta.quantities))
        )
    if meta.calibration is not None:
        rows += [(f"calibration: {k}", _short(text)) for k, text in _flat(asdict(meta.calibration))]
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
