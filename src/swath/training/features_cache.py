"""Features on the disk, computed once.

A folder per encoder, named by the hash of the weights, the contract, what is computed and in which precision; in it a
file per batch, named by the hash of what the network eats: ids, bands, dates, valid pixels and their normalisation.
So whatever changes (weights, contract, a record's pixels, the order) is computed anew and nothing else is, and a run
that was stopped goes on. Data are read again each time, to hash them: reading is cheap beside an encoder. Targets
are no part of it. A file holds the hash of its own contents, and a damaged one is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from swath.contract import InputContract
from swath.cube import CubeBatch
from swath.errors import InputError, SwathError
from swath.files import atomic
from swath.training.features import FrozenFeatures

FORMAT_VERSION = 1
_HASH = "swath_features_sha256"


class FeatureCache:
    """Features of one encoder.

    Args:
        root: a folder for the features of any number of encoders.
        weights: hash of the weights (`Loaded.sha256`).
        contract: by which batches were made.
        what: other things that features depend on, such as {"maps": True, "precision": "bf16"}; plain JSON values.

    Attributes:
        computed, kept: batches so far that were computed, and that were there.
    """

    def __init__(
        self, root: Path | str, weights: str, contract: InputContract, what: dict[str, object]
    ) -> None:
        about = {
            "format_version": FORMAT_VERSION,
            "weights": weights,
            "contract": contract.to_dict(),
            "torch": torch.__version__,
            **what,
        }
        text = json.dumps(about, sort_keys=True)
        self.folder = Path(root) / hashlib.sha256(text.encode()).hexdigest()[:32]
        self.computed = self.kept = 0
        stated = self.folder / "about.json"
        if not stated.exists():
            # For people, and to know what may be deleted.
            with atomic(stated) as temporary:
                temporary.write_text(json.dumps(about, sort_keys=True, indent=1) + "\n", encoding="utf-8")

    def get(
        self, batch: CubeBatch, compute: Callable[[CubeBatch], FrozenFeatures], each: int = 1
    ) -> tuple[FrozenFeatures, Path]:
        """Features of a batch, from the disk or computed and then kept; and the file.

        Args:
            batch: that the encoder sees.
            compute: the features.
            each: rows of them for each record.

        Raises:
            InputError: the file is damaged.
            OutputError: it cannot be written.
        """
        file = self.folder / f"{digest(batch)}.safetensors"
        if file.exists():
            found = read(file)
            if len(found.pooled) != each * len(batch.ids):
                raise _damaged(file)
            self.kept += 1
            return found, file
        made = compute(batch)
        write(file, made)
        self.computed += 1
        return made, file


def digest(batch: CubeBatch) -> str:
    """Hash of all that a network sees of a batch, and of the ids; what invalid pixels hold counts for nothing."""
    found = hashlib.sha256()
    head = {"ids": batch.ids, "bands": [repr(b) for b in batch.bands], "shape": list(batch.pixels.shape)}
    found.update(json.dumps(head).encode())
    pixels = torch.where(batch.valid, batch.pixels, torch.zeros((), dtype=batch.pixels.dtype))
    for tensor in (pixels, batch.valid, batch.days, batch.gain, batch.bias):
        found.update(_bytes(tensor))
    return found.hexdigest()


def write(file: Path, features: FrozenFeatures) -> None:
    """Features into a file that is whole or absent. Raises OutputError."""
    tensors = {"pooled": features.pooled.contiguous()}
    tensors |= {f"map.{i}": m.contiguous() for i, m in enumerate(features.maps)}
    strides = ",".join(map(str, features.strides))
    stated = {"strides": strides, _HASH: _content(tensors, file.stem, strides)}
    with atomic(file) as temporary:
        safetensors.torch.save_file(tensors, temporary, stated)


def read(file: Path) -> FrozenFeatures:
    """Features from a file. Raises InputError if it is damaged."""
    try:
        with safe_open(file, "pt") as reader:
            meta = reader.metadata() or {}
        tensors = safetensors.torch.load_file(file)
        strides = meta["strides"]
        if meta[_HASH] != _content(tensors, file.stem, strides):
            raise _damaged(file)
        maps = tuple(tensors[f"map.{i}"] for i in range(len(tensors) - 1))
        return FrozenFeatures(tensors["pooled"], maps, tuple(int(s) for s in strides.split(",") if s))
    except SwathError:
        raise
    except (OSError, SafetensorError, KeyError, ValueError) as err:
        raise _damaged(file) from err


def _content(tensors: dict[str, Tensor], name: str, strides: str) -> str:
    """Hash of what is in a file and of the name that it must have."""
    found = hashlib.sha256(f"{name} {strides}".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name}{tensor.dtype}{list(tensor.shape)}".encode())
        found.update(_bytes(tensor))
    return found.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return np.ascontiguousarray(tensor.cpu().numpy()).reshape(-1).view(np.uint8).data


def _damaged(file: Path) -> InputError:
    return InputError(
        "the features kept there are damaged", where=file, mend="delete it: they are computed again"
    )
