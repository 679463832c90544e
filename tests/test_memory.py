"""What a process has held is its own, not its parent's."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from swath import memory
from swath.memory import forget_peak, give_back, peak_resident, resident, status

LINUX = Path("/proc/self/clear_refs").exists()
needs_linux = pytest.mark.skipif(not LINUX, reason="only Linux keeps these accounts")


@needs_linux
def test_a_child_of_a_large_process_is_not_told_the_large_peak() -> None:
    held = np.ones(512 << 20, np.uint8)
    code = "from swath.memory import peak_resident; print(peak_resident())"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 1 << 20 < int(told) < 256 << 20
    assert peak_resident() >= held.nbytes


@needs_linux
def test_the_peak_is_forgotten() -> None:
    np.ones(256 << 20, np.uint8)
    before = peak_resident()
    forget_peak()
    assert peak_resident() <= before - (128 << 20)
    assert resident() <= peak_resident() + (16 << 20)


def test_an_unknown_line_is_zero() -> None:
    assert status("NoSuchLine") == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have their own ways")
@needs_linux
def test_freed_memory_stays_until_the_end_of_the_block() -> None:
    code = """
import numpy as np
from swath.memory import freed_memory_kept, resident
start = resident()
with freed_memory_kept():
    # The last is above the largest threshold of glibc for memory that is mapped by itself.
    held = [np.ones(size << 20, np.uint8) for size in (16, 16, 16, 16, 64)]
    del held
    inside = resident()
print(inside - start >= 100 << 20, resident() - start <= 20 << 20)
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.split() == ["True", "True"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have their own ways")
@needs_linux
def test_freed_memory_goes_back_to_the_system() -> None:
    # Small pieces lie in the heap; the last one, which is kept, holds up what is freed below it.
    pieces = [np.ones(64 << 10, np.uint8) for _ in range(2048)]
    kept = pieces[-1]
    before = resident()
    del pieces
    give_back()
    assert resident() < before - (100 << 20)
    assert kept.all()


def test_a_gpu_is_asked_only_where_one_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {0: 5, 1: 7}

    def fake(used: bool) -> SimpleNamespace:
        cuda = SimpleNamespace(
            is_initialized=lambda: used, device_count=lambda: len(held), max_memory_allocated=held.__getitem__
        )
        return SimpleNamespace(cuda=cuda)

    monkeypatch.setitem(sys.modules, "torch", fake(True))
    assert memory.peak_device() == 12
    monkeypatch.setitem(sys.modules, "torch", fake(False))
    assert memory.peak_device() == 0
    monkeypatch.delitem(sys.modules, "torch")
    assert memory.peak_device() == 0
