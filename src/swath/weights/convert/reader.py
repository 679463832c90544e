"""Foreign files of weights, read without ever running what is in them, and written back.

A `.pth` file is a pickle, and a pickle is a program. It is read with PyTorch's restricted unpickler, which
builds tensors, numbers, text and containers; the few other names that published checkpoints hold beside their
weights (their parsed arguments, a configuration, numpy numbers) become objects that keep nothing and do
nothing. Every other name is refused before it is looked up.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from swath.errors import OutputError, WeightsError
from swath.files import atomic

PICKLES = (".pth", ".pt", ".ckpt", ".bin")
# Where published files keep the state dict; a file without any of these is the state dict itself.
CONTAINERS = ("model", "state_dict")
PREFIX = "module."  # of data-parallel training
_CHUNK = 1 << 22
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")


class _Nothing:
    """Stands for an object that is of no use here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Dictionary:
    """Stands for a kind of dictionary that is of no use here."""

    def __new__(cls, *args: Any) -> Any:
        return OrderedDict()  # the one mapping beside dict that the unpickler fills


_STAND_INS: tuple[tuple[Any, str], ...] = (
    *(
        (_Nothing, name)
        for name in (
            "argparse.Namespace",  # arguments of the published training scripts
            "numpy.core.multiarray.scalar",  # a best score
            "numpy._core.multiarray.scalar",
            "numpy.dtype",
            "numpy.dtypes.Float32DType",
            "numpy.dtypes.Float64DType",
            "numpy.dtypes.Int64DType",
            "_codecs.encode",
            "pathlib.Path",
            "pathlib.PosixPath",
        )
    ),
    (_Dictionary, "yacs.config.CfgNode"),  # Swin's configuration
)


@dataclass(frozen=True)
class Foreign:
    """What a foreign file holds.

    Attributes:
        path: the file.
        state: tensors by name, on the CPU, as stored but for the prefix.
        container: the key that held them, "" if none did.
        prefix: taken off every name, "" if there was none.
        beside: keys of what else the file holds (optimizer, epoch, …) and that was not used.
        sha256: of the file.
    """

    path: Path
    state: dict[str, Tensor]
    container: str
    prefix: str
    beside: tuple[str, ...]
    sha256: str


def read_foreign(path: Path | str) -> Foreign:
    """Reads a published checkpoint.

    Args:
        path: .pth, .pt, .ckpt, .bin or .safetensors; the state dict under `model`, `state_dict`, or bare; all
            names with or without `module.`.

    Raises:
        WeightsError: there is no such file, it is damaged, holds no state dict, or would have run code.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError("no such file", where=file, mend="check the path")
    if file.suffix == ".safetensors":
        content: Any = _read_safetensors(file)
    elif file.suffix in PICKLES:
        content = _read_pickle(file)
    else:
        known = ", ".join((*PICKLES, ".safetensors"))
        raise WeightsError(f"ends in '{file.suffix}', not in {known}", where=file, mend="give the checkpoint")
    held, container = _find_state(content, file)
    state = _checked(held, file)
    beside = tuple(str(key) for key in content if key != container) if container else ()
    state, prefix = strip_prefix(state, PREFIX)
    return Foreign(file, state, container, prefix, beside, _sha256(file))


def strip_prefix(state: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], str]:
    """The state without a prefix that all its names share, as often as they share it, and what was stripped."""
    out, stripped = dict(state), ""
    while out and all(name.startswith(prefix) and name != prefix for name in out):
        out = {name.removeprefix(prefix): tensor for name, tensor in out.items()}
        stripped += prefix
    return out, stripped


def write_foreign(
    path: Path | str, state: Mapping[str, Tensor], *, container: str = "", prefix: str = ""
) -> None:
    """Writes a state dict as its publication does.

    Args:
        path: ending as for `read_foreign`; safetensors hold bare state dicts only.
        state: tensors by name.
        container: the key to hold them, or "".
        prefix: put before every name.

    Raises:
        OutputError: the file cannot be written, or its ending is unknown.
    """
    file = Path(path)
    tensors = {prefix + name: t.detach().to("cpu").clone().contiguous() for name, t in state.items()}
    if file.suffix == ".safetensors":
        with atomic(file) as temporary:
            safetensors.torch.save_file(tensors, temporary)
    elif file.suffix in PICKLES:
        with atomic(file) as temporary:
            torch.save({container: tensors} if container else tensors, temporary)
    else:
        known = ", ".join((*PICKLES, ".safetensors"))
        raise OutputError(f"ends in '{file.suffix}'", where=file, mend=f"name it with one of {known}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as reader:
            if "swath_sha256" in (reader.metadata() or {}):
                raise WeightsError(
                    "these weights are swath's already", where=path, mend="use them as they are"
                )
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError, ValueError) as err:
        raise WeightsError(f"cannot be read ({err})", where=path, mend="fetch it again") from err


def _read_pickle(path: Path) -> Any:
    mend = "fetch it again, or check that it is a PyTorch checkpoint"
    try:
        archive = zipfile.is_zipfile(path)
        if archive:
            # PyTorch itself does not compare the checksums that its own archives carry.
            with zipfile.ZipFile(path) as opened:
                broken = opened.testzip()
            if broken is not None:
                raise WeightsError(f"is damaged at {broken}", where=path, mend="fetch it again")
        with torch.serialization.safe_globals(list(_STAND_INS)), warnings.catch_warnings():
            # Of other pickle protocols and of old storages, which are read all the same.
            warnings.simplefilter("ignore")
            # Mapped, since the optimizer beside the weights is twice their size and never touched.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as err:
        refused = _REFUSED.search(str(err))
        if refused or "unsupported GLOBAL" in str(err):
            name = refused[1] if refused else "a module that is blocked"
            raise WeightsError(
                f"would run or build something else than weights ({name}), and was not loaded",
                where=path,
                mend="do not trust this file, or save its state dict alone",
            ) from err
        raise WeightsError("is damaged, or no PyTorch checkpoint", where=path, mend=mend) from err
    except WeightsError:
        raise
    except OSError as err:
        raise WeightsError(f"cannot be read ({err.strerror or err})", where=path, mend=mend) from err
    except Exception as err:
        # Damage can lead the reader anywhere; nothing but tensors and plain values was built on the way.
        raise WeightsError(
            f"is damaged, or no PyTorch checkpoint ({type(err).__name__})", where=path, mend=mend
        ) from err


def _find_state(content: Any, path: Path) -> tuple[Mapping[Any, Any], str]:
    """The state dict and the key that held it."""
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"holds a {type(content).__name__}, not a state dict", where=path, mend="save its state dict"
        )
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return content, ""
    for key in CONTAINERS:
        if isinstance(content.get(key), Mapping) and content[key]:
            return content[key], key
    told = ", ".join(str(key) for key in list(content)[:6]) or "nothing"
    raise WeightsError(
        f"holds no state dict (it has {told})", where=path, mend="give it under model, state_dict, or bare"
    )


def _checked(held: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, tensor in held.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"'{name}' is no tensor with a name", where=path, mend="save a state dict")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise WeightsError(f"'{name}' is no plain tensor", where=path, mend="save plain float tensors")
        out[name] = tensor.detach()
    return out


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
