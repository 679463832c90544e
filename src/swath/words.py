"""Words that go with numbers."""

from __future__ import annotations


def counted(n: int, what: str) -> str:
    """How many: "1 block", "2 blocks"; of several words the first is counted: "3 squares of 64 pixels"."""
    noun, space, more = what.partition(" ")
    ending = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{n} {noun}{ending}{space}{more}"


def size(count: int) -> str:
    """Bytes in MiB, from 1024 of them in GiB."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
