"""Labels that options name for a folder of one's own, over what its dataset.yaml says of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from swath.data.folder_spec import FILE, read_keys
from swath.data.legend import LandClass, spread
from swath.errors import ConfigError, InputError
from swath.verbs.labelled_options import VECTOR_FILES, LabelledData
from swath.verbs.options import LayoutOptions

log = logging.getLogger(__name__)


def with_labels(layout: LayoutOptions, data: LabelledData) -> LayoutOptions:
    """The layout of the folder, its description with `data.labels` in it; as it is where none are named.

    Options win over dataset.yaml key by key: another file keeps the classes that stand there.

    Raises:
        ConfigError: the options, or they and the YAML, do not fit each other.
        InputError: the labels cannot be read.
    """
    if not data.labels:
        return layout
    root = Path(layout.root)
    root, yaml = (root, root / FILE) if root.is_dir() else (root.parent, root)
    keys = layout.options.get("spec")
    if keys is not None and not isinstance(keys, Mapping):
        raise ConfigError("is no mapping", where="data.layout.options.spec", mend="see docs/own-data.md")
    keys = dict(read_keys(yaml) if keys is None else keys)
    spec = {**keys, "labels": _labels(root, data, keys.get("labels") or {})}
    return replace(layout, options={**layout.options, "spec": spec})


def _labels(root: Path, data: LabelledData, said: Any) -> dict[str, Any]:
    """The `labels` of a folder's description."""
    if not isinstance(said, Mapping):
        raise ConfigError("is no mapping of keys", where=f"{root}: labels", mend="see docs/own-data.md")
    kind = _kind(data, said)
    same = kind == said.get("kind") or not said
    # Columns and rules for overlaps are those of vectors; what the classes are called holds for other files too.
    found = dict(said) if same else {k: said[k] for k in ("classes", "ignore", "labelled_only") if k in said}
    found |= {"kind": kind, "file": _inside(root, data.labels)}
    if found["file"] != said.get("file"):
        found.pop("layer", None)  # of the other file
    given = {n: getattr(data, n) for n in ("attribute", "layer", "touch", "overlap", "ignore")}
    found |= {name: value for name, value in given.items() if value}
    if kind == "vector" and not found.get("attribute"):
        raise ConfigError(
            "is missing", where="data.attribute", mend="say which column names the class of labels"
        )
    if data.classes:
        found["classes"] = [{"value": c.value, "name": c.name, "color": c.hex} for c in data.classes]
    elif kind == "vector" and not found.get("classes"):
        found["classes"] = _column(root, found)
    if kind != "numbers" and not found.get("classes"):
        raise ConfigError(
            "no classes are named",
            where="data.classes",
            mend="give value, name and color of each class of the labels, here or in dataset.yaml",
        )
    return found


def _kind(data: LabelledData, said: Mapping[str, Any]) -> str:
    suffix = Path(data.labels).suffix.lower()
    if suffix in VECTOR_FILES:
        return "vector"
    if data.attribute:
        raise ConfigError(
            "names a column, and the labels are no vectors",
            where="data.attribute",
            mend=f"give it with {', '.join(VECTOR_FILES)}, and only there",
        )
    if suffix == ".csv":
        return "csv"
    numbers = data.task == "regression" or (not data.task and said.get("kind") == "numbers")
    return "numbers" if numbers else "raster"


def _inside(root: Path, labels: str) -> str:
    """The file or pattern as seen from the folder; one that is seen from here alone is that one.

    Raises:
        ConfigError: two files bear the name, one here and one in the folder; or rasters lie outside the folder.
    """
    here, there = Path(labels), root / labels
    if not (here.is_absolute() or here.is_file()):
        return labels
    if there.is_file() and here.is_file() and not there.samefile(here):
        raise ConfigError(
            f"is a file here and another one in {root}", where=labels, mend="give its whole path"
        )
    try:
        return here.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        if here.suffix.lower() in (*VECTOR_FILES, ".csv"):
            return str(here.resolve())
        raise ConfigError(
            f"lies outside {root}", where=here, mend="put rasters of labels into the folder of the images"
        ) from None


def _column(root: Path, labels: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Classes by what the column holds: whole numbers are values, words are numbered by the alphabet."""
    from swath.data.vectors import values_of, word_of

    file = str(root / labels["file"])
    skipped = {word_of(v) for v in labels.get("ignore") or ()}
    names = [v for v in values_of(file, labels["attribute"], labels.get("layer")) if v not in skipped]
    if not names or any(name in ("", "None", "nan") for name in names):
        what = "holds no class" if not names else "has features without a class"
        raise InputError(
            f"'{labels['attribute']}' {what}", where=file, mend="fill the column, or name data.classes"
        )
    whole = all(name.isdecimal() for name in names)
    numbers = [name for name in names if _is_number(name)]
    if numbers and not whole:
        # Numbered anew, they would be called by a number that is not theirs.
        raise InputError(
            f"'{labels['attribute']}' holds {', '.join(numbers[:5])}, and not whole numbers of 0 or more alone",
            where=file,
            mend="name data.classes",
        )
    colours = spread(len(names))
    classes = [LandClass(int(name) if whole else i, name, colours[i]) for i, name in enumerate(names)]
    log.info("classes by %s of %s: %s", labels["attribute"], file, ", ".join(names))
    return [{"value": c.value, "name": c.name, "color": c.hex} for c in classes]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
