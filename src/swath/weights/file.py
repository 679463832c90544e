"""Weights as safetensors that know what they are, and notice a single flipped bit.

The hash in the header covers the whole file, with the hash itself read as zeros: tensors, names, metadata and
even the spaces that pad the header.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from swath.errors import WeightsError
from swath.files import atomic
from swath.weights.meta import WeightsMeta

_KEY = "swath_sha256"
_ZEROS = "0" * 64
_FIELD = re.compile(rb'"swath_sha256":"([0-9a-f]{64})"')
_CHUNK = 1 << 22
_MAX_HEADER = 100_000_000  # safetensors' own limit


@dataclass(frozen=True)
class Loaded:
    """What a file of weights holds.

    Attributes:
        state: tensors by name, on the CPU.
        meta: what they are.
        sha256: of the file, as its header states it and as it was checked.
        path: where they come from.
    """

    state: dict[str, Tensor]
    meta: WeightsMeta
    sha256: str
    path: Path

    @property
    def parameters(self) -> int:
        """How many numbers the tensors hold."""
        return sum(t.numel() for t in self.state.values())


def save(path: Path | str, module: nn.Module | Mapping[str, Tensor], meta: WeightsMeta) -> str:
    """Writes weights whole or not at all, and returns their hash.

    Args:
        path: ending in .safetensors.
        module: the network (not its objective or task), or its state dict.
        meta: what it is.

    Raises:
        OutputError: the file cannot be written.
    """
    state = module.state_dict() if isinstance(module, nn.Module) else module
    # A clone each: safetensors refuses tensors that share memory, and views keep what they are a part of.
    tensors = {name: t.detach().to("cpu").clone().contiguous() for name, t in state.items()}
    with atomic(path) as temporary:
        # Whoever may read other new files here may read these: safetensors lets none but their owner.
        temporary.touch()
        rights = temporary.stat().st_mode
        safetensors.torch.save_file(tensors, temporary, {**meta.to_strings(), _KEY: _ZEROS})
        temporary.chmod(rights)
        place, _ = _stated_hash(temporary)
        digest = _digest(temporary, place)
        with temporary.open("rb+") as file:
            file.seek(place)
            file.write(digest.encode("ascii"))
    return digest


def load(path: Path | str) -> Loaded:
    """Reads weights after checking their hash.

    Raises:
        WeightsError: the file is missing, damaged, or not swath's.
    """
    file = Path(path)
    if file.is_dir():
        raise WeightsError("is a folder, not a file of weights", where=file, mend="name the file in it")
    if not file.is_file():
        raise WeightsError("no such file", where=file, mend="check the path")
    try:
        place, stated = _stated_hash(file)
        if _digest(file, place) != stated:
            raise WeightsError(
                "the weights are damaged: their hash is another", where=file, mend="fetch them again"
            )
        with safe_open(file, "pt") as reader:
            strings = reader.metadata() or {}
        meta = WeightsMeta.from_strings(strings, file)
        return Loaded(safetensors.torch.load_file(file), meta, stated, file)
    except (OSError, SafetensorError) as err:
        raise WeightsError(f"cannot be read ({err})", where=file, mend="fetch them again") from err


def load_meta(path: Path | str) -> WeightsMeta:
    """Only the metadata, checked as in `load`."""
    return load(path).meta


def _stated_hash(path: Path) -> tuple[int, str]:
    """(place in the file, digits) of the hash in the header."""
    mend = "give a file that swath wrote, or `swath convert` it"
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER, path.stat().st_size - 8):
            raise WeightsError("no safetensors file, or cut short", where=path, mend=mend)
        header = file.read(length)
    found = list(_FIELD.finditer(header))
    if len(found) != 1:
        try:
            fine = isinstance(json.loads(header), dict)
        except ValueError:
            fine = False
        what = "a safetensors file without swath's hash" if fine else "no safetensors file, or damaged"
        raise WeightsError(what, where=path, mend=mend)
    return 8 + found[0].start(1), found[0].group(1).decode("ascii")


def _digest(path: Path, place: int) -> str:
    """sha256 of the file with the 64 digits at `place` read as zeros."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(place))
        digest.update(_ZEROS.encode("ascii"))
        file.seek(place + len(_ZEROS))
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def same_state(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)
