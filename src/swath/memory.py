"""How much memory this process holds or has held."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def peak_resident() -> int:
    """The most memory this process has had resident so far, bytes; 0 where the system does not say.

    Linux is asked for the high-water mark of the program itself: `ru_maxrss` survives an exec, so that a small
    process begun by a large one is told the large one's peak.
    """
    told = status("VmHWM")
    if told:
        return told
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident() -> int:
    """What this process has resident now, bytes; 0 where the system does not say."""
    return status("VmRSS")


def forget_peak() -> None:
    """Sets the peak to what is resident now, where the system can (Linux); elsewhere the old peak stays."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", "ascii")


def status(name: str) -> int:
    """A line of the kernel's account of this process, bytes; 0 if there is none (not Linux)."""
    try:
        lines = STATUS.read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
