"""How much memory this process holds or has held, and what becomes of it when it is freed."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from collections.abc import Iterator
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


def peak_device() -> int:
    """The most memory that tensors of this process have held on its GPUs, bytes, of all together; 0 where none was used.

    Torch is asked only if it is loaded, and only if it has begun to use a GPU: asking must not begin it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return sum(int(torch.cuda.max_memory_allocated(i)) for i in range(torch.cuda.device_count()))


def resident() -> int:
    """What this process has resident now, bytes; 0 where the system does not say."""
    return status("VmRSS")


def forget_peak() -> None:
    """Sets the peak to what is resident now, where the system can (Linux); elsewhere the old peak stays."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", "ascii")


# Numbers and limits of glibc's <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_LARGEST_MMAP_THRESHOLD = 32 << 20
_DEFAULT_MMAP_MAX = 65536


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Memory that is freed inside the block stays with the process, for the next tensor; given back at its end.

    A training step frees all its activations and asks for as much again. glibc gives what is freed back to the
    system, which then has to clear every page anew: a third of a step's time on a CPU. Peaks stay as they are. It does
    nothing where there is no glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    # The threshold has a limit, and what is larger would still be mapped anew, and cleared, each time.
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)  # never
    libc.mallopt(_TOP_PAD, 64 << 20)
    try:
        yield
    finally:
        # Where the thresholds move to by themselves in a process that has freed large blocks.
        libc.mallopt(_TOP_PAD, 0)
        libc.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
        give_back()


def give_back() -> None:
    """Returns to the system what the C library keeps of freed memory; does nothing where there is no glibc.

    Each thread's heap may keep as much as it once needed, and the more often threads meet in an unlucky order, the
    more that is: a process that streams would seem to grow with the length of the stream.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


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
