"""Which numbers the forward pass computes in, and why (design §5)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

from swath.errors import ConfigError


@dataclass(frozen=True)
class Precision:
    """What was chosen.

    Attributes:
        name: "bf16" (autocast; weights, sums and losses stay float32) or "fp32".
        device: "cpu" or "cuda".
        why: a few words for the log.
    """

    name: str
    device: str
    why: str

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context of every forward pass."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16)


def cpu_has_amx() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware tiles."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    if supported is not None:
        return bool(supported())
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def choose_device(name: str = "auto", option: str = "device") -> str:
    """Either "cuda", if wanted or there, or "cpu". Raises ConfigError, naming the `option`, if wanted and not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is there", where=option, mend="use auto or cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def choose_precision(name: str = "auto", device: str = "cpu") -> Precision:
    """The precision of that name on "cpu" or "cuda"."""
    if name not in ("auto", "bf16", "fp32"):
        raise ConfigError(f"unknown precision '{name}'", where="precision", mend="use auto, bf16 or fp32")
    if name != "auto":
        return Precision(name, device, "asked for")
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", device, "the GPU computes in bf16")
        return Precision("fp32", device, "the GPU has no bf16")
    if cpu_has_amx():
        return Precision("bf16", device, "the CPU has AMX")
    return Precision("fp32", device, "the CPU has no AMX")
