"""What every record of `bench/results/*.json` says beside its numbers (design §5)."""

from __future__ import annotations

import datetime as dt
import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from swath.models.attention import device_name


def about(command: str, device: str = "cpu") -> dict[str, Any]:
    """Machine, threads, commit, command and date of a measurement made now."""
    return {
        "machine": machine(device),
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "command": command,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def machine(device: str) -> str:
    """The processor by name, and what it computes with."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, {device_name(device)}"


def commit() -> str:
    """The commit of the working folder when this process began: what is committed meanwhile is not what runs."""
    return _BEGAN


def _head() -> str:
    try:
        shown = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return shown.stdout.strip()


_BEGAN = _head()


def write(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """Puts records in the place of those of the same measure."""
    kept = json.loads(path.read_text("utf-8")) if path.exists() else []
    new = {r["measure"] for r in found}
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [r for r in kept if r["measure"] not in new]
    path.write_text(json.dumps([*kept, *found], indent=1) + "\n", "utf-8")
