"""Weights in the words of STAC's Machine Learning Model extension, version 1.4."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from swath.contract import InputContract
from swath.data.legend import LandClass
from swath.weights.file import Loaded

EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
# What the extension has a word for; of features and other answers it knows no task.
_TASKS = {
    "segmentation": "semantic-segmentation",
    "change": "semantic-segmentation",
    "multilabel": "classification",
    "classification": "scene-classification",
    "regression": "regression",
}
_OUTPUTS = {"class": ("batch", "class", "height", "width"), "value": ("batch", "channel", "height", "width")}


def model_properties(
    loaded: Loaded, task: str, classes: Sequence[LandClass], outputs: int, *, each_date: bool = False
) -> dict[str, Any]:
    """Fields `mlm:*` of an item.

    Args:
        loaded: the weights, with a contract.
        task: they were trained for, as `swath finetune` names it; "features" for none.
        classes: of what they draw; empty: values.
        outputs: how many numbers they give for each pixel or cell.
        each_date: whether they do for each date.
    """
    meta = loaded.meta
    tasks = [_TASKS[task]] if task in _TASKS else []
    batch, *rest = _OUTPUTS["class" if classes else "value"]
    result: dict[str, Any] = {
        "name": task,
        "tasks": tasks,
        "result": {
            "shape": [-1, *[-1] * each_date, outputs, -1, -1],
            "dim_order": [batch, *["time"] * each_date, *rest],
            "data_type": "float32",
        },
    }
    if classes:
        result["classification:classes"] = class_objects(classes)
    found: dict[str, Any] = {
        "mlm:name": _name(f"{meta.architecture}-{loaded.sha256[:12]}"),
        "mlm:architecture": meta.architecture,
        "mlm:tasks": tasks,
        "mlm:framework": "PyTorch",
        "mlm:framework_version": _version(torch.__version__),
        "mlm:memory_size": sum(t.numel() * t.element_size() for t in loaded.state.values()),
        "mlm:total_parameters": loaded.parameters,
        "mlm:input": [] if meta.contract is None else [_input(meta.contract)],
        "mlm:output": [result],
        "swath:weights_sha256": loaded.sha256,
        "swath:weights_licence": meta.licence,
    }
    if meta.config:
        found["mlm:hyperparameters"] = {_key(k): v for k, v in meta.config.items()}
    return found


def model_asset(loaded: Loaded, folder: Path) -> dict[str, Any]:
    """The weights as an asset of an item in `folder`, with the bands that they eat."""
    asset: dict[str, Any] = {
        "href": relative(loaded.path, folder),
        "title": "Weights",
        "type": "application/vnd.safetensors",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors",
    }
    if loaded.meta.contract is not None:
        asset["bands"] = [
            {
                "name": s.band.name,
                "description": s.band.sensor,
                # The extension has micrometres.
                "eo:center_wavelength": round(s.band.center_nm / 1000, 6),
                "eo:full_width_half_max": round(s.band.width_nm / 1000, 6),
            }
            for s in loaded.meta.contract.bands
            # Bands of radar have no wavelength that the electro-optical extension means.
            if s.band.center_nm < 1e6
        ] or [{"name": s.band.name, "description": s.band.sensor} for s in loaded.meta.contract.bands]
    return asset


def class_objects(classes: Sequence[LandClass]) -> list[dict[str, Any]]:
    """Classes as the classification extension has them: a name of plain letters, and the title that people read."""
    return [
        {
            "value": c.value,
            "name": _plain(c.name) or f"class-{c.value}",
            "title": c.name,
            "color_hint": c.hex.removeprefix("#").upper(),
        }
        for c in classes
    ]


def relative(path: Path | str, folder: Path) -> str:
    """A file as seen from a folder, with slashes; an address stays what it is."""
    if "://" in str(path):
        return str(path)
    try:
        near = os.path.relpath(Path(path).resolve(), folder.resolve())
    except ValueError:  # another drive
        return Path(path).resolve().as_posix()
    near = Path(near).as_posix()
    return near if near.startswith(".") else f"./{near}"


def _input(contract: InputContract) -> dict[str, Any]:
    h, w = contract.size or (-1, -1)
    dates = contract.max_dates if contract.min_dates == contract.max_dates else -1
    encoding, norm = contract.encoding, contract.normalisation
    about = f"{encoding.unit}, stored numbers times {encoding.scale:g} plus {encoding.offset:g}"
    found: dict[str, Any] = {
        "name": "pixels",
        "bands": [s.band.name for s in contract.bands],
        "input": {
            "shape": [-1, dates, len(contract.bands), h, w],
            "dim_order": ["batch", "time", "bands", "height", "width"],
            "data_type": "float32",
        },
        "description": f"{about}{f', {encoding.level}' if encoding.level else ''}; normalisation {norm.kind}, "
        f"statistics {'of the model' if norm.scope == 'fixed' else f'of each {norm.scope}'}",
        "value_scaling": None,
    }
    if norm.kind != "identity" and norm.scope == "fixed":
        pairs = zip(norm.centre, norm.spread, strict=True)
        found["value_scaling"] = [
            {"type": "z-score", "mean": centre, "stddev": spread}
            if norm.kind == "standard"
            else {"type": "min-max", "minimum": centre, "maximum": centre + spread}
            for centre, spread in pairs
        ]
    return found


def _plain(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z_-]+", "-", text).strip("-")


def _name(text: str) -> str:
    """As the extension's pattern asks: a letter first, a letter or digit last."""
    plain = re.sub(r"[^0-9A-Za-z_.-]+", "-", text).strip("-_.")
    return plain if plain[:1].isalpha() else f"model-{plain}"


def _key(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z_.-]+", "_", text)


def _version(text: str) -> str:
    """Of three numbers: the extension wants a semantic version."""
    found = re.match(r"\d+\.\d+\.\d+", text)
    return found.group() if found else "0.0.0"
